//! The API: every route in every role, about one's own rows and foreign ones, and what is refused.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use cerby_reconciler::access::{Access, Role};
use cerby_reconciler::config::{Config, Operators};
use cerby_reconciler::history::EventFilter;
use cerby_reconciler::operator::desk::{Actor, Desk, TrailReader};
use cerby_reconciler::operator::{api, listener as doors};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::access::with_rows;
use crate::doors_of;
use crate::support::log::Log;

const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Administrator];

/// The API on an address of its own, with a token of each role that is bound to the workspace acme.
struct Api {
    url: String,
    pool: PgPool,
    desk: Desk,
    tokens: BTreeMap<Role, String>,
    client: Client,
    _stop: DropGuard,
}

impl Api {
    async fn new(pool: PgPool) -> Self {
        let pool = with_rows(pool).await;
        let desk = Desk::new(pool.clone().into());
        let kim = Actor::named("kim").unwrap();
        let mut tokens = BTreeMap::new();
        for role in ROLES {
            let access = Access { role, workspaces: Some(vec!["acme".to_owned()]) };
            let token = desk.create_token(&kim, role.as_str(), &access, 1).await.unwrap();
            tokens.insert(role, token.expose_secret().to_owned());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let defaults = Config::from_sources(None, Some([].into())).unwrap().operators;
        let config = Operators {
            max_connections: 20,
            max_streams: 2,
            request_timeout_s: 2,
            wrong_tokens_per_minute: 3,
            ..defaults
        };
        let stop = CancellationToken::new();
        tokio::spawn(doors::serve(listener, config, doors_of(desk.clone()), stop.clone()));
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().unwrap();
        Self { url, pool, desk, tokens, client, _stop: stop.drop_guard() }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    fn as_role(&self, role: Role, method: Method, path: &str) -> RequestBuilder {
        self.ask(method, path).bearer_auth(&self.tokens[&role])
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.as_role(Role::Operator, Method::GET, path)
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.as_role(Role::Operator, Method::POST, path).json(body)
    }

    async fn run(&self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&self.pool).await.unwrap();
    }

    async fn etag(&self, path: &str) -> String {
        let card = self.get(path).send().await.unwrap();
        card.headers()["etag"].to_str().unwrap().to_owned()
    }
}

async fn said(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let (status, kind) = (response.status(), response.headers().get("content-type").cloned());
    let body = response.text().await.unwrap();
    if !status.is_success() {
        assert_eq!(kind.unwrap(), "application/problem+json", "{status} {body}");
    }
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// Whose rows a request is about: the workspace, and the ids in it.
#[derive(Debug, Clone, Copy)]
struct Rows {
    workspace: &'static str,
    id: &'static str,
}

const OWN: Rows = Rows { workspace: "acme", id: "1" };
const FOREIGN: Rows = Rows { workspace: "globex", id: "2" };
const UNKNOWN: Rows = Rows { workspace: "nowhere", id: "4711" };

/// A request of the document: its method, its path with all that it can have in it, and its body.
struct Route {
    method: Method,
    path: String,
    parameters: Vec<(String, Vec<String>)>,
    body: Option<String>,
}

fn routes() -> Vec<Route> {
    let document = api::document();
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            // Webhooks are signed and need no token: they have stories of their own.
            if operation["security"] == json!([{}]) {
                continue;
            }
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let words = |schema: &Value| {
                let name = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next());
                let schema = name.map_or(schema, |name| &document["components"]["schemas"][name]);
                let plain = schema["enum"].as_array().cloned().unwrap_or_default();
                let described = schema["oneOf"].as_array().cloned().unwrap_or_default();
                let described =
                    described.iter().flat_map(|one| one["enum"].as_array().cloned().unwrap());
                plain
                    .into_iter()
                    .chain(described)
                    .map(|word| word.as_str().unwrap().to_owned())
                    .collect()
            };
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            routes.push(Route {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                parameters: in_path
                    .map(|one| (one["name"].as_str().unwrap().to_owned(), words(&one["schema"])))
                    .collect(),
                body: body.as_str().and_then(|name| name.rsplit('/').next()).map(str::to_owned),
            });
        }
    }
    // What is deleted cannot be changed.
    routes.sort_by_key(|route| route.method == Method::DELETE);
    routes
}

