//! The bounded queue of spans that have ended. The processor of the SDK drops spans that do not fit and tells nobody
//! how many, so spans are counted before they come to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, SamplingResult,
    ShouldSample, Span, SpanData, SpanProcessor,
};
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use crate::telemetry::metrics;

/// How many spans may wait: some MB.
const MOST: usize = 4096;

/// How many spans are sent together at most, and how long a few wait for more.
const BATCH: usize = 512;
const PAUSE: Duration = Duration::from_secs(1);

/// How many spans wait or are being sent, and how many were lost.
#[derive(Debug, Default)]
pub(super) struct Tally {
    waiting: AtomicUsize,
    lost: Mutex<(u64, String)>,
    sends_the_last: CancellationToken,
}

impl Tally {
    /// Whether there is room for one more.
    fn admit(&self) -> bool {
        let admit = |waiting| (waiting < MOST).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, admit).is_ok()
    }

    fn is_full(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) >= MOST
    }

    pub(super) fn taken(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::SeqCst);
    }

    pub(super) fn lose(&self, spans: usize, cause: String) {
        let mut lost = self.count(spans);
        lost.1 = cause;
    }

    /// The queue is full because the collector fails or is slow: a failure says more, so its cause is kept.
    fn overflow(&self) {
        let mut lost = self.count(1);
        if lost.1.is_empty() {
            lost.1 = "the queue is full".to_owned();
        }
    }

    fn count(&self, spans: usize) -> MutexGuard<'_, (u64, String)> {
        metrics::spans_lost(spans as u64);
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.0 += spans as u64;
        lost
    }

    /// Cancelled when the daemon stops.
    pub(super) fn sends_the_last(&self) -> &CancellationToken {
        &self.sends_the_last
    }

    /// How many spans were lost since the last call, and the cause of the last loss.
    pub(super) fn take_lost(&self) -> (u64, String) {
        std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    batches: BatchSpanProcessor,
    tally: Arc<Tally>,
}

impl Queue {
    pub(super) fn new(collector: Collector, tally: Arc<Tally>) -> Self {
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(MOST)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(PAUSE);
        let batches =
            BatchSpanProcessor::builder(collector).with_batch_config(config.build()).build();
        Self { batches, tally }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        match self.tally.admit() {
            true => self.batches.on_end(span),
            false => self.tally.overflow(),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.tally.sends_the_last.cancel();
        let ended = self.batches.shutdown_with_timeout(timeout);
        let waiting = self.tally.waiting.load(Ordering::SeqCst);
        if waiting > 0 {
            self.tally.lose(waiting, "the stop did not wait for the collector".to_owned());
        }
        ended
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Records what the caller records, and what has no caller, while there is room.
///
/// Spans that are recorded and then dropped cost the daemon processor time for nothing while the collector does not work.
/// A span is not recorded that begins while the queue is full, and none is below it.
#[derive(Debug, Clone)]
pub(super) struct WhileThereIsRoom {
    tally: Arc<Tally>,
    desired: Sampler,
}

impl WhileThereIsRoom {
    pub(super) fn new(tally: Arc<Tally>) -> Self {
        Self { tally, desired: Sampler::ParentBased(Box::new(Sampler::AlwaysOn)) }
    }
}

impl ShouldSample for WhileThereIsRoom {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let desired = self.desired.should_sample(parent, trace, name, kind, attributes, links);
        if desired.decision == SamplingDecision::Drop || !self.tally.is_full() {
            return desired;
        }
        self.tally.overflow();
        SamplingResult { decision: SamplingDecision::Drop, ..desired }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceState};

    use super::*;

    #[test]
    fn a_full_queue_takes_no_more_until_some_are_taken_and_every_loss_is_counted_once() {
        let tally = Tally::default();
        assert!((0..MOST).all(|_| tally.admit()));
        assert!(!tally.admit());
        tally.overflow();
        tally.taken(1);
        assert!(tally.admit() && !tally.admit());
        tally.lose(7, "HTTP 503".to_owned());
        tally.overflow();
        assert_eq!(tally.take_lost(), (9, "HTTP 503".to_owned()));
        tally.overflow();
        assert_eq!(tally.take_lost(), (1, "the queue is full".to_owned()));
        assert_eq!(tally.take_lost(), (0, String::new()));
    }

    #[test]
    fn a_span_that_begins_while_the_queue_is_full_is_lost_and_not_recorded() {
        let tally = Arc::<Tally>::default();
        let sampler = WhileThereIsRoom::new(Arc::clone(&tally));
        let decide = |parent: Option<&Context>| {
            let trace = TraceId::from(1);
            sampler.should_sample(parent, trace, "attempt", &SpanKind::Internal, &[], &[]).decision
        };
        assert!((1..MOST).all(|_| tally.admit()));
        assert_eq!(decide(None), SamplingDecision::RecordAndSample);
        assert!(tally.admit());
        assert_eq!(decide(None), SamplingDecision::Drop);
        assert_eq!(tally.take_lost(), (1, "the queue is full".to_owned()));

        let unrecorded = SpanContext::new(
            TraceId::from(1),
            SpanId::from(1),
            TraceFlags::default(),
            true,
            TraceState::default(),
        );
        let unrecorded = Context::new().with_remote_span_context(unrecorded);
        assert_eq!(decide(Some(&unrecorded)), SamplingDecision::Drop);
        assert_eq!(tally.take_lost(), (0, String::new()));
    }
}
