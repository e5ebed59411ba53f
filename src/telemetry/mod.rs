//! How the daemon speaks: structured log lines with a closed set of events.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

use crate::config::{LogFormat, Telemetry};

pub mod events;

/// Why logs cannot be written as configured.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `telemetry.filter` is not a filter.
    #[error("telemetry.filter is not a list of levels such as info or cerby_reconciler=debug,info")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process already has a subscriber.
    #[error("log output is already set up")]
    AlreadySet(#[from] TryInitError),
}

/// Sends log lines to stdout: JSON, or text where a person reads along.
pub fn start(telemetry: &Telemetry) -> Result<(), TelemetryError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let json = match telemetry.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stdout().is_terminal(),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&telemetry.filter)?)
        .with_ansi(!json && std::io::stdout().is_terminal());
    if json {
        lines.json().flatten_event(true).with_current_span(false).finish().try_init()?;
    } else {
        lines.finish().try_init()?;
    }
    Ok(())
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
        write!(out, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(out, ": {error}")?;
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
    fn event_names_are_unique() {
        let mut names: Vec<_> = events::ALL.iter().map(|event| event.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), events::ALL.len());
    }
}
