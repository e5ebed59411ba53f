//! Workspaces whose backend does not answer: their tasks are left alone for a while, twice as long each time, so
//! that an outage costs neither a write per task nor a request per task. Each replica finds out for itself; nothing
//! is lost with what it found.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::BackendError;
use crate::emit;

const FIRST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Silence {
    /// Requests in a row without an answer.
    unanswered: u32,
    /// How long the workspace is left alone each time.
    pause: Duration,
    /// Until when it is left alone.
    until: Option<Instant>,
}

/// What is known of every workspace that did not answer its last request.
#[derive(Debug)]
pub(super) struct Silences {
    after: u32,
    longest: Duration,
    by_workspace: Mutex<HashMap<String, Silence>>,
}

impl Silences {
    pub(super) fn new(after: u32, longest: Duration) -> Self {
        Self { after, longest, by_workspace: Mutex::default() }
    }

    /// Takes note of how a request ended.
    pub(super) fn note(&self, workspace: &str, error: Option<&BackendError>, now: Instant) {
        let unanswered = error.is_some_and(|error| {
            matches!(
                error,
                BackendError::Unreachable(_)
                    | BackendError::NoAnswer(_)
                    | BackendError::Unavailable { .. }
                    | BackendError::Broken { .. }
            )
        });
        let mut silences = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        if !unanswered {
            if silences.remove(workspace).is_some_and(|silence| silence.until.is_some()) {
                emit!(BACKEND_ANSWERS, workspace.id = workspace, "The backend answers again");
            }
            return;
        }
        let silence = silences.entry(workspace.to_owned()).or_default();
        silence.unanswered = silence.unanswered.saturating_add(1);
        if silence.unanswered == self.after {
            let trouble = match error {
                Some(
                    BackendError::Unavailable { status, .. } | BackendError::Broken { status },
                ) => {
                    format!("The backend is failing (HTTP {status})")
                }
                _ => "The backend does not answer".to_owned(),
            };
            emit!(
                BACKEND_SILENT,
                workspace.id = workspace,
                unanswered = silence.unanswered,
                "{trouble}; tasks are on hold"
            );
        }
        // Answers to what was sent before the pause began do not make it longer.
        if silence.unanswered >= self.after && silence.until.is_none_or(|until| until <= now) {
            silence.pause = (silence.pause * 2).clamp(FIRST_PAUSE.min(self.longest), self.longest);
            silence.until = Some(now + silence.pause);
        }
    }

    /// The workspaces that are left alone now.
    pub(super) fn workspaces(&self, now: Instant) -> Vec<String> {
        let silences = self.by_workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = silences.iter().filter(|(_, one)| one.until.is_some_and(|until| until > now));
        silent.map(|(workspace, _)| workspace.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: BackendError = BackendError::Broken { status: 500 };

    fn silent_for(silences: &Silences, now: Instant) -> Duration {
        let seconds = (0..1000)
            .find(|s| silences.workspaces(now + Duration::from_millis(s * 500)).is_empty());
        Duration::from_millis(seconds.expect("it ends") * 500)
    }

    #[test]
    fn a_workspace_is_left_alone_after_so_many_requests_in_a_row_and_no_other_is() {
        let now = Instant::now();
        let silences = Silences::new(3, Duration::from_secs(60));
        for _ in 0..2 {
            silences.note("acme", Some(&SILENT), now);
        }
        silences.note("acme", Some(&BackendError::NotFound { code: String::new() }), now);
        for _ in 0..2 {
            silences.note("acme", Some(&SILENT), now);
        }
        assert!(silences.workspaces(now).is_empty(), "an answer lay between");
        silences.note("acme", Some(&SILENT), now);
        assert_eq!(silences.workspaces(now), ["acme"]);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_an_answer_ends_them() {
        let mut now = Instant::now();
        let silences = Silences::new(1, Duration::from_secs(5));
        for expected in [1, 2, 4, 5, 5] {
            silences.note("acme", Some(&SILENT), now);
            silences.note("acme", Some(&SILENT), now);
            assert_eq!(silent_for(&silences, now), Duration::from_secs(expected));
            now += Duration::from_secs(expected);
        }
        silences.note("acme", None, now);
        silences.note("acme", Some(&SILENT), now);
        assert_eq!(silent_for(&silences, now), Duration::from_secs(1));
    }
}
