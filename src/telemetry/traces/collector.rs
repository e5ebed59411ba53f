//! Sends spans to the collector: OTLP over HTTP, as protobuf.
//!
//! This is not the exporter of OpenTelemetry's own crate: that one takes headers, timeouts and protocols from variables
//! of the environment too, and its errors leave out why a request failed.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message;
use reqwest::Request;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::ExposeSecret;
use tokio::runtime::Handle;

use super::TracesError;
use super::queue::Tally;
use crate::config;
use crate::http_client;
use crate::telemetry::chain;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// The longest answer that is read. An answer says at most how many spans were rejected, and why.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Spans that are encoded for a collector that is not there cost a twentieth of the daemon's work. After a failure
/// nothing is sent for this long; the queue fills up, and a span that does not fit is dropped before it is encoded.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Collector {
    http: reqwest::Client,
    endpoint: reqwest::Url,
    /// The thread that exports has no runtime of its own.
    runtime: Handle,
    resource: ResourceAttributesWithSchema,
    tally: Arc<Tally>,
}

impl Collector {
    /// `None` if no collector is configured.
    pub(super) fn new(
        config: &config::Traces,
        tally: Arc<Tally>,
    ) -> Result<Option<Self>, TracesError> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
        let endpoint = reqwest::Url::parse(endpoint.expose_secret());
        let endpoint = endpoint.map_err(|_| TracesError::Endpoint)?;
        let http = http_client::direct()
            .default_headers(config.headers())
            .timeout(Duration::from_secs(config.timeout_s))
            .build()
            .map_err(TracesError::Client)?;
        let (runtime, resource) = (Handle::current(), ResourceAttributesWithSchema::default());
        Ok(Some(Self { http, endpoint, runtime, resource, tally }))
    }

    fn request(&self, spans: Vec<SpanData>) -> Request {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let mut request = Request::new(reqwest::Method::POST, self.endpoint.clone());
        request.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        *request.body_mut() = Some(body.into());
        request
    }

    /// Waits until the next batch may be sent: at once when the last spans are.
    async fn pause(&self) {
        let tally = Arc::clone(&self.tally);
        let pause = self.runtime.spawn(async move {
            let over = tokio::time::sleep(PAUSE_AFTER_FAILURE);
            tally.sends_the_last().run_until_cancelled(over).await;
        });
        // It fails only if the runtime ends, and then nothing is waited for.
        let _ = pause.await;
    }
}

impl SpanExporter for Collector {
    /// Losses are counted here, so nothing is an error for the caller.
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let count = spans.len();
        let sending = self.runtime.spawn(send(self.http.clone(), self.request(spans)));
        let sent = sending.await;
        self.tally.taken(count);
        match sent {
            Ok(Ok(0)) => {}
            Ok(Ok(rejected)) => {
                self.tally.lose(rejected.min(count), "the collector rejected some".to_owned());
            }
            Ok(Err(cause)) => {
                self.tally.lose(count, cause);
                self.pause().await;
            }
            Err(_) => self.tally.lose(count, "the daemon ends".to_owned()),
        }
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

/// Returns how many spans the collector rejected, or why it took none. The cause has neither the URL, which may contain
/// a key, nor what the collector said.
async fn send(http: reqwest::Client, request: Request) -> Result<usize, String> {
    let mut answer = http.execute(request).await.map_err(said)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("HTTP {}", status.as_u16()));
    }
    let body = http_client::body(&mut answer, LONGEST_ANSWER).await.map_err(said)?;
    Ok(rejected(&body.unwrap_or_default()))
}

fn said(error: reqwest::Error) -> String {
    chain(&error.without_url()).to_string()
}

/// An answer that cannot be read rejects nothing: its status said that the spans were accepted.
fn rejected(body: &[u8]) -> usize {
    let answer = ExportTraceServiceResponse::decode(body).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn after_a_failure_nothing_is_sent_for_a_while_unless_the_last_spans_are() {
        let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let endpoint = format!("http://{nowhere}/v1/traces").into();
        let config = config::Traces {
            otlp_endpoint: Some(endpoint),
            otlp_headers: None,
            otlp_headers_file: None,
            timeout_s: 10,
        };
        let tally = Arc::<Tally>::default();
        let collector = Collector::new(&config, Arc::clone(&tally)).unwrap().unwrap();

        let began = Instant::now();
        collector.export(Vec::new()).await.unwrap();
        assert!(began.elapsed() >= PAUSE_AFTER_FAILURE);

        tally.sends_the_last().cancel();
        let began = Instant::now();
        collector.export(Vec::new()).await.unwrap();
        assert!(began.elapsed() < PAUSE_AFTER_FAILURE);
    }
}
