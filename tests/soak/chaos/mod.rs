//! Trouble: what is dealt to replicas, database and backend, and when, drawn from the seed.

mod database;
mod make;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use testkit::simulator::FaultPlan;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::recovery::{Due, Recoveries};
use crate::replicas::Replicas;
use crate::settings::{Settings, Troubles};
use crate::tally::Tally;
use crate::world::World;

pub(super) use make::{BACK_AFTER_FROST, BACK_WITHIN};
use make::{aim, make};
use trouble::{Draw, Trouble};

/// So often something new goes wrong.
const EVERY: Duration = Duration::from_millis(600);
/// Between the end of one trouble and the next, where they come one by one.
const PAUSE: Duration = Duration::from_millis(500);

/// So soon a replica must be up again that was killed, also where the machine is busy.
const ALL_UP_WITHIN: Duration = Duration::from_secs(60);

/// Who deals trouble to whom, and what comes of it.
#[derive(Clone)]
pub(super) struct Dealer {
    pub(super) settings: Settings,
    pub(super) world: Arc<World>,
    pub(super) replicas: Arc<Replicas>,
    pub(super) dealt: Arc<Tally>,
    pub(super) recoveries: Arc<Recoveries>,
}

impl Dealer {
    /// Deals trouble until the storm is over, then lets everything be well.
    pub(super) async fn deal(self) {
        let end = Instant::now() + self.settings.storm();
        let mut draw = Draw::new(&self.settings);
        self.world.apps.set_clock(draw.clock());
        if self.settings.troubles == Troubles::OneByOne {
            for trouble in draw.one_of_each() {
                tokio::time::sleep(PAUSE).await;
                self.until_all_replicas_are_up().await;
                self.measure(trouble).await;
            }
        }
        self.deal_together(draw, end).await;
        self.world.apps.set_http_faults(FaultPlan::none());
        self.world.let_automation_work(|_| true);
    }

    /// Where one is missing that was killed before, it is not the next trouble that is measured.
    async fn until_all_replicas_are_up(&self) {
        let up = async || {
            let up: Result<i64, _> = sqlx::query_scalar(
                "select count(distinct usename) from pg_stat_activity where usename like 'soak_daemon_%'",
            )
            .fetch_one(&self.world.owner)
            .await;
            up.is_ok_and(|up| usize::try_from(up).is_ok_and(|up| up == self.settings.replicas()))
        };
        let began = Instant::now();
        while !up().await {
            assert!(began.elapsed() < ALL_UP_WITHIN, "a replica has no session with the database");
            tokio::time::sleep(PAUSE / 10).await;
        }
    }

    async fn deal_together(&self, mut draw: Draw, end: Instant) {
        let mut under_way = JoinSet::new();
        loop {
            let pause = EVERY.mul_f64(draw.rng.random_range(0.3..1.7));
            tokio::time::sleep(pause).await;
            if Instant::now() > end {
                break;
            }
            let (trouble, dealer) = (draw.trouble(), self.clone());
            under_way.spawn(async move {
                aim(&trouble, &dealer).await;
                // Other trouble may prevent it.
                let _ = make(trouble, &dealer).await;
            });
        }
        while let Some(made) = under_way.join_next().await {
            made.unwrap();
        }
    }

    /// Makes one trouble, and waits until all work that was due goes on.
    async fn measure(&self, trouble: Trouble) {
        aim(&trouble, self).await;
        let (name, world) = (trouble.name, &self.world);
        let (made, recovery) = if trouble.what.leaves_work_possible() {
            let due = Due::now(world).await;
            tokio::join!(make(trouble, self), due.goes_on(world, name, Duration::ZERO))
        } else {
            let began = Instant::now();
            let made = make(trouble, self).await;
            let lasted = began.elapsed();
            (made, Due::now(world).await.goes_on(world, name, lasted).await)
        };
        match made {
            Ok(()) => self.recoveries.add(recovery),
            Err(reason) => self.recoveries.note_not_run(format!("{name} ({reason})")),
        }
    }
}
