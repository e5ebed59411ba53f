//! Several replicas, a database that restarts, a backend that fails, a person who errs, and the rules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use testkit::private_postgres::Shutdown;
use tokio::task::JoinSet;

use crate::chaos::Dealer;
use crate::checks::Violation;
use crate::figures::{self, Surroundings};
use crate::person::Person;
use crate::record::Record;
use crate::recovery::{GOES_ON_WITHIN, Recoveries};
use crate::replicas::Replicas;
use crate::settings::{Settings, Troubles};
use crate::tally::Tally;
use crate::world::World;
use crate::{arrivals, chaos, checks, flood, samples, summary, trail};

/// How often everything that is known so far is read and checked, at least.
const CHECKS_EVERY: Duration = Duration::from_secs(3);
const SAYS_EVERY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// Runs it. Panics with what was broken, whose trail that is, and how to run it again.
pub(super) async fn run(settings: &Settings) {
    let began = Instant::now();
    println!("soak: {settings:?}; the plan comes from the seed, the interleaving does not");
    let logs = tempfile::Builder::new().prefix("cerby-soak-").tempdir().unwrap();
    let mut run = Run::start(settings, logs.path().to_owned()).await;
    let violations = run.play().await;
    summary::print(&run, began.elapsed()).await;
    if violations.is_empty() {
        run.strike().await;
        return;
    }
    let logs = logs.keep();
    let trails = run.trails(&violations).await;
    run.strike().await;
    panic!(
        "after {:.1} s with seed {}:\n{trails}\nthe replicas' logs are in {}",
        began.elapsed().as_secs_f64(),
        settings.seed,
        logs.display()
    );
}

pub(super) struct Run {
    pub(super) settings: Settings,
    pub(super) world: Arc<World>,
    pub(super) replicas: Arc<Replicas>,
    pub(super) dealt: Arc<Tally>,
    pub(super) changes: Arc<Tally>,
    pub(super) recoveries: Arc<Recoveries>,
    /// Where recoveries are measured.
    pub(super) surroundings: Option<Surroundings>,
    /// Everything that happens besides.
    tasks: JoinSet<()>,
    pub(super) restarts: usize,
}

impl Run {
    async fn start(settings: &Settings, logs: PathBuf) -> Self {
        let world = Arc::new(World::start(settings).await);
        let surroundings = match settings.troubles {
            // Only Linux tells everything.
            Troubles::OneByOne => Surroundings::look(&world).await.ok(),
            Troubles::Together => None,
        };
        let replicas = Arc::new(Replicas::start(&world, &logs).await);
        Self {
            settings: *settings,
            world,
            replicas,
            dealt: Arc::default(),
            changes: Arc::default(),
            recoveries: Arc::default(),
            surroundings,
            tasks: JoinSet::new(),
            restarts: 0,
        }
    }

    async fn play(&mut self) -> Vec<Violation> {
        let (world, replicas) = (&self.world, &self.replicas);
        let person = Person {
            world: Arc::clone(world),
            changes: Arc::clone(&self.changes),
            seed: self.settings.seed,
            whims: StdRng::seed_from_u64(self.settings.seed),
            meddles_until: (Instant::now() + self.settings.storm()).into(),
            forgotten: BTreeMap::new(),
            taken_back: BTreeMap::new(),
        };
        self.tasks.spawn(person.work());
        let mut storm = JoinSet::new();
        storm.spawn(arrivals::arrive(Arc::clone(world)));
        let dealer = Dealer {
            settings: self.settings,
            world: Arc::clone(world),
            replicas: Arc::clone(replicas),
            dealt: Arc::clone(&self.dealt),
            recoveries: Arc::clone(&self.recoveries),
        };
        storm.spawn(dealer.deal());
        let mut watch = JoinSet::new();
        watch.spawn(samples::watch(Arc::clone(world)));
        let violations = tokio::select! {
            violations = self.go_through(&mut storm) => violations,
            Some(violation) = watch.join_next() => vec![violation.unwrap()],
        };
        watch.shutdown().await;
        storm.shutdown().await;
        violations
    }