impl Route {
    /// Every path about these rows, one for each word that stands in it.
    fn paths(&self, rows: Rows) -> Vec<String> {
        let (mut paths, event) = (vec![self.path.clone()], format!("event-{}", rows.id));
        for (name, words) in &self.parameters {
            let value = match name.as_str() {
                "workspace" => rows.workspace,
                "event" => &event,
                "id" if self.path.contains("{workspace}") => "an-app",
                "id" => rows.id,
                _ => "",
            };
            let values = if words.is_empty() { vec![value.to_owned()] } else { words.clone() };
            paths = paths
                .iter()
                .flat_map(|path| {
                    values.iter().map(move |value| path.replace(&format!("{{{name}}}"), value))
                })
                .collect();
        }
        let is_list = self.method == Method::GET && self.parameters.is_empty();
        let query = format!("?workspace={}", rows.workspace);
        if is_list && !self.path.ends_with("stream") {
            paths.iter_mut().for_each(|path| path.push_str(&query));
        }
        paths
    }

    /// A right body. A new kind of body has to be added here.
    fn body(&self, rows: Rows) -> Option<Value> {
        let id: i64 = rows.id.parse().unwrap();
        Some(match self.body.as_deref()? {
            "ActionWords" => json!({ "note": "why", "to": "token:administrator" }),
            "IntegrationWords" | "Reason" => json!({ "reason": "why" }),
            "Return" => {
                json!({ "workspace": rows.workspace, "integration": "an-app", "reason": "why" })
            }
            "ViewWords" => {
                json!({ "name": "a view", "page": "actions", "query": "overdue=1", "shared_in": rows.workspace })
            }
            "Batch" => json!({ "verb": "claim", "items": [{ "id": id, "revision": 1 }] }),
            other => panic!("a body of {other} belongs into this test"),
        })
    }

    fn request(&self, api: &Api, role: Option<Role>, path: &str, rows: Rows) -> RequestBuilder {
        let request = match role {
            Some(role) => api.as_role(role, self.method.clone(), path),
            None => api.ask(self.method.clone(), path),
        };
        let request = request.header("if-match", "*");
        match self.body(rows) {
            Some(body) => request.json(&body),
            None => request,
        }
    }
}

/// The status and the text; a stream has no end, so its text is not read. Of a batch, the status of its one answer.
async fn answer(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type");
    let is_stream = kind.is_some_and(|kind| kind == "text/event-stream");
    let text = if is_stream { String::new() } else { response.text().await.unwrap() };
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let status = body["answers"][0]["status"].as_u64().map_or(status, |status| status as u16);
    (status, text)
}

/// The text with a word for the number, and without the time at which a report was read.
fn without_number(text: &str, number: &str) -> String {
    let mut body: Value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    if let Some(body) = body.as_object_mut() {
        body.remove("read_at");
    }
    let text = body.to_string();
    let words = text.split_inclusive(|c: char| !c.is_ascii_digit()).map(|word| {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        if digits == number { word.replacen(number, "ID", 1) } else { word.to_owned() }
    });
    words.collect()
}

#[sqlx::test(migrations = false)]
async fn no_route_answers_without_a_token(pool: PgPool) {
    let api = Api::new(pool).await;
    for route in routes() {
        for path in route.paths(OWN) {
            let (status, _) = said(route.request(&api, None, &path, OWN)).await;
            assert_eq!(status, 401, "{} {path}", route.method);
        }
    }
    let document = api.ask(Method::GET, "/v1/openapi.json").send().await.unwrap();
    assert_eq!(document.json::<Value>().await.unwrap(), api::document());
}

