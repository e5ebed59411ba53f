//! Whatever a backend sends, a call ends within its time as an answer or as an error, and nothing but an
//! answer is taken for one.

use std::sync::{Arc, Mutex};

use cerby_reconciler::backend::{
    self, BackendError, Client, Failure, Progress, Snapshot, UpdateReport,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use testkit::http_server::{BODY, Heard, Reply, Server, client, error, ok, refused, somebody};
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Invite,
    ChangeRole,
    Remove,
    Member,
    Members,
    Job,
    DescribedJob,
    Person,
    StartSync,
    StartCheck,
    Report,
    ApplyReport,
    Integration,
}

use Call::{
    ApplyReport, ChangeRole, DescribedJob, Integration, Invite, Job, Member, Members, Person,
    Remove, Report, StartCheck, StartSync,
};

const CALLS: [Call; 13] = [
    Invite,
    ChangeRole,
    Remove,
    Member,
    Members,
    Job,
    DescribedJob,
    Person,
    StartSync,
    StartCheck,
    Report,
    ApplyReport,
    Integration,
];

/// Calls that are answered with the id of a new job.
const STARTS: [Call; 6] = [Invite, ChangeRole, Remove, StartSync, StartCheck, ApplyReport];

/// What a call took for its answer.
#[derive(Debug)]
enum Answer {
    Started(String),
    Exists,
    Nobody,
    NoReport,
    Member(Option<String>),
    Members(Snapshot),
    Job(Progress),
    DescribedJob(backend::DescribedJob),
    Person(backend::Person),
    Report(UpdateReport),
}

async fn call(which: Call, client: &Client) -> Result<Answer, BackendError> {
    let (key, roles) = (somebody(), ["EDITOR".to_owned()].into());
    let started = match which {
        Invite => client.invite(&key, "account_collaborator", &roles).await,
        ChangeRole => client.change_role(&key, &roles).await,
        Remove => client.remove(&key).await,
        StartSync => client.start_sync("acme", "app-1").await,
        StartCheck => client.start_check("acme", "app-1").await,
        ApplyReport => client.apply_report("acme", "app-1", "r1").await,
        Integration => return client.integration("acme", "app-1").await.map(|()| Answer::Exists),
        Job => return client.job("acme", "j1").await.map(|job| Answer::Job(job.progress)),
        DescribedJob => {
            return client.described_job("acme", "j1").await.map(Answer::DescribedJob);
        }
        Person => return client.person("acme", "jo").await.map(Answer::Person),
        Members => return client.members("acme", "app-1").await.map(Answer::Members),
        Member => {
            let seen = client.member(&key).await?;
            return Ok(seen.map_or(Answer::Nobody, |seen| Answer::Member(seen.member)));
        }
        Report => {
            let report = client.report("acme", "app-1").await?;
            return Ok(report.map_or(Answer::NoReport, |(report, _)| Answer::Report(report)));
        }
    };
    started.map(Answer::Started)
}

/// What the API promises for this call, in full.
fn promised(which: Call) -> Value {
    let user = |id: &str| {
        json!({"id": id, "type": "user", "attributes": {
            "email": format!("{id}@example.com"), "username": "a name", "invitation": "pending",
            "entitlements": [{"id": "EDITOR", "type": "entitlement"}],
        }})
    };
    match which {
        Member => json!({"data": user("jo")}),
        Members => json!({"data": [user("jo"), user("kim")], "links": {"next": null},
            "meta": {"page": {"total": 2, "maxSize": 100}}}),
        Integration => json!({"data": {"id": "app-1", "type": "account", "attributes": {}}}),
        Person => json!({"data": {"id": "jo", "type": "user", "attributes": {
            "email": "jo@example.com", "firstName": "Jo", "lastName": "Doe",
        }}}),
        DescribedJob => json!({"data": {"id": "j1", "type": "job", "attributes": {
            "status": "error", "createdAt": "2024-08-29T19:31:21.563+00:00",
            "workflowType": "revoke_access", "trigger": "workspace_policy",
            "account": {"id": "app-1", "name": "App", "provider": "asana_tenant"},
            "payload": {"userIds": ["jo", "kim"], "entitlements": [{"id": "EDITOR"}], "role": "member"},
            "createdBy": {"id": "sam", "name": "Sam"},
        }}}),
        Job => json!({"data": {"id": "j1", "type": "job", "attributes": {
            "status": "error", "canRetry": true, "createdAt": "2024-08-29T19:31:21.563+00:00",
            "errorDetails": {"errorType": "LoginTimeout", "userRequired": false,
                "message": "words", "screenshotUrl": "https://x.example/1"},
        }}}),
        Report => json!({"data": {"id": "r1", "type": "update_report", "attributes": {
            "status": "ready", "createdAt": "2024-08-29T19:31:21", "pages": 1,
            "membersRead": 2, "membersTotal": 2, "newUsers": [{"id": "a"}],
            "removedUsers": [{"id": "b"}], "updatedRoles": [{"id": "c"}],
        }}}),
        _ => json!({"data": {"id": "j1", "type": "job", "attributes": {"status": "created"}}}),
    }
}

