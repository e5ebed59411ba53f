//! The console over HTTP, as a browser without a script uses it.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use cerby_reconciler::access::{Access, Role};
use cerby_reconciler::config::{self, Config, Operators};
use cerby_reconciler::manual_action::instructions::Library;
use cerby_reconciler::operator::desk::{ActionVerb, Actor, Desk, Seen, Words};
use cerby_reconciler::operator::listener::{self as doors, Doors};
use cerby_reconciler::text::hex;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::access::with_rows;
use crate::doors_of;

const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Administrator];

/// The console on an address of its own, and a session in each role for the workspace acme.
pub(crate) struct Site {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    desk: Desk,
    tokens: BTreeMap<Role, String>,
    cookies: BTreeMap<Role, String>,
    client: Client,
    _stop: DropGuard,
}

/// What a page was answered with.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a hidden field.
    pub(crate) fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let at = self.text.find(&start).unwrap_or_else(|| panic!("no {name} in {}", self.text));
        let rest = &self.text[at + start.len()..];
        rest[..rest.find('"').unwrap()].to_owned()
    }
}

pub(crate) async fn page(request: RequestBuilder) -> Page {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Page { status, headers, text: response.text().await.unwrap() }
}

impl Site {
    async fn new(pool: PgPool) -> Self {
        let mut site = Self::without_sessions(with_rows(pool).await).await;
        site.sign_in_all().await;
        site
    }

    /// Signs in with a token of each role for the workspace acme.
    async fn sign_in_all(&mut self) {
        let site = self;
        let kim = Actor::named("kim").unwrap();
        for role in ROLES {
            let access = Access { role, workspaces: Some(vec!["acme".to_owned()]) };
            let token = site.desk.create_token(&kim, role.as_str(), &access, 1).await.unwrap();
            site.tokens.insert(role, token.expose_secret().to_owned());
            let cookie = site.sign_in(token.expose_secret(), &[]).await;
            assert_eq!((cookie.status, cookie.header("location")), (StatusCode::SEE_OTHER, "/"));
            site.cookies.insert(role, cookie_of(&cookie));
        }
    }

    /// A new token.
    pub(crate) async fn token(&self, name: &str, access: &Access) -> String {
        let made = self.desk.create_token(&Actor::named("kim").unwrap(), name, access, 1).await;
        made.unwrap().expose_secret().to_owned()
    }

    async fn without_sessions(pool: PgPool) -> Self {
        Self::open(pool, Library::default(), |_| {}).await
    }

    async fn with_library(pool: PgPool, library: Library) -> Self {
        Self::open(pool, library, |_| {}).await
    }

    /// Nobody is signed in, and the settings have these changes.
    pub(crate) async fn with(pool: PgPool, change: impl FnOnce(&mut Operators)) -> Self {
        Self::open(pool, Library::default(), change).await
    }

    async fn open(pool: PgPool, library: Library, change: impl FnOnce(&mut Operators)) -> Self {
        let desk = Desk::new(pool.clone().into());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let defaults = Config::from_sources(None, Some([].into())).unwrap().operators;
        let mut config = Operators {
            max_connections: 20,
            max_streams: 2,
            request_timeout_s: 5,
            wrong_tokens_per_minute: 3,
            session_idle_s: 600,
            ..defaults
        };
        change(&mut config);
        let stop = CancellationToken::new();
        let doors = Doors { library: Arc::new(library), ..doors_of(desk.clone()) };
        tokio::spawn(doors::serve(listener, config, doors, stop.clone()));
        // Another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let (tokens, cookies) = (BTreeMap::new(), BTreeMap::new());
        Self { url, pool, desk, tokens, cookies, client, _stop: stop.drop_guard() }
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method.clone(), format!("{}{path}", self.url));
        if method == Method::POST {
            request.header("sec-fetch-site", "same-origin")
        } else {
            request
        }
    }

    fn request(&self, role: Role, method: Method, path: &str) -> RequestBuilder {
        self.ask(method, path).header("cookie", &self.cookies[&role])
    }

    async fn get(&self, role: Role, path: &str) -> Page {
        page(self.request(role, Method::GET, path)).await
    }

    async fn post(&self, role: Role, path: &str, fields: &[(&str, &str)]) -> Page {
        page(form(self.request(role, Method::POST, path), fields)).await
    }

    async fn sign_in(&self, token: &str, more: &[(&str, &str)]) -> Page {
        let fields = [&[("token", token)], more].concat();
        page(form(self.ask(Method::POST, "/sign-in"), &fields)).await
    }

    pub(crate) async fn run(&self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn status_of(&self, action: i64) -> String {
        let query = "select status from reconciler.manual_actions where id = $1";
        sqlx::query_scalar(query).bind(action).fetch_one(&self.pool).await.unwrap()
    }

    /// More open actions like the first one, with these ids.
    async fn more(&self, ids: std::ops::RangeInclusive<i64>) {
        self.run(&format!(
            "set session_replication_role = replica;
             insert into reconciler.manual_actions
                 (id, status, operation, workspace_id, integration_id, integration_name, integration_kind, application,
                  member_id, member_email, trigger, reason, instructions, due_at, task_id)
             overriding system value
             select n, 'open', 'remove', workspace_id, integration_id, integration_name, integration_kind, application,
                    'm-' || n, 'm' || n || '@example.com', trigger, reason, instructions, due_at, n
             from reconciler.manual_actions, generate_series({}, {}) n where id = 1;
             set session_replication_role = origin",
            ids.start(),
            ids.end(),
        ))
        .await;
    }
}

pub(crate) fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let encoded = fields.iter().map(|(name, value)| {
        let bytes = value.bytes().map(|byte| format!("%{byte:02x}"));
        format!("{name}={}", bytes.collect::<String>())
    });
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(encoded.collect::<Vec<_>>().join("&"))
}

fn cookie_of(page: &Page) -> String {
    page.header("set-cookie").split(';').next().unwrap().to_owned()
}

const PAGES: [&str; 21] = [
    "/",
    "/actions",
    "/actions.csv",
    "/actions/1",
    "/apps/acme/an-app",
    "/syncs",
    "/syncs/1",
    "/tasks",
    "/tasks/1",
    "/returns",
    "/returns/1",
    "/integrations",
    "/instructions",
    "/webhooks",
    "/reports",
    "/reports.csv",
    "/evidence?workspace=acme",
    "/evidence.csv",
    "/views",
    "/access",
    "/signed-in",
];

