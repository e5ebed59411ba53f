//! Traces: a few spans, sent to a collector by OTLP over HTTP. They are off unless `traces.otlp_endpoint` is set.
//!
//! Nothing waits for the collector. Spans that have ended go into a bounded queue, which a thread of its own empties.
//! What does not fit or cannot be sent is dropped, counted, and logged at intervals.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::Either;
use opentelemetry::context::WithContext;
use opentelemetry::trace::{
    FutureExt, Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt,
    Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::emit;
use queue::{Queue, Tally, WhileThereIsRoom};

mod collector;
mod parent;
mod queue;
mod spans;

pub use parent::of_row;
pub use spans::{Action, Attempt, Request, Sync, Verdict};

/// How long the end of the process waits for the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

const TELLS_EVERY: Duration = Duration::from_secs(60);

static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    tally: Arc<Tally>,
}

/// Why traces cannot start as configured.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("traces.otlp_endpoint is not a URL")]
    Endpoint,
    #[error("the HTTP client for traces cannot be built")]
    Client(#[source] reqwest::Error),
}

/// Begins to send spans, if a collector is configured. Must be called in the runtime.
pub fn start(config: &config::Traces) -> Result<(), TracesError> {
    let tally = Arc::<Tally>::default();
    let Some(collector) = collector::Collector::new(config, Arc::clone(&tally))? else {
        return Ok(());
    };
    let resource = Resource::builder_empty()
        .with_service_name(env!("CARGO_PKG_NAME"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Queue::new(collector, Arc::clone(&tally)))
        .with_sampler(WhileThereIsRoom::new(Arc::clone(&tally)))
        .with_resource(resource.build())
        .build();
    let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
    TRACES.get_or_init(|| Traces { provider, tracer, tally });
    Ok(())
}

pub fn are_on() -> bool {
    TRACES.get().is_some()
}

/// Sends the last spans, within a bounded time.
pub(super) fn finish() {
    if let Some(traces) = TRACES.get() {
        // What could not be sent in time is counted.
        let _ = traces.provider.shutdown_with_timeout(FLUSH_TIMEOUT);
        tell(&traces.tally);
    }
}

/// Logs at intervals how many spans were lost, and how many rows had a trace context that cannot be read, until `stop`.
pub async fn tell_losses(stop: CancellationToken) {
    let Some(traces) = TRACES.get() else { return stop.cancelled().await };
    while stop.run_until_cancelled(tokio::time::sleep(TELLS_EVERY)).await.is_some() {
        tell(&traces.tally);
    }
}

fn tell(tally: &Tally) {
    let (spans, cause) = tally.take_lost();
    if spans > 0 {
        emit!(TRACES_LOST, spans, cause, "Spans were lost");
    }
    let (rows, task) = parent::take_ignored();
    if rows > 0 {
        emit!(TRACEPARENT_IGNORED, rows, task.id = task, "A trace context cannot be read");
    }
}

/// A span that is under way; nothing while traces are off. It ends when it is dropped, or when the work around which it
/// was put has ended.
#[derive(Debug, Default)]
#[must_use]
pub struct Span(Option<Context>);

impl Span {
    /// A child of `parent`, or of the span that this is called in. Without either it begins a trace. It is described
    /// only if it is recorded, because a description costs more than the rest.
    fn begin(
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<SpanContext>,
        links: impl IntoIterator<Item = SpanContext>,
        describe: impl FnOnce(&mut SdkSpan),
    ) -> Self {
        let Some(traces) = TRACES.get() else { return Self::default() };
        let links = links.into_iter().map(Link::with_context);
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_links(links.collect());
        let around = Context::current();
        let around =
            parent.map_or(around, |parent| Context::new().with_remote_span_context(parent));
        let mut span = traces.tracer.build_with_context(builder, &around);
        if span.is_recording() {
            describe(&mut span);
        }
        Self(Some(around.with_span(span)))
    }

    /// Puts the span around work: spans that begin in the work are its children.
    pub fn around<F: Future>(self, work: F) -> Either<WithContext<F>, F> {
        match self.0 {
            Some(context) => Either::Left(work.with_context(context)),
            None => Either::Right(work),
        }
    }

    /// The header `traceparent` that makes a span of another service its child.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span().span_context().clone();
        let flags = context.trace_flags().to_u8();
        Some(format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
    }

    fn set(&self, attribute: KeyValue) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(attribute);
        }
    }

    fn fail(&self, error: String) {
        if let Some(context) = &self.0 {
            fail(context, error);
        }
    }
}

/// Says how the work ended that the current span is around, and with which error, if it failed.
pub fn conclude(outcome: &'static str, error: Option<&str>) {
    if !are_on() {
        return;
    }
    let context = Context::current();
    context.span().set_attribute(KeyValue::new("outcome", outcome));
    if let Some(error) = error {
        fail(&context, error.to_owned());
    }
}

fn fail(context: &Context, error: String) {
    context.span().set_attribute(KeyValue::new("error.type", error));
    // A description would be free text.
    context.span().set_status(Status::error(""));
}
