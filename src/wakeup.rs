//! Wakes loops: by NOTIFY, which is a hint and no more, and by a look at what is due, which finds whatever that missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::emit;
use crate::pulse::Pulse;
use crate::store::{StoreError, answered, interval};
use crate::telemetry::chain;

const CHANNEL: &str = "reconciler";
const PAUSE: Duration = Duration::from_secs(2);

/// The bells of the loops.
#[derive(Debug, Clone, Default)]
pub struct Bells {
    /// New rows may be there.
    pub intake: Arc<Notify>,
    /// People may have done something.
    pub nudges: Arc<Notify>,
    /// Tasks may be due.
    pub tasks: Arc<Notify>,
    /// Syncs may be due.
    pub syncs: Arc<Notify>,
    /// Rows up to this id were ordered by intake, but for those that committed late: looks begin after it.
    pub ordered_up_to: Arc<AtomicI64>,
}

impl Bells {
    fn ring(&self, payload: &str) {
        match payload {
            "syncs" => self.syncs.notify_one(),
            "arrivals" => self.intake.notify_one(),
            "nudges" => self.nudges.notify_one(),
            "tasks" => self.tasks.notify_one(),
            _ => self.ring_all(),
        }
    }

    fn ring_all(&self) {
        self.intake.notify_one();
        self.nudges.notify_one();
        self.tasks.notify_one();
        self.syncs.notify_one();
    }
}

/// Looks find what became due in the last seconds, and a sweep now and then finds all that is due: it walks over the dead
/// entries of what was done, as long as somebody's transaction keeps them (see `retry::floors`).
const LOOKS_BACK: Duration = Duration::from_secs(10);
const SWEEPS_EVERY: Duration = Duration::from_secs(5);

/// After a sweep this many times as long goes by without one, however much it walked over.
const SWEEPS_REST: u32 = 50;

/// Looks for work that is due until `stop`, and rings for it: one statement in place of one by every loop.
pub async fn look(
    pool: PgPool,
    bells: Bells,
    patience: Duration,
    mut pulse: Pulse,
    stop: CancellationToken,
) {
    let mut sweeps_at = Instant::now();
    while !stop.is_cancelled() {
        stop.run_until_cancelled(tokio::time::sleep(pulse.next())).await;
        let began = Instant::now();
        let sweeps = began >= sweeps_at;
        match answered(patience, look_once(&pool, &bells, sweeps)).await {
            Ok(()) => pulse.well(),
            Err(error) => pulse.failed(&error),
        }
        if sweeps {
            sweeps_at = Instant::now() + SWEEPS_EVERY.max(began.elapsed() * SWEEPS_REST);
        }
    }
}

async fn look_once(pool: &PgPool, bells: &Bells, sweeps: bool) -> Result<(), StoreError> {
    let (arrived_after, due_for) = if sweeps {
        (0, None)
    } else {
        (bells.ordered_up_to.load(Ordering::Relaxed), Some(interval(LOOKS_BACK)))
    };
    let due = sqlx::query!(
        r#"-- work_due
           select arrivals as "arrivals!", nudges as "nudges!", tasks as "tasks!", syncs as "syncs!"
           from reconciler.work_due($1, coalesce(now() - $2::interval, '-infinity'))"#,
        arrived_after,
        due_for,
    )
    .fetch_one(pool)
    .await?;
    let bells = [
        (due.arrivals, &bells.intake),
        (due.nudges, &bells.nudges),
        (due.tasks, &bells.tasks),
        (due.syncs, &bells.syncs),
    ];
    bells.into_iter().filter(|(is_due, _)| *is_due).for_each(|(_, bell)| bell.notify_one());
    Ok(())
}

/// Listens until `stop`, and listens again whenever the connection breaks.
pub async fn listen(pool: PgPool, bells: Bells, stop: CancellationToken) {
    let mut lost = false;
    while !stop.is_cancelled() {
        let listening = listen_once(&pool, &bells, &mut lost);
        match stop.run_until_cancelled(listening).await {
            None | Some(Ok(())) => {}
            Some(Err(error)) => {
                if !std::mem::replace(&mut lost, true) {
                    emit!(WAKEUP_LOST, error = %chain(&error), "The LISTEN connection broke; polling finds work meanwhile");
                }
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
        }
    }
}

async fn listen_once(pool: &PgPool, bells: &Bells, lost: &mut bool) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    if std::mem::take(lost) {
        emit!(WAKEUP_RESTORED, "LISTEN works again");
    }
    bells.ring_all(); // what was sent while nobody listened is lost
    while let Some(notification) = listener.try_recv().await? {
        bells.ring(notification.payload());
    }
    Err(sqlx::Error::PoolClosed)
}
