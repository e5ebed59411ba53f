//! The closed set of log events: name, level, meaning, fields, and what to do.
//!
//! `ERROR` means that someone must act on this service, `WARN` that someone must act on an app, a member or the setup.
//! `docs/events.md` and `docs/events.schema.json` are generated from this list and tests keep them current. Fields contain ids, codes, counts and
//! durations; never names, emails, bodies or secrets.

use serde_json::{Map, Value, json};
use tracing::Level;

/// One kind of log line.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The value of the field `event`.
    pub name: &'static str,
    pub level: Level,
    pub meaning: &'static str,
    /// The fields in addition to `event` and the message.
    pub fields: &'static str,
    pub action: &'static str,
}

impl Event {
    /// The names of the fields in addition to `event` and the message.
    pub fn field_names(&self) -> impl Iterator<Item = &'static str> {
        let names = self.fields.split(',').map(|field| field.trim().trim_matches('`'));
        names.filter(|name| !name.is_empty())
    }
}

macro_rules! events {
    ($($constant:ident = $name:literal $level:ident, $meaning:literal, [$fields:literal], $action:literal;)*) => {
        $(#[doc = $meaning]
        pub const $constant: Event = Event {
            name: $name, level: Level::$level, meaning: $meaning, fields: $fields, action: $action,
        };)*
        /// All events, in the order of the flow.
        pub const ALL: &[Event] = &[$($constant),*];
    };
}

