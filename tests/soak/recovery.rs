//! How soon work goes on after trouble.
//!
//! The work is whatever is due at that moment, and a few removals that arrive then. It goes on when each request that was
//! waiting for its place has one, each request that was due or in somebody's hands has been claimed anew, recorded or
//! ended, and each of the new removals has ended. What an app or a person holds up since then is not waited for.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::{FromRow, PgPool};
use tokio::time::{Instant, sleep};

use super::flood::{self, BESIDE, FLOODING, REMOVALS};
use super::world::World;

/// How soon work must go on, apart from the time that the trouble itself lasted: a queue may have grown meanwhile. A
/// machine with ten times as much to do as it can takes a minute.
pub(super) const GOES_ON_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

const DUE: &str = "
    select m.ready_task_id, m.lease_token, m.lease_until is not null
    from reconciler.members m join reconciler.integrations i using (workspace_id, integration_id)
    where m.ready_task_id is not null and m.open_action_id is null and m.next_attempt_at <= now()
      and i.status = 'active' and m.workspace_id <> $1";
const ARRIVED: &str = "select task_id from reconciler.arrivals where workspace_id <> $1";
const LEFT: &str = "
    select (select count(*) from reconciler.automation_tasks where id = any ($5) and closed_at is null)
               as removals,
           (select count(*) from reconciler.arrivals where task_id = any ($4)) as arrivals,
           count(*) as requests, string_agg(distinct m.integration_id, ', ') as integrations
    from unnest($1::bigint[], $2::bigint[], $3::boolean[]) due (task_id, token, is_held)
    join reconciler.members m on m.ready_task_id = due.task_id and m.lease_token = due.token
    join reconciler.integrations i using (workspace_id, integration_id)
    where i.status = 'active' and m.open_action_id is null and m.next_attempt_at <= now()
      and (m.lease_until is not null or not due.is_held)";

/// A recovery of more than this is told with what it waited for.
const SLOW: Duration = Duration::from_secs(5);

/// How soon work went on after one trouble.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    pub(super) trouble: &'static str,
    pub(super) took: Duration,
    pub(super) is_late: bool,
}

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    measured: Mutex<Vec<Recovery>>,
    not_run: Mutex<Vec<String>>,
}

impl Recoveries {
    pub(super) fn add(&self, recovery: Recovery) {
        self.measured.lock().unwrap().push(recovery);
    }

    /// A trouble that could not be made, and why.
    pub(super) fn note_not_run(&self, trouble: String) {
        self.not_run.lock().unwrap().push(trouble);
    }

    pub(super) fn late(&self) -> Vec<Recovery> {
        self.measured.lock().unwrap().iter().filter(|one| one.is_late).cloned().collect()
    }

    /// The seconds after each trouble, the shortest first.
    pub(super) fn by_trouble(&self) -> BTreeMap<&'static str, Vec<f64>> {
        let mut times: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for Recovery { trouble, took, .. } in self.measured.lock().unwrap().iter() {
            times.entry(*trouble).or_default().push(took.as_secs_f64());
        }
        times.values_mut().for_each(|times| times.sort_by(f64::total_cmp));
        times
    }

    pub(super) fn not_run(&self) -> Vec<String> {
        self.not_run.lock().unwrap().clone()
    }
}

/// What has not gone on yet.
#[derive(Default, FromRow)]
struct Left {
    removals: i64,
    arrivals: i64,
    requests: i64,
    integrations: Option<String>,
}

/// The work that is due at a moment.
pub(super) struct Due {
    tasks: Vec<i64>,
    tokens: Vec<i64>,
    are_held: Vec<bool>,
    arrived: Vec<i64>,
}

impl Due {
    /// What is due now. A database that is down is waited for.
    pub(super) async fn now(world: &World) -> Self {
        loop {
            match Self::read(&world.owner).await {
                Ok(due) => return due,
                Err(_) => sleep(POLL).await,
            }
        }
    }

    async fn read(owner: &PgPool) -> sqlx::Result<Self> {
        let due: Vec<(i64, i64, bool)> =
            sqlx::query_as(DUE).bind(FLOODING).fetch_all(owner).await?;
        Ok(Self {
            tasks: due.iter().map(|one| one.0).collect(),
            tokens: due.iter().map(|one| one.1).collect(),
            are_held: due.iter().map(|one| one.2).collect(),
            arrived: sqlx::query_scalar(ARRIVED).bind(FLOODING).fetch_all(owner).await?,
        })
    }

    /// Waits until all of it goes on, or for as long as it may take after a trouble that lasted so long.
    pub(super) async fn goes_on(
        &self,
        world: &World,
        trouble: &'static str,
        lasted: Duration,
    ) -> Recovery {
        let (began, most) = (Instant::now(), GOES_ON_WITHIN + lasted);
        let removals = loop {
            match flood::insert(world, BESIDE, REMOVALS).await {
                Ok(removals) => break removals,
                Err(_) => sleep(POLL).await,
            }
        };
        let mut last = Left::default();
        while began.elapsed() <= most {
            match self.left(&world.owner, &removals).await {
                Ok(Left { removals: 0, arrivals: 0, requests: 0, .. }) => break,
                Ok(left) => last = left,
                // Nothing goes on while the database is down.
                Err(_) => {}
            }
            sleep(POLL).await;
        }
        let took = began.elapsed();
        if took > SLOW {
            let (requests, arrivals) = (self.tasks.len(), self.arrived.len());
            println!(
                "soak: {took:.1?} after {trouble}, {requests} due, {arrivals} arrived; at last {} due of {}, {} arrived, {} new",
                last.requests,
                last.integrations.unwrap_or_default(),
                last.arrivals,
                last.removals
            );
        }
        Recovery { trouble, took, is_late: took > most }
    }

    /// What of it still waits.
    async fn left(&self, owner: &PgPool, removals: &[i64]) -> sqlx::Result<Left> {
        sqlx::query_as(LEFT)
            .bind(&self.tasks)
            .bind(&self.tokens)
            .bind(&self.are_held)
            .bind(&self.arrived)
            .bind(removals)
            .fetch_one(owner)
            .await
    }
}
