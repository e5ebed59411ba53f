//! A collector of traces over HTTP, which decodes what it is sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use cerby_reconciler::text::hex;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message;
use tokio::net::TcpListener;

#[derive(Clone, Default)]
struct Shelf {
    spans: Arc<Mutex<Vec<Received>>>,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
    answer: Arc<Mutex<(StatusCode, Vec<u8>)>>,
}

pub(crate) struct Collector {
    address: SocketAddr,
    shelf: Shelf,
}

/// A span as tests read it: ids as W3C writes them.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the first of a trace.
    pub(crate) parent: String,
    /// Trace and span of each link.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) is_client: bool,
    pub(crate) has_failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Received {
    pub(crate) fn of(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shelf = Shelf::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(shelf.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, shelf }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    /// Answers with this from here on.
    pub(crate) fn answer_with(&self, status: StatusCode, body: Vec<u8>) {
        *self.shelf.answer.lock().unwrap() = (status, body);
    }

    pub(crate) fn spans(&self) -> Vec<Received> {
        self.shelf.spans.lock().unwrap().clone()
    }

    pub(crate) fn named(&self, name: &str) -> Vec<Received> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// The headers of the requests.
    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.shelf.headers.lock().unwrap().clone()
    }
}

async fn take(
    State(shelf): State<Shelf>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    shelf.headers.lock().unwrap().push(headers);
    let sent = ExportTraceServiceRequest::decode(body).expect("a body of OTLP");
    let spans = sent.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans = spans.flat_map(|scope| scope.spans).map(received);
    shelf.spans.lock().unwrap().extend(spans);
    shelf.answer.lock().unwrap().clone()
}

fn received(span: Span) -> Received {
    let attributes = span.attributes.into_iter().map(|one| {
        let value = one.value.and_then(|value| value.value);
        let text = match value {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (one.key, text)
    });
    Received {
        attributes: attributes.collect(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        is_client: span.kind == SpanKind::Client as i32,
        has_failed: span.status.is_some_and(|status| status.code == 2),
        name: span.name,
    }
}