events! {
    SERVICE_STARTED = "service.started" INFO, "The daemon is up: the database and its schema are usable, and the loops run.",
        ["version, http.listen, start_ms"], "Nothing.";
    OPERATORS_LISTENING = "operators.listening" INFO, "The listener for operators is up. Every request of the API needs a token, and every page of the console somebody who is signed in. Without `operators.public_url` it listens on a loopback address only.",
        ["operators.listen, public_url"], "Nothing. `cerby-reconciler tokens list` shows which tokens may use it; `operators.oidc` says who else may sign in.";
    OPERATORS_REQUEST_FAILED = "operators.request_failed" ERROR, "A request of the API was answered with 503: the database failed or did not answer.",
        ["error"], "Read the error. Check PostgreSQL and the network to it, and with `cerby-reconciler check` whether the schema is right.";
    ISSUER_UNAVAILABLE = "issuer.unavailable" WARN, "The issuer of OpenID Connect does not answer, or what it says of itself cannot be used. Nobody can sign in by it; sessions and tokens go on. It is asked again whenever somebody signs in. Logged once until it answers.",
        ["cause"], "Read the cause. Check `operators.oidc.issuer` and the network to it.";
    ISSUER_RECOVERED = "issuer.recovered" INFO, "The issuer of OpenID Connect answers again.",
        [""], "Nothing.";
    SIGN_IN_REFUSED = "sign_in.refused" WARN, "Somebody came back from the issuer of OpenID Connect and was not signed in. `cause` has no token, no code and no name.",
        ["cause"], "A code that is refused, an audience or a key: check `operators.oidc` and the registration of the client at the issuer. No role or workspace: give the person one at the issuer, or name its value in `operators.oidc`. Answers that belong to no sign-in, again and again: somebody may try to get in.";
    SERVICE_STOPPING = "service.stopping" INFO, "The daemon stops after a signal; work in flight has `grace_s` to end.",
        ["signal, grace_s"], "Nothing.";
    SERVICE_STOPPED = "service.stopped" INFO, "All work in flight ended and was recorded.",
        ["took_ms"], "Nothing.";
    SERVICE_FAILED = "service.failed" ERROR, "The daemon failed to start, a loop ended by itself, or the stop took too long.",
        ["error"], "Read the error; `cerby-reconciler check` shows which part is wrong. Other replicas take over rows in flight when their leases end.";
    SERVICE_STALLED = "service.stalled" ERROR, "A loop of the daemon has ended no round for `http.stalled_s`, although the database answers a fresh connection. `/livez` is 503. Logged once.",
        ["loop, since_s"], "Restart the replica, unless the orchestrator does; keep its log. Other replicas take over its work when the leases end.";
    LOG_LOST = "log.lost" ERROR, "Log lines could not be written, because the reader of stdout has gone or is too slow. The daemon works on.",
        ["lines"], "Check the process that reads the log.";
    LOG_REPEATED = "log.repeated" WARN, "Lines of the event `repeated` were left out, because they have the same texts as others before; their numbers and ids differ. Of a WARN or ERROR, five lines of a cause are written as they come, and after each minute how many more there were.",
        ["repeated, lines, workspace.id, integration.id"], "See what to do about the event `repeated`. The lists have each row: `cerby-reconciler actions list`, `tasks list`, `syncs list`.";
    TRACES_LOST = "traces.lost" INFO, "Spans could not be sent to the collector, or did not fit into their queue. The daemon works on, and nothing else is lost. At most one line a minute, with the last cause, and one at the stop.",
        ["spans, cause"], "Check the collector and `traces.otlp_endpoint`.";
    TRACEPARENT_IGNORED = "traceparent.ignored" INFO, "Rows have a `traceparent` that is no W3C trace context. It is ignored, and the rows are worked on like all others. Logged only if traces are on, at most one line a minute; `task.id` is one of `rows`.",
        ["rows, task.id"], "Ask the operators of the backend to correct what it inserts.";
    DATABASE_NOT_READY = "database.not_ready" ERROR, "The daemon starts and cannot use the database yet. It is live and not ready, and retries. Repeated every 30 s with the current cause.",
        ["error, waited_s"], "Check PostgreSQL, `database.url` and the network. Nothing is lost meanwhile.";
    DATABASE_UNREACHABLE = "database.unreachable" ERROR, "A database query failed; the loop retries after a pause. Logged once until it works again.",
        ["loop, error"], "Check PostgreSQL and the network to it. No task is lost meanwhile.";
    DATABASE_RECOVERED = "database.recovered" INFO, "Database queries work again.",
        ["loop"], "Nothing.";
    DATABASE_UNVERIFIED = "database.unverified" WARN, "The connection to the database does not prove which server answers, or is not encrypted, and the server is on another machine. Logged at the start.",
        ["host, sslmode"], "Add `sslmode=verify-full` to `database.url`, and `sslrootcert` if the authority is your own.";
    DATABASE_POOLED = "database.pooled" INFO, "The settings of a session did not take hold, so a pooler in transaction mode is in front of the database. Each transaction makes the settings, and the daemon does not listen: polling finds work. Logged at the start.",
        [""], "Nothing. Connect to PostgreSQL itself for shorter waits and fewer round trips.";
    SECRET_CHANGED = "secret.changed" INFO, "The file of a secret has another secret than before. It is used from now on.",
        ["key"], "Nothing.";
    SECRET_UNUSABLE = "secret.unusable" ERROR, "The file of a secret was read again and cannot be used. The secret that was read before stays in use. Logged once until the file can be used.",
        ["key, error"], "Read the error, and put the secret back on one line of the file.";
    SECRET_WORLD_READABLE = "secret.world_readable" WARN, "Every account of the machine may read the file of a secret. Logged at the start.",
        ["key, path"], "Take the right to read it from others: `chmod o-r`, or `defaultMode: 0440` in Kubernetes.";
    DATABASE_STATEMENT_REJECTED = "database.statement_rejected" ERROR, "The database refuses a statement for a reason that is not in the rows: an object or a privilege is missing, or there is no room. `/readyz` is 503 until the statement works again. Logged once until then.",
        ["statement, error"], "Read the error. `cerby-reconciler check` shows whether the schema is right. Check the privileges of reconciler_daemon and the free space on the server's disk.";
    DATABASE_STATEMENT_ACCEPTED = "database.statement_accepted" INFO, "A statement that the database refused works again.",
        ["statement"], "Nothing.";
    WAKEUP_UNAVAILABLE = "wakeup.unavailable" INFO, "The LISTEN connection broke, or does not receive the daemon's own notifications. Polling finds work until it is back.",
        ["error"], "Nothing, unless it repeats: then check the connections to the database.";
    WAKEUP_RECOVERED = "wakeup.recovered" INFO, "LISTEN works again.",
        [""], "Nothing.";
    BACKEND_KEY_REJECTED = "backend.key_rejected" ERROR, "The backend answered 401 or 403: the API key is wrong, expired or lacks a scope. Tasks are on hold and use no attempt. Logged once per integration until the backend answers about it again.",
        ["workspace.id, integration.id, status, host"], "Renew the key in the file of `backend.api_key_file`, which is read again after a refusal, or where it is in the environment, and restart; or give its user the owner role of the integration.";
    BACKEND_UNAVAILABLE = "backend.unavailable" ERROR, "An outage of the backend: consecutive requests got no usable answer (none at all, a status of 5xx, a page that is not the backend's, or a rejected key). It affects the app in `integration.id`, or the whole workspace if that is empty. Tasks and syncs are on hold and use no attempt; one of them probes at intervals. Logged by one replica, when the outage begins and every `backend.remind_s` while it goes on.",
        ["workspace.id, integration.id, unanswered, status, host, cause, outage_s"], "Read status, host and cause. A login page or a 404: check `backend.base_url` and `backend.paths`. 401 or 403: check the key. Otherwise check the backend and the network to it. Nothing is lost meanwhile.";
    BACKEND_RECOVERED = "backend.recovered" INFO, "The outage is over: the backend gives usable answers for the workspace or the app again. Tasks on hold go on gradually.",
        ["workspace.id, integration.id, outage_s"], "Nothing.";
    INTEGRATION_TRIPPED = "integration.tripped" WARN, "The automation of an app failed several times in a row, or its probe failed. The integration is tripped: its tasks are on hold for `wait_s`, then one task is tried.",
        ["workspace.id, integration.id, wait_s, consecutive_trips"], "Check whether the app works for people. Check the failed jobs in Cerby's automation log.";
    INTEGRATION_RATE_LIMITED = "integration.rate_limited" INFO, "The backend limits the rate of requests. The tasks of the integration are on hold for `wait_s`.",
        ["workspace.id, integration.id, wait_s"], "If it repeats, set `starts_per_minute` of the integration.";
    INTEGRATION_RECOVERED = "integration.recovered" INFO, "The probe worked. The integration is active again, and its ramp raises the limit of tasks in flight.",
        ["workspace.id, integration.id"], "Nothing.";
    INTEGRATION_STILL_UNAVAILABLE = "integration.still_unavailable" WARN, "An integration has not been active for long; repeated every `breaker.remind_s`.",
        ["workspace.id, integration.id, status, cause, unavailable_s, tasks"], "Paused: resume it, `cerby-reconciler integrations resume ID`. Login rejected: work its action of operation reconnect. Tripped because of `failures`: check the app. Tripped because of `rate_limit`: ask the backend's operators why the limit does not end.";
    INTEGRATION_LOGIN_REJECTED = "integration.login_rejected" WARN, "The app rejects the stored login. The tasks of the integration are on hold, and one manual action asks to fix the login.",
        ["workspace.id, integration.id, action.id, failure.code"], "Work the action: `cerby-reconciler actions show ID`.";
    RETURN_RELEASED = "return.released" INFO, "The canary of a return to automation worked: the other actions follow.",
        ["return.id, integration.id, actions"], "Nothing.";
    RETURN_STOPPED = "return.stopped" WARN, "The canary of a return to automation was escalated again: the other actions stay with people.",
        ["return.id, integration.id, actions"], "Find out why the canary failed, and return the other actions again after the next fix.";
    TASK_POSTPONED = "task.postponed" INFO, "The task is postponed; this does not count as an attempt. The backend gave no usable answer, limits the rate, or an attempt of unknown outcome may still take effect.",
        ["task.id, integration.id, wait_s, reason"], "If many tasks are postponed for the same reason, check the backend.";
    TASK_ORDERED = "task.ordered" DEBUG, "Intake has placed a new row among the requests of its member.",
        ["task.id"], "Nothing.";
    TASK_SUPERSEDED = "task.superseded" INFO, "A newer request replaced this task; it is closed.",
        ["task.id, superseded_by"], "Nothing.";
    TASK_ATTEMPT_STARTED = "task.attempt_started" INFO, "The backend accepted the operation and runs a job for it.",
        ["task.id, integration.id, operation, attempt, job.id"], "Nothing.";
    TASK_RETRY_SCHEDULED = "task.retry_scheduled" INFO, "An attempt failed; another follows.",
        ["task.id, integration.id, attempt, failure.code, wait_s"], "Nothing.";
    TASK_JOB_RESTARTED = "task.job_restarted" INFO, "The task's failed job runs again at the backend, by its own retry or by hand. The daemon polls it instead of starting another job. It does not count as an attempt.",
        ["task.id, integration.id, job.id"], "Nothing.";
    TASK_SUCCEEDED = "task.succeeded" INFO, "The backend shows the member in the desired state.",
        ["task.id, integration.id, operation, attempts, reason"], "Nothing.";
    TASK_ESCALATED = "task.escalated" WARN, "Automation ended for this task; a manual action is open.",
        ["task.id, action.id, workspace.id, integration.id, operation, reason, failure.code, attempts"], "Work the action: `cerby-reconciler actions show ID`.";
    ACTION_SUPERSEDED = "action.superseded" WARN, "A newer request replaced this manual action. Stop working on it.",
        ["action.id, superseded_by"], "Stop: do not make this change in the app any more.";
    TASK_CANCELLED = "task.cancelled" INFO, "A person cancelled the task.",
        ["task.id, integration.id"], "Nothing.";
    ACTIONS_OVERDUE = "actions.overdue" WARN, "Manual actions of an integration are past their deadlines. `actions` counts those of one operation since the last such line; each of them is also logged as `action.overdue`.",
        ["workspace.id, integration.id, operation, actions"], "Work the actions, or dismiss them with a reason: `cerby-reconciler actions list`.";
    ACTION_OVERDUE = "action.overdue" INFO, "A manual action is past its deadline. Logged once per action.",
        ["action.id, workspace.id, integration.id, operation"], "See `actions.overdue`.";
    ACTION_VERIFIED = "action.verified" INFO, "A snapshot that started after the change shows the member in the desired state.",
        ["action.id, sync.id"], "Nothing.";
    ACTION_NOT_NEEDED = "action.not_needed" INFO, "A complete snapshot shows the desired state although nobody marked the action done.",
        ["action.id, sync.id"], "Nothing.";
    ACTION_ATTESTED = "action.attested" INFO, "The app cannot be read; the person's statement closes the action.",
        ["action.id, sync.id"], "Nothing.";
    ACTION_CONTRADICTED = "action.contradicted" WARN, "A snapshot after \"done\" shows another state; the action is open again with what was observed.",
        ["action.id, sync.id, observed, reopened_count"], "Make the change in the app, then mark the action done again.";
    ACTION_NOT_YET = "action.not_yet" INFO, "The desired state is not visible yet; the app is read again later.",
        ["action.id, sync.id, verdict, observed, wait_s"], "Nothing.";
    ACTION_SCREEN_CHANGED = "action.screen_changed" WARN, "A person reported that an app looks different from the instructions of an action. `instructions` is the file of the folder, or the text that the program has, and `hash` its version.",
        ["action.id, workspace.id, integration.id, instructions, hash"], "Read what has changed: `cerby-reconciler instructions list`. Mend the file in `instructions.folder`, or write one for the app, and restart. The mended text has another hash and is counted anew.";
    SYNC_STARTED = "sync.started" INFO, "The backend was asked to read the app.",
        ["sync.id, integration.id, procedure"], "Nothing.";
    SYNC_HELD = "sync.held" WARN, "A report is not applied without a person's decision.",
        ["sync.id, integration.id, reason"], "Read it with `syncs show ID`, then decide with `syncs approve ID --reason …` or `syncs reject ID --reason …`.";
    SYNC_STEP_FAILED = "sync.step_failed" INFO, "A step of a sync failed and is tried again.",
        ["sync.id, integration.id, failures, wait_s, error"], "If it repeats, check the backend and the app.";
    SYNC_FINISHED = "sync.finished" INFO, "A snapshot was judged and the sync is closed.",
        ["sync.id, integration.id, members, complete"], "Nothing.";
    SYNC_FAILED = "sync.failed" WARN, "A sync ended without a snapshot.",
        ["sync.id, integration.id, reason"], "The app could not be read: check the integration. Done actions stay unproven, and the app is read again later.";
    MEMBER_RETURNED = "member.returned" WARN, "A member whose removal was verified is in the app again; a manual action is open.",
        ["task.id, action.id, workspace.id, integration.id"], "Find out who added the member again. Remove the member again, or dismiss the action with a note if the member should have access.";
    INVITATION_EXPIRED = "invitation.expired" WARN, "A verified invitation was not accepted in time; a manual action asks for another one.",
        ["task.id, action.id, workspace.id, integration.id"], "Work the action: invite again.";
    INVITATION_VANISHED = "invitation.vanished" WARN, "A verified invitation is gone, and its member is not in the app.",
        ["task.id, workspace.id, integration.id"], "Ask whether the invitation was revoked on purpose; if not, invite again.";
    INVITATION_ACCEPTED = "invitation.accepted" INFO, "An invited person is a member now.",
        ["task.id, integration.id"], "Nothing.";
    INTEGRATION_UNVERIFIABLE = "integration.unverifiable" WARN, "Snapshots of an app failed or were incomplete several times in a row, or its sync has waited for the backend for longer than `sync.retry_max_s`. Nothing can be proven meanwhile. Failures are logged once until the app is read completely again; a wait is logged at each further try, with `cause` and `waited_s`.",
        ["workspace.id, integration.id, snapshots, waited_s, cause"], "A rate limit: ask the backend's operators why it does not end. Otherwise check the latest syncs: `cerby-reconciler syncs list`. Check that the app's page of members works and that the automation sees all members.";
    INTEGRATION_VERIFIABLE = "integration.verifiable" INFO, "An app was read completely again.",
        ["workspace.id, integration.id"], "Nothing.";
    TASK_QUARANTINED = "task.quarantined" WARN, "A row of automation_tasks cannot be processed: it has a value that cannot be read or that the database refuses. It is tried again after `wait_s`; all others go on.",
        ["task.id, error, wait_s"], "Read the error and the row: `select * from reconciler.automation_tasks where id = …`. Correct the row, or ask the operators of the backend to insert another one.";
    INTEGRATION_APPLICATION_UNKNOWN = "integration.application_unknown" WARN, "Rows name an application that the catalogue of this program does not have. They are worked on as those of an app that automation can read and change. Logged when the integration is seen for the first time.",
        ["workspace.id, integration.id, application"], "If the application is new: update this program. If its name is wrong: correct it in the backend, and with `cerby-reconciler integrations set ID --application …`.";
    TASK_HELD = "task.held" WARN, "Rows of automation_tasks have another kind or application than their integration, which stays as it was first seen. They are neither ordered nor tried, and are checked again every few minutes. `task.id` is the first of `tasks`; `task_places` shows all.",
        ["task.id, workspace.id, integration.id, differs, tasks"], "If the row is wrong: `cerby-reconciler tasks cancel ID`. If the integration is wrong: `cerby-reconciler integrations set ID --kind … --application …`.";
    WEBHOOK_REFUSED = "webhook.refused" WARN, "A request to `/v1/intake/cerby` was refused: `unsigned`, `unknown_key`, `wrong_signature`, `wrong_time` (signed more than five minutes from now) or `unreadable` (signed, and no event). Cerby does not send again what was refused so, except with `unknown_key`.",
        ["cause"], "If it comes from Cerby: put the present keys of the webhook into the file of `intake.webhook_keys_file`; for `wrong_time`, set the clock of the database server. Then let Cerby send its failed deliveries again. Otherwise somebody else found the address: nothing.";
    WEBHOOK_RESOLVED = "webhook.resolved" INFO, "The job of a webhook was read. `tasks` of its members got a row; none, if the job changes no members or each has its row already.",
        ["workspace.id, webhook.id, job.id, tasks"], "Nothing.";
    WEBHOOK_UNRESOLVED = "webhook.unresolved" WARN, "The job of a webhook could not be made into tasks. The event is kept and tried again, at most an hour apart. Logged once for each event.",
        ["workspace.id, webhook.id, job.id, error"], "Read the error and `select * from reconciler.unresolved_webhook_events`. If the job is unknown: check that its key has the right workspace in `intake.webhook_keys`. If the job names no members: the backend has to send `payload.userIds`, or to insert the rows itself.";
    WEBHOOK_GIVEN_UP = "webhook.given_up" WARN, "The job of a webhook could not be made into tasks for `retention.finished_tasks_days`. It is not tried any more, and deleted after the same time again.",
        ["workspace.id, webhook.id, job.id, error"], "Find out in Cerby whom the job was about, and whether they are as they should be.";
    NUDGE_QUARANTINED = "nudge.quarantined" WARN, "A nudge cannot be processed: the database refuses the changes that follow from what a person did. It is tried again after `wait_s`; all others go on.",
        ["nudge.id, error, wait_s"], "Read the error and the row: `select * from reconciler.nudges where id = …` as the owner of the schema.";
    SYNC_QUARANTINED = "sync.quarantined" WARN, "A row of syncs cannot be processed: it has a value that cannot be read. It is tried again after `wait_s`; all others go on.",
        ["sync.id, error, wait_s"], "Read the error and the row: `cerby-reconciler syncs show ID`.";
    LEASE_LOST = "lease.lost" INFO, "A worker finished after its lease had ended; its result changed nothing.",
        ["task.id, sync.id"], "If it repeats, raise `worker.lease_s` or check for a stalled machine.";
    WORKER_PANICKED = "worker.panicked" ERROR, "The worker panicked on a row. Nothing was recorded, and the row is claimed again when its lease ends.",
        [""], "Report it with the panic message from stderr. A task with repeated panics is escalated.";
    OUTCOME_NOT_RECORDED = "outcome.not_recorded" INFO, "The commit of an outcome failed. The row's lease ends by itself, and the next claim reads the member or the sync again.",
        ["subject, id, error"], "Nothing, unless the database stays unreachable.";
    BATCH_NOT_RECORDED = "batch.not_recorded" INFO, "The commit of several outcomes together failed; they are recorded one by one.",
        ["tasks, error"], "Nothing, unless it repeats: then report it with its error.";
    UPKEEP_HEALED = "upkeep.healed" INFO, "Members whose blocked request waited for nothing, or integrations with done actions and no sync, were set going again.",
        ["members, syncs"], "Report it: this repairs a state that should not occur.";
    UPKEEP_STEP_FAILED = "upkeep.step_failed" WARN, "The database refused a step of upkeep; the other steps go on, and the step is tried again in the next round.",
        ["step, error"], "Report it with its error.";
    UPKEEP_DELETED = "upkeep.deleted" INFO, "Rows past their retention were deleted.",
        ["tasks, actions, events"], "Nothing.";
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

/// The set as a Markdown table, which is the content of `docs/events.md`.
pub fn as_markdown() -> String {
    let mut page = String::from(
        "# Log events\n\nGenerated from `src/telemetry/events.rs`; do not edit by hand.\n\n\
         One JSON object per line on stdout; `event` has one of these names and `message` says it in words.\n\
         `ERROR`: someone must act on this service. `WARN`: someone must act on an app, a member or the setup.\n\n\
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

/// The set as a JSON Schema of one line, which is the content of `docs/events.schema.json`.
pub fn as_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A log line of cerby-reconciler",
        "oneOf": ALL.iter().map(line).collect::<Vec<_>>(),
    })
}

/// A line of one event. A field that has no value in a line is left out of it.
fn line(event: &Event) -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let mut properties: Map<_, _> =
        event.field_names().map(|name| (name.to_owned(), scalar.clone())).collect();
    let always = json!({
        "timestamp": { "type": "string", "format": "date-time" },
        "level": { "const": event.level.as_str() },
        "event": { "const": event.name },
        "message": { "type": "string" },
        "target": { "type": "string" },
        "spans": { "description": "The rows that the line is about.", "type": "array" },
    });
    properties.extend(always.as_object().cloned().unwrap_or_default());
    json!({
        "title": event.name,
        "description": event.meaning,
        "type": "object",
        "properties": properties,
        "required": ["timestamp", "level", "event", "message"],
        "additionalProperties": false,
    })
}
