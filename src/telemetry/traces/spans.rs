//! All spans, with everything that they carry. Their attributes are ids, words and numbers that log lines have too;
//! never names, emails, texts of people, or URLs, which contain ids of members. `docs/traces.md` lists them.

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanKind};

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
        let attributes = vec![
            KeyValue::new("task.id", self.task),
            KeyValue::new("workspace.id", self.workspace.to_owned()),
            KeyValue::new("integration.id", self.integration.to_owned()),
            KeyValue::new("operation", self.operation),
            KeyValue::new("attempt", i64::from(self.number)),
        ];
        Span::begin("attempt".to_owned(), SpanKind::Internal, parent, link, attributes)
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
        let attributes = vec![
            KeyValue::new("action.id", self.action),
            KeyValue::new("task.id", self.task),
            KeyValue::new("integration.id", self.integration.to_owned()),
            KeyValue::new("operation", self.operation),
        ];
        drop(Span::begin("action".to_owned(), SpanKind::Internal, None, self.row, attributes));
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
        let attributes = vec![
            KeyValue::new("sync.id", self.sync),
            KeyValue::new("workspace.id", self.workspace.to_owned()),
            KeyValue::new("integration.id", self.integration.to_owned()),
            KeyValue::new("procedure", self.procedure),
        ];
        Span::begin("sync".to_owned(), SpanKind::Internal, None, self.rows, attributes)
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
        let attributes = vec![
            KeyValue::new("action.id", self.action),
            KeyValue::new("sync.id", self.sync),
            KeyValue::new("verdict", self.verdict),
            KeyValue::new("status", self.status),
        ];
        drop(Span::begin("verdict".to_owned(), SpanKind::Internal, None, self.row, attributes));
    }
}

impl Span {
    /// Around the transaction that records the outcomes of several tasks.
    pub fn batch(rows: impl ExactSizeIterator<Item = Option<SpanContext>>) -> Self {
        let attributes =
            vec![KeyValue::new("tasks", i64::try_from(rows.len()).unwrap_or(i64::MAX))];
        Self::begin("batch".to_owned(), SpanKind::Internal, None, rows.flatten(), attributes)
    }
}

/// A request to the backend.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The template of the path, in place of the URL.
    pub template: Option<&'a str>,
    pub host: &'a str,
    pub port: Option<u16>,
}

impl Request<'_> {
    /// Named and described as the semantic conventions of OpenTelemetry say.
    pub fn begin(self) -> Span {
        let method = self.method.to_owned();
        let name = self.template.map(|template| format!("{method} {template}"));
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.clone()),
            KeyValue::new("server.address", self.host.to_owned()),
        ];
        attributes.extend(self.port.map(|port| KeyValue::new("server.port", i64::from(port))));
        attributes.extend(self.template.map(|it| KeyValue::new("url.template", it.to_owned())));
        Span::begin(name.unwrap_or(method), SpanKind::Client, None, None, attributes)
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
