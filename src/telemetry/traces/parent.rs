//! The trace context that a row carries.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::telemetry::metrics;

/// How many rows had a trace context that cannot be read since it was last logged, and one of them.
static IGNORED: Mutex<(u64, i64)> = Mutex::new((0, 0));

/// The trace context of a row, or `None` if it has none or none that can be read. It is counted if `is_first`, so that
/// each row is counted once.
pub fn of_row(task: i64, traceparent: Option<&str>, is_first: bool) -> Option<SpanContext> {
    let text = traceparent?;
    let parent = parse(text);
    if parent.is_none() && is_first {
        metrics::traceparent_ignored();
        let mut ignored = IGNORED.lock().unwrap_or_else(PoisonError::into_inner);
        *ignored = (ignored.0 + 1, task);
    }
    parent
}

pub(super) fn take_ignored() -> (u64, i64) {
    std::mem::take(&mut *IGNORED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// As W3C Trace Context writes it. The propagator of the SDK takes ids that are too short for ids with zeros in front,
/// so the lengths are checked here.
fn parse(text: &str) -> Option<SpanContext> {
    if !text.split('-').map(str::len).take(4).eq([2, 32, 16, 2]) {
        return None;
    }
    let carrier = HashMap::from([("traceparent".to_owned(), text.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let parent = context.span().span_context().clone();
    parent.is_valid().then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_context_is_read_with_its_decision_to_record() {
        let recorded = parse(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(recorded.trace_id().to_string(), TRACE);
        assert_eq!(recorded.span_id().to_string(), "00f067aa0ba902b7");
        assert!(recorded.is_sampled() && recorded.is_remote());
        assert!(!parse(&format!("00-{TRACE}-00f067aa0ba902b7-00")).unwrap().is_sampled());
    }

    #[test]
    fn what_is_no_trace_context_is_none() {
        let of = |id: &str| format!("00-{id}-00f067aa0ba902b7-01");
        let texts = [
            String::new(),
            "-".repeat(200),
            "hello".to_owned(),
            of(&"0".repeat(32)),
            of(&TRACE.to_uppercase()),
            of(&TRACE[1..]),
            of("４bf92f3577b34da6a3ce929d0e0e473"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
        ];
        for text in texts {
            assert_eq!(parse(&text), None, "{text}");
        }
    }
}
