//! The list of metrics, with their meaning.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::families::{
    Counters, Gauges, Histograms, Seconds, counter, counters, gauge, gauges, histograms, seconds,
};
use super::labels::{
    AttemptClass, BackendCall, Connections, IntegrationStatus, Leased, LoopName, RequestOutcome,
    Statement, TaskEnd, TaskPosition, TextSource, UnfinishedSync, VerdictGiven, WebhookAnswer,
    WebhookEnd,
};
use crate::membership::{ActionOperation, Operation};

const PREFIX: &str = "reconciler";

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

/// The bounds that objectives name are among them: 5 s, and 4 h.
const PICKUP: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, MINUTE, 600.0];
const REMOVAL: &[f64] = &[
    10.0,
    MINUTE,
    300.0,
    900.0,
    HOUR,
    2.0 * HOUR,
    4.0 * HOUR,
    8.0 * HOUR,
    DAY,
    3.0 * DAY,
    7.0 * DAY,
];
const VERDICT: &[f64] = &[5.0, 30.0, MINUTE, 300.0, 900.0, HOUR, 6.0 * HOUR, DAY, 3.0 * DAY];
const REQUEST: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0];
const STATEMENT: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

pub(super) struct Metrics {
    /// Of this process.
    pub(super) process: Registry,
    /// Of all replicas together, as the database has it.
    pub(super) database: Registry,

    pub(super) attempts: Counters<2>,
    pub(super) tasks_ended: Counters<1>,
    pub(super) verdicts: Counters<1>,
    pub(super) leases_lost: Counters<1>,
    pub(super) stale_writes: Counters<1>,
    pub(super) log_lines_lost: Counter,
    pub(super) spans_lost: Counter,
    pub(super) traceparents_ignored: Counter,
    pub(super) requests: Counters<2>,
    pub(super) request_seconds: Histograms<1>,
    pub(super) statement_seconds: Histograms<1>,
    pub(super) pickup: Histogram,
    pub(super) removal_handled: Histogram,
    pub(super) removal_proven: Histogram,
    pub(super) verdict: Histogram,
    pub(super) webhooks: Counters<1>,
    pub(super) webhooks_ended: Counters<1>,
    pub(super) screens_changed: Counters<1>,

    pub(super) ready: Gauge,
    pub(super) loop_age: Family<[(&'static str, &'static str); 1], Seconds>,
    pub(super) connections: Gauges,
    pub(super) max_connections: Gauge,
    pub(super) gauges_age: Seconds,

