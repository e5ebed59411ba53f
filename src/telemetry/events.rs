//! The closed set of log events: name, level, meaning, fields, and what to do.
//!
//! `ERROR` means that someone must act on this service, `WARN` that someone must act on an app or a
//! member. `docs/events.md` is generated from this list and a test keeps it current. Fields carry ids,
//! codes, counts and durations; never names, emails, bodies or secrets.

use tracing::Level;

/// One kind of log line.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The value of the field `event`.
    pub name: &'static str,
    /// Who must act, if anyone.
    pub level: Level,
    /// What happened.
    pub meaning: &'static str,
    /// The fields beside `event` and the message.
    pub fields: &'static str,
    /// What the reader should do.
    pub action: &'static str,
}

macro_rules! events {
    ($($constant:ident = $name:literal $level:ident, $meaning:literal, [$fields:literal], $action:literal;)*) => {
        $(#[doc = $meaning]
        pub const $constant: Event = Event {
            name: $name, level: Level::$level, meaning: $meaning, fields: $fields, action: $action,
        };)*
        /// All of them, in the order of the flow.
        pub const ALL: &[Event] = &[$($constant),*];
    };
}

events! {
    SERVICE_STARTED = "service.started" INFO, "The daemon is up: database and schema are right, loops run.",
        ["version, http.listen, start_ms"], "Nothing.";
    SERVICE_STOPPING = "service.stopping" INFO, "A signal asked for a stop; work in flight may end.",
        ["signal, grace_s"], "Nothing.";
    SERVICE_STOPPED = "service.stopped" INFO, "All work in flight ended and was recorded.",
        ["took_ms"], "Nothing.";
    SERVICE_FAILED = "service.failed" ERROR, "The daemon could not start, or a loop ended by itself, or the stop took too long.",
        ["error"], "Read the error; `cerby-reconciler check` tells which part is at fault. Rows in flight are taken over when their leases end.";
    DATABASE_UNREACHABLE = "database.unreachable" ERROR, "A statement failed; the loop tries again after a pause. Logged once until it works again.",
        ["loop, error"], "Look at PostgreSQL and at the network to it. No task is lost meanwhile.";
    DATABASE_RECOVERED = "database.recovered" INFO, "Statements work again.",
        ["loop"], "Nothing.";
    WAKEUP_LOST = "wakeup.lost" INFO, "The LISTEN connection broke; polling alone finds work until it is back.",
        ["error"], "Nothing, unless it repeats: then look at the database's connections.";
    WAKEUP_RESTORED = "wakeup.restored" INFO, "LISTEN works again.",
        [""], "Nothing.";
    BACKEND_REFUSES_KEY = "backend.refuses_key" ERROR, "The backend answered 401 or 403: the API key is wrong, expired or lacks a scope. Tasks wait and use no attempt.",
        ["workspace.id, status"], "Renew the key, or give its user the owner role of the integration, and restart.";
    BACKEND_SILENT = "backend.silent" ERROR, "Requests for a workspace get no answer, one after another; its tasks are left alone for a while, and use no attempt. Logged once until it answers again.",
        ["workspace.id, unanswered"], "Look at the backend and at the network to it. Nothing is lost meanwhile.";
    BACKEND_ANSWERS = "backend.answers" INFO, "The backend answers for the workspace again.",
        ["workspace.id"], "Nothing.";
    GATE_CLOSED = "gate.closed" WARN, "An app's automation failed several times in a row, or its probe did: nothing is tried there until `wait_s` is over, then one task tries.",
        ["workspace.id, integration.id, wait_s, closings"], "Look at the app: does it work for people? Look at the failed jobs in Cerby's automation log.";
    GATE_RATE_LIMITED = "gate.rate_limited" INFO, "The backend limits the rate of requests: nothing of the integration is tried until `wait_s` is over.",
        ["workspace.id, integration.id, wait_s"], "If it repeats, set `starts_per_minute` of the integration.";
    GATE_OPENED = "gate.opened" INFO, "The task that tried worked: the integration's tasks go on, at a slope.",
        ["workspace.id, integration.id"], "Nothing.";
    GATE_STILL_SHUT = "gate.still_shut" WARN, "An integration's gate has been shut for long; told again every `gate.remind_s`.",
        ["workspace.id, integration.id, gate, shut_s, tasks"], "Paused: resume it, `cerby-reconciler integrations resume ID`. Credentials: work its action of operation reconnect. Closed: look at the app.";
    INTEGRATION_PARKED = "integration.parked" WARN, "The app refuses the stored login: all its tasks wait, and one manual action asks to mend it.",
        ["workspace.id, integration.id, action.id, failure.code"], "Work the action: `cerby-reconciler actions show ID`.";
    RETURN_RELEASED = "return.released" INFO, "The canary of a return to automation worked: the rest follows.",
        ["return.id, integration.id, actions"], "Nothing.";
    RETURN_STOPPED = "return.stopped" WARN, "The canary of a return to automation went to a person again: the rest stays with people.",
        ["return.id, integration.id, actions"], "See why the canary failed; return the rest again after the next fix.";
    TASK_WAITING = "task.waiting" INFO, "The task waits, which is not trying: the backend gave no usable answer, limits the rate, or an attempt of unknown outcome may still take effect.",
        ["task.id, integration.id, wait_s, reason"], "If many tasks wait for the same reason, look at the backend.";
    TASK_ORDERED = "task.ordered" DEBUG, "A new row has its place among the member's tasks.",
        ["task.id"], "Nothing.";
    TASK_SUPERSEDED = "task.superseded" INFO, "A later intent made this task pointless; it is closed.",
        ["task.id, superseded_by"], "Nothing.";
    TASK_ATTEMPT_STARTED = "task.attempt_started" INFO, "The backend accepted the operation and runs a job for it.",
        ["task.id, integration.id, operation, attempt, job.id"], "Nothing.";
    TASK_RETRY_SCHEDULED = "task.retry_scheduled" INFO, "An attempt failed; another follows.",
        ["task.id, integration.id, attempt, failure.code, wait_s"], "Nothing.";
    TASK_JOB_RESTARTED = "task.job_restarted" INFO, "The task's failed job runs again at the backend, by its own retry or by hand; it is watched instead of starting another, and is no attempt.",
        ["task.id, integration.id, job.id"], "Nothing.";
    TASK_SUCCEEDED = "task.succeeded" INFO, "The backend shows the member as wanted.",
        ["task.id, integration.id, operation, attempts, reason"], "Nothing.";
    TASK_ESCALATED = "task.escalated" WARN, "Automation ends here; a manual action is open.",
        ["task.id, action.id, workspace.id, integration.id, operation, reason, failure.code, attempts"], "Work the action: `cerby-reconciler actions show ID`.";
    ACTION_SUPERSEDED = "action.superseded" WARN, "A later intent made this manual action pointless. Stop working on it.",
        ["action.id, superseded_by"], "Stop: do not make this change in the app any more.";
    ACTION_OVERDUE = "action.overdue" WARN, "A manual action is past its deadline. Logged once per action.",
        ["action.id, workspace.id, integration.id, operation"], "Work the action, or dismiss it with a reason.";
    ACTION_VERIFIED = "action.verified" INFO, "A reading that started after the deed shows the member as wanted.",
        ["action.id, sync.id"], "Nothing.";
    ACTION_NOT_NEEDED = "action.not_needed" INFO, "A complete reading shows the wanted state although nobody said done.",
        ["action.id, sync.id"], "Nothing.";
    ACTION_ATTESTED = "action.attested" INFO, "The app cannot be read; the person's word closes the action.",
        ["action.id, sync.id"], "Nothing.";
    ACTION_CONTRADICTED = "action.contradicted" WARN, "A reading after \"done\" shows another state; the action is open again with what was seen.",
        ["action.id, sync.id, seen, reopened_count"], "Make the change in the app, then mark the action done again.";
    ACTION_NOT_YET = "action.not_yet" INFO, "The wanted state is not visible yet; the app is read again later.",
        ["action.id, sync.id, verdict, seen, wait_s"], "Nothing.";
    SYNC_STARTED = "sync.started" INFO, "The backend was asked to read the app.",
        ["sync.id, integration.id, procedure"], "Nothing.";
    SYNC_HELD = "sync.held" WARN, "A report is not applied without a person's decision.",
        ["sync.id, integration.id, reason"], "Read it with `syncs show ID`, then decide with `syncs approve ID --reason …` or `syncs reject ID --reason …`.";
    SYNC_STEP_FAILED = "sync.step_failed" INFO, "A step of a sync failed and is tried again.",
        ["sync.id, integration.id, failures, wait_s, error"], "If it goes on, look at the backend and the app.";
    SYNC_FINISHED = "sync.finished" INFO, "A reading was judged and the sync is closed.",
        ["sync.id, integration.id, members, complete"], "Nothing.";
    SYNC_FAILED = "sync.failed" WARN, "A sync ended without a reading.",
        ["sync.id, integration.id, reason"], "Look at the integration: the app could not be read. Done actions stay unproven and are read again later.";
    MEMBER_RETURNED = "member.returned" WARN, "Somebody whose removal was proven is in the app again; a manual action is open.",
        ["task.id, action.id, workspace.id, integration.id"], "Find out who let them in. Remove them again, or dismiss the action with a note if they are wanted.";
    INVITATION_EXPIRED = "invitation.expired" WARN, "A proven invitation was not accepted in time; a manual action asks for another one.",
        ["task.id, action.id, workspace.id, integration.id"], "Work the action: invite again.";
    INVITATION_VANISHED = "invitation.vanished" WARN, "A proven invitation is gone, and its member is not there.",
        ["task.id, workspace.id, integration.id"], "Ask whether the invitation was revoked on purpose; if not, invite again.";
    INVITATION_ACCEPTED = "invitation.accepted" INFO, "Somebody who was invited is a member now.",
        ["task.id, integration.id"], "Nothing.";
    INTEGRATION_DOUBTFUL = "integration.doubtful" WARN, "Readings of an app failed or were incomplete several times in a row: nothing is proven there. Logged once until it is read completely again.",
        ["workspace.id, integration.id, readings"], "Look at the last syncs: `cerby-reconciler syncs list`. Does the app's page of members work? Does the automation see all of them?";
    INTEGRATION_READABLE = "integration.readable" INFO, "An app was read completely again.",
        ["workspace.id, integration.id"], "Nothing.";
    LEASE_LOST = "lease.lost" INFO, "A worker answered after its lease had ended; its result changed nothing.",
        ["task.id, sync.id"], "If it repeats, raise worker.lease_s or look for a stalled machine.";
    WORKER_PANICKED = "worker.panicked" ERROR, "The work on a row panicked; nothing was recorded, and the row is claimed again when its lease ends.",
        [""], "Report it with the panic's words from stderr. A row that does this again and again goes to a person.";
    OUTCOME_NOT_RECORDED = "outcome.not_recorded" INFO, "The database did not take an outcome; the row's lease ends by itself and the next claim looks again.",
        ["subject, id, error"], "Nothing, unless the database stays unreachable.";
    BATCH_NOT_RECORDED = "batch.not_recorded" INFO, "The database did not take the outcomes of several tasks together; they are recorded one by one.",
        ["tasks, error"], "Nothing, unless it repeats: then report it with its error.";
    PROBES_BROKEN = "probes.broken" ERROR, "The listener of the probes broke; the daemon works on without it.",
        ["error"], "Restart the daemon; look at what else uses its address.";
    UPKEEP_HEALED = "upkeep.healed" INFO, "Members whose waiting task had no turn, or done actions without a sync, were set going again.",
        ["members, actions"], "Report it: this repairs what should not happen.";
    UPKEEP_DELETED = "upkeep.deleted" INFO, "Rows past their retention were deleted.",
        ["tasks, events"], "Nothing.";
}

/// Writes one line of the closed set: `emit!(TASK_SUCCEEDED, task.id = 7, "message")`.
#[macro_export]
macro_rules! emit {
    ($event:ident, $($rest:tt)+) => {
        ::tracing::event!(
            target: "cerby_reconciler",
            $crate::telemetry::events::$event.level,
            event = $crate::telemetry::events::$event.name,
            $($rest)+
        )
    };
}

/// The set as a Markdown table, which is `docs/events.md`.
pub fn as_markdown() -> String {
    let mut page = String::from(
        "# Log events\n\nGenerated from `src/telemetry/events.rs`; do not edit by hand.\n\n\
         One JSON object per line on stdout; `event` has one of these names and `message` says it in words.\n\
         `ERROR`: someone must act on this service. `WARN`: someone must act on an app or a member.\n\n\
         | event | level | meaning | fields | what to do |\n|---|---|---|---|---|\n",
    );
    for event in ALL {
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            event.name, event.level, event.meaning, event.fields, event.action
        ));
    }
    page
}