#[sqlx::test(migrations = false)]
async fn a_foreign_row_is_answered_like_an_unknown_one_on_every_route_in_every_role(pool: PgPool) {
    let api = Api::new(pool).await;
    for role in ROLES {
        for route in routes() {
            let (foreign, unknown) = (route.paths(FOREIGN), route.paths(UNKNOWN));
            for (foreign, unknown) in foreign.iter().zip(&unknown) {
                let asked = route.request(&api, Some(role), foreign, FOREIGN).send().await.unwrap();
                let (status, text) = answer(asked).await;
                let what = format!("{role} {} {foreign}: {status} {text}", route.method);
                assert!(!text.contains("secret"), "{what}");
                let asked = route.request(&api, Some(role), unknown, UNKNOWN).send().await.unwrap();
                let (unknown_status, unknown_text) = answer(asked).await;
                let alike = |text: &str, rows: Rows| {
                    without_number(text, rows.id).replace(rows.workspace, "WORKSPACE")
                };
                assert_eq!(status, unknown_status, "{what}");
                assert_eq!(alike(&text, FOREIGN), alike(&unknown_text, UNKNOWN), "{what}");
                let expected = match route.method {
                    Method::GET if route.parameters.is_empty() => status == 200,
                    Method::GET => status == 404,
                    _ if role == Role::Viewer => [403, 404].contains(&status),
                    _ => status == 404,
                };
                assert!(expected, "{what}");
            }
        }
    }
}

