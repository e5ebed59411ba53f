//! One app: the steps once, everybody whom they are for, and what is done with many of them.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::actions::known;
use super::form::{Form, Query};
use super::page::{Frame, html, see_other};
use super::problem::Problem;
use super::steps::Steps;
use super::verbs::Verb;
use crate::integration::store::{IntegrationFilter, IntegrationLine};
use crate::manual_action::returns::Returnable;
use crate::manual_action::review::{ActionFilter, ActionLine};
use crate::manual_action::status::ActionStatus;
use crate::operator::desk::{Chosen, DeskError, Integration, Seen, check_many};
use crate::text::encoded;

/// So many unfinished actions are on the page, which stays below 100 kB; more are on the next one, when these are done.
const PAGE: u32 = 80;

/// So many of those that ended last.
const ENDED: u32 = 15;

const UNFINISHED: [ActionStatus; 3] =
    [ActionStatus::Open, ActionStatus::InProgress, ActionStatus::Done];

const ENDED_NOW: [ActionStatus; 3] =
    [ActionStatus::Verified, ActionStatus::Attested, ActionStatus::NotNeeded];

/// The address of the page of an app.
pub(super) fn address(workspace: &str, id: &str) -> String {
    format!("/apps/{}/{}", encoded(workspace), encoded(id))
}

#[derive(Debug, Template)]
#[template(path = "app.html")]
struct App {
    frame: Frame,
    app: IntegrationLine,
    base: String,
    cause: String,
    steps: Vec<(String, String, Steps)>,
    lines: Vec<ActionLine>,
    ended: Vec<ActionLine>,
    is_full: bool,
}

impl App {
    /// Those that nobody works on.
    fn unclaimed(&self) -> Vec<&ActionLine> {
        self.lines.iter().filter(|line| line.status == "open").collect()
    }

    fn verbs(&self) -> impl Iterator<Item = Verb> {
        Verb::many()
    }
}

async fn find(
    console: &Console,
    signed_in: &SignedIn,
    workspace: &str,
    id: &str,
) -> Result<IntegrationLine, Problem> {
    let filter = IntegrationFilter {
        workspace: Some(workspace),
        id: Some(id),
        limit: 1,
        ..IntegrationFilter::default()
    };
    let found = console.desk.integrations(&signed_in.0.actor, filter).await?.pop();
    found.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "There is no such app.")
            .hint("It may belong to a workspace that you may not see.")
    })
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    Query(query): Query,
) -> Result<Response, Problem> {
    let (workspace, id) = known(path)?;
    let app = find(&console, &signed_in, &workspace, &id).await?;
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let operation = query.get("operation").map(str::parse).transpose();
    let filter = ActionFilter {
        statuses: &UNFINISHED,
        workspace: Some(&workspace),
        integration: Some(&id),
        operation: operation
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "There is no such operation."))?,
        cause: query.get("cause"),
        limit: PAGE,
        ..ActionFilter::default()
    };
    let mut lines = desk.actions(actor, filter).await?;
    lines.sort_by_key(|line| {
        let is_contradicted = line.reopened_count > 0 && line.status != "done";
        (!is_contradicted, line.operation != "remove", line.due_at)
    });
    let ended = ActionFilter { statuses: &ENDED_NOW, limit: ENDED, ..filter };
    let mut first = BTreeMap::new();
    for line in lines.iter().filter(|line| line.status != "done") {
        first.entry(line.operation.clone()).or_insert((line.id, line.member_email.clone()));
    }
    let mut steps = Vec::new();
    for (operation, (id, member)) in first {
        let card = desk.action(actor, id).await?;
        steps.push((operation, member, Steps::of(&card.facts)));
    }
    let page = App {
        frame: Frame::new(&signed_in, "queue", &app.name)
            .telling(&query)
            .waiting_for_verdict(lines.iter().any(|line| line.status == "done")),
        base: address(&workspace, &id),
        cause: query.text("cause"),
        steps,
        ended: desk.actions(actor, ended).await?,
        is_full: lines.len() >= PAGE as usize,
        lines,
        app,
    };
    Ok(html(page.frame.status(), &page))
}

