//! All spans, with everything that they carry. Their attributes are ids, words and numbers that log lines have too;
//! never names, emails, texts of people, or URLs, which contain ids of members. `docs/traces.md` lists them.

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanContext, SpanKind};

use super::{Span, are_on};

/// One step of an attempt at a task: it reads the member and starts the operation, or polls the job.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub task: i64,
    pub workspace: &'a str,
    pub integration: &'a str,
    pub operation: &'static str,
    /// Counted from one.
    pub number: u32,
    pub row: Option<SpanContext>,
}

impl Attempt<'_> {
    /// The row is the parent of the first attempt. A later one may come a day after it, and begins a trace of its own.
    pub fn begin(self) -> Span {
        let (parent, link) = if self.number <= 1 { (self.row, None) } else { (None, self.row) };
        Span::begin("attempt", SpanKind::Internal, parent, link, |span| {
            span.set_attributes([
                KeyValue::new("task.id", self.task),
                KeyValue::new("workspace.id", self.workspace.to_owned()),
                KeyValue::new("integration.id", self.integration.to_owned()),
                KeyValue::new("operation", self.operation),
                KeyValue::new("attempt", i64::from(self.number)),
            ]);
        })
    }
}

/// A manual action that was opened.
#[derive(Debug)]
pub struct Action<'a> {
    pub action: i64,
    pub task: i64,
    pub integration: &'a str,
    pub operation: &'static str,
    pub row: Option<SpanContext>,
}

impl Action<'_> {
    pub fn record(self) {
        if !are_on() {
            return;
        }
        drop(Span::begin("action", SpanKind::Internal, None, self.row, |span| {
            span.set_attributes([
                KeyValue::new("action.id", self.action),
                KeyValue::new("task.id", self.task),
                KeyValue::new("integration.id", self.integration.to_owned()),
                KeyValue::new("operation", self.operation),
            ]);
        }));
    }
}

/// One step of a sync: it starts or polls the backend's job, or reads the members and judges actions.
#[derive(Debug)]
pub struct Sync<'a> {
    pub sync: i64,
    pub workspace: &'a str,
    pub integration: &'a str,
    pub procedure: &'static str,
    /// Of the tasks behind the actions that are unfinished.
    pub rows: Vec<SpanContext>,
}

impl Sync<'_> {
    pub fn begin(self) -> Span {
        Span::begin("sync", SpanKind::Internal, None, self.rows, |span| {
            span.set_attributes([
                KeyValue::new("sync.id", self.sync),
                KeyValue::new("workspace.id", self.workspace.to_owned()),
                KeyValue::new("integration.id", self.integration.to_owned()),
                KeyValue::new("procedure", self.procedure),
            ]);
        })
    }
}

/// What a sync says of one action.
#[derive(Debug)]
pub struct Verdict {
    pub action: i64,
    pub sync: i64,
    pub verdict: &'static str,
    /// The status of the action afterwards.
    pub status: &'static str,
    pub row: Option<SpanContext>,
}

impl Verdict {
    pub fn record(self) {
        if !are_on() {
            return;
        }
        drop(Span::begin("verdict", SpanKind::Internal, None, self.row, |span| {
            span.set_attributes([
                KeyValue::new("action.id", self.action),
                KeyValue::new("sync.id", self.sync),
                KeyValue::new("verdict", self.verdict),
                KeyValue::new("status", self.status),
            ]);
        }));
    }
}

impl Span {
    /// Around the transaction that records the outcomes of several tasks.
    pub fn batch(rows: impl ExactSizeIterator<Item = Option<SpanContext>>) -> Self {
        let tasks = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        Self::begin("batch", SpanKind::Internal, None, rows.flatten(), |span| {
            span.set_attribute(KeyValue::new("tasks", tasks));
        })
    }
}

/// A request to the backend.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    pub host: &'a str,
    pub port: Option<u16>,
}

impl Request<'_> {
    /// Named and described as the semantic conventions of OpenTelemetry say. The template of the path stands in place of
    /// the URL.
    pub fn begin<'t>(self, template: impl FnOnce() -> Option<&'t str>) -> Span {
        Span::begin(self.method.to_owned(), SpanKind::Client, None, None, |span| {
            span.set_attributes([
                KeyValue::new("http.request.method", self.method.to_owned()),
                KeyValue::new("server.address", self.host.to_owned()),
            ]);
            span.set_attributes(
                self.port.map(|port| KeyValue::new("server.port", i64::from(port))),
            );
            if let Some(template) = template() {
                span.update_name(format!("{} {template}", self.method));
                span.set_attribute(KeyValue::new("url.template", template.to_owned()));
            }
        })
    }
}

impl Span {
    /// Ends the span of a request: the status of the answer, and what went wrong.
    pub fn answered(self, status: Option<u16>, error: Option<&str>) {
        let status_code =
            status.map(|code| KeyValue::new("http.response.status_code", i64::from(code)));
        if let Some(attribute) = status_code {
            self.set(attribute);
        }
        match status.filter(|code| *code >= 400) {
            Some(code) => self.fail(code.to_string()),
            None => error.into_iter().for_each(|error| self.fail(error.to_owned())),
        }
    }
}
