//! Wakes loops by NOTIFY, which is only a hint, and by polling for due work, which finds what NOTIFY missed.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgListener;
use sqlx::{Acquire, Connection};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::database::{PgPool, in_time};
use crate::emit;
use crate::poll_interval::PollInterval;
use crate::scan_start::ScanStart;
use crate::store::{StoreError, with_timeout};
use crate::telemetry::chain;

const CHANNEL: &str = "reconciler";
const PAUSE: Duration = Duration::from_secs(2);

/// The prefix of the notification that the listener sends to itself; a random number follows, so that it recognizes its
/// own.
const ECHO: &str = "echo ";
const ECHO_EVERY: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default)]
pub struct Wakeups {
    /// There may be new rows.
    pub intake: Arc<Notify>,
    /// People may have acted.
    pub nudges: Arc<Notify>,
    pub tasks: Arc<Notify>,
    pub syncs: Arc<Notify>,
    /// There may be webhooks whose jobs are not read yet.
    pub webhooks: Arc<Notify>,
    /// The fleet may know of an outage.
    pub outages: Arc<Notify>,
    /// Rows up to this id were ordered by intake, except those that committed late: scans begin after it.
    pub ordered_up_to: Arc<AtomicI64>,
}

impl Wakeups {
    fn notify(&self, payload: &str) {
        match payload {
            "syncs" => self.syncs.notify_one(),
            "arrivals" => self.intake.notify_one(),
            "nudges" => self.nudges.notify_one(),
            "tasks" => self.tasks.notify_one(),
            _ => self.notify_all(),
        }
    }

    fn notify_all(&self) {
        self.intake.notify_one();
        self.nudges.notify_one();
        self.tasks.notify_one();
        self.syncs.notify_one();
    }
}

/// A poll finds what became due since this long before the last poll. All that became due before was found then.
const STAYS_BEHIND: TimeDelta = TimeDelta::seconds(10);

/// Polls for due work until `stop`, and wakes the loops: one statement instead of one by every loop.
pub async fn poll(
    pool: PgPool,
    wakeups: Wakeups,
    query_timeout: Duration,
    mut poll_interval: PollInterval,
    stop: CancellationToken,
) {
    let mut start = ScanStart::new(Instant::now());
    while !stop.is_cancelled() {
        stop.run_until_cancelled(tokio::time::sleep(poll_interval.next())).await;
        let began = Instant::now();
        match with_timeout(query_timeout, poll_once(&pool, &wakeups, start.at(began))).await {
            Ok(now) => {
                poll_interval.on_success();
                start.advance(Some(now - STAYS_BEHIND), false, began);
            }
            Err(error) => poll_interval.on_failure(&error),
        }
    }
}

/// Returns the time at which the database looked.
async fn poll_once(
    pool: &PgPool,
    wakeups: &Wakeups,
    due_from: Option<DateTime<Utc>>,
) -> Result<DateTime<Utc>, StoreError> {
    let arrived_after = due_from.map_or(0, |_| wakeups.ordered_up_to.load(Ordering::Relaxed));
    let due = sqlx::query!(
        r#"-- work_due
           select now() as "now!", arrivals as "arrivals!", nudges as "nudges!", tasks as "tasks!", syncs as "syncs!",
                  webhooks as "webhooks!", exists (select from reconciler.outages) as "outages!"
           from reconciler.work_due($1, coalesce($2, '-infinity'::timestamptz))"#,
        arrived_after,
        due_from,
    )
    .fetch_one(pool)
    .await?;
    let wakeups = [
        (due.arrivals, &wakeups.intake),
        (due.nudges, &wakeups.nudges),
        (due.tasks, &wakeups.tasks),
        (due.syncs, &wakeups.syncs),
        (due.webhooks, &wakeups.webhooks),
        (due.outages, &wakeups.outages),
    ];
    wakeups.into_iter().filter(|(is_due, _)| *is_due).for_each(|(_, wakeup)| wakeup.notify_one());
    Ok(due.now)
}

/// Listens until `stop`, and connects again whenever the connection breaks or no longer receives anything.
pub async fn listen(pool: PgPool, wakeups: Wakeups, stop: CancellationToken) {
    let mut lost = false;
    while !stop.is_cancelled() {
        let listening = listen_once(&pool, &wakeups, &mut lost);
        let Some(Err(error)) = stop.run_until_cancelled(listening).await else { return };
        if !std::mem::replace(&mut lost, true) {
            emit!(WAKEUP_UNAVAILABLE, error = %chain(&error), "The LISTEN connection broke; polling finds work meanwhile");
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn listen_once(
    pool: &PgPool,
    wakeups: &Wakeups,
    lost: &mut bool,
) -> Result<Infallible, sqlx::Error> {
    let apart = pool.beside();
    let mut listener = in_time("LISTEN", ANSWERS_WITHIN, PgListener::connect_with(&apart)).await?;
    listener.eager_reconnect(false);
    let Err(error) = hear_until_lost(&mut listener, wakeups, lost).await;
    let_go(listener, pool).await;
    Err(error)
}

/// Receives notifications, and at intervals its own. A frozen connection reports no error, so only a missing echo shows
/// that it is broken.
async fn hear_until_lost(
    listener: &mut PgListener,
    wakeups: &Wakeups,
    lost: &mut bool,
) -> Result<Infallible, sqlx::Error> {
    in_time("LISTEN", ANSWERS_WITHIN, listener.listen(CHANNEL)).await?;
    wakeups.notify_all(); // notifications that were sent before LISTEN are lost
    let echo = format!("{ECHO}{:x}", rand::random::<u64>());
    loop {
        in_time("its own NOTIFY", ANSWERS_WITHIN, async {
            let call = sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(&echo);
            call.execute(&mut *listener).await?;
            hear(listener, wakeups, &echo).await
        })
        .await?;
        if std::mem::take(lost) {
            emit!(WAKEUP_RECOVERED, "LISTEN works again");
        }
        if let Ok(ended) = timeout(ECHO_EVERY, hear(listener, wakeups, "")).await {
            ended?;
        }
    }
}

/// Wakes loops for the notifications of others, until `last` arrives.
async fn hear(listener: &mut PgListener, wakeups: &Wakeups, last: &str) -> Result<(), sqlx::Error> {
    while let Some(heard) = listener.try_recv().await? {
        match heard.payload() {
            word if word == last => return Ok(()),
            word if word.starts_with(ECHO) => {}
            word => wakeups.notify(word),
        }
    }
    Err(sqlx::Error::Io(ErrorKind::ConnectionAborted.into()))
}

/// When the listener is dropped, the driver sends a message on the broken connection and waits for the answer for ever.
/// So the listener gets another connection for that.
async fn let_go(mut listener: PgListener, pool: &PgPool) {
    let exchange = async {
        let other = sqlx::PgConnection::connect_with(&pool.options()).await?;
        *listener.acquire().await? = other;
        Ok(())
    };
    let _ = in_time("another connection", ANSWERS_WITHIN, exchange).await;
}
