//! Structured log lines with a closed set of events.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogFormat, Telemetry};
use crate::emit;
use floods::Cause;

pub mod events;
mod floods;
mod lines;
pub mod metrics;
pub mod traces;

const TELLS_LOSSES_EVERY: Duration = Duration::from_secs(10);

/// Why logging cannot start as configured.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("telemetry.filter is not a list of levels such as info or cerby_reconciler=debug,info")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("log output is already set up")]
    AlreadySet(#[from] TryInitError),
}

/// The target of all events of the closed set.
const OURS: &str = "cerby_reconciler";

/// Sends log lines to stdout: JSON, or text for people. Lines of libraries are left out, whatever the filter says,
/// because they are not in the closed set and may quote anything.
pub fn start(telemetry: &Telemetry) -> Result<(), TelemetryError> {
    let json = match telemetry.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stdout().is_terminal(),
    };
    let lines = tracing_subscriber::registry()
        .with(EnvFilter::try_new(&telemetry.filter)?)
        .with(filter_fn(|line| line.target().starts_with(OURS)))
        .with(floods::Limit);
    // A line that cannot be written is counted. A message about it would be one more line.
    let layer = tracing_subscriber::fmt::layer().with_writer(lines::out).log_internal_errors(false);
    if json {
        let layer = layer.json().flatten_event(true).with_current_span(false);
        lines.with(layer.with_ansi(false)).try_init()?;
    } else {
        // It knows NO_COLOR and TERM=dumb.
        let has_colors = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
        lines.with(layer.with_ansi(has_colors)).try_init()?;
    }
    Ok(())
}

/// Waits briefly until all spans so far are sent and all lines so far are written.
pub fn finish() {
    traces::finish();
    tell_repeated(floods::all());
    lines::finish();
}

/// Logs at intervals how many lines were lost and how many were left out, until `stop`.
pub async fn tell_losses(stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(TELLS_LOSSES_EVERY)).await.is_some() {
        let lines = lines::take_lost();
        if lines > 0 {
            emit!(LOG_LOST, lines, "Log lines were lost");
        }
        tell_repeated(floods::due());
    }
}

fn tell_repeated(left_out: Vec<(Cause, u64)>) {
    for (cause, lines) in left_out {
        emit!(
            LOG_REPEATED,
            repeated = cause.event,
            lines,
            workspace.id = cause.workspace,
            integration.id = cause.integration,
            "More lines of the same cause were left out"
        );
    }
}

/// An error with all its causes in one line: the JSON formatter would drop the causes.
pub fn chain(error: &dyn Error) -> Chain<'_> {
    Chain(error)
}

/// Displays an error and its causes, joined by colons.
#[derive(Debug)]
pub struct Chain<'e>(&'e dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        out.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries include the cause in their own message and also return it as the source.
            if !said.ends_with(&text) {
                write!(out, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the backend did not answer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(io::Error::other("connection reset"));
        assert_eq!(chain(&error).to_string(), "the backend did not answer: connection reset");
    }

    #[test]
    fn a_cause_that_an_error_tells_itself_is_not_told_again() {
        let refused = io::Error::other("connection refused");
        let error = Outer(io::Error::other(sqlx::Error::Io(refused)));
        let told = chain(&error).to_string();
        assert_eq!(told.matches("connection refused").count(), 1, "{told}");
    }

    #[test]
    fn event_names_are_unique() {
        let mut names: Vec<_> = events::ALL.iter().map(|event| event.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), events::ALL.len());
    }
}