    pub(super) tasks: Gauges,
    pub(super) oldest_due: Seconds,
    pub(super) oldest_unordered: Seconds,
    pub(super) actions: Gauges,
    pub(super) overdue_actions: Gauges,
    pub(super) syncs: Gauges,
    pub(super) integrations: Gauges,
    pub(super) oldest_transaction: Seconds,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut process = Registry::with_prefix(PREFIX);
        let mut database = Registry::with_prefix(PREFIX);
        let (to, of_all) = (&mut process, &mut database);
        let histogram = |to: &mut Registry, name: &str, help: &str, buckets: &'static [f64]| {
            let histogram = Histogram::new(buckets.iter().copied());
            to.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        to.register("build", "The version of the program", {
            Info::new([("version", env!("CARGO_PKG_VERSION"))])
        });
        let loop_age = Family::default();
        to.register_with_unit(
            "loop_progress_age",
            "Time since a loop of the daemon last ended a round or went on. 0 before it has started",
            Unit::Seconds,
            loop_age.clone(),
        );
        for name in LoopName::WORDS {
            drop(loop_age.get_or_create(&[("loop", *name)]));
        }
        Self {
            attempts: counters(
                to,
                "attempts",
                "Attempts of automation that ended, each once",
                [("operation", Operation::WORDS), ("class", AttemptClass::WORDS)],
            ),
            tasks_ended: counters(
                to,
                "tasks_ended",
                "Automation tasks that ended",
                [("state", TaskEnd::WORDS)],
            ),
            verdicts: counters(
                to,
                "verdicts",
                "Verdicts on manual actions, including repeated ones on the same action",
                [("verdict", VerdictGiven::WORDS)],
            ),
            leases_lost: counters(
                to,
                "leases_lost",
                "Claims of rows whose lease had ended without a result: a worker crashed or stalled",
                [("row", Leased::WORDS)],
            ),
            stale_writes: counters(
                to,
                "stale_writes",
                "Results that changed nothing, because the lease had ended and the row was claimed again",
                [("row", Leased::WORDS)],
            ),
            log_lines_lost: counter(
                to,
                "log_lines_lost",
                "Log lines that could not be written, because the reader of stdout had gone or was too slow",
            ),
            spans_lost: counter(
                to,
                "spans_lost",
                "Spans that the collector did not take, or that did not fit into their queue",
            ),
            traceparents_ignored: counter(
                to,
                "traceparents_ignored",
                "Rows whose `traceparent` is no W3C trace context, each once. Counted only if traces are on",
            ),
            requests: counters(
                to,
                "backend_requests",
                "Requests to the backend that ended",
                [("call", BackendCall::WORDS), ("outcome", RequestOutcome::WORDS)],
            ),
            request_seconds: histograms(
                to,
                "backend_request_duration",
                "Time of a request to the backend, from connecting to the last byte or the error",
                [("call", BackendCall::WORDS)],
                REQUEST,
            ),
            statement_seconds: histograms(
                to,
                "statement_duration",
                "Time of a statement of the database, answered or failed. Statements without a series of their own are \
                 `other`",
                [("statement", Statement::WORDS)],
                STATEMENT,
            ),
            pickup: histogram(
                to,
                "pickup",
                "Time from when a task was due and its integration active until a worker claimed it. Tasks of \
                 integrations with a limit are left out",
                PICKUP,
            ),
            removal_handled: histogram(
                to,
                "removal_handled",
                "Time from `requested_at` of a removal until automation has proven it or it is with a person",
                REMOVAL,
            ),
            removal_proven: histogram(
                to,
                "removal_proven",
                "Time from `requested_at` of a removal until it is proven, by automation or by a snapshot",
                REMOVAL,
            ),
            verdict: histogram(
                to,
                "verdict",
                "Time from when a person marked an action done until a snapshot confirmed or contradicted it",
                VERDICT,
            ),
            webhooks: counters(
                to,
                "webhooks",
                "Deliveries to `/v1/intake/cerby` by what they were answered",
                [("answer", WebhookAnswer::WORDS)],
            ),
            webhooks_ended: counters(
                to,
                "webhook_events_ended",
                "Events of webhooks that ended by themselves. Those that people dismiss are in the trail",
                [("outcome", WebhookEnd::WORDS)],
            ),
            screens_changed: counters(
                to,
                "screens_changed",
                "Reports that an app looks different from the instructions of an action, by where the text comes from",
                [("source", TextSource::WORDS)],
            ),
            ready: gauge(
                to,
                "ready",
                "Whether `/readyz` answered 200 when it was last looked at, at most 15 s ago: 1 or 0",
            ),
            loop_age,
            connections: gauges(
                to,
                "pool_connections",
                "Open connections of this process's pool",
                ("state", Connections::WORDS),
            ),
            max_connections: gauge(
                to,
                "pool_max_connections",
                "Connections that the pool may open",
            ),
            gauges_age: seconds(
                to,
                "database_gauges_age",
                "How old the gauges of the database are. They are left out before the first reading and when they are \
                 older than 5 minutes",
            ),
            tasks: gauges(
                of_all,
                "tasks",
                "Unfinished automation tasks by where they stand. At most 10000 unordered and held, 10000 members \
                 with blocked ones, and 10000 scheduled, due and running are counted",
                ("position", TaskPosition::WORDS),
            ),
            oldest_due: seconds(
                of_all,
                "oldest_due_task_age",
                "How long the task has been due that nobody has claimed for longest, among the active integrations; 0 if \
                 there is none",
            ),
            oldest_unordered: seconds(
                of_all,
                "oldest_unordered_task_age",
                "How long ago the oldest task came in that has no place among the requests of its member; 0 if there is \
                 none. Held tasks are left out",
            ),
            actions: gauges(
                of_all,
                "actions",
                "Unfinished manual actions: open, in progress, or done and not proven. At most 10000 are counted",
                ("operation", ActionOperation::WORDS),
            ),
            overdue_actions: gauges(
                of_all,
                "overdue_actions",
                "Unfinished manual actions past their deadline, as `reconciler.overdue` lists them. At most 10000 are \
                 counted",
                ("operation", ActionOperation::WORDS),
            ),
            syncs: gauges(of_all, "syncs", "Unfinished syncs", ("state", UnfinishedSync::WORDS)),
            integrations: gauges(
                of_all,
                "integrations",
                "Integrations that tasks were seen for. At most 10000 are counted",
                ("status", IntegrationStatus::WORDS),
            ),
            oldest_transaction: seconds(
                of_all,
                "oldest_transaction_age",
                "How long ago the oldest transaction of this database began. Without the role pg_read_all_stats, only \
                 sessions of the daemon's own login are seen",
            ),
            process,
            database,
        }
    }
}
