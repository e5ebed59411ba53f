//! A flood of log lines has a rate. One fault in an app may concern thousands of members, and an alert for each would
//! hide all others. So the first few WARN or ERROR lines of a cause are written at once; further ones are left out, and
//! one line a minute says how many.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::events;

/// How many lines of a cause are written as they come. A few have their ids in the log; more are found in the lists.
const AT_ONCE: u32 = 5;

/// How often it is said how many lines of a cause were left out.
const PAUSE: Duration = Duration::from_secs(60);

/// How many causes are remembered. If more are, each is written: then there is more than one fault.
const MOST: usize = 4096;

/// Events with a rate of their own: they are repeated on purpose, at intervals.
const REMINDERS: [events::Event; 6] = [
    events::ACTIONS_OVERDUE,
    events::BACKEND_UNAVAILABLE,
    events::DATABASE_NOT_READY,
    events::INTEGRATION_STILL_UNAVAILABLE,
    events::INTEGRATION_UNVERIFIABLE,
    events::LOG_REPEATED,
];

static FLOODS: LazyLock<Mutex<Floods>> = LazyLock::new(Mutex::default);

fn floods() -> MutexGuard<'static, Floods> {
    FLOODS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a line is about: its event and all its texts. Its numbers are not: they are ids of rows, counts and durations.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cause {
    pub(super) event: String,
    pub(super) workspace: Option<String>,
    pub(super) integration: Option<String>,
    texts: DefaultHash,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct DefaultHash(u64);

impl DefaultHash {
    fn add(&mut self, name: &str, text: &str) {
        let mut hasher = DefaultHasher::new();
        (self.0, name, text).hash(&mut hasher);
        self.0 = hasher.finish();
    }
}

impl Visit for Cause {
    fn record_str(&mut self, field: &Field, text: &str) {
        self.texts.add(field.name(), text);
        match field.name() {
            "event" => text.clone_into(&mut self.event),
            "workspace.id" => self.workspace = Some(text.to_owned()),
            "integration.id" => self.integration = Some(text.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_i64(&mut self, _: &Field, _: i64) {}

    fn record_u64(&mut self, _: &Field, _: u64) {}

    fn record_f64(&mut self, _: &Field, _: f64) {}

    fn record_bool(&mut self, _: &Field, _: bool) {}
}

/// The causes of the last minute.
#[derive(Debug, Default)]
struct Floods {
    causes: HashMap<u64, Repeated>,
}

#[derive(Debug)]
struct Repeated {
    cause: Cause,
    since: Instant,
    written: u32,
    left_out: u64,
}

impl Floods {
    /// Whether a line of this cause is written.
    fn admit(&mut self, cause: Cause, now: Instant) -> bool {
        let key = cause.texts.0;
        let has_room = self.causes.len() < MOST;
        match self.causes.get_mut(&key) {
            Some(known) if known.written >= AT_ONCE => {
                known.left_out += 1;
                return false;
            }
            Some(known) => known.written += 1,
            None if has_room => {
                let first = Repeated { cause, since: now, written: 1, left_out: 0 };
                self.causes.insert(key, first);
            }
            None => {}
        }
        true
    }

    /// The causes whose minute is over and of which lines were left out, with their number. A cause of which none was
    /// left out is forgotten, so that its next line is written at once.
    fn due(&mut self, now: Instant, pause: Duration) -> Vec<(Cause, u64)> {
        let mut due = Vec::new();
        self.causes.retain(|_, known| {
            if now.duration_since(known.since) < pause {
                return true;
            }
            let lines = std::mem::take(&mut known.left_out);
            known.since = now;
            if lines > 0 {
                due.push((known.cause.clone(), lines));
            }
            lines > 0
        });
        due
    }
}

/// Leaves out lines that repeat others.
pub(super) struct Limit;

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        let mut cause = Cause::default();
        event.record(&mut cause);
        let is_reminder = REMINDERS.iter().any(|event| event.name == cause.event);
        is_reminder || floods().admit(cause, Instant::now())
    }
}

/// How many lines were left out, of causes whose minute is over.
pub(super) fn due() -> Vec<(Cause, u64)> {
    floods().due(Instant::now(), PAUSE)
}

/// The same of all causes.
pub(super) fn all() -> Vec<(Cause, u64)> {
    floods().due(Instant::now(), Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(integration: &str) -> Cause {
        let mut cause = Cause { integration: Some(integration.to_owned()), ..Cause::default() };
        cause.texts.add("integration.id", integration);
        cause
    }

    #[test]
    fn the_first_lines_of_a_cause_are_written_at_once_and_the_others_are_counted_once_a_minute() {
        let mut floods = Floods::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let due = |floods: &mut Floods, seconds| -> Vec<_> {
            let due = floods.due(at(seconds), PAUSE).into_iter();
            due.map(|(cause, lines)| (cause.integration.unwrap_or_default(), lines)).collect()
        };
        assert!((0..AT_ONCE).all(|_| floods.admit(of("a"), at(0))));
        assert!((1..=7).all(|second| !floods.admit(of("a"), at(second))));
        assert!(floods.admit(of("b"), at(7)), "another cause is not held up");
        assert_eq!(due(&mut floods, 59), []);
        assert_eq!(due(&mut floods, 60), [("a".to_owned(), 7)]);
        assert!(!floods.admit(of("a"), at(61)), "the flood goes on: one line a minute");
        assert_eq!(due(&mut floods, 120), [("a".to_owned(), 1)]);
        assert_eq!(due(&mut floods, 180), []);
        assert!((0..AT_ONCE).all(|_| floods.admit(of("a"), at(181))), "it is news again");
    }

    #[test]
    fn more_causes_than_are_remembered_are_written_and_take_no_more_memory() {
        let mut floods = Floods::default();
        let now = Instant::now();
        for number in 0..2 * MOST {
            assert!(floods.admit(of(&number.to_string()), now));
        }
        assert_eq!(floods.causes.len(), MOST);
    }
}
