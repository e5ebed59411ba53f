//! The metrics of the service, in the format OpenMetrics.
//!
//! What a process does is counted here, where it happens, and needs no database. What the tables hold is read by the
//! daemon now and then ([`DatabaseState`]). `docs/metrics.md` is generated from this list and a test keeps it current.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use crate::membership::Operation;

mod families;
mod labels;
mod list;
mod page;

pub use labels::{
    AttemptClass, BackendCall, Connections, IntegrationStatus, Leased, LoopName, RequestOutcome,
    Statement, TaskEnd, TaskPosition, TextSource, UnfinishedSync, VerdictGiven, WebhookAnswer,
    WebhookEnd,
};
use list::Metrics;
pub use page::{CONTENT_TYPE, as_markdown, encode};

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// An attempt ended, and its end is recorded.
pub fn attempt_ended(operation: Operation, class: AttemptClass) {
    let labels = [("operation", operation.as_str()), ("class", class.as_str())];
    METRICS.attempts.get_or_create(&labels).inc();
}

pub fn task_ended(end: TaskEnd) {
    METRICS.tasks_ended.get_or_create(&[("state", end.as_str())]).inc();
}

pub fn verdict_given(verdict: VerdictGiven) {
    METRICS.verdicts.get_or_create(&[("verdict", verdict.as_str())]).inc();
}

pub fn lease_lost(row: Leased) {
    METRICS.leases_lost.get_or_create(&[("row", row.as_str())]).inc();
}

pub fn write_was_stale(row: Leased) {
    METRICS.stale_writes.get_or_create(&[("row", row.as_str())]).inc();
}

pub(super) fn log_line_lost() {
    METRICS.log_lines_lost.inc();
}

pub(super) fn spans_lost(spans: u64) {
    METRICS.spans_lost.inc_by(spans);
}

pub(super) fn traceparent_ignored() {
    METRICS.traceparents_ignored.inc();
}

pub fn request_ended(call: BackendCall, outcome: RequestOutcome, took: Duration) {
    let labels = [("call", call.as_str()), ("outcome", outcome.as_str())];
    METRICS.requests.get_or_create(&labels).inc();
    let seconds = METRICS.request_seconds.get_or_create(&[("call", call.as_str())]);
    seconds.observe(took.as_secs_f64());
}

/// A statement of this name was answered, or failed.
pub fn statement_ended(name: &str, took: Duration) {
    let labels = [("statement", Statement::named(name).as_str())];
    METRICS.statement_seconds.get_or_create(&labels).observe(took.as_secs_f64());
}

pub fn picked_up_after(waited: Duration) {
    METRICS.pickup.observe(waited.as_secs_f64());
}

/// Automation has proven a removal, or it is with a person.
pub fn removal_handled_after(took: Duration) {
    METRICS.removal_handled.observe(took.as_secs_f64());
}

pub fn removal_proven_after(took: Duration) {
    METRICS.removal_proven.observe(took.as_secs_f64());
}

/// A snapshot confirmed or contradicted a done action.
pub fn judged_after(took: Duration) {
    METRICS.verdict.observe(took.as_secs_f64());
}

pub fn webhook_answered(answer: WebhookAnswer) {
    METRICS.webhooks.get_or_create(&[("answer", answer.as_str())]).inc();
}

pub fn webhook_ended(end: WebhookEnd) {
    METRICS.webhooks_ended.get_or_create(&[("outcome", end.as_str())]).inc();
}

/// Somebody reported that an app looks different from instructions.
pub fn screen_changed(source: TextSource) {
    METRICS.screens_changed.get_or_create(&[("source", source.as_str())]).inc();
}

/// What the daemon knows of itself at the moment.
#[derive(Debug, Default)]
pub struct ProcessState {
    /// The loops that have started, and the time since each made progress.
    pub loops: Vec<(LoopName, Duration)>,
    pub connections_in_use: u32,
    pub connections_idle: u32,
    pub max_connections: u32,
    /// How old the gauges of the database are; `None` before the first reading.
    pub gauges_age: Option<Duration>,
}

impl ProcessState {
    pub fn publish(&self) {
        for (name, age) in &self.loops {
            let labels = [("loop", name.as_str())];
            METRICS.loop_age.get_or_create(&labels).set(age.as_secs_f64());
        }
        METRICS.connections.set(&HashMap::from([
            (Connections::InUse.to_string(), i64::from(self.connections_in_use)),
            (Connections::Idle.to_string(), i64::from(self.connections_idle)),
        ]));
        METRICS.max_connections.set(i64::from(self.max_connections));
        METRICS.gauges_age.set(self.gauges_age.unwrap_or_default().as_secs_f64());
    }
}

pub fn set_ready(is_ready: bool) {
    METRICS.ready.set(i64::from(is_ready));
}

/// What the tables hold, for all replicas together.
#[derive(Debug, Default)]
pub struct DatabaseState {
    /// By [`TaskPosition`].
    pub tasks: HashMap<String, i64>,
    pub oldest_due_s: f64,
    pub oldest_unordered_s: f64,
    /// By [`ActionOperation`](crate::membership::ActionOperation).
    pub actions: HashMap<String, i64>,
    pub overdue_actions: HashMap<String, i64>,
    /// By [`UnfinishedSync`].
    pub syncs: HashMap<String, i64>,
    /// By [`IntegrationStatus`].
    pub integrations: HashMap<String, i64>,
    pub oldest_transaction_s: f64,
}

impl DatabaseState {
    pub fn publish(&self) {
        METRICS.tasks.set(&self.tasks);
        METRICS.oldest_due.set(self.oldest_due_s);
        METRICS.oldest_unordered.set(self.oldest_unordered_s);
        METRICS.actions.set(&self.actions);
        METRICS.overdue_actions.set(&self.overdue_actions);
        METRICS.syncs.set(&self.syncs);
        METRICS.integrations.set(&self.integrations);
        METRICS.oldest_transaction.set(self.oldest_transaction_s);
    }
}