/// The error as the name of its variant.
fn word(error: &BackendError) -> &'static str {
    match error {
        BackendError::Unreachable(_) => "unreachable",
        BackendError::NoAnswer(_) => "no answer",
        BackendError::UnexpectedResponse(_) => "nonsense",
        BackendError::RateLimited { .. } => "rate limited",
        BackendError::KeyRejected { .. } => "key refused",
        BackendError::Unavailable { .. } => "unavailable",
        BackendError::ServerError { .. } => "broken",
        BackendError::NotFound { .. } => "not found",
        BackendError::Refused { .. } => "refused",
    }
}

fn hasty(server: &Server) -> Client {
    let settings = [
        ("REQUEST_TIMEOUT_S", "2"),
        ("CONNECT_TIMEOUT_S", "1"),
        ("MAX_RESPONSE_KIB", "64"),
        ("MAX_PAGES", "3"),
    ];
    client(server.address, &settings)
}

/// A server that says what it is told to say next, with a client.
struct Parrot {
    next: Arc<Mutex<Reply>>,
    client: Client,
}

impl Parrot {
    async fn start() -> Self {
        Self::with_client(hasty).await
    }

    async fn with_client(client: impl Fn(&Server) -> Client) -> Self {
        let next = Arc::new(Mutex::new(Reply::Reset));
        let said = Arc::clone(&next);
        let server = Server::start(move |_| said.lock().expect("a whole reply").clone()).await;
        Self { next, client: client(&server) }
    }

    fn says(&self, reply: Reply) {
        *self.next.lock().expect("a whole reply") = reply;
    }

    async fn call(&self, which: Call, reply: Reply) -> Result<Answer, BackendError> {
        self.says(reply);
        call(which, &self.client).await
    }

    /// Every call at once, answered with this: all of them end as the same error.
    async fn each_ends_as(&self, expected: &str, reply: Reply) {
        self.says(reply.clone());
        let mut calls = JoinSet::new();
        for which in CALLS {
            let client = self.client.clone();
            calls.spawn(async move { (which, call(which, &client).await) });
        }
        for (which, outcome) in calls.join_all().await {
            let error = refused(outcome);
            assert_eq!(word(&error), expected, "{which:?} answered with {reply:?}: {error:?}");
        }
    }
}

fn raw(text: &str) -> Reply {
    Reply::Raw(text.as_bytes().to_vec())
}

fn whole(status: u16, body: impl Into<String>) -> Reply {
    Reply::Whole(status, "", body.into())
}

// ---- the way of the bytes ----

