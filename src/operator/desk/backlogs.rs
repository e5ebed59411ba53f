//! The backlogs of integrations, counted no more than once in a while: everybody who has a page open asks for them again
//! and again, and in a busy queue a count walks over thousands of rows that have just ended.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::integration::store::{Backlogs, IntegrationLine};

/// How old a count may be: as old as a page is before it asks again.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// The counts of the last moments, by workspace and integration. Whoever may not see an integration does not get its line,
/// and so not its counts.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<HashMap<(String, String), Count>>);

#[derive(Debug, Clone, Copy)]
struct Count {
    waiting: i64,
    in_flight: i64,
    at: Instant,
}

impl Counted {
    /// What need not be counted again.
    pub(super) fn known(&self, now: Instant) -> Backlogs {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, count| now.duration_since(count.at) < FRESH_FOR);
        let mut known = Backlogs::default();
        for ((workspace, integration), count) in counts.iter() {
            known.workspaces.push(workspace.clone());
            known.integrations.push(integration.clone());
            known.waiting.push(count.waiting);
            known.in_flight.push(count.in_flight);
        }
        known
    }

    /// Remembers what was counted at that time. What was known before keeps its age.
    pub(super) fn remember(&self, lines: &[IntegrationLine], at: Instant) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines {
            let key = (line.workspace_id.clone(), line.integration_id.clone());
            let count = Count { waiting: line.waiting, in_flight: line.in_flight, at };
            counts.entry(key).or_insert(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_known_for_five_seconds_and_keeps_its_age_while_it_is_shown_again() {
        let (counted, start) = (Counted::default(), Instant::now());
        let line = IntegrationLine {
            workspace_id: "acme".to_owned(),
            integration_id: "an-app".to_owned(),
            waiting: 7,
            in_flight: 2,
            ..IntegrationLine::default()
        };
        counted.remember(std::slice::from_ref(&line), start);
        let later = start + Duration::from_secs(4);
        let known = counted.known(later);
        assert_eq!((known.waiting, known.in_flight), (vec![7], vec![2]));
        assert_eq!(
            (known.workspaces[0].as_str(), known.integrations[0].as_str()),
            ("acme", "an-app")
        );
        counted.remember(&[line], later);
        assert!(counted.known(start + FRESH_FOR).waiting.is_empty(), "it is counted anew");
    }
}
