//! `/v1/events`: the trail, as a list and as a stream.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::IntoResponse;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{StreamExt, iter, unfold};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use super::Door;
use super::access::Caller;
use super::page::{Cursor, Limit, Page};
use super::problem::Problem;
use super::request::Parameters;
use crate::history::{EventFilter, EventLine, Subject};
use crate::operator::desk::{DeskError, Refusal, RefusalKind, TrailReader};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    workspace: Option<String>,
    /// What happened to one row: its kind, together with `id`.
    subject: Option<Subject>,
    /// The id of that row.
    id: Option<String>,
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 200, required = false)]
    limit: Limit,
}

/// Lists what happened, the newest first.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(Filter),
    responses((status = 200, body = Page<EventLine>)))]
pub(super) async fn list(
    State(door): State<Door>,
    caller: Caller,
    Parameters(asked): Parameters<Filter>,
) -> Result<Json<Page<EventLine>>, Problem> {
    if asked.subject.is_some() != asked.id.is_some() {
        return Err(Problem::incomplete("subject and id belong together"));
    }
    let filter = EventFilter {
        row: asked.subject.zip(asked.id.as_deref()),
        workspace: asked.workspace.as_deref(),
        after: asked.cursor.as_ref().map(Cursor::place).transpose()?,
        limit: asked.limit.get(),
    };
    let lines = door.desk.events(&caller.actor, filter).await?;
    Ok(Page::new(lines, asked.limit, |line| line.id))
}

/// The pause before the trail is read again, and before the token is checked again.
const READ_EVERY: Duration = Duration::from_secs(1);
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// One stream that a client follows.
struct Following {
    door: Door,
    caller: Caller,
    trail: TrailReader,
    checked: Instant,
    _place: OwnedSemaphorePermit,
}

/// Follows the trail as server-sent events, oldest first. It goes on after the line in `Last-Event-ID`; without one it
/// begins with an event `ready`, whose id is that of the latest line.
#[utoipa::path(get, path = "/v1/events/stream", tag = "events",
    params(("Last-Event-ID" = Option<i64>, Header, description = "the id of the last line that was received")),
    responses((status = 200, content_type = "text/event-stream", body = EventLine)))]
pub(super) async fn stream(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let after = match headers.get("last-event-id").map(|id| id.to_str().ok()?.parse().ok()) {
        None => None,
        Some(Some(id)) => Some(id),
        Some(None) => return Err(Problem::invalid("Last-Event-ID is no id of a line")),
    };
    let Ok(place) = door.streams.clone().try_acquire_owned() else {
        let detail = "too many streams are open";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(10));
    };
    let trail = TrailReader::new(after);
    trail.check(&door.desk).await?;
    let following = Following { door, caller, trail, checked: Instant::now(), _place: place };
    let events = unfold(following, async |mut following| {
        let events = following.next().await?;
        Some((iter(events), following))
    });
    // A proxy such as nginx would hold lines back until it has a buffer full of them.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(events.flatten()).keep_alive(KeepAlive::default())))
}

impl Following {
    /// Waits for further lines; `None` once the stream ends.
    async fn next(&mut self) -> Option<Vec<Result<Event, Infallible>>> {
        let door = self.door.clone();
        door.stop.run_until_cancelled(self.read()).await?.ok()
    }

    /// `Err` ends the stream: the client comes back and says where it was.
    async fn read(&mut self) -> Result<Vec<Result<Event, Infallible>>, DeskError> {
        loop {
            self.check_token().await?;
            let is_new = self.trail.position().is_none();
            let lines = self.trail.read(&self.door.desk, &self.caller.actor).await?;
            if let Some(id) = self.trail.position().filter(|_| is_new) {
                return Ok(vec![Ok(Event::default().event("ready").id(id.to_string()).data("{}"))]);
            }
            if !lines.is_empty() {
                return Ok(lines.iter().map(|line| Ok(event(line))).collect());
            }
            tokio::time::sleep(READ_EVERY).await;
        }
    }

    /// A token may expire or be revoked while somebody follows.
    async fn check_token(&mut self) -> Result<(), DeskError> {
        if self.checked.elapsed() >= CHECK_EVERY {
            let actor = self.door.desk.actor_of(self.caller.token.expose_secret()).await?;
            let ended = || Refusal::new(RefusalKind::Forbidden, "the token has ended");
            self.caller.actor = actor.ok_or_else(ended)?;
            self.checked = Instant::now();
        }
        Ok(())
    }
}

fn event(line: &EventLine) -> Event {
    let data = serde_json::to_string(line).unwrap_or_default();
    Event::default().event(&line.what).id(line.id.to_string()).data(data)
}