    /// The storm, the calm after it, and a last look; sooner if a rule is broken.
    async fn go_through(&mut self, storm: &mut JoinSet<()>) -> Vec<Violation> {
        let mut checked = Instant::now();
        let mut said = Instant::now();
        let mut calm_since = None;
        let mut least = i64::MAX;
        loop {
            while let Some(ended) = storm.try_join_next() {
                ended.unwrap();
            }
            self.restarts += self.replicas.start_missing(&self.world);
            if said.elapsed() > SAYS_EVERY {
                said = Instant::now();
                println!("soak: {}", summary::line(&self.world).await);
            }
            if storm.is_empty() {
                let left = summary::unfinished(&self.world).await;
                // A flood takes a busy machine a while: the calm is over when nothing ends any more.
                if left.is_some_and(|left| left < least) {
                    least = left.unwrap_or(least);
                    calm_since = None;
                }
                let calm = calm_since.get_or_insert_with(Instant::now).elapsed();
                if calm > self.settings.calm() || left == Some(0) {
                    return self.last_look().await;
                }
            }
            if checked.elapsed() > CHECKS_EVERY {
                let began = Instant::now();
                let found = self.look().await;
                if !found.is_empty() {
                    return found;
                }
                // A long run's record is long: checking it is to stay a small part of the work.
                checked = Instant::now() + began.elapsed() * 4;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn look(&self) -> Vec<Violation> {
        match Record::read(&self.world).await {
            Ok(record) => checks::all_along(&record, &self.world.plan.members),
            Err(_) => Vec::new(), // the database is restarting
        }
    }

    async fn last_look(&mut self) -> Vec<Violation> {
        let wrong = self.replicas.stop().await;
        let record = Record::read(&self.world).await.unwrap();
        let mut found = checks::all_along(&record, &self.world.plan.members);
        found.extend(checks::in_the_end(&record, &self.world));
        found.extend(wrong.into_iter().chain(self.alarms()).map(|what| Violation {
            rule: "the daemon itself",
            member: None,
            what,
        }));
        figures::write(self, &record, &found).unwrap();
        found
    }

    /// What no trouble from outside excuses.
    fn alarms(&self) -> Vec<String> {
        let events = self.replicas.events();
        ["panicked", "worker.panicked", "upkeep.healed", "probes.failed", "backend.key_rejected"]
            .iter()
            .filter_map(|event| Some(format!("{event}: {} times", events.get(*event)?)))
            .chain(self.late())
            .chain(self.late_recoveries())
            .collect()
    }

    fn late_recoveries(&self) -> impl Iterator<Item = String> {
        self.recoveries.late().into_iter().map(|one| {
            format!("work went on {:?} after {}, {GOES_ON_WITHIN:?} at most", one.took, one.trouble)
        })
    }

    /// What took longer than it may.
    fn late(&self) -> Vec<String> {
        let longest = self.dealt.longest();
        [(chaos::BACK_AFTER_FROST, chaos::BACK_WITHIN), (flood::BEGUN, flood::BEGUN_WITHIN)]
            .iter()
            .filter(|(what, most)| longest.get(what).is_some_and(|time| time > most))
            .map(|(what, most)| format!("{what}: after {:?}, {most:?} at most", longest[what]))
            .collect()
    }

    async fn trails(&self, violations: &[Violation]) -> String {
        const SHOWN: usize = 4;
        let record = self.record().await;
        let mut text = format!("{} violations\n", violations.len());
        for violation in violations.iter().take(SHOWN) {
            text.push_str(&format!("{violation}\n"));
            text.extend(violation.member.iter().map(|key| trail::of(&record, key)));
        }
        for violation in violations.iter().skip(SHOWN).take(20) {
            text.push_str(&format!("{violation}\n"));
        }
        text
    }

    /// Everything that is known. A restart of the database may have been cut short by the end of the storm.
    async fn record(&self) -> Record {
        if let Ok(record) = Record::read(&self.world).await {
            return record;
        }
        self.world.restart_database(Shutdown::Fast).await;
        Record::read(&self.world).await.unwrap()
    }

    async fn strike(mut self) {
        self.tasks.shutdown().await;
        drop(self.replicas);
        if let Some(world) = Arc::into_inner(self.world) {
            world.stop().await;
        }
    }
}