#[tokio::test]
async fn what_ends_before_its_end_is_a_lost_answer() {
    let parrot = Parrot::start().await;
    let many = "x-header: x\r\n".repeat(2000);
    for text in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\": {\"id\": \"j1\"}}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"data\"",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n16\r\n{\"data\": {\"id\": \"j1\"}}\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nmany\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{\"data\": {\"id\": \"j1\"}}",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 22\r\n\r\n{\"data\": {\"id\": \"j1\"}}",
        "HTTP/1.1 two hundred\r\n\r\n{\"data\": {\"id\": \"j1\"}}",
        "HTTP/1.1 20 OK\r\n\r\n{\"data\": {\"id\": \"j1\"}}",
        "HTTP/7.0 200 OK\r\n\r\n{\"data\": {\"id\": \"j1\"}}",
        "220 mail.example ESMTP\r\n\r\n",
        "{\"data\": {\"id\": \"j1\"}}",
        "\u{16}\u{3}\u{1}\u{2}",
        &format!("HTTP/1.1 200 OK\r\n{many}\r\n{{\"data\": {{\"id\": \"j1\"}}}}"),
    ] {
        parrot.each_ends_as("no answer", raw(text)).await;
    }
    parrot.each_ends_as("no answer", Reply::Reset).await;
}

#[tokio::test]
async fn what_comes_too_slowly_ends_with_the_time_that_a_request_has() {
    let slow = [(200, "no answer"), (503, "unavailable"), (429, "rate limited")];
    let mut replies = JoinSet::new();
    for (status, expected) in slow {
        replies.spawn(async move {
            Parrot::start().await.each_ends_as(expected, Reply::Trickle(status)).await;
        });
    }
    replies.join_all().await;
}

#[tokio::test]
async fn a_body_without_an_end_is_read_as_far_as_allowed_and_hides_no_status() {
    // Less is allowed than even a busy machine reads in time.
    let parrot = Parrot::with_client(|server| {
        let limits = [("MAX_RESPONSE_KIB", "1024"), ("MAX_REPORT_KIB", "1024")];
        client(server.address, &limits)
    })
    .await;
    for (status, expected) in [
        (200, "nonsense"),
        (404, "nonsense"),
        (429, "rate limited"),
        (401, "key refused"),
        (400, "refused"),
        (500, "broken"),
        (503, "unavailable"),
    ] {
        parrot.each_ends_as(expected, Reply::Endless(status)).await;
    }
}

#[tokio::test]
async fn statuses_that_come_before_the_answer_are_not_the_answer() {
    let parrot = Parrot::start().await;
    let before = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let after = "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n";
    parrot.each_ends_as("unavailable", raw(&format!("{before}{after}"))).await;
    parrot.each_ends_as("no answer", raw(before)).await;
}

#[tokio::test]
async fn a_kept_connection_that_closes_on_a_request_loses_its_answer_and_is_not_asked_again() {
    let server = Server::start(|heard| match heard.method.as_str() {
        "GET" => ok(&promised(Integration)),
        _ => raw(""),
    })
    .await;
    let client = hasty(&server);
    client.integration("acme", "app-1").await.unwrap();
    let error = refused(client.remove(&somebody()).await);
    assert!(matches!(error, BackendError::NoAnswer(_)), "{error:?}");
    let removals = server.heard().iter().filter(|heard| heard.method == "DELETE").count();
    assert_eq!(removals, 1);
    client.integration("acme", "app-1").await.unwrap();
}

// ---- statuses ----

#[tokio::test]
async fn every_status_has_its_meaning_whatever_the_body() {
    let parrot = Parrot::start().await;
    let html = format!("<html>{BODY}</html>");
    let table: [(&[u16], &str); 8] = [
        (&[101, 204, 205, 300, 301, 303, 304, 399], "nonsense"),
        (&[404, 410], "nonsense"),
        (&[401, 403], "key refused"),
        (&[429], "rate limited"),
        (&[408, 502, 503, 504], "unavailable"),
        (&[400, 402, 405, 409, 413, 418, 422, 451, 499], "refused"),
        (&[500, 501, 505, 520, 599, 600, 999], "broken"),
        (&[200, 201, 202, 203, 206, 299], "nonsense"),
    ];
    for (statuses, expected) in table {
        for status in statuses {
            for body in [html.as_str(), "", "null", "[]", "{}"] {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
                parrot.each_ends_as(expected, raw(&format!("{head}{body}"))).await;
            }
        }
    }
}

#[tokio::test]
async fn only_an_error_body_makes_a_404_the_word_of_the_backend() {
    let parrot = Parrot::start().await;
    for status in [404, 410] {
        parrot.each_ends_as("not found", error(status, "integration_not_found", json!(404))).await;
        for body in [json!({"errors": []}), json!({"errors": {}}), promised(Member)] {
            parrot.each_ends_as("nonsense", whole(status, body.to_string())).await;
        }
    }
}

#[tokio::test]
async fn no_status_but_a_success_brings_an_answer() {
    for status in [201, 202, 203, 206] {
        let server = Server::start(move |heard| answer(heard, status, |_| {})).await;
        let client = hasty(&server);
        for which in CALLS {
            call(which, &client).await.unwrap();
        }
    }
    for status in [300, 302, 400, 401, 404, 429, 500, 503] {
        let server = Server::start(move |heard| answer(heard, status, |_| {})).await;
        let client = hasty(&server);
        for which in CALLS {
            refused(call(which, &client).await);
        }
    }
}

/// Which call a request is.
fn asked(heard: &Heard) -> Call {
    let path = heard.target.split('?').next().unwrap_or_default();
    match (heard.method.as_str(), path.rsplit('/').next().unwrap_or_default()) {
        ("GET", "jo") if path.contains("/integrations/") => Member,
        ("GET", "jo") => Person,
        ("GET", "users") => Members,
        ("GET", "j1") => Job,
        ("GET", "update-report") => Report,
        ("GET", _) => Integration,
        _ => Remove,
    }
}

/// The promised answer with a change and a status.
fn answer(heard: &Heard, status: u16, change: impl Fn(&mut Value)) -> Reply {
    let mut body = promised(asked(heard));
    change(&mut body);
    whole(status, body.to_string())
}

// ---- bodies ----

#[tokio::test]
async fn what_is_not_an_object_with_the_promised_data_is_nonsense() {
    let parrot = Parrot::start().await;
    let deep = format!("{{\"data\": {}", "[".repeat(50_000));
    let closed = format!("{{\"data\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let utf_16: String = "{\"data\"".chars().flat_map(|c| [c, '\0']).collect();
    let bodies = [
        deep.as_str(),
        &closed,
        &utf_16,
        "\u{feff}{\"data\": {\"id\": \"j1\"}}",
        "{\"data\": {\"id\": \"j1\"}} {\"data\": {\"id\": \"j1\"}}",
        "{\"data\": {\"id\": \"j1\"}, \"data\": {\"id\": \"j1\"}}",
        "{'data': {'id': 'j1'}}",
        "NaN",
        "7",
        "\"j1\"",
        "[]",
        "[[]]",
        "[[\"j1\"]]",
        "[{\"id\": \"j1\"}]",
        "[{\"id\": \"app-1\"}]",
        "{\"data\": null}",
        "{\"data\": 7}",
        "{\"data\": \"j1\"}",
        "{\"data\": [\"j1\"]}",
        "{\"data\": [\"app-1\"]}",
        "{\"data\": [\"j1\", [\"finished\"]]}",
        "{\"data\": [\"jo\", [\"jo@example.com\"]]}",
        "{\"data\": [[\"jo\", [\"jo@example.com\"]]]}",
        "{\"data\": {\"id\": null}}",
        "{\"data\": {\"id\": {}}}",
        "{\"Data\": {\"id\": \"j1\"}}",
    ];
    for body in bodies {
        parrot.each_ends_as("nonsense", whole(200, body)).await;
    }
    let mut not_text =
        b"HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{\"data\": {\"id\": \"\xff\xfe\"}}".to_vec();
    parrot.each_ends_as("nonsense", Reply::Raw(not_text.clone())).await;
    not_text.splice(15..15, b"\r\ncontent-encoding: gzip".iter().copied());
    parrot.each_ends_as("nonsense", Reply::Raw(not_text)).await;
}

#[tokio::test]
async fn errors_of_any_shape_beside_the_promised_data_are_no_success() {
    let deep: Value = (0..100).fold(json!({}), |inside, _| json!([inside]));
    let shapes = [
        (json!({}), "nonsense"),
        (json!({"code": "a_code"}), "nonsense"),
        (json!("text"), "nonsense"),
        (json!(true), "nonsense"),
        (json!(0), "nonsense"),
        (json!([[]]), "refused"),
        (json!([null]), "refused"),
        (deep, "refused"),
        (json!([{"status": "503"}]), "unavailable"),
        (json!([{"status": 700}]), "refused"),
        (json!([{"status": -404}]), "refused"),
    ];
    for (errors, expected) in shapes {
        let shape = errors.clone();
        let server =
            Server::start(move |heard| answer(heard, 200, |body| body["errors"] = errors.clone()))
                .await;
        let client = hasty(&server);
        for which in CALLS {
            let error = refused(call(which, &client).await);
            assert_eq!(word(&error), expected, "{which:?} beside {shape}");
        }
    }
}

#[tokio::test]
async fn an_empty_list_of_errors_beside_the_promised_data_is_a_success() {
    for errors in [json!([]), Value::Null] {
        let server =
            Server::start(move |heard| answer(heard, 200, |body| body["errors"] = errors.clone()))
                .await;
        let client = hasty(&server);
        for which in CALLS {
            call(which, &client).await.unwrap();
        }
    }
}

/// The pointer of every value in it.
fn places(value: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    match value {
        Value::Object(entries) => entries
            .iter()
            .for_each(|(name, value)| self::places(value, &format!("{at}/{name}"), places)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, value)| self::places(value, &format!("{at}/{index}"), places)),
        _ => {}
    }
}

fn without(body: &mut Value, place: &str) {
    let (parent, name) = place.rsplit_once('/').unwrap_or_default();
    match body.pointer_mut(parent) {
        Some(Value::Object(entries)) => drop(entries.remove(name)),
        Some(Value::Array(list)) => drop(list.remove(name.parse().expect("an index"))),
        _ => *body = Value::Null,
    }
}

/// Whether an answer says no more than the body that it was read from.
fn is_backed(answer: &Answer, body: &Value) -> bool {
    let data = &body["data"];
    let is_absence = matches!(answer, Answer::Nobody | Answer::NoReport);
    let are_no_errors = body["errors"].is_null() || body["errors"] == json!([]);
    is_absence && body["errors"][0]["code"].is_string()
        || are_no_errors
            && match answer {
                Answer::Started(id) => {
                    data["id"] == **id && !matches!(id.as_str(), "" | "." | "..")
                }
                Answer::Exists => data["id"] == "app-1",
                Answer::Member(id) => {
                    data["attributes"].is_object() && id.as_ref().is_none_or(|id| id == "jo")
                }
                Answer::Members(snapshot) => {
                    let listed = data.as_array().map_or(0, Vec::len);
                    let total = &body["meta"]["page"]["total"];
                    let agrees = total.as_f64() == Some(listed as f64);
                    let next = &body["links"]["next"];
                    let is_last =
                        next.as_str().map_or(next.is_null(), |text| text.trim().is_empty());
                    !snapshot.is_complete() || agrees && is_last && snapshot.members.len() == listed
                }
                Answer::Job(progress) => {
                    let status = &data["attributes"]["status"];
                    let is_ours = data["id"].is_null() || data["id"] == "j1";
                    is_ours
                        && match progress {
                            Progress::Finished => status == "finished",
                            Progress::Failed(_) => status == "error",
                            Progress::Running => {
                                status.is_string() && status != "finished" && status != "error"
                            }
                        }
                }
                // Whom it changes is what the body says, and nobody is left out.
                Answer::DescribedJob(job) => {
                    let about = &data["attributes"]["payload"]["userIds"];
                    let is_ours = data["id"].is_null() || data["id"] == "j1";
                    is_ours
                        && (job.members.is_empty() && about.is_null()
                            || *about == json!(job.members))
                }
                Answer::Person(person) => {
                    let is_ours = data["id"].is_null() || data["id"] == "jo";
                    // Without what no row can store.
                    let email = data["attributes"]["email"].as_str().unwrap_or_default();
                    let email = email.replace(char::is_control, "");
                    is_ours && person.email.as_ref().is_none_or(|text| email == *text)
                }
                Answer::Report(report) => {
                    let status = &data["attributes"]["status"];
                    status == if report.applied { "applied" } else { "ready" }
                        && ["newUsers", "removedUsers", "updatedRoles"]
                            .iter()
                            .all(|list| data["attributes"][list].is_array())
                }
                Answer::Nobody | Answer::NoReport => false,
            }
}

#[tokio::test]
async fn no_answer_says_more_than_its_body_wherever_that_is_wrong() {
    let parrot = Parrot::start().await;
    let odd = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!(" "),
        json!(".."),
        json!("a\u{0}b"),
        json!("x".repeat(300)),
        json!("another"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"id": "another"}),
    ];
    let mut answered = 0;
    for which in [Remove, Member, Members, Job, DescribedJob, Person, Report, Integration] {
        let mut everywhere = Vec::new();
        places(&promised(which), "", &mut everywhere);
        for place in everywhere {
            let changed = odd.iter().map(|odd| {
                let mut body = promised(which);
                body.pointer_mut(&place).into_iter().for_each(|value| *value = odd.clone());
                body
            });
            let mut removed = promised(which);
            without(&mut removed, &place);
            for body in changed.chain([removed]) {
                let answer = parrot.call(which, whole(200, body.to_string())).await;
                answered += u32::from(answer.is_ok());
                if let Ok(answer) = answer {
                    assert!(is_backed(&answer, &body), "{which:?} {place} {body}: {answer:?}");
                }
            }
        }
    }
    assert!(answered > 50, "only {answered} were answers, so this proves little");
}