/// The actions that are ticked, each as the page showed it.
fn picked(verb: Verb, form: &Form) -> Result<Vec<Seen>, Problem> {
    let seen = |pick: &str| {
        let (id, revision) = pick.split_once(':')?;
        Some(Seen { id: id.parse().ok()?, revision: Some(revision.parse().ok()?) })
    };
    let picks: Option<Vec<Seen>> = form.all("pick").map(seen).collect();
    let picks =
        picks.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "The form names no actions."))?;
    let nothing_done =
        |problem: Problem| problem.hint("Tick actions on the page of the app. Nothing was done.");
    check_many(verb.act(), &picks)
        .map_err(DeskError::from)
        .map_err(Problem::from)
        .map_err(nothing_done)?;
    Ok(picks)
}

#[derive(Debug, Template)]
#[template(path = "preview.html")]
struct Preview {
    frame: Frame,
    base: String,
    app: IntegrationLine,
    verb: Verb,
    /// As they were ticked.
    lines: Vec<ActionLine>,
    /// Those that somebody has changed since they were ticked.
    changed: Vec<ActionLine>,
    note: String,
    to: String,
}

pub(super) async fn preview(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let (workspace, id) = known(path)?;
    let verb = Verb::of(form.get("verb"))?;
    ask(&console, &signed_in, &workspace, &id, verb, &form, None).await
}

/// The page that shows what a verb would be done with, and asks.
async fn ask(
    console: &Console,
    signed_in: &SignedIn,
    workspace: &str,
    id: &str,
    verb: Verb,
    form: &Form,
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    let picks = picked(verb, form)?;
    let app = find(console, signed_in, workspace, id).await?;
    let (lines, changed) = now(console, signed_in, workspace, id, &picks).await?;
    let page = Preview {
        frame: Frame::new(signed_in, "queue", format!("{}: {}", verb.label(), app.name))
            .refused(problem),
        base: address(workspace, id),
        app,
        verb,
        lines,
        changed,
        note: form.text("note"),
        to: form.text("to"),
    };
    Ok(html(page.frame.status(), &page))
}

/// The actions as they are now: those that are as they were ticked, and the others.
async fn now(
    console: &Console,
    signed_in: &SignedIn,
    workspace: &str,
    id: &str,
    picks: &[Seen],
) -> Result<(Vec<ActionLine>, Vec<ActionLine>), Problem> {
    let ids: Vec<_> = picks.iter().map(|seen| seen.id).collect();
    let filter = ActionFilter {
        workspace: Some(workspace),
        integration: Some(id),
        ids: &ids,
        limit: u32::try_from(ids.len()).unwrap_or(u32::MAX),
        ..ActionFilter::default()
    };
    let found = console.desk.actions(&signed_in.0.actor, filter).await?;
    Ok(found
        .into_iter()
        .partition(|line| picks.contains(&Seen { id: line.id, revision: Some(line.revision) })))
}

#[derive(Debug, Template)]
#[template(path = "result.html")]
struct Outcome {
    frame: Frame,
    base: String,
    app: IntegrationLine,
    verb: Verb,
    worked: usize,
    refused: Vec<(ActionLine, Problem)>,
    note: String,
    to: String,
}

