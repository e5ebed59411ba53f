//! `/v1/actions`, `/v1/groups`: what people have to do.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Door;
use super::access::Caller;
use super::page::{Cursor, Limit, Page, tagged, words};
use super::problem::Problem;
use super::request::{At, Body, IfMatch, Parameters};
use crate::manual_action::review::{ActionFilter, ActionLine, ActionOrder, WorkLine};
use crate::manual_action::status::ActionStatus;
use crate::membership::ActionOperation;
use crate::operator::desk::{ActionCard, ActionVerb, DeskError, Seen, Words};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Statuses, with commas between them; all without it.
    #[serde(default, deserialize_with = "words")]
    #[param(style = Form, explode = false, value_type = Vec<ActionStatus>)]
    status: Vec<ActionStatus>,
    workspace: Option<String>,
    integration: Option<String>,
    /// The id or the email of a member.
    member: Option<String>,
    operation: Option<ActionOperation>,
    /// A failure code, or the reason of actions that have none.
    cause: Option<String>,
    /// Only overdue ones.
    #[serde(default)]
    overdue: bool,
    /// Only those that the caller works on.
    #[serde(default)]
    mine: bool,
    order: Option<ActionOrder>,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 200, required = false)]
    limit: Limit,
}

/// Lists actions: the unfinished ones, the most urgent first, and then the ended ones, the latest first.
#[utoipa::path(get, path = "/v1/actions", tag = "actions", params(Filter),
    responses((status = 200, body = Page<ActionLine>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Filter>,
) -> Result<Json<Page<ActionLine>>, Problem> {
    let filter = ActionFilter {
        statuses: &asked.status,
        workspace: asked.workspace.as_deref(),
        integration: asked.integration.as_deref(),
        member: asked.member.as_deref(),
        operation: asked.operation,
        cause: asked.cause.as_deref(),
        overdue: asked.overdue,
        mine: asked.mine,
        ids: &[],
        order: asked.order,
        after: asked.cursor.as_ref().map(Cursor::place).transpose()?,
        limit: asked.limit.get(),
    };
    let lines = door.desk.actions(&caller.actor, filter).await?;
    Ok(Page::new(lines, asked.limit, |line| line.id))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Groups {
    workspace: Option<String>,
}

/// What there is to do: a group for each app, operation and cause, the most urgent first.
#[utoipa::path(get, path = "/v1/groups", tag = "actions", params(Groups),
    responses((status = 200, body = Page<WorkLine>)))]
pub(super) async fn groups(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Groups>,
) -> Result<Json<Page<WorkLine>>, Problem> {
    Ok(Page::whole(door.desk.work(&caller.actor, asked.workspace.as_deref()).await?))
}

/// Shows one action, with its instructions and what happened to it.
#[utoipa::path(get, path = "/v1/actions/{id}", tag = "actions", params(("id" = i64, Path)),
    responses((status = 200, body = ActionCard, headers(("ETag" = String, description = "the revision")))))]
pub(super) async fn show(
    State(door): State<Door>,
    caller: Caller,
    At(id): At<i64>,
) -> Result<Response, Problem> {
    let card = door.desk.action(&caller.actor, id).await?;
    Ok(tagged(card.facts.revision, card))
}

/// The words that a verb needs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActionWords {
    /// Why, or what was done.
    note: Option<String>,
    /// The colleague who gets the action.
    to: Option<String>,
}

/// Does something with one action; the answer shows the action as it is then.
#[utoipa::path(post, path = "/v1/actions/{id}/{verb}", tag = "actions", request_body = ActionWords,
    params(("id" = i64, Path), ("verb" = ActionVerb, Path),
        ("If-Match" = String, Header, description = "the ETag of the action as the caller saw it, or *")),
    responses((status = 200, body = ActionCard, headers(("ETag" = String, description = "the revision")))))]
pub(super) async fn change(
    State(door): State<Door>,
    caller: Caller,
    At((id, verb)): At<(i64, ActionVerb)>,
    IfMatch(revision): IfMatch,
    Body(words): Body<ActionWords>,
) -> Result<Response, Problem> {
    let seen = Seen { id, revision };
    let words = Words { note: words.note.as_deref(), to: words.to.as_deref() };
    door.desk.act(&caller.actor, verb, seen, words).await?;
    let card = door.desk.action(&caller.actor, id).await?;
    Ok(tagged(card.facts.revision, card))
}

/// The same for many actions, each as its caller saw it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    /// Not confirm, note or screen_changed, which are about one action each.
    verb: ActionVerb,
    /// Why, or what was done.
    note: Option<String>,
    /// The colleague who gets the actions.
    to: Option<String>,
    /// Up to 1000, each id once.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<Item>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    id: i64,
    revision: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answers {
    /// In the order of the items.
    answers: Vec<Answer>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Answer {
    id: i64,
    /// What the same request for this action alone would have been answered with.
    status: u16,
    problem: Option<Problem>,
}

/// Does the same with many actions. Each gets an answer of its own: a refused one keeps no other back.
#[utoipa::path(post, path = "/v1/actions/batch", tag = "actions", request_body = Batch,
    responses((status = 200, body = Answers)))]
pub(super) async fn batch(
    State(door): State<Door>,
    caller: Caller,
    Body(batch): Body<Batch>,
) -> Result<Json<Answers>, Problem> {
    let seen = |item: &Item| Seen { id: item.id, revision: Some(item.revision) };
    let actions: Vec<_> = batch.items.iter().map(seen).collect();
    let words = Words { note: batch.note.as_deref(), to: batch.to.as_deref() };
    let done = door.desk.act_on_each(&caller.actor, batch.verb, &actions, words).await?;
    let answer = |(seen, done): (&Seen, Result<(), DeskError>)| {
        let problem = done.err().map(Problem::from);
        let status = problem.as_ref().map_or(200, |problem| problem.status);
        Answer { id: seen.id, status, problem }
    };
    let answers = actions.iter().zip(done).map(answer).collect();
    Ok(Json(Answers { answers }))
}