#[sqlx::test(migrations = false)]
async fn a_viewer_reads_every_route_and_changes_nothing(pool: PgPool) {
    let api = Api::new(pool).await;
    for route in routes() {
        for path in route.paths(OWN) {
            let asked = route.request(&api, Some(Role::Viewer), &path, OWN).send().await.unwrap();
            let (status, text) = answer(asked).await;
            let expected = if route.method == Method::GET { 200 } else { 403 };
            assert_eq!(status, expected, "{} {path}: {text}", route.method);
            assert!(!text.contains("secret"), "{path}: {text}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn an_operator_is_let_through_on_every_route(pool: PgPool) {
    let api = Api::new(pool).await;
    for route in routes() {
        for path in route.paths(OWN) {
            let asked = route.request(&api, Some(Role::Operator), &path, OWN).send().await.unwrap();
            let (status, text) = answer(asked).await;
            // What the rules of actions refuse depends on what was done before.
            let is_let_through =
                status < 500 && ![401, 404, 405].contains(&status) && !text.contains("only reads");
            assert!(is_let_through, "{} {path}: {status} {text}", route.method);
        }
    }
}

#[sqlx::test(migrations = false)]
async fn what_is_malformed_is_refused_with_a_reason_and_never_a_failure(pool: PgPool) {
    let api = Api::new(pool).await;
    let done = "/v1/actions/1/done";
    let post = |body: &str| {
        let request = api.as_role(Role::Operator, Method::POST, done).header("if-match", "*");
        request.header("content-type", "application/json").body(body.to_owned())
    };
    let table = [
        (api.get("/v1/actions?status=odd"), 400, "odd"),
        (api.get("/v1/actions?unknown=1"), 400, "unknown"),
        (api.get("/v1/actions?limit=0"), 400, "the query is wrong: limit: limit is 1 to 200"),
        (api.get("/v1/actions?cursor=zz"), 400, "cursor"),
        (api.get("/v1/integrations?cursor=61"), 400, "cursor"),
        (api.get("/v1/actions?member=a%00b"), 400, "U+0000"),
        (api.get("/v1/events?subject=task"), 422, "belong together"),
        (api.get("/v1/actions/one"), 404, "no"),
        (api.get("/v1/actions/99999999999999999999"), 404, "no"),
        (api.get("/v2/actions"), 404, "nothing at this path"),
        (api.as_role(Role::Operator, Method::DELETE, "/v1/actions"), 405, "method"),
        (post("{\"note\": \"a\\u0000b\"}"), 400, "U+0000"),
        (post("{\"nota\": \"a\"}"), 400, "nota"),
        (post("{\"note\": 7}"), 400, "note"),
        (post("{"), 400, "EOF"),
        (post("{} {}"), 400, "goes on"),
        (post("[\"a note\", null]"), 400, "begins with {"),
        (post("null"), 400, "begins with {"),
        (post("{}").header("content-encoding", "gzip"), 415, "compressed"),
        (api.get("/v1/nothing").header("accept", "text/html"), 404, "nothing at this path"),
        (post(&format!("{{\"note\": \"{}\"}}", "x".repeat(10_001))), 400, "note_is_at_most_10000"),
        (post(&format!("{{\"note\": \"{}\"}}", "x".repeat(1024 * 1024))), 413, "1048576"),
        (
            api.as_role(Role::Operator, Method::POST, done).header("if-match", "*").body("{}"),
            415,
            "application/json",
        ),
        (api.post(done, &json!({})), 428, "If-Match"),
        (api.post(done, &json!({})).header("if-match", "\"1\""), 412, "has changed since"),
        (api.post(done, &json!({})).header("if-match", "W/\"x\""), 412, "If-Match"),
        (api.post(done, &json!({})).header("if-match", "\"1\", \"2\""), 400, "several"),
        // The place 999 of a list of actions, of which none is that one.
        (api.get("/v1/actions?cursor=393939"), 400, "not there any more"),
        (api.post("/v1/actions/1/explode", &json!({})).header("if-match", "*"), 404, "no"),
        (api.post("/v1/actions/batch", &json!({ "verb": "done", "items": [] })), 400, "1 to 1000"),
        (
            api.post("/v1/actions/1/hand_over", &json!({ "note": "x" })).header("if-match", "*"),
            422,
            "say to whom",
        ),
    ];
    for (request, status, words) in table {
        let described = format!("{request:?}");
        let (found, problem) = said(request).await;
        assert_eq!(found, status, "{described}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{words}: {detail}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_reason_that_nobody_can_see_is_none(pool: PgPool) {
    let api = Api::new(pool).await;
    for blank in ["", " \n", "\u{200b}", "\u{a0}\u{2028}", "\u{ad}\u{3164}\u{202e}"] {
        let (note, reason) = (json!({ "note": blank }), json!({ "reason": blank }));
        let handed = json!({ "note": blank, "to": "token:administrator" });
        let returned = json!({ "workspace": "acme", "integration": "an-app", "reason": blank });
        for (path, body) in [
            ("/v1/actions/1/dismiss", &note),
            ("/v1/actions/1/return", &note),
            ("/v1/actions/1/hand_over", &handed),
            ("/v1/syncs/1/approve", &reason),
            ("/v1/syncs/1/reject", &reason),
            ("/v1/tasks/1/cancel", &reason),
            ("/v1/integrations/acme/an-app/pause", &reason),
            ("/v1/returns", &returned),
            ("/v1/webhooks/acme/event-1/dismiss", &reason),
        ] {
            // A verb of an action knows that it needs a note; all other reasons are judged by the database.
            let expected = if path.starts_with("/v1/actions/") { 422 } else { 400 };
            let (status, problem) = said(api.post(path, body).header("if-match", "*")).await;
            assert_eq!(status, expected, "{path} {blank:?}: {problem}");
        }
    }
}

#[sqlx::test(migrations = false)]
async fn a_change_rests_on_the_revision_that_its_caller_saw(pool: PgPool) {
    let api = Api::new(pool).await;
    let seen = api.etag("/v1/actions/1").await;
    let claim = || api.post("/v1/actions/1/claim", &json!({}));
    let claimed = claim().header("if-match", &seen).send().await.unwrap();
    let now = claimed.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(claimed.json::<Value>().await.unwrap()["assignee"], "token:operator");
    assert_ne!(seen, now);
    let late = api.as_role(Role::Administrator, Method::POST, "/v1/actions/1/dismiss");
    let late = late.header("if-match", &seen).json(&json!({ "note": "why" }));
    let (status, problem) = said(late).await;
    assert_eq!(status, 412);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("it is in_progress, and token:operator has worked on it since"),
        "{detail}"
    );
    let done = api.post("/v1/actions/1/done", &json!({})).header("if-match", &now);
    assert_eq!(said(done).await.0, 200);
    let seen = api.etag("/v1/syncs/1").await;
    let approve = || api.post("/v1/syncs/1/approve", &json!({ "reason": "right" }));
    assert_eq!(said(approve()).await.0, 428);
    assert_eq!(said(approve().header("if-match", "\"7\"")).await.0, 412);
    assert_eq!(said(approve().header("if-match", &seen)).await.0, 200);
}

#[sqlx::test(migrations = false)]
async fn of_a_batch_each_action_gets_an_answer_of_its_own(pool: PgPool) {
    let api = Api::new(pool).await;
    let (_, page) = said(api.get("/v1/actions")).await;
    let revision = page["items"][0]["revision"].clone();
    let items = json!([{ "id": 1, "revision": revision }, { "id": 2, "revision": 1 }, { "id": 3, "revision": 1 }]);
    let batch = json!({ "verb": "done", "note": "removed", "items": items });
    let (status, body) = said(api.post("/v1/actions/batch", &batch)).await;
    assert_eq!(status, 200);
    let statuses: Vec<_> =
        body["answers"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [200, 404, 404]);
    let (_, body) = said(api.post("/v1/actions/batch", &batch)).await;
    assert_eq!(body["answers"][0]["status"], 412, "it has changed since");
    let item = json!({ "id": 1, "revision": 1 });
    for (verb, items) in [("done", json!([item, item])), ("confirm", json!([item]))] {
        let batch = json!({ "verb": verb, "items": items });
        let (status, problem) = said(api.post("/v1/actions/batch", &batch)).await;
        assert_eq!(status, 422, "{verb}: {problem}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_request_that_is_sent_again_with_its_key_does_nothing_and_is_answered_as_before(
    pool: PgPool,
) {
    let api = Api::new(pool).await;
    let note = |text: &str, key: &str| {
        let request = api.post("/v1/actions/1/note", &json!({ "note": text }));
        request.header("if-match", "*").header("idempotency-key", key)
    };
    let first = note("called the vendor", "one").send().await.unwrap();
    let (etag, body) = (first.headers()["etag"].clone(), first.text().await.unwrap());
    let again = note("called the vendor", "one").send().await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.headers()["etag"], etag);
    assert_eq!(again.text().await.unwrap(), body);
    assert_eq!(said(note("something else", "one")).await.0, 422);
    let key = "x".repeat(201);
    assert_eq!(said(note("called the vendor", &key)).await.0, 400);
    let lines = "select count(*) from reconciler.events where what = 'action.noted'";
    let count: i64 = sqlx::query_scalar(lines).fetch_one(&api.pool).await.unwrap();
    assert_eq!(count, 1);
    let untyped = api.as_role(Role::Operator, Method::POST, "/v1/actions/1/note");
    let untyped = untyped.header("if-match", "*").header("idempotency-key", "two").body("{}");
    assert_eq!(said(untyped).await.0, 415);
    let typed = api.post("/v1/actions/1/note", &json!({})).header("if-match", "*");
    let typed = typed.header("idempotency-key", "two");
    assert_eq!(said(typed).await.0, 422, "it is another request");
    // The key of another token is another one; so is one of the day before.
    let other = api.as_role(Role::Administrator, Method::POST, "/v1/actions/1/note");
    let other = other
        .header("if-match", "*")
        .header("idempotency-key", "one")
        .json(&json!({ "note": "mine" }));
    assert_eq!(said(other).await.0, 200);
    api.run("update reconciler.replies set begun_at = now() - interval '25 hours'").await;
    assert_eq!(said(note("something else", "one")).await.0, 200);
    // The first request runs, or its replica has crashed.
    api.run("update reconciler.replies set status = null").await;
    assert_eq!(said(note("something else", "one")).await.0, 409);
    api.run("update reconciler.replies set begun_at = now() - interval '3 minutes'").await;
    assert_eq!(said(note("something else", "one")).await.0, 200);
}

#[sqlx::test(migrations = false)]
async fn a_reply_that_says_when_to_try_again_is_not_the_reply_of_the_next_try(pool: PgPool) {
    let api = Api::new(pool).await;
    let note = || {
        let request = api.post("/v1/actions/1/note", &json!({ "note": "called the vendor" }));
        request.header("if-match", "*").header("idempotency-key", "one")
    };
    // As if a colleague had the row locked.
    api.run(
        "create function refuses() returns trigger language plpgsql as
         $$begin raise exception 'no' using errcode = '55P03'; end$$;
         create trigger refuses before update on reconciler.manual_actions execute function refuses()",
    )
    .await;
    let busy = note().send().await.unwrap();
    assert_eq!(busy.status(), 409);
    assert!(busy.headers().contains_key("retry-after"));
    api.run("drop trigger refuses on reconciler.manual_actions").await;
    let again = note().send().await.unwrap();
    assert_eq!(again.status(), 200);
    assert_eq!(again.headers().get("idempotency-replayed"), None);
    assert_eq!(note().send().await.unwrap().headers()["idempotency-replayed"], "true");
}

#[sqlx::test(migrations = false)]
async fn wrong_tokens_are_refused_for_a_while_also_to_a_right_one_that_was_not_used_lately(
    pool: PgPool,
) {
    let api = Api::new(pool).await;
    let program = || api.as_role(Role::Viewer, Method::GET, "/v1/actions").send();
    assert_eq!(program().await.unwrap().status(), 200);
    let wrong = || api.ask(Method::GET, "/v1/actions").bearer_auth("cerbyrec_wrong");
    for _ in 0..3 {
        let response = wrong().send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
    }
    let limited = wrong().send().await.unwrap();
    assert_eq!(limited.status(), 429);
    let wait: u64 = limited.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(api.get("/v1/actions").send().await.unwrap().status(), 429);
    assert_eq!(program().await.unwrap().status(), 200, "a program at this address works on");
}

#[sqlx::test(migrations = false)]
async fn a_client_that_sends_its_body_slowly_is_answered_and_keeps_nobody_back(pool: PgPool) {
    let api = Api::new(pool).await;
    let address = api.url.trim_start_matches("http://");
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/actions/1/done HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nif-match: *\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        api.tokens[&Role::Operator]
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(api.get("/v1/actions").send().await.unwrap().status(), 200);
    let mut answer = vec![0; 20];
    slow.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

#[sqlx::test(migrations = false)]
async fn clients_that_read_no_answers_keep_nobody_out_for_long(pool: PgPool) {
    let api = Api::new(pool).await;
    let address = api.url.trim_start_matches("http://");
    let asks = "GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(asks.as_bytes()).await.unwrap();
        unread.push(socket);
    }
    let answered = api.get("/v1/actions").timeout(Duration::from_secs(20)).send().await;
    assert_eq!(answered.unwrap().status(), 200);
}

#[sqlx::test(migrations = false)]
async fn a_failing_database_is_a_503_that_says_nothing_of_it(pool: PgPool) {
    let (api, log) = (Api::new(pool).await, Log::here());
    api.run("drop view reconciler.why_waiting; alter table reconciler.returns rename to others")
        .await;
    let response = api.get("/v1/returns").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"5".parse().unwrap())
    );
    let text = response.text().await.unwrap();
    assert!(!text.contains("returns"), "{text}");
    assert!(log.has("operators.request_failed"));
}

/// The ids of what a reader is given, as the API would give it to somebody who may see everything.
async fn read(reader: &mut TrailReader, desk: &Desk) -> Vec<i64> {
    let lines = reader.read(desk, &Actor::by_login()).await.unwrap();
    lines.into_iter().map(|line| line.id).collect()
}

#[sqlx::test(migrations = false)]
async fn a_line_that_is_committed_late_is_not_lost_by_who_follows_the_trail(pool: PgPool) {
    let api = Api::new(pool).await;
    let all = EventFilter { limit: 1, ..EventFilter::default() };
    let latest = api.desk.events(&Actor::by_login(), all).await.unwrap()[0].id;
    let mut reader = TrailReader::new(Some(latest));
    assert!(read(&mut reader, &api.desk).await.is_empty());
    let insert = "insert into reconciler.events (what, workspace_id, subject, subject_id)
                  values ('x', 'acme', 'task', '1') returning id";
    // A transaction that stays open without writing to the trail keeps nobody back.
    let mut idle = api.pool.begin().await.unwrap();
    sqlx::query("insert into reconciler.nudges (workspace_id, integration_id, what) values ('acme', 'an-app', 'snapshot')")
        .execute(&mut *idle)
        .await
        .unwrap();
    let mut late = api.pool.begin().await.unwrap();
    let first: i64 = sqlx::query_scalar(insert).fetch_one(&mut *late).await.unwrap();
    let second: i64 = sqlx::query_scalar(insert).fetch_one(&api.pool).await.unwrap();
    assert!(first < second);
    for _ in 0..3 {
        assert!(read(&mut reader, &api.desk).await.is_empty(), "a lower id may still appear");
    }
    late.commit().await.unwrap();
    let mut found = read(&mut reader, &api.desk).await;
    found.extend(read(&mut reader, &api.desk).await);
    assert_eq!(found, [first, second]);
    idle.rollback().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_stream_says_where_it_begins_and_goes_on_where_it_was(pool: PgPool) {
    let api = Api::new(pool).await;
    let follow = |last: Option<String>| {
        let request = api.get("/v1/events/stream");
        match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        }
    };
    let response = follow(None).send().await.unwrap();
    assert_eq!(response.headers()["x-accel-buffering"], "no", "for proxies");
    let mut stream = Events::new(response);
    let ready = stream.next().await;
    assert!(ready.contains("event: ready"), "{ready}");
    let place = ready.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let claim = api.post("/v1/actions/1/claim", &json!({})).header("if-match", "*");
    assert_eq!(said(claim).await.0, 200);
    api.run("update reconciler.manual_actions set status = 'in_progress' where id = 2").await;
    let line = stream.next().await;
    assert!(line.contains("event: action.claimed") && line.contains("token:operator"), "{line}");
    drop(stream);
    let mut again = Events::new(follow(Some(place)).send().await.unwrap());
    assert_eq!(again.next().await, line, "and no line of the foreign workspace");
    assert_eq!(said(follow(Some("x".to_owned()))).await.0, 400);
    let beyond = follow(Some("4711000".to_owned())).send().await.unwrap();
    assert_eq!(beyond.status(), 400, "nothing would ever come");
    let problem = beyond.text().await.unwrap();
    assert!(problem.contains("before line 4711000"), "{problem}");
    let _second = follow(None).send().await.unwrap();
    let mut third = follow(None).send().await.unwrap();
    if third.status() == 200 {
        // The place of the stream that was dropped may have been free already.
        third = follow(None).send().await.unwrap();
    }
    assert_eq!(third.status(), 429);
}

/// The events of a stream, without its comments.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    async fn next(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.text.clone().split_once("\n\n") {
                self.text = rest.to_owned();
                if !event.starts_with(':') {
                    return event.to_owned();
                }
            } else {
                let bytes = self.response.chunk().await.unwrap().expect("the stream goes on");
                self.text.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}