pub(super) async fn act(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let (workspace, id) = known(path)?;
    let verb = Verb::of(form.get("verb"))?;
    let picks = picked(verb, &form)?;
    let words = match verb.words(&form) {
        Ok(words) => words,
        Err(problem) => {
            return ask(&console, &signed_in, &workspace, &id, verb, &form, Some(problem)).await;
        }
    };
    let actor = &signed_in.0.actor;
    let answers = console.desk.act_on_each(actor, verb.act(), &picks, words).await?;
    let answers = picks.iter().zip(answers);
    let mut refused: BTreeMap<_, _> = answers
        .filter_map(|(seen, answer)| Some((seen.id, Problem::from(answer.err()?))))
        .collect();
    let worked = picks.len() - refused.len();
    let base = address(&workspace, &id);
    if refused.is_empty() {
        return Ok(see_other(&format!("{base}?said={}&n={worked}", verb.word())));
    }
    let app = find(&console, &signed_in, &workspace, &id).await?;
    let (same, changed) = now(&console, &signed_in, &workspace, &id, &picks).await?;
    let lines = same.into_iter().chain(changed);
    let refused: Vec<_> =
        lines.filter_map(|line| refused.remove(&line.id).map(|problem| (line, problem))).collect();
    let status = refused.first().map_or(StatusCode::NOT_FOUND, |(_, problem)| problem.status());
    let page = Outcome {
        frame: Frame::new(&signed_in, "queue", format!("{}: {}", verb.label(), app.name)),
        base,
        app,
        verb,
        worked,
        refused,
        note: form.text("note"),
        to: form.text("to"),
    };
    Ok(html(status, &page))
}

#[derive(Debug, Template)]
#[template(path = "send_back.html")]
struct SendBack {
    frame: Frame,
    base: String,
    app: IntegrationLine,
    operation: String,
    failure_code: String,
    found: Vec<Returnable>,
    ids: String,
    note: String,
}

async fn ask_return(
    console: &Console,
    signed_in: &SignedIn,
    workspace: &str,
    id: &str,
    form: &Form,
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    let app = find(console, signed_in, workspace, id).await?;
    let found = console.desk.returnable(&signed_in.0.actor, &which(workspace, id, form)?).await?;
    let page = SendBack {
        frame: Frame::new(signed_in, "queue", format!("Return to automation: {}", app.name))
            .refused(problem),
        base: address(workspace, id),
        app,
        operation: form.text("operation"),
        failure_code: form.text("failure_code"),
        ids: ids(&found),
        found,
        note: form.text("note"),
    };
    Ok(html(page.frame.status(), &page))
}

fn ids(found: &[Returnable]) -> String {
    let mut ids: Vec<_> = found.iter().map(|one| one.id).collect();
    ids.sort_unstable();
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The actions to return, by what the form says of them; if it has ids, these and no others.
fn which(workspace: &str, id: &str, form: &Form) -> Result<Chosen, Problem> {
    let operation = form.get("operation").map(str::parse).transpose();
    let seen = form.get("ids").map(|ids| ids.split(',').map(str::parse).collect()).transpose();
    Ok(Chosen::Of {
        integration: Integration { workspace: workspace.to_owned(), id: id.to_owned() },
        failure_code: form.get("failure_code").map(str::to_owned),
        operation: operation.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "Actions of this operation cannot be returned.")
        })?,
        seen: seen
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The form names no actions."))?,
    })
}

pub(super) async fn preview_return(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    Query(query): Query,
) -> Result<Response, Problem> {
    let (workspace, id) = known(path)?;
    ask_return(&console, &signed_in, &workspace, &id, &query, None).await
}

/// Sends actions back, a canary first, if they are still those that the page showed.
pub(super) async fn send_back(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(String, String)>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let (workspace, id) = known(path)?;
    form.needed("ids", "The form names no actions.")?;
    let chosen = which(&workspace, &id, &form)?;
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let sent = match form.needed("note", "Say what was fixed.") {
        Ok(reason) => {
            desk.return_to_automation(actor, &chosen, reason).await.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match sent {
        Ok(()) => Ok(see_other("/returns?said=returned")),
        // The page shows the actions as they are now, and keeps what was typed.
        Err(problem) => {
            let problem = Some(problem.beside_form()?);
            ask_return(&console, &signed_in, &workspace, &id, &form, problem).await
        }
    }
}