#[tokio::test]
async fn the_id_of_a_new_job_is_one_that_paths_and_rows_can_hold() {
    let parrot = Parrot::start().await;
    let ids = [
        ("j", true),
        ("a/b?c#d", true),
        ("...", true),
        (&"x".repeat(200), true),
        (&"x".repeat(201), false),
        ("", false),
        (" ", false),
        (".", false),
        ("..", false),
        ("a b", false),
        ("a\nb", false),
        ("a\u{0}", false),
        ("a\u{7f}", false),
        ("a\u{85}", false),
    ];
    for (id, is_one) in ids {
        for which in STARTS {
            let answer = parrot.call(which, ok(&json!({"data": {"id": id}}))).await;
            match answer {
                Ok(Answer::Started(started)) => assert!(is_one && started == id, "{id:?}"),
                Err(BackendError::UnexpectedResponse(_)) => assert!(!is_one, "{id:?}"),
                other => panic!("{id:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_answer_about_something_else_is_none() {
    let parrot = Parrot::start().await;
    for which in [Member, Job, DescribedJob, Person, Integration] {
        let mut body = promised(which);
        parrot.call(which, ok(&body)).await.unwrap();
        body["data"]["id"] = json!("another");
        let error = refused(parrot.call(which, ok(&body)).await);
        assert_eq!(word(&error), "nonsense", "{which:?}");
    }
}

// ---- jobs and reports ----

async fn progress_of(parrot: &Parrot, attributes: Value) -> Progress {
    let reply = ok(&json!({"data": {"id": "j1", "attributes": attributes}}));
    match parrot.call(Job, reply).await {
        Ok(Answer::Job(progress)) => progress,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failed_job_stays_one_whatever_its_details_are() {
    let parrot = Parrot::start().await;
    let failed = |failure| Progress::Failed(failure);
    let odd = [
        Value::Null,
        json!({}),
        json!([]),
        json!(["LoginTimeout"]),
        json!("LoginTimeout"),
        json!(7),
        json!({"errorType": 7, "message": [], "screenshotUrl": {}, "userRequired": "perhaps"}),
        json!({"errorType": "\u{e9}", "screenshotUrl": "javascript:alert(1)"}),
        json!({"screenshotUrl": "https://x.example/a b"}),
        json!({"screenshotUrl": format!("https://x.example/{}", "x".repeat(2000))}),
    ];
    for details in odd {
        let attributes = json!({"status": "error", "canRetry": [], "createdAt": 7,
            "errorDetails": details.clone()});
        let progress = progress_of(&parrot, attributes).await;
        assert_eq!(progress, failed(Failure::default()), "{details}");
    }
    let words = [(json!("False"), Some(false)), (json!("true"), Some(true)), (json!("no"), None)];
    for (word, expected) in words {
        let details =
            json!({"userRequired": word, "errorType": "A\u{0}b\n", "message": "a\u{0}b\nc"});
        let attributes = json!({"status": "error", "canRetry": word, "errorDetails": details});
        let expected = Failure {
            code: Some("Ab".to_owned()),
            message: Some("ab\nc".to_owned()),
            can_retry: expected,
            user_required: expected,
            ..Failure::default()
        };
        assert_eq!(progress_of(&parrot, attributes).await, failed(expected), "{word}");
    }
    let long = json!({"status": "error", "errorDetails": {"message": "é".repeat(5000)}});
    let Progress::Failed(failure) = progress_of(&parrot, long).await else { panic!("not failed") };
    assert_eq!(failure.message.unwrap().chars().count(), 2000);
}

#[tokio::test]
async fn a_broken_character_hides_no_more_than_itself() {
    let parrot = Parrot::start().await;
    let broken = [
        &br"\ud83d"[..],
        br"\ude00 \ud83d",
        br"\ud83d\n",
        br"\u12",
        br"\x",
        b"\x01 \t",
        b"\xff\xf0\x9f",
    ];
    let fields = [
        // In a job, what its failure says: a word that matters beside a text that is broken.
        (Job, "message", br#"{"data": {"id": "j1", "attributes": {"status": "error", "errorDetails":
            {"errorType": "NotEnoughSeats", "message": "BROKEN", "more": 1e999}, "more": NaN}}}"#.to_vec()),
        (Member, "an unused field", br#"{"data": {"id": "jo", "attributes": {"entitlements": [],
            "email": "jo@example.com", "photo": "BROKEN", "score": 1e999, "more": -Infinity}}}"#.to_vec()),
        (Members, "an unused field", br#"{"data": [{"id": "jo", "attributes": {"entitlements": [],
            "photo": "BROKEN", "score": 1e999}}], "meta": {"page": {"total": 1}}, "more": "BROKEN"}"#.to_vec()),
        (Integration, "an unused field", br#"{"data": {"id": "app-1", "name": "BROKEN"}}"#.to_vec()),
        (Invite, "an unused field", br#"{"data": {"id": "j1", "name": "BROKEN"}}"#.to_vec()),
    ];
    for (call, field, body) in fields {
        for broken in broken {
            let text = body.as_slice();
            let mut whole = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
            for part in text.split(|byte| *byte == b'B').enumerate() {
                match part {
                    (0, part) => whole.extend_from_slice(part),
                    (_, part) => {
                        whole.extend_from_slice(broken);
                        whole.extend_from_slice(&part["ROKEN".len()..]);
                    }
                }
            }
            let answer = parrot.call(call, Reply::Raw(whole)).await;
            let is_read = match &answer {
                Ok(Answer::Job(Progress::Failed(failure))) => {
                    failure.code.as_deref() == Some("NotEnoughSeats") && failure.message.is_some()
                }
                Ok(Answer::Members(snapshot)) => {
                    snapshot.is_complete() && snapshot.members.len() == 1
                }
                Ok(_) => true,
                Err(_) => false,
            };
            assert!(is_read, "{call:?}, {field}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn words_that_nobody_knows_are_a_job_that_still_runs() {
    let parrot = Parrot::start().await;
    for status in
        ["retrying", "paused", "", " finished", "finished ", "ERROR", "Finished", "failed"]
    {
        let details = json!({"errorType": "LoginTimeout"});
        let attributes = json!({"status": status, "errorDetails": details, "canRetry": false});
        assert_eq!(progress_of(&parrot, attributes).await, Progress::Running, "{status:?}");
    }
}

#[tokio::test]
async fn a_report_that_is_neither_ready_nor_applied_is_none_to_apply() {
    let parrot = Parrot::start().await;
    for status in [json!("building"), json!("failed"), json!("READY"), json!(""), Value::Null] {
        let mut body = promised(Report);
        body["data"]["attributes"]["status"] = status.clone();
        let error = refused(parrot.call(Report, ok(&body)).await);
        assert_eq!(word(&error), "nonsense", "{status}");
    }
}

#[tokio::test]
async fn a_time_is_read_in_every_common_form_and_is_otherwise_none() {
    let parrot = Parrot::start().await;
    let at = Some("2024-08-29T19:31:21Z".parse().unwrap());
    for (time, expected) in [
        (json!("2024-08-29T21:31:21+0200"), at),
        (json!("2024-08-29 19:31:21+00:00"), at),
        (json!("2024-08-29T19:31:21z"), at),
        (json!("2024-08-29"), None),
        (json!("2024-02-30T00:00:00Z"), None),
        (json!("99999999-01-01T00:00:00Z"), None),
        (json!("now"), None),
        (json!("20240829T193121Z"), at),
        (json!(1_724_959_881), at),
        (json!(true), None),
        (json!([]), None),
    ] {
        let mut body = promised(Report);
        body["data"]["attributes"]["createdAt"] = time.clone();
        let Ok(Answer::Report(report)) = parrot.call(Report, ok(&body)).await else {
            panic!("{time}: no report");
        };
        assert_eq!(report.created_at, expected, "{time}");
    }
}

#[tokio::test]
async fn a_count_that_is_none_makes_the_snapshot_fail() {
    let parrot = Parrot::start().await;
    for total in [json!(-1), json!(0.5), json!("2"), json!([]), json!(true)] {
        let body = json!({"data": [], "meta": {"page": {"total": total.clone()}}});
        let error = refused(parrot.call(Members, ok(&body)).await);
        assert_eq!(word(&error), "nonsense", "{total}");
    }
}

// ---- anything ----

/// JSON out of the words of the API.
fn anything() -> impl Strategy<Value = Value> {
    let words = vec![
        "j1",
        "jo",
        "app-1",
        "finished",
        "error",
        "ready",
        "404",
        "user_not_found",
        "report_not_found",
        "",
    ];
    let names = [
        "data",
        "errors",
        "id",
        "attributes",
        "status",
        "code",
        "links",
        "next",
        "meta",
        "page",
        "total",
        "email",
        "entitlements",
        "newUsers",
        "removedUsers",
        "updatedRoles",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        proptest::sample::select(words).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        let name = proptest::sample::select(names.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// The promised answer with anything anywhere in it.
fn nearly_promised() -> impl Strategy<Value = Value> {
    let which = proptest::sample::select(&[Remove, Member, Members, Job, Report, Integration][..]);
    (which, any::<prop::sample::Index>(), anything()).prop_map(|(which, index, odd)| {
        let mut body = promised(which);
        let mut everywhere = Vec::new();
        places(&body, "", &mut everywhere);
        let place = &everywhere[index.index(everywhere.len())];
        body.pointer_mut(place).into_iter().for_each(|value| *value = odd.clone());
        body
    })
}

#[test]
fn whatever_comes_is_no_answer_unless_status_and_body_both_say_so() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let parrot = runtime.block_on(Parrot::start());
    let bodies = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        2 => anything().prop_map(|body| body.to_string().into_bytes()),
        3 => nearly_promised().prop_map(|body| body.to_string().into_bytes()),
    ];
    let statuses = prop_oneof![2 => 200..300_u16, 1 => 300..1000_u16];
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(statuses, bodies), |(status, bytes)| {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", bytes.len());
        let reply = Reply::Raw([head.as_bytes(), &bytes].concat());
        for which in CALLS {
            if let Ok(answer) = runtime.block_on(parrot.call(which, reply.clone())) {
                let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let is_absence = matches!(answer, Answer::Nobody | Answer::NoReport);
                prop_assert!(
                    status < 300 || is_absence && status == 404,
                    "{status} brought {answer:?}"
                );
                prop_assert!(is_backed(&answer, &body), "{which:?} {body} brought {answer:?}");
            }
        }
        Ok(())
    });
    outcome.unwrap();
}