/// Every form of the console with right words, about a workspace and an id.
fn forms(workspace: &str, id: i64) -> Vec<(String, Vec<(&'static str, String)>)> {
    let text = |text: &str| text.to_owned();
    let note = ("note", text("why"));
    let pick = ("pick", format!("{id}:1"));
    let app = format!("/apps/{workspace}/an-app");
    let verbs = [
        "claim",
        "take-over",
        "done",
        "release",
        "hand-over",
        "dismiss",
        "return",
        "withdraw",
        "confirm",
        "note",
        "screen-changed",
    ];
    let mut forms: Vec<_> = verbs
        .iter()
        .map(|verb| {
            let fields =
                vec![("revision", text("1")), note.clone(), ("to", text("token:operator"))];
            (format!("/actions/{id}/{verb}"), fields)
        })
        .collect();
    forms.push((format!("{app}/act"), vec![("verb", text("claim")), pick.clone()]));
    forms.push((format!("{app}/return"), vec![("ids", id.to_string()), note]));
    for verb in ["pause", "resume", "sync"] {
        forms.push((format!("{app}/{verb}"), vec![("reason", text("why"))]));
    }
    for decision in ["approve", "reject"] {
        let fields = vec![("revision", text("1")), ("reason", text("why"))];
        forms.push((format!("/syncs/{id}/{decision}"), fields));
    }
    forms.push((format!("/tasks/{id}/cancel"), vec![("reason", text("why"))]));
    let event = format!("/webhooks/{workspace}/event-{id}/dismiss");
    forms.push((event, vec![("reason", text("why"))]));
    forms.push((format!("/views/{id}/rename"), vec![("name", text("another"))]));
    forms.push((format!("/views/{id}/delete"), vec![]));
    let share = ("shared_in", text(workspace));
    forms
        .push(("/views".to_owned(), vec![("name", text("new")), ("page", text("actions")), share]));
    forms
}

async fn send(
    site: &Site,
    role: Role,
    (path, fields): &(String, Vec<(&'static str, String)>),
) -> Page {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    site.post(role, path, &fields).await
}

#[sqlx::test(migrations = false)]
async fn every_page_is_there_in_every_role_shows_own_rows_alone_and_is_safe(pool: PgPool) {
    let site = Site::new(pool).await;
    for role in ROLES {
        for path in PAGES {
            let page = site.get(role, path).await;
            assert_eq!(page.status, 200, "{role} {path}: {}", page.text);
            assert!(!page.text.contains("secret"), "{role} {path}");
            assert_eq!(page.header("x-content-type-options"), "nosniff");
            assert!(page.header("content-security-policy").starts_with("default-src 'none'; "));
            for inline in
                ["<style", " style=", " onclick", "<script>", "javascript:", "http://", "https://"]
            {
                assert!(!page.text.contains(inline), "{path} has {inline}");
            }
            assert!(page.text.len() < 100_000, "{path} has {} bytes", page.text.len());
            let has_forms = page.text.matches("method=\"post\"").count() > 1;
            let is_own = path == "/access";
            if role == Role::Viewer && !is_own {
                assert!(!has_forms, "{path} offers a viewer what it may not do");
            }
        }
    }
    assert!(site.get(Role::Operator, "/").await.text.contains("own app"));
    assert!(site.get(Role::Operator, "/apps/acme/an-app").await.text.contains("own@example.com"));
    assert!(!site.get(Role::Operator, "/access").await.text.contains("Revoke token"));
    assert!(site.get(Role::Administrator, "/access").await.text.contains("Revoke token operator"));
}

/// The hash of the assets may begin like the id of a row.
fn without_hash(page: &str) -> String {
    let hash = page.split("/assets/").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    page.replace(hash, "HASH")
}

#[sqlx::test(migrations = false)]
async fn a_foreign_row_is_shown_like_an_unknown_one_and_no_form_changes_it(pool: PgPool) {
    let site = Site::new(pool).await;
    let alike =
        |text: &str| without_hash(text).replace("4711", "ID").replace("nowhere", "WORKSPACE");
    let own = |text: &str| {
        let text = without_hash(text).replace(" 2", " ID").replace("/2", "/ID");
        text.replace("globex", "WORKSPACE")
    };
    for role in ROLES {
        let foreign = ["/actions/2", "/apps/globex/an-app", "/syncs/2", "/tasks/2", "/returns/2"];
        let unknown = [
            "/actions/4711",
            "/apps/nowhere/an-app",
            "/syncs/4711",
            "/tasks/4711",
            "/returns/4711",
        ];
        for (foreign, unknown) in foreign.iter().zip(unknown) {
            let (foreign, unknown) = (site.get(role, foreign).await, site.get(role, unknown).await);
            assert_eq!(
                (foreign.status, unknown.status),
                (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND)
            );
            assert_eq!(own(&foreign.text), alike(&unknown.text));
        }
        for form in forms("globex", 2) {
            let page = send(&site, role, &form).await;
            let expected = if role == Role::Viewer { [403, 404] } else { [404, 404] };
            assert!(expected.contains(&page.status.as_u16()), "{role} {}: {}", form.0, page.status);
            assert!(!page.text.contains("secret"), "{}", form.0);
        }
    }
    assert_eq!(site.status_of(2).await, "open");
    for path in ["/actions/x", "/actions/1/explode", "/nowhere", "/assets/x/y"] {
        let method = if path.ends_with("explode") { Method::POST } else { Method::GET };
        let request = site.request(Role::Operator, method, path).header("accept", "text/html");
        let page = page(request).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.text.contains("To the queue"), "{path}");
    }
    let again = site.get(Role::Operator, "/actions/1/claim").await;
    assert_eq!(again.status, 405);
    assert!(again.text.contains("This address takes forms"), "{}", again.text);
}

#[sqlx::test(migrations = false)]
async fn a_viewer_changes_nothing_and_is_told_so(pool: PgPool) {
    let site = Site::new(pool).await;
    for form in forms("acme", 1) {
        let page = send(&site, Role::Viewer, &form).await;
        assert_eq!(page.status, 403, "{}: {}", form.0, page.text);
        assert!(page.text.contains("which only reads"), "{}: {}", form.0, page.text);
    }
    assert_eq!(site.status_of(1).await, "open");
    let operator = site.desk.actor_of(&site.tokens[&Role::Operator]).await.unwrap().unwrap();
    let other = site.desk.sessions(&operator).await.unwrap()[0].id;
    let ended = site.post(Role::Viewer, &format!("/access/sessions/{other}/end"), &[]).await;
    assert_eq!(ended.status, 404, "a session of somebody else is not there");
    let revoked = site.post(Role::Operator, "/access/tokens/viewer/revoke", &[]).await;
    assert_eq!(revoked.status, 403, "{}", revoked.text);
}

#[sqlx::test(migrations = false)]
async fn a_form_of_another_site_or_of_no_browser_is_refused_and_does_nothing(pool: PgPool) {
    let site = Site::new(pool).await;
    let revision = site.get(Role::Operator, "/actions/1").await.field("revision");
    let claim = |headers: &[(&'static str, String)]| {
        let mut request = site.client.post(format!("{}/actions/1/claim", site.url));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.header("cookie", &site.cookies[&Role::Operator]);
        page(form(request, &[("revision", &revision)]))
    };
    let sec = |word: &str| ("sec-fetch-site", word.to_owned());
    for headers in [
        vec![],
        vec![sec("cross-site")],
        vec![sec("same-site")],
        vec![("origin", "https://evil.example".to_owned())],
        vec![sec("cross-site"), ("origin", site.url.clone())],
    ] {
        assert_eq!(claim(&headers).await.status, 403, "{headers:?}");
        assert_eq!(site.status_of(1).await, "open");
    }
    assert_eq!(claim(&[("origin", site.url.clone())]).await.status, 303);
    assert_eq!(site.status_of(1).await, "in_progress");
    let foreign = site.client.post(format!("{}/sign-in", site.url));
    let foreign = form(
        foreign.header("sec-fetch-site", "cross-site"),
        &[("token", &site.tokens[&Role::Viewer])],
    );
    assert_eq!(page(foreign).await.status, 403, "nobody is signed in by another page");
}

#[sqlx::test(migrations = false)]
async fn whoever_is_late_reads_who_was_first_and_keeps_the_note(pool: PgPool) {
    let site = Site::new(pool).await;
    let seen = site.get(Role::Operator, "/actions/1").await.field("revision");
    let first = site.post(Role::Administrator, "/actions/1/claim", &[("revision", &seen)]).await;
    assert_eq!(
        (first.status, first.header("location")),
        (StatusCode::SEE_OTHER, "/actions/1?said=claim")
    );
    let fields = [("revision", seen.as_str()), ("note", "I <removed> her\nat nine")];
    let late = site.post(Role::Operator, "/actions/1/done", &fields).await;
    assert_eq!(late.status, 412);
    assert!(late.text.contains("token:administrator has worked on it since"), "{}", late.text);
    assert!(late.text.contains(">I &lt;removed&gt; her\nat nine</textarea>"), "{}", late.text);
    assert_eq!(site.status_of(1).await, "in_progress");
    let again = [("revision", late.field("revision")), ("note", "removed".to_owned())];
    let again: Vec<_> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(site.post(Role::Operator, "/actions/1/done", &again).await.status, 303);
    assert_eq!(site.status_of(1).await, "done");
    let told = site.get(Role::Operator, "/actions/1?said=done").await;
    assert!(told.text.contains("marked done. The app is read next"), "{}", told.text);
    let silent = site.get(Role::Operator, "/actions/1?said=<b>").await;
    assert!(!silent.text.contains("<b>>") && !silent.text.contains("notice good"));
    let missing = site.post(Role::Operator, "/actions/1/withdraw", &[]).await;
    assert_eq!(missing.status, 400, "a form without a revision");
}

#[sqlx::test(migrations = false)]
async fn what_was_typed_is_shown_also_where_nothing_can_be_done_any_more(pool: PgPool) {
    let site = Site::new(pool).await;
    let mut seen = Vec::new();
    for path in ["/actions/1", "/syncs/1"] {
        seen.push(site.get(Role::Operator, path).await.field("revision"));
    }
    site.run(
        "set session_replication_role = replica;
         update reconciler.manual_actions set status = 'superseded', closed_at = now() where id = 1;
         update reconciler.syncs set state = 'finished', finished_at = now() where id = 1;
         update reconciler.automation_tasks set state = 'cancelled', closed_at = now(), closed_reason = 'why' where id = 1",
    )
    .await;
    let why = "a <long> story\nof two lines";
    for (path, revision) in [
        ("/actions/1/done", seen[0].as_str()),
        ("/syncs/1/reject", seen[1].as_str()),
        ("/tasks/1/cancel", "0"),
    ] {
        let fields = [("revision", revision), ("note", why), ("reason", why)];
        let late = site.post(Role::Operator, path, &fields).await;
        assert!([409, 412].contains(&late.status.as_u16()), "{path}: {}", late.status);
        assert!(
            late.text.contains(">a &lt;long&gt; story\nof two lines</p>"),
            "{path}: {}",
            late.text
        );
    }
    let stopped = site.get(Role::Operator, "/actions/1").await.text;
    assert!(stopped.contains("Stop: this is no longer wanted.") && !stopped.contains("typed"));
}

#[sqlx::test(migrations = false)]
async fn what_the_app_showed_instead_stands_beside_the_member_with_its_time(pool: PgPool) {
    let site = Site::new(pool).await;
    site.run(
        "set session_replication_role = replica;
         update reconciler.manual_actions
         set verdict = 'contradicted', verdict_at = '2026-02-03T09:42Z', observed = 'own is there as EDITOR', snapshots = 1
         where id = 1;
         set session_replication_role = origin",
    )
    .await;
    let shown = site.get(Role::Viewer, "/apps/acme/an-app").await.text;
    let seen = "own is there as EDITOR, seen <time datetime=\"2026-02-03T09:42:00Z\"";
    assert!(shown.contains(seen), "{shown}");
}

#[sqlx::test(migrations = false)]
async fn what_is_ticked_is_previewed_and_nothing_else_is_done(pool: PgPool) {
    let site = Site::new(pool).await;
    site.more(11..=14).await;
    let app = site.get(Role::Operator, "/apps/acme/an-app").await.text;
    let picks: Vec<_> = (11..=13)
        .map(|id| {
            let start = format!("form=\"ticked\" name=\"pick\" value=\"{id}:");
            let rest = &app[app.find(&start).unwrap() + start.len()..];
            format!("{id}:{}", &rest[..rest.find('"').unwrap()])
        })
        .collect();
    let ticked: Vec<_> = picks.iter().map(|pick| ("pick", pick.as_str())).collect();
    let with = |more: &[(&'static str, &'static str)]| {
        let mut fields: Vec<(&str, &str)> = more.to_vec();
        fields.extend(ticked.iter().copied());
        fields
    };
    // A colleague is quicker with one of them.
    site.run("update reconciler.manual_actions set note = 'wait' where id = 12").await;
    let preview =
        site.post(Role::Operator, "/apps/acme/an-app/preview", &with(&[("verb", "done")])).await;
    assert_eq!(preview.status, 200, "{}", preview.text);
    assert!(preview.text.contains("Done: 2</button>"), "{}", preview.text);
    assert!(preview.text.contains("1 changed since you ticked them"));
    let fields = with(&[("verb", "done"), ("note", "all <b>gone</b>")]);
    let some = site.post(Role::Operator, "/apps/acme/an-app/act", &fields).await;
    assert_eq!(some.status, 412);
    assert!(some.text.contains("2 worked, 1 did not"), "{}", some.text);
    assert!(some.text.contains("all &lt;b&gt;gone&lt;/b&gt;</textarea>"), "the note is kept");
    let mut statuses = Vec::new();
    for id in 11..=14 {
        statuses.push(site.status_of(id).await);
    }
    assert_eq!(statuses, ["done", "open", "done", "open"], "14 was not ticked");
    let refused =
        site.post(Role::Operator, "/apps/acme/an-app/act", &with(&[("verb", "dismiss")])).await;
    assert_eq!(refused.status, 400, "a reason is missing");
    assert!(refused.text.contains("This needs a note"));
    let nothing = site.post(Role::Operator, "/apps/acme/an-app/preview", &[("verb", "done")]).await;
    assert_eq!(nothing.status, 400);
    let pick = format!("14:{}", revision(&site, 14).await);
    let fields = [("verb", "dismiss"), ("pick", pick.as_str())];
    let refused = site.post(Role::Operator, "/apps/acme/an-app/act", &fields).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("One note for all"), "it is asked for once: {}", refused.text);
    let fields = [("verb", "claim"), ("pick", pick.as_str())];
    let take = site.post(Role::Operator, "/apps/acme/an-app/act", &fields).await;
    assert_eq!(take.header("location"), "/apps/acme/an-app?said=claim&n=1");
    assert_eq!(site.status_of(14).await, "in_progress");
    let queue = site.get(Role::Administrator, "/").await.text;
    assert!(queue.contains("data-label=\"On it\">operator<"), "a colleague sees it: {queue}");
}

async fn revision(site: &Site, id: i64) -> i64 {
    let query = "select revision from reconciler.action_list where id = $1";
    sqlx::query_scalar(query).bind(id).fetch_one(&site.pool).await.unwrap()
}

#[sqlx::test(migrations = false)]
async fn a_return_sends_what_was_shown_or_nothing(pool: PgPool) {
    let site = Site::new(pool).await;
    let shown = site.get(Role::Operator, "/apps/acme/an-app/return").await;
    let ids = shown.field("ids");
    assert_eq!(ids, "1");
    let without = site.post(Role::Operator, "/apps/acme/an-app/return", &[("ids", &ids)]).await;
    assert_eq!(without.status, 400);
    let fields = [("ids", "1,11"), ("note", "the <seat> was bought")];
    let changed = site.post(Role::Operator, "/apps/acme/an-app/return", &fields).await;
    assert_eq!(changed.status, 412, "{}", changed.text);
    assert!(changed.text.contains("0 new, 1 no longer open"), "{}", changed.text);
    assert!(changed.text.contains("the &lt;seat&gt; was bought</textarea>"));
    assert_eq!(changed.field("ids"), "1", "it can be sent as it is now");
    for ids in ["", "one"] {
        let fields = [("ids", ids), ("note", "bought")];
        let nothing = site.post(Role::Operator, "/apps/acme/an-app/return", &fields).await;
        assert_eq!(nothing.status, 400, "{}", nothing.text);
    }
    assert_eq!(site.status_of(1).await, "open");
    site.run("select setval(pg_get_serial_sequence('reconciler.returns', 'id'), 100)").await;
    let fields = [("ids", ids.as_str()), ("note", "the seat was bought")];
    let sent = site.post(Role::Operator, "/apps/acme/an-app/return", &fields).await;
    assert_eq!(sent.header("location"), "/returns?said=returned", "{}", sent.text);
    assert_eq!(site.status_of(1).await, "returned");
}

#[sqlx::test(migrations = false)]
async fn the_pages_of_webhooks_keep_their_workspace_and_lead_back(pool: PgPool) {
    let site = Site::new(pool).await;
    site.run(
        "insert into reconciler.webhook_events
             (workspace_id, event_id, event_type, job_id, occurred_at, problem, next_attempt_at)
         select 'acme', 'more-' || lpad(n::text, 3, '0'), 'automation.failed', 'job-' || n, now(), 'unknown job',
                now() + interval '1 day'
         from generate_series(1, 60) n",
    )
    .await;
    let first = site.get(Role::Operator, "/webhooks?workspace=acme").await;
    assert!(first.text.contains("more-001") && !first.text.contains("more-060"), "{}", first.text);
    let next = link(&first, "\" rel=\"next\"");
    assert!(next.starts_with("/webhooks?workspace=acme&cursor="), "{next}");
    let second = site.get(Role::Operator, &next).await;
    assert!(
        second.text.contains("more-060") && !second.text.contains("more-001"),
        "{}",
        second.text
    );
    assert_eq!(link(&second, "\" rel=\"prev\""), "/webhooks?workspace=acme");
    let odd = site.get(Role::Operator, "/webhooks?cursor=61").await;
    assert_eq!(odd.status, 400, "{}", odd.text);
}

#[sqlx::test(migrations = false)]
async fn a_held_report_is_decided_once_with_a_reason(pool: PgPool) {
    let site = Site::new(pool).await;
    let report = r#"{"update": {"removed_members": [{"id": "m1", "email": "<i>jo</i>@example.com"}]},
                     "differences": [{"class": "missing", "id": "m1", "why": "not in the app"}]}"#;
    site.run(&format!("update reconciler.syncs set report = '{report}' where id = 1")).await;
    let seen = site.get(Role::Operator, "/syncs/1").await;
    assert!(seen.text.contains("Approving removes 1 from Cerby"), "{}", seen.text);
    assert!(seen.text.contains("&lt;i&gt;jo&lt;/i&gt;@example.com"));
    assert!(site.get(Role::Operator, "/").await.text.contains("waits for a decision"));
    let revision = seen.field("revision");
    let silent = site.post(Role::Operator, "/syncs/1/approve", &[("revision", &revision)]).await;
    assert_eq!(silent.status, 400);
    let fields = [("revision", revision.as_str()), ("reason", "they left")];
    assert_eq!(site.post(Role::Operator, "/syncs/1/approve", &fields).await.status, 303);
    let late = site.post(Role::Administrator, "/syncs/1/reject", &fields).await;
    assert_eq!(late.status, 412);
    assert!(late.text.contains("they left"), "who was first, and why: {}", late.text);
}

#[sqlx::test(migrations = false)]
async fn what_anybody_typed_is_text_on_every_page(pool: PgPool) {
    let site = Site::new(pool).await;
    let odd = "<script>alert(1)</script>\u{202e}\"''\u{2028}&amp;";
    let quoted = odd.replace('\'', "''");
    for (table, column) in [
        ("manual_actions", "integration_name"),
        ("manual_actions", "member_name"),
        ("manual_actions", "reason"),
        ("manual_actions", "note"),
        ("manual_actions", "observed"),
        ("manual_actions", "failure_message"),
        ("manual_actions", "assignee"),
        ("manual_actions", "instructions"),
        ("manual_actions", "screen_changed_note"),
        ("webhook_events", "problem"),
        ("automation_tasks", "integration_name"),
        ("automation_tasks", "last_error"),
        ("integration_settings", "name"),
        ("syncs", "held_reason"),
        ("returns", "reason"),
    ] {
        site.run(&format!(
            "set session_replication_role = replica;
             update reconciler.{table} set {column} = '{quoted}' where workspace_id = 'acme';
             set session_replication_role = origin"
        ))
        .await;
    }
    // What is not seen is refused in the name of a view.
    site.run(
        "update reconciler.saved_views set name = '<script>alert(1)</script>\"''' where id = 1",
    )
    .await;
    for path in PAGES.iter().filter(|path| !path.contains("csv")) {
        let text = site.get(Role::Operator, path).await.text;
        assert!(
            !text.contains("<script>") && !text.contains(['\u{202e}', '\u{2028}']),
            "{path}: {text}"
        );
        if !["/access", "/signed-in", "/tasks"].contains(path) {
            assert!(
                text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;"),
                "{path}: {text}"
            );
        }
    }
    let nul =
        site.post(Role::Operator, "/actions/1/note", &[("revision", "1"), ("note", "a\0b")]).await;
    assert_eq!(nul.status, 400);
    for path in
        ["/actions?member=a%00b", "/tasks?member=%00", "/actions?cursor=zz", "/actions?status=odd"]
    {
        assert_eq!(site.get(Role::Operator, path).await.status, 400, "{path}");
    }
    let long = "x".repeat(300_000);
    let long = site.post(Role::Operator, "/actions/1/note", &[("note", &long)]).await;
    assert_eq!(long.status, 413);
}

#[sqlx::test(migrations = false)]
async fn a_sign_in_leads_back_and_a_session_is_a_cookie_that_scripts_cannot_read(pool: PgPool) {
    let site = Site::without_sessions(with_rows(pool).await).await;
    let nobody = page(site.ask(Method::GET, "/actions?status=open&member=jo")).await;
    let asks = "/sign-in?to=%2Factions%3Fstatus%3Dopen%26member%3Djo";
    assert_eq!((nobody.status, nobody.header("location")), (StatusCode::SEE_OTHER, asks));
    let empty = page(site.ask(Method::GET, asks)).await.text;
    assert!(
        empty.contains("cerby-reconciler tokens create") && !empty.contains("type=\"password\"")
    );
    let access = Access { role: Role::Operator, workspaces: None };
    let token =
        site.desk.create_token(&Actor::named("kim").unwrap(), "works", &access, 1).await.unwrap();
    let asked = page(site.ask(Method::GET, asks)).await;
    assert_eq!(asked.field("to"), "/actions?status=open&amp;member=jo");
    let back = [("to", "/actions?status=open&member=jo")];
    let signed_in = site.sign_in(token.expose_secret(), &back).await;
    assert_eq!(signed_in.header("location"), "/actions?status=open&member=jo");
    let cookie = signed_in.header("set-cookie");
    assert!(cookie.starts_with("__Host-reconciler="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    let away = site.sign_in(token.expose_secret(), &[("to", "//evil.example")]).await;
    assert_eq!(away.header("location"), "/");
    let cookie = cookie_of(&signed_in);
    let as_her = |method, path: &str| site.ask(method, path).header("cookie", &cookie);
    assert_eq!(page(as_her(Method::GET, "/access")).await.text.matches("End session").count(), 2);
    assert_eq!(page(as_her(Method::GET, "/sign-in?to=/tasks")).await.header("location"), "/tasks");
    let bearer = site.client.get(format!("{}/v1/actions", site.url)).header("cookie", &cookie);
    assert_eq!(page(bearer).await.status, 401, "the API takes tokens alone");
    let out = page(as_her(Method::POST, "/sign-out")).await;
    assert!(out.header("set-cookie").ends_with("; Max-Age=0"));
    assert_eq!(
        page(as_her(Method::GET, "/")).await.status,
        303,
        "the session has ended in the database"
    );
}

#[sqlx::test(migrations = false)]
async fn an_expired_session_loses_no_typed_word_and_nothing_is_done_unseen(pool: PgPool) {
    let site = Site::new(pool).await;
    let revision = site.get(Role::Operator, "/actions/1").await.field("revision");
    site.run("update reconciler.sessions set expires_at = now()").await;
    let out = site.post(Role::Operator, "/sign-out", &[]).await;
    assert_eq!((out.status, out.header("location")), (StatusCode::SEE_OTHER, "/sign-in"));
    let fields = [("revision", revision.as_str()), ("note", "removed & <checked>\nat nine")];
    let asked = site.post(Role::Operator, "/actions/1/done", &fields).await;
    assert_eq!(asked.status, 401);
    assert!(asked.text.contains("Nothing was done."));
    let kept = asked.field("kept").replace("&amp;", "&");
    let wrong = site.sign_in("cerbyrec_wrong", &[("to", "/actions/1/done"), ("kept", &kept)]).await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.field("kept").replace("&amp;", "&"), kept, "also after a wrong token");
    let token = &site.tokens[&Role::Operator];
    let resumed = site.sign_in(token, &[("to", "/actions/1/done"), ("kept", &kept)]).await;
    assert_eq!(resumed.status, 200);
    assert!(
        resumed.text.contains(">removed &amp; &lt;checked&gt;\nat nine</textarea>"),
        "{}",
        resumed.text
    );
    assert!(resumed.text.contains("action=\"/actions/1/done\""));
    assert_eq!(site.status_of(1).await, "open", "she has not sent it again");
    let cookie = cookie_of(&resumed);
    let sent = form(site.ask(Method::POST, "/actions/1/done").header("cookie", &cookie), &fields);
    assert_eq!(page(sent).await.status, 303);
    assert_eq!(site.status_of(1).await, "done");
}

#[sqlx::test(migrations = false)]
async fn wrong_tokens_are_refused_for_a_while_at_the_console_and_at_the_api(pool: PgPool) {
    let site = Site::new(pool).await;
    for _ in 0..3 {
        assert_eq!(site.sign_in("cerbyrec_wrong", &[]).await.status, 401);
    }
    let access = Access { role: Role::Viewer, workspaces: None };
    let new = site.desk.create_token(&Actor::by_login(), "new", &access, 1).await.unwrap();
    let right = site.sign_in(new.expose_secret(), &[]).await;
    assert_eq!(right.status, 429);
    assert!(right.text.contains("Try again in") && !right.header("retry-after").is_empty());
    let api = |token: &str| site.ask(Method::GET, "/v1/actions").bearer_auth(token);
    assert_eq!(page(api(new.expose_secret())).await.status, 429);
    let known = &site.tokens[&Role::Viewer];
    assert_eq!(page(api(known)).await.status, 200, "a token that was right lately goes on");
    assert_eq!(site.sign_in(known, &[]).await.status, 303);
    assert_eq!(site.get(Role::Viewer, "/").await.status, 200, "whoever is signed in goes on");
}

#[sqlx::test(migrations = false)]
async fn a_page_that_has_not_changed_is_not_sent_again(pool: PgPool) {
    let site = Site::new(pool).await;
    for path in ["/syncs", "/apps/acme/an-app"] {
        let first = site.get(Role::Operator, path).await;
        let tag = first.header("etag").to_owned();
        let again = site.request(Role::Operator, Method::GET, path).header("if-none-match", &tag);
        let again = page(again).await;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
        site.run("set session_replication_role = replica; update reconciler.integration_settings set name = name || '!'")
            .await;
        let changed = site.request(Role::Operator, Method::GET, path).header("if-none-match", &tag);
        assert_eq!(page(changed).await.status, 200, "{path}");
    }
    let text = site.get(Role::Operator, "/").await.text;
    let at = text.find("/assets/").unwrap();
    let address = &text[at..at + text[at..].find('"').unwrap()];
    let asset = page(site.ask(Method::GET, address)).await;
    assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
    let old = page(site.ask(Method::GET, "/assets/0/console.css")).await;
    assert_eq!((old.status, old.header("cache-control")), (StatusCode::OK, "no-store"));
}

#[sqlx::test(migrations = false)]
async fn an_export_has_all_matching_rows_and_no_formula(pool: PgPool) {
    let site = Site::new(pool).await;
    site.more(1001..=3200).await;
    site.run(
        "set session_replication_role = replica;
         update reconciler.manual_actions set member_email = '=cmd()' where id = 3200;
         set session_replication_role = origin",
    )
    .await;
    let all = site.get(Role::Viewer, "/actions.csv").await;
    assert_eq!(all.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(all.text.lines().count(), 1 + 1 + 2200);
    assert_eq!(all.text.matches("ID,STATUS").count(), 1);
    assert!(all.text.contains(",'=cmd(),"), "a spreadsheet runs no cell");
    assert!(!all.text.contains("secret"));
    let one = site.get(Role::Viewer, "/actions.csv?member=m2000%40example.com").await;
    assert_eq!(one.text.lines().count(), 2);
    let list = site.get(Role::Viewer, "/actions").await.text;
    assert!(list.contains("<b>1,000+</b> unfinished"), "{list}");
    let next = list.split("rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap();
    let next = next.split('"').next().unwrap().replace("&amp;", "&");
    assert!(site.get(Role::Viewer, &next).await.text.contains("First page"));
}

#[sqlx::test(migrations = false)]
async fn steps_show_their_pictures_and_the_link_to_the_admin_page_to_whoever_is_signed_in(
    pool: PgPool,
) {
    let folder = tempfile::tempdir().unwrap();
    let png = b"\x89PNG\r\n\x1a\nand more";
    std::fs::write(folder.path().join("m.png"), png).unwrap();
    let text = "application: asana_tenant\noperation: remove\n1. Open Members.\npicture: m.png, The list\n";
    std::fs::write(folder.path().join("asana.txt"), text).unwrap();
    let config = config::Instructions { folder: Some(folder.path().display().to_string()) };
    let library = Library::new(&config).unwrap();
    let mut site = Site::with_library(with_rows(pool).await, library).await;
    site.sign_in_all().await;
    let hash = "select encode(sha256('\\x89504e470d0a1a0a616e64206d6f7265'::bytea), 'hex')";
    let hash: String = sqlx::query_scalar(hash).fetch_one(&site.pool).await.unwrap();
    site.run(&format!(
        "set session_replication_role = replica;
         update reconciler.manual_actions
         set instructions = E'Remove.\\n1. Open Members.\\n2. Remove \\u202e<b>them</b>.',
             shown = '{{\"template\": \"asana.txt\", \"source\": \"folder\", \"hash\": \"sha256:7\",
                       \"admin_url\": \"https://app.example/admin?a=1&b=2\",
                       \"pictures\": [{{\"step\": 1, \"alt\": \"The <list>\", \"hash\": \"{hash}\"}}]}}'
         where id = 1;
         set session_replication_role = origin"
    ))
    .await;
    let picture = format!("/pictures/{hash}");
    for role in ROLES {
        for path in ["/actions/1", "/apps/acme/an-app"] {
            let shown = site.get(role, path).await.text;
            let step = format!(
                "<li>Open Members.<img src=\"{picture}\" alt=\"The &lt;list&gt;\" loading=\"lazy\"></li>"
            );
            assert!(shown.contains(&step), "{path}: {shown}");
            let link = "href=\"https://app.example/admin?a=1&amp;b=2\" rel=\"noopener noreferrer\" target=\"_blank\"";
            assert!(shown.contains(link), "{path}: {shown}");
            assert!(shown.contains("Remove &lt;b&gt;them"), "{path}: {shown}");
        }
        let sent = site.request(role, Method::GET, &picture).send().await.unwrap();
        let headers = sent.headers().clone();
        let header = |name: &str| headers[name].to_str().unwrap();
        assert_eq!((sent.status(), header("content-type")), (StatusCode::OK, "image/png"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("cache-control").starts_with("private, max-age=31536000"));
        assert_eq!(sent.bytes().await.unwrap(), png.as_slice());
    }
    let stranger = page(site.ask(Method::GET, &picture)).await;
    assert_eq!(stranger.status, 303, "nobody sees it who is not signed in");
    for unknown in ["/pictures/00", "/pictures/..%2Fasana.txt"] {
        assert_eq!(site.get(Role::Operator, unknown).await.status, 404, "{unknown}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_changed_screen_is_reported_with_or_without_words_and_listed(pool: PgPool) {
    let site = Site::new(pool).await;
    let revision = site.get(Role::Operator, "/actions/1").await.field("revision");
    let fields = [("revision", revision.as_str()), ("note", "Members is <called> People")];
    let told = site.post(Role::Operator, "/actions/1/screen-changed", &fields).await;
    assert_eq!(told.header("location"), "/actions/1?said=screen-changed");
    let shown = site.get(Role::Operator, "/actions/1?said=screen-changed").await;
    assert!(shown.text.contains("Reported. Whoever keeps the instructions sees it."));
    assert!(shown.text.contains("reported as changed"), "{}", shown.text);
    let listed = site.get(Role::Viewer, "/instructions").await.text;
    assert!(listed.contains("Members is &lt;called&gt; People"), "{listed}");
    let fields = [("revision", shown.field("revision"))];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let silent = site.post(Role::Operator, "/actions/1/screen-changed", &fields).await;
    assert_eq!(silent.status, 303, "{}", silent.text);
}

#[sqlx::test(migrations = false)]
async fn an_event_of_a_webhook_is_dismissed_with_a_reason_alone(pool: PgPool) {
    let site = Site::new(pool).await;
    assert!(site.get(Role::Viewer, "/webhooks").await.text.contains("event-1"));
    let dismiss = "/webhooks/acme/event-1/dismiss";
    let silent = site.post(Role::Operator, dismiss, &[]).await;
    assert_eq!(silent.status, 400);
    assert!(silent.text.contains("Dismissing needs a reason."), "{}", silent.text);
    let done = site.post(Role::Operator, dismiss, &[("reason", "a test")]).await;
    assert_eq!(done.header("location"), "/webhooks?said=dismiss-webhook");
    let listed = site.get(Role::Operator, "/webhooks?said=dismiss-webhook").await.text;
    assert!(listed.contains("Every event is resolved."), "{listed}");
    let again = site.post(Role::Operator, dismiss, &[("reason", "a test")]).await;
    assert_eq!(again.status, 409);
}

#[sqlx::test(migrations = false)]
async fn an_administrator_makes_a_token_sees_it_once_and_gives_no_more_than_they_have(
    pool: PgPool,
) {
    let site = Site::new(pool).await;
    let make =
        async |role, fields: &[(&str, &str)]| site.post(role, "/access/tokens", fields).await;
    let right = [("name", "batch"), ("role", "operator"), ("workspaces", "acme"), ("days", "30")];
    let made = make(Role::Administrator, &right).await;
    assert_eq!((made.status.as_u16(), made.header("cache-control")), (200, "no-store"));
    let at = made.text.find("cerbyrec_").unwrap_or_else(|| panic!("{}", made.text));
    let token = made.text[at..].split('<').next().unwrap().to_owned();
    assert_eq!(made.text.matches(&token).count(), 1);
    assert!(!site.get(Role::Administrator, "/access").await.text.contains(&token), "once");
    let actor = site.desk.actor_of(&token).await.unwrap().unwrap();
    let access = Access { role: Role::Operator, workspaces: Some(vec!["acme".to_owned()]) };
    assert_eq!(actor.access(), Some(&access));
    let trail =
        "select actor from reconciler.events where what = 'token.created' order by id desc limit 1";
    let by: String = sqlx::query_scalar(trail).fetch_one(&site.pool).await.unwrap();
    assert_eq!(by, "token:administrator");

    let with = |name: &'static str, value: &'static str| {
        let fields = right.map(|(one, old)| (one, if one == name { value } else { old }));
        fields.map(|(one, old)| if old == "batch" { (one, "another") } else { (one, old) })
    };
    for (fields, status, words) in [
        (right.to_vec(), 409, "There was a token batch before"),
        (with("workspaces", "acme globex").to_vec(), 403, "reaches no further"),
        (with("workspaces", "").to_vec(), 400, "at least one workspace"),
        ([&with("workspaces", "")[..], &[("all", "1")]].concat(), 403, "reaches no further"),
        ([&right[..], &[("all", "1")]].concat(), 400, "not both"),
        (with("days", "401").to_vec(), 400, "at_most_400_days"),
        (with("days", "soon").to_vec(), 400, "a number from 1 to 400"),
        (with("role", "king").to_vec(), 400, "must be viewer, operator or administrator"),
        (with("name", "Odd <name>").to_vec(), 400, "small_letters"),
    ] {
        let refused = make(Role::Administrator, &fields).await;
        assert_eq!(refused.status.as_u16(), status, "{fields:?}: {}", refused.text);
        assert!(refused.text.contains(words), "{words}: {}", refused.text);
        assert!(!refused.text.contains("cerbyrec_"), "{fields:?}");
    }
    let kept = make(Role::Administrator, &with("name", "Odd <name>")).await.text;
    assert!(kept.contains("value=\"Odd &lt;name&gt;\"") && kept.contains("value=\"30\""), "{kept}");
    for role in [Role::Viewer, Role::Operator] {
        assert_eq!(make(role, &with("name", "mine")).await.status, 403, "{role}");
        assert!(!site.get(role, "/access").await.text.contains("Make a token"), "{role}");
    }
    let count = "select count(*) from reconciler.tokens";
    let count: i64 = sqlx::query_scalar(count).fetch_one(&site.pool).await.unwrap();
    assert_eq!(count, 4, "three, and the one");
}

#[sqlx::test(migrations = false)]
async fn an_administrator_of_some_workspaces_has_no_say_about_tokens_and_sessions_that_reach_further(
    pool: PgPool,
) {
    let site = Site::new(pool).await;
    let kim = Actor::named("kim").unwrap();
    for (name, workspaces) in [("wide", None), ("foreign", Some(vec!["globex".to_owned()]))] {
        let access = Access { role: Role::Operator, workspaces };
        let token = site.desk.create_token(&kim, name, &access, 1).await.unwrap();
        site.sign_in(token.expose_secret(), &[]).await;
    }
    let page = site.get(Role::Administrator, "/access").await.text;
    assert!(page.contains("Revoke token operator") && page.contains("of token:operator"), "{page}");
    assert!(!page.contains("wide") && !page.contains("foreign"), "{page}");
    for name in ["wide", "foreign"] {
        let path = format!("/access/tokens/{name}/revoke");
        let revoked = site.post(Role::Administrator, &path, &[]).await;
        assert_eq!(revoked.status, 404, "{name}");
    }
    let ids = "select id from reconciler.sessions where actor in ('token:wide', 'token:foreign')";
    let ids: Vec<i64> = sqlx::query_scalar(ids).fetch_all(&site.pool).await.unwrap();
    assert_eq!(ids.len(), 2);
    for id in ids {
        let path = format!("/access/sessions/{id}/end");
        assert_eq!(site.post(Role::Administrator, &path, &[]).await.status, 404);
    }
    let all = Access { role: Role::Administrator, workspaces: None };
    let token = site.desk.create_token(&kim, "root", &all, 1).await.unwrap();
    let actor = site.desk.actor_of(token.expose_secret()).await.unwrap().unwrap();
    assert_eq!(site.desk.sessions(&actor).await.unwrap().len(), 5);
    site.desk.revoke_token(&actor, "wide").await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_filter_is_saved_stands_above_its_list_and_is_renamed_and_deleted(pool: PgPool) {
    let site = Site::new(pool).await;
    let save = async |query: &str| {
        let fields = [("name", "late ones"), ("page", "actions"), ("query", query)];
        site.post(Role::Operator, "/views", &fields).await
    };
    let saved = save("overdue=1").await;
    assert_eq!(
        (saved.status, saved.header("location")),
        (StatusCode::SEE_OTHER, "/actions?overdue=1&said=view")
    );
    let list = site.get(Role::Operator, "/actions?overdue=1&cursor=31").await.text;
    assert!(
        list.contains("<a href=\"/actions?overdue=1\" aria-current=\"true\">late ones</a>"),
        "{list}"
    );
    assert!(list.contains("name=\"query\" value=\"overdue=1\""), "{list}");
    let other = site.get(Role::Operator, "/tasks").await.text;
    assert!(!other.contains("late ones"), "{other}");
    let viewer = site.get(Role::Viewer, "/actions").await.text;
    assert!(viewer.contains("own view") && !viewer.contains("late ones"), "{viewer}");

    let refused = save("overdue=1&colour=red").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("has no filter &quot;colour&quot;"), "{}", refused.text);
    let operator = site.desk.actor_of(&site.tokens[&Role::Operator]).await.unwrap().unwrap();
    let views = site.desk.views(&operator, None);
    let id = views.await.unwrap().iter().find(|view| view.name == "late ones").unwrap().id;
    let path = format!("/views/{id}/rename");
    assert_eq!(
        site.post(Role::Operator, &path, &[("name", "overdue")]).await.status,
        StatusCode::SEE_OTHER
    );
    let empty = site.post(Role::Operator, &path, &[("name", " ")]).await;
    assert_eq!(empty.status, 400, "{}", empty.text);
    assert!(site.get(Role::Operator, "/views").await.text.contains("value=\"overdue\""));
    let gone = site.post(Role::Operator, &format!("/views/{id}/delete"), &[]).await;
    assert_eq!(gone.header("location"), "/views?said=delete-view");
    assert!(!site.get(Role::Operator, "/views").await.text.contains("value=\"overdue\""));
}

/// The address of the link with this text before it in its tag.
fn link(page: &Page, tag: &str) -> String {
    let end = page.text.find(tag).unwrap_or_else(|| panic!("no {tag} in {}", page.text));
    let start = page.text[..end].rfind("href=\"").unwrap() + "href=\"".len();
    page.text[start..end].replace("&amp;", "&")
}

#[sqlx::test(migrations = false)]
async fn an_action_that_was_opened_from_a_list_leads_on_in_it_and_back(pool: PgPool) {
    let site = Site::new(pool).await;
    site.more(11..=13).await;
    let list = site.get(Role::Operator, "/actions?operation=remove").await;
    assert!(list.text.contains("/actions/11?list=operation%3Dremove"), "{}", list.text);
    let first = site.get(Role::Operator, "/actions/1?list=operation%3Dremove").await;
    assert!(!first.text.contains("rel=\"prev\""), "it is the first of the list");
    let next = link(&first, "\" rel=\"next\"");
    assert_eq!(next, "/actions/11?list=operation%3Dremove");
    let second = site.get(Role::Operator, &next).await;
    assert_eq!(link(&second, "\" rel=\"prev\""), "/actions/1?list=operation%3Dremove");
    assert_eq!(link(&second, "\">Back to the list"), "/actions?operation=remove");
    assert_eq!(second.field("list"), "operation=remove");
    let fields = [("revision", second.field("revision")), ("list", second.field("list"))];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let done = site.post(Role::Operator, "/actions/11/claim", &fields).await;
    assert_eq!(done.header("location"), "/actions/11?said=claim&list=operation%3Dremove");
    let alone = site.get(Role::Operator, "/actions/11").await;
    assert!(!alone.text.contains("Back to the list"));
    let odd = site.get(Role::Operator, "/actions/11?list=status%3Dodd").await;
    assert_eq!(odd.status, 200, "an address that is no list is left out");
}

#[sqlx::test(migrations = false)]
async fn a_page_stays_small_however_much_there_is_to_do(pool: PgPool) {
    let site = Site::new(pool).await;
    site.more(1001..=3200).await;
    site.run(
        "set session_replication_role = replica;
         update reconciler.manual_actions
         set member_email = repeat('m', 20) || id || '@example.com', member_name = repeat('Name ', 6), reason = 'cause ' || id % 300
         where id between 1001 and 3200",
    )
    .await;
    let queue = site.get(Role::Operator, "/").await;
    let shown = |page: &Page| page.text.matches("<tr class=\"row\">").count();
    let second = site.get(Role::Operator, &link(&queue, "\" rel=\"next\"")).await;
    let third = site.get(Role::Operator, &link(&second, "\" rel=\"next\"")).await;
    let last = site.get(Role::Operator, &link(&third, "\" rel=\"next\"")).await;
    assert_eq!([&queue, &second, &third, &last].map(shown), [100, 100, 100, 1]);
    assert!(!last.text.contains("Next page"));
    for (path, page) in [
        ("/", queue),
        ("its second page", second),
        ("/actions", site.get(Role::Operator, "/actions").await),
        ("/apps/acme/an-app", site.get(Role::Operator, "/apps/acme/an-app").await),
    ] {
        assert!(page.text.len() < 100_000, "{path}: {} bytes", page.text.len());
    }
}

#[sqlx::test(migrations = false)]
async fn a_long_list_leads_on_back_and_to_its_start(pool: PgPool) {
    let site = Site::new(pool).await;
    site.more(11..=150).await;
    let shown = |page: &Page| page.text.matches("<tr class=\"row\">").count();
    let first = site.get(Role::Operator, "/actions?operation=remove").await;
    assert!(!first.text.contains("Previous page"));
    let second = site.get(Role::Operator, &link(&first, "\" rel=\"next\"")).await;
    let third = site.get(Role::Operator, &link(&second, "\" rel=\"next\"")).await;
    assert_eq!((shown(&first), shown(&second), shown(&third)), (50, 50, 41));
    assert!(!third.text.contains("Next page"));
    let back = site.get(Role::Operator, &link(&third, "\" rel=\"prev\"")).await;
    assert!(back.text == second.text, "the page before is the same as it was");
    assert_eq!(link(&back, "\" rel=\"prev\""), "/actions?operation=remove");
    assert_eq!(link(&third, "\">First page"), "/actions?operation=remove");
}

#[sqlx::test(migrations = false)]
async fn evidence_names_what_proves_it_and_its_sheet_has_every_line_and_no_formula(pool: PgPool) {
    let site = Site::new(pool).await;
    site.more(1001..=3200).await;
    site.run(
        "set session_replication_role = replica;
         update reconciler.manual_actions set requested_at = '2026-03-05 10:00Z', requested_by = '=cmd()' where id > 1000;
         update reconciler.manual_actions
         set status = 'verified', done_by = 'token:kim', done_at = '2026-03-06 10:00Z', verdict = 'confirmed',
             verdict_at = '2026-03-06 11:00Z', snapshot_started_at = '2026-03-06 10:30Z', sync_id = 1,
             snapshot_hash = 'sha256:abc', observed = 'not in the list', closed_at = '2026-03-06 11:00Z', assignee = null
         where id = 1001;
         update reconciler.syncs set decision = 'approved', decision_reason = 'why', decided_by = 'token:lee' where id = 1;
         insert into reconciler.action_figures (action_id, workspace_id, integration_id, operation, cause, requested_at, opened_at, status)
         select id, workspace_id, integration_id, operation, reason, requested_at, opened_at, status
         from reconciler.manual_actions where id > 1000;
         set session_replication_role = origin",
    )
    .await;
    let path = "/evidence?month=2026-03&workspace=acme";
    let page = site.get(Role::Viewer, path).await;
    assert!(page.text.contains("m1002@example.com") && !page.text.contains("m1001@example.com"));
    assert!(page.text.len() < 100_000, "{}", page.text.len());
    let last =
        site.get(Role::Viewer, &format!("{path}&cursor={}", hex(b"unproven-3200"))).await.text;
    for words in [
        "m1001@example.com",
        "by token:kim",
        "2026-03-06 10:00",
        "sha256:abc",
        "/syncs/1",
        "not in the list",
        "approved by token:lee",
    ] {
        assert!(last.contains(words), "{words}: {last}");
    }
    let whole = site.get(Role::Viewer, &format!("{path}&whole=1")).await.text;
    assert!(whole.contains("Only the first 2000 lines are on this page"));
    let sheet = site.get(Role::Viewer, "/evidence.csv?month=2026-03&workspace=acme").await;
    assert_eq!(
        sheet.header("content-disposition"),
        "attachment; filename=\"evidence-acme-2026-03.csv\""
    );
    assert_eq!(sheet.text.lines().count(), 2201, "the heads and every line");
    assert!(sheet.text.contains(",'=cmd(),") && !sheet.text.contains(",=cmd()"));

    let wrong = site.get(Role::Viewer, "/evidence?month=March").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("which is no month"), "{}", wrong.text);
    let wrong = site.get(Role::Viewer, "/reports?from=2020-01-01").await;
    assert!(wrong.status == 400 && wrong.text.contains("366 days at most"), "{}", wrong.text);
    let foreign = site.get(Role::Viewer, "/evidence?workspace=globex").await;
    assert!(foreign.status == 200 && !foreign.text.contains("secret"), "{}", foreign.text);
}

/// Notes may have 10 000 characters, and a line of a list is not the place for them.
#[sqlx::test(migrations = false)]
async fn the_page_of_an_app_stays_small_however_many_wait_and_whatever_they_wrote(pool: PgPool) {
    let site = Site::new(pool).await;
    site.more(100..=350).await;
    site.run(
        "set session_replication_role = replica;
         update reconciler.manual_actions
         set note = repeat('The vendor bills next week. ', 300), status = 'in_progress', assignee = 'kim.operator',
             assigned_at = now(), member_name = 'Somebody with a name of several words',
             member_email = 'somebody.with.a.long.address' || id || '@customer.example.com'
         where id >= 100;
         set session_replication_role = origin",
    )
    .await;
    let app = site.get(Role::Operator, "/apps/acme/an-app").await;
    assert_eq!(app.status, StatusCode::OK);
    assert!(app.text.contains("There are more."), "{}", app.text);
    assert!(app.text.contains("The vendor bills next week.") && app.text.contains('…'));
    assert!(app.text.len() < 100_000, "{} bytes", app.text.len());
    let action = site.get(Role::Operator, "/actions/100").await;
    assert!(action.text.len() > 8000, "{} bytes", action.text.len());
}

#[sqlx::test(migrations = false)]
async fn what_is_done_with_many_is_answered_in_time_although_others_hold_them_locked(pool: PgPool) {
    let site = Site::new(pool).await;
    site.more(101..=107).await;
    let mut other = site.pool.begin().await.unwrap();
    sqlx::query("select from reconciler.manual_actions where id between 101 and 106 for update")
        .execute(&mut *other)
        .await
        .unwrap();
    let actions: Vec<_> = (101..=107).map(Seen::from).collect();
    let (kim, words) = (Actor::named("kim").unwrap(), Words::default());
    let answers = site.desk.act_on_each(&kim, ActionVerb::Claim, &actions, words).await.unwrap();
    let told: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_err().to_string()).collect();
    assert!(told[..5].iter().all(|words| !words.contains("was not tried")), "{told:?}");
    assert!(told[5].contains("was not tried") && told[6].contains("was not tried"), "{told:?}");
    other.rollback().await.unwrap();
    let again = site.desk.act_on_each(&kim, ActionVerb::Claim, &actions, words).await.unwrap();
    assert!(again.iter().all(Result::is_ok), "{again:?}");
}
