//! The list of actions, and one action: what to do, where it stands, and what happened.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Console;
use super::access::SignedIn;
use super::filter::Chosen;
use super::form::{Form, Query};
use super::list::{PAGE, Pages, next};
use super::neighbours::Neighbours;
use super::page::{Frame, html, see_other};
use super::problem::Problem;
use super::steps::Steps;
use super::verbs::Verb;
use super::views::Views;
use crate::history::TrailLine;
use crate::manual_action::card::ActionFacts;
use crate::manual_action::review::ActionLine;
use crate::membership::ActionOperation;
use crate::operator::desk::{ActionCard, Seen};
use crate::operator::filters::{ListPage, STATUSES};
use crate::store::MOST_COUNTED;
use crate::text::{counted, encoded};

#[derive(Debug, Template)]
#[template(path = "actions.html")]
struct List {
    frame: Frame,
    chosen: Chosen,
    lines: Vec<ActionLine>,
    /// How many unfinished ones there are in all.
    count: String,
    pages: Pages,
    views: Views,
    /// The address of this page of the list, from which an action finds its neighbours.
    here: String,
}

impl List {
    fn choices(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        STATUSES.iter().map(|(word, label, _)| (*word, *label))
    }

    fn operations(&self) -> impl Iterator<Item = &'static str> {
        ActionOperation::WORDS.iter().copied()
    }
}

pub(super) async fn list(
    State(console): State<Console>,
    signed_in: SignedIn,
    Query(query): Query,
) -> Result<Response, Problem> {
    let chosen = Chosen::of(&query)?;
    let (desk, actor) = (&console.desk, &signed_in.0.actor);
    let lines = desk.actions(actor, chosen.filter(PAGE)).await?;
    let count = desk.count_actions(actor, chosen.filter(PAGE)).await?;
    let page = List {
        frame: Frame::new(&signed_in, "actions", "Actions")
            .waiting_for_verdict(lines.iter().any(|line| line.status == "done")),
        count: counted(count, MOST_COUNTED),
        pages: Pages::of(
            "/actions",
            &chosen.query(),
            &query,
            next(lines.len(), lines.last().map(|line| line.id)),
        ),
        views: Views::of(&console, &signed_in, ListPage::Actions, &query).await?,
        here: encoded(&chosen.here()),
        lines,
        chosen,
    };
    Ok(html(page.frame.status(), &page))
}

#[derive(Debug, Template)]
#[template(path = "action.html")]
struct Show {
    frame: Frame,
    facts: ActionFacts,
    steps: Steps,
    trail: Vec<Happened>,
    verbs: Vec<Verb>,
    note: String,
    to: String,
    /// If somebody came from a list.
    neighbours: Option<Neighbours>,
}

impl Show {
    fn has(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }
}

/// A line of the story, with the words that are new in it.
#[derive(Debug)]
pub(super) struct Happened {
    pub(super) line: TrailLine,
    pub(super) words: Vec<String>,
}

/// Every line of the trail has the facts as they were then: they are told where they are new.
pub(super) fn happened(trail: Vec<TrailLine>) -> Vec<Happened> {
    const TOLD: [&str; 4] = ["reason", "note", "verdict", "observed"];
    let mut told = [const { None::<String> }; TOLD.len()];
    let mut story = Vec::new();
    for line in trail {
        let mut words = Vec::new();
        for (key, told) in TOLD.iter().zip(&mut told) {
            let fact = line.detail.get(key).and_then(|fact| fact.as_str()).map(str::to_owned);
            words.extend(fact.clone().filter(|_| fact != *told));
            *told = fact;
        }
        story.push(Happened { line, words });
    }
    story
}

/// The verbs that make sense now. What is allowed is decided when one is used.
fn verbs(frame: &Frame, facts: &ActionFacts) -> Vec<Verb> {
    let is_mine = facts.assignee.as_deref().is_some_and(|name| frame.is_me(name));
    let is_my_word = facts.done_by.as_deref().is_some_and(|name| frame.is_me(name));
    let mut verbs = match facts.status.as_str() {
        _ if !frame.may_change => return vec![],
        "open" => vec![Verb::Claim, Verb::Done, Verb::HandOver, Verb::Return, Verb::Dismiss],
        "in_progress" if is_mine => {
            vec![Verb::Done, Verb::Release, Verb::HandOver, Verb::Return, Verb::Dismiss]
        }
        "in_progress" => vec![Verb::TakeOver, Verb::Done],
        "done" if is_my_word => vec![Verb::Withdraw],
        "done" => vec![Verb::Confirm],
        _ => return vec![],
    };
    verbs.extend([Verb::Note, Verb::ScreenChanged]);
    verbs
}

async fn page(
    console: &Console,
    signed_in: &SignedIn,
    id: i64,
    query: &Form,
    refused: Option<(Problem, Form)>,
) -> Result<Response, Problem> {
    let ActionCard { facts, trail } = console.desk.action(&signed_in.0.actor, id).await?;
    let (problem, form) = refused.unzip();
    let form = form.unwrap_or_default();
    let list = query.get("list").or_else(|| form.get("list"));
    let neighbours = Neighbours::of(console, signed_in, id, list).await?;
    let title = match facts.member_email.as_str() {
        "" => format!("{} · {}", facts.operation, facts.integration_name),
        member => format!("{} {member}", facts.operation.replace('_', " ")),
    };
    let frame = Frame::new(signed_in, "actions", title)
        .telling(query)
        .refused(problem)
        .waiting_for_verdict(facts.status == "done");
    let page = Show {
        verbs: verbs(&frame, &facts),
        note: form.text("note"),
        to: form.text("to"),
        trail: happened(trail),
        steps: Steps::of(&facts),
        neighbours,
        facts,
        frame,
    };
    Ok(html(page.frame.status(), &page))
}

/// What cannot be an id is the id of nothing.
pub(super) fn known<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    let Path(path) =
        path.map_err(|_| Problem::new(StatusCode::NOT_FOUND, "There is nothing with such an id."))?;
    Ok(path)
}

pub(super) async fn show(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<i64>, PathRejection>,
    Query(query): Query,
) -> Result<Response, Problem> {
    page(&console, &signed_in, known(path)?, &query, None).await
}

pub(super) async fn change(
    State(console): State<Console>,
    signed_in: SignedIn,
    path: Result<Path<(i64, Verb)>, PathRejection>,
    form: Form,
) -> Result<Response, Problem> {
    let (id, verb) = known(path)?;
    let seen = Seen { id, revision: Some(form.revision()?) };
    match verb.run(&console.desk, &signed_in.0.actor, seen, &form).await {
        Ok(()) => {
            let list = form.get("list").map(|list| format!("&list={}", encoded(list)));
            let said = verb.word();
            Ok(see_other(&format!("/actions/{id}?said={said}{}", list.unwrap_or_default())))
        }
        // The page says what the action is now, and keeps what was typed.
        Err(problem) => {
            let problem = problem.beside_form()?;
            page(&console, &signed_in, id, &Form::default(), Some((problem, form))).await
        }
    }
}
