//! The built program as processes that are killed, stopped and started again, with their logs in files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Child;
use tokio::sync::Mutex;

use super::replica_clock::ReplicaClock;
use super::settings::CONFIGURATION;
use super::world::World;
use crate::support::replica::serve;

/// As long as a stop may take: its grace and what comes before and after it.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// The database login of the replicas in a place.
pub(super) fn login(place: usize) -> String {
    format!("soak_daemon_{place}")
}

/// The places that replicas run in.
pub(super) struct Replicas {
    places: Vec<Mutex<Place>>,
    logs: PathBuf,
    /// Of the first one. The others have the clock of the machine.
    pub(super) clock: ReplicaClock,
}

/// One place: the process in it, if there is one.
pub(super) struct Place {
    number: usize,
    process: Option<Child>,
}

impl Replicas {
    /// Starts one in each place, logging to files in `logs`.
    pub(super) async fn start(world: &World, logs: &Path) -> Self {
        let place = |number| Mutex::new(Place { number, process: None });
        let replicas = Self {
            places: (0..world.daemons.len()).map(place).collect(),
            logs: logs.to_owned(),
            clock: ReplicaClock::right(&logs.join("clock")),
        };
        for place in &replicas.places {
            replicas.start_in(&mut *place.lock().await, world);
        }
        replicas
    }

    /// The place with this number, unless it is busy with other trouble.
    pub(super) fn place(&self, number: usize) -> Option<tokio::sync::MutexGuard<'_, Place>> {
        self.places[number % self.places.len()].try_lock().ok()
    }

    /// Starts one where there is none, or where it has ended: a replica does not start while the database is
    /// down. How many were started.
    pub(super) fn start_missing(&self, world: &World) -> usize {
        let mut started = 0;
        for place in &self.places {
            if let Ok(mut place) = place.try_lock()
                && place.has_ended()
            {
                self.start_in(&mut place, world);
                started += 1;
            }
        }
        started
    }

    fn start_in(&self, place: &mut Place, world: &World) {
        let log =
            OpenOptions::new().create(true).append(true).open(self.log(place.number)).unwrap();
        let changes: Vec<_> = CONFIGURATION
            .iter()
            .map(|(key, value)| (format!("RECONCILER__{key}"), *value))
            .collect();
        let changes: Vec<_> = changes.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        let mut command = serve(&world.daemons[place.number], &world.apps, &changes);
        if place.number == 0 {
            command.envs(self.clock.environment());
        }
        command.stdout(File::try_clone(&log).unwrap()).stderr(log);
        place.process = Some(command.spawn().unwrap());
    }

    fn log(&self, number: usize) -> PathBuf {
        self.logs.join(format!("replica-{number}.log"))
    }

    /// Asks all to stop in order; what went wrong.
    pub(super) async fn stop(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for place in &self.places {
            let mut place = place.lock().await;
            if let Some(Some(code)) = place.terminate().await.filter(|code| *code != Some(0)) {
                wrong.push(format!("replica {} ended with {code} in the calm", place.number));
            }
        }
        wrong
    }

    /// How often each event was logged, `panicked` among them.
    pub(super) fn events(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for number in 0..self.places.len() {
            // A killed process may leave half a line.
            let log = String::from_utf8_lossy(&fs::read(self.log(number)).unwrap()).into_owned();
            for line in log.lines() {
                let event = match serde_json::from_str::<Value>(line) {
                    Ok(line) => line["event"].as_str().map(str::to_owned),
                    Err(_) if line.contains("panicked at") => Some("panicked".to_owned()),
                    Err(_) => None,
                };
                *counts.entry(event.unwrap_or_default()).or_default() += 1;
            }
        }
        counts
    }
}

impl Place {
    /// Which of the places it is.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The login of whatever runs here.
    pub(super) fn login(&self) -> String {
        login(self.number)
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)))
    }

    /// Sends a signal to the process, if there is one.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = self.process.as_ref().and_then(Child::id) {
            // It may have ended this moment.
            let _ = kill(Pid::from_raw(i32::try_from(id).unwrap()), signal);
        }
    }

    /// Kills the process and waits until it is gone.
    pub(super) async fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().await.unwrap();
        }
        self.process = None;
    }

    /// Asks the process to stop and waits for it: its exit code, `None` within if a signal ended it.
    pub(super) async fn terminate(&mut self) -> Option<Option<i32>> {
        self.signal(Signal::SIGTERM);
        let process = self.process.as_mut()?;
        let Ok(status) = tokio::time::timeout(STOPS_WITHIN, process.wait()).await else {
            self.kill().await;
            return Some(None);
        };
        self.process = None;
        Some(status.unwrap().code())
    }
}
