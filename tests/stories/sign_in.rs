//! People sign in by an issuer of OpenID Connect, and the console takes only what counts.

#![expect(clippy::unwrap_used, reason = "a story that cannot be set up has failed")]

use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cerby_reconciler::access::{Access, Role};
use cerby_reconciler::config::{Config, Oidc};
use cerby_reconciler::upkeep;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::access::with_rows;
use crate::console::{Page, Site, form, page};
use crate::support::eventually;
use crate::support::issuer::{CLIENT, Failure, Issuer, Key, SECRET, fields, unsigned};
use crate::support::log::Log;

/// A console whose people sign in by an issuer.
struct Signing {
    site: Site,
    issuer: Issuer,
    key: Arc<Key>,
}

/// A browser that was sent to the issuer.
struct Sent {
    cookie: String,
    address: String,
}

impl Signing {
    async fn new(pool: PgPool) -> Self {
        Self::with_key(pool, Key::ec("one")).await
    }

    async fn with_key(pool: PgPool, key: Arc<Key>) -> Self {
        Self::with(pool, key, |_| {}).await
    }

    async fn with(pool: PgPool, key: Arc<Key>, change: impl FnOnce(&mut Oidc)) -> Self {
        let issuer = Issuer::start(&key).await;
        let site = Site::with(with_rows(pool).await, |operators| {
            operators.oidc = issuer.settings();
            operators.wrong_tokens_per_minute = 1000;
            change(&mut operators.oidc);
        })
        .await;
        Self { site, issuer, key }
    }

    async fn get(&self, path: &str, cookie: &str) -> Page {
        page(self.site.ask(Method::GET, path).header("cookie", cookie)).await
    }

    async fn send(&self, to: &str, more: &str) -> Sent {
        let asked = self.get(&format!("/sign-in/issuer?to={to}{more}"), "").await;
        assert_eq!(asked.status, 303, "{}", asked.text);
        let cookie = asked.header("set-cookie").split(';').next().unwrap().to_owned();
        Sent { cookie, address: asked.header("location").to_owned() }
    }

    /// The browser comes back with the answer of the issuer.
    async fn back(&self, sent: &Sent) -> Page {
        self.came(&self.issuer.answer(&sent.address), &sent.cookie).await
    }

    async fn came(&self, answer: &str, cookie: &str) -> Page {
        let path = answer.strip_prefix(&self.site.url).unwrap();
        self.get(path, cookie).await
    }

    async fn sign_in(&self) -> Page {
        self.back(&self.send("%2F", "").await).await
    }

    /// The cookie of somebody who has signed in.
    async fn signed_in(&self) -> String {
        let back = self.sign_in().await;
        assert_eq!(back.status, 303, "{}", back.text);
        session(&back)
    }

    async fn text(&self, query: &str) -> String {
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
            .fetch_one(&self.site.pool)
            .await
            .unwrap()
    }

    async fn sessions(&self) -> i64 {
        let query = "select count(*) from reconciler.sessions";
        sqlx::query_scalar(query).fetch_one(&self.site.pool).await.unwrap()
    }
}

fn cookies(page: &Page) -> impl Iterator<Item = &str> {
    page.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap())
}

/// The cookie of the session that a page gives.
fn session(page: &Page) -> String {
    let given = cookies(page).find(|one| one.starts_with("__Host-reconciler="));
    given
        .unwrap_or_else(|| panic!("no session: {}", page.text))
        .split(';')
        .next()
        .unwrap()
        .to_owned()
}

fn assert_refused(page: &Page, what: &str) {
    assert_eq!(page.status, 403, "{what}: {}", page.text);
    assert!(page.text.contains("You are not signed in"), "{what}: {}", page.text);
    assert!(!cookies(page).any(|one| one.starts_with("__Host-reconciler=")), "{what}");
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[sqlx::test(migrations = false)]
async fn a_person_signs_in_comes_back_to_the_link_and_is_in_the_trail(pool: PgPool) {
    let signing = Signing::with_key(pool, Key::rsa("one")).await;
    let link = "/actions?status=open&member=jo";
    let asks = signing.get(link, "").await.header("location").to_owned();
    assert_eq!(asks, "/sign-in?to=%2Factions%3Fstatus%3Dopen%26member%3Djo");
    let asked = signing.get(&asks, "").await.text;
    assert!(
        asked.contains("/sign-in/issuer?to=%2Factions%3Fstatus%3Dopen%26member%3Djo"),
        "{asked}"
    );
    assert!(
        asked.contains("Sign in with 127.0.0.1") && !asked.contains("tokens create"),
        "{asked}"
    );

    let sent = signing.send("%2Factions%3Fstatus%3Dopen%26member%3Djo", "").await;
    let request = fields(sent.address.split_once('?').unwrap().1);
    assert_eq!(request["scope"], "openid email");
    assert_eq!(request["redirect_uri"], format!("{}/sign-in/callback", signing.site.url));
    assert!(sent.cookie.starts_with("__Host-reconciler-sign-in-"), "{}", sent.cookie);
    assert!(
        !sent.address.contains(sent.cookie.split(['=', '.']).nth(1).unwrap()),
        "the secret stays"
    );
    let back = signing.back(&sent).await;
    assert_eq!((back.status.as_u16(), back.header("location")), (303, link), "{}", back.text);
    for cookie in cookies(&back) {
        assert!(cookie.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    }
    let cookie = session(&back);
    let seen = signing.get("/actions/1", &cookie).await;
    assert!(seen.text.contains("<b>kim@example.com</b> <small>operator"), "{}", seen.text);
    assert_eq!(signing.get("/actions/2", &cookie).await.status, 404, "of another workspace");

    let revision = seen.field("revision");
    let claim = signing.site.ask(Method::POST, "/actions/1/claim").header("cookie", &cookie);
    assert_eq!(page(form(claim, &[("revision", &revision)])).await.status, 303);
    let trail = "select string_agg(what || ' by ' || actor || coalesce(' ' || (detail ->> 'email'), ''), ', ' order by id)
                 from reconciler.events where actor like 'oidc:%'";
    assert_eq!(
        signing.text(trail).await,
        "session.started by oidc:kim-1 kim@example.com, action.claimed by oidc:kim-1"
    );
    signing.issuer.say(json!({ "sub": "lee-2", "email": "lee@example.com" }));
    let lee = signing.signed_in().await;
    let queue = signing.get("/", &lee).await.text;
    assert!(queue.contains(">kim@example.com<"), "a colleague reads the email: {queue}");
    let revision = signing.get("/actions/1", &cookie).await.field("revision");
    let give = signing.site.ask(Method::POST, "/actions/1/hand-over").header("cookie", &cookie);
    let fields = [("revision", revision.as_str()), ("to", "lee@example.com"), ("note", "yours")];
    assert_eq!(page(form(give, &fields)).await.status, 303);
    let assignee = "select assignee from reconciler.manual_actions where id = 1";
    assert_eq!(signing.text(assignee).await, "oidc:lee-2", "by the email");
}

#[sqlx::test(migrations = false)]
async fn an_answer_that_is_not_the_issuers_for_this_sign_in_signs_nobody_in(pool: PgPool) {
    let log = Log::here();
    let signing = Signing::new(pool).await;
    let (issuer, key) = (&signing.issuer, &signing.key);
    let signed = |change: fn(&mut Value)| {
        let key = Arc::clone(key);
        move |mut claims: Value| {
            change(&mut claims);
            key.sign(&claims)
        }
    };
    let refused = async |what: &str| {
        assert_refused(&signing.sign_in().await, what);
        assert_eq!(signing.sessions().await, 0, "{what}");
    };
    issuer.sign_with(signed(|claims| claims["exp"] = json!(now() - 1)));
    refused("expired").await;
    issuer.sign_with(signed(|claims| claims["aud"] = json!("another-client")));
    refused("for another client").await;
    issuer.sign_with(signed(|claims| claims["aud"] = json!([CLIENT, "another-client"])));
    refused("for another client, too").await;
    issuer.sign_with(signed(|claims| claims["iss"] = json!("https://issuer.example")));
    refused("by another issuer").await;
    issuer.sign_with(signed(|claims| claims["nonce"] = json!("another")));
    refused("for another sign-in").await;
    issuer.sign_with(signed(|claims| drop(claims.as_object_mut().unwrap().remove("nonce"))));
    refused("for any sign-in").await;

    let other = Key::ec("one");
    issuer.sign_with(move |claims| other.sign(&claims));
    refused("signed by another key of the same name").await;
    let unknown = Key::ec("unknown");
    issuer.sign_with(move |claims| unknown.sign(&claims));
    refused("signed by an unknown key").await;
    let own = Arc::clone(key);
    issuer.sign_with(move |claims| {
        let token = own.sign(&claims);
        let mut claims = claims;
        claims["groups"] = json!(["chiefs", "everywhere"]);
        let signature = token.rsplit('.').next().unwrap();
        let header = json!({ "alg": "ES256", "kid": "one" });
        format!("{}.{signature}", unsigned(&header, &claims))
    });
    refused("changed after it was signed").await;
    issuer.sign_with(|claims| format!("{}.", unsigned(&json!({ "alg": "none" }), &claims)));
    refused("signed by nobody").await;
    issuer.sign_with(|claims| {
        let text = unsigned(&json!({ "alg": "HS256" }), &claims);
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes())))
    });
    refused("signed by the secret of the client").await;
    issuer.sign_with(|_| "no token".to_owned());
    refused("not readable").await;

    assert_eq!(log.count("sign_in.refused"), 12);
    assert!(log.has_text("Expired") && log.has_text("nonce mismatch"), "the reason is in the log");
    for secret in issuer.tokens().iter().chain(&[SECRET.to_owned(), "kim".to_owned()]) {
        assert!(secret == "no token" || !log.has_text(secret), "{secret}");
    }
    issuer.sign_by(key);
    assert_eq!(signing.sign_in().await.status, 303, "the next one counts");
}

#[sqlx::test(migrations = false)]
async fn an_answer_counts_once_and_in_the_browser_that_asked_alone(pool: PgPool) {
    let signing = Signing::new(pool).await;
    let sent = signing.send("%2F", "").await;
    let answer = signing.issuer.answer(&sent.address);
    assert_refused(&signing.came(&answer, "").await, "in another browser");
    let other = signing.send("%2F", "").await;
    assert_refused(&signing.came(&answer, &other.cookie).await, "for another sign-in");
    let state = fields(answer.split_once('?').unwrap().1)["state"].clone();
    let changed = answer.replace(&state, &format!("{}{}", &state[..63], "x"));
    assert_refused(&signing.came(&changed, &sent.cookie).await, "with a state that was changed");
    assert_eq!(signing.came(&answer, &sent.cookie).await.status, 303);
    let exchanged = signing.issuer.asked("/token");
    assert_refused(&signing.came(&answer, &sent.cookie).await, "again");
    assert_eq!(signing.issuer.asked("/token"), exchanged, "also if the issuer took a code twice");
    // The code of one sign-in in the answer to another: the verifier does not fit.
    let (one, two) = (signing.send("%2F", "").await, signing.send("%2F", "").await);
    let code = |answer: &str| fields(answer.split_once('?').unwrap().1)["code"].clone();
    let (first, second) =
        (signing.issuer.answer(&one.address), signing.issuer.answer(&two.address));
    let injected = second.replace(&code(&second), &code(&first));
    assert_refused(&signing.came(&injected, &two.cookie).await, "with the code of another sign-in");
    for (more, what) in [
        ("&iss=https%3A%2F%2Fother.example", "of another issuer"),
        ("&error=access_denied", "that refuses"),
    ] {
        let sent = signing.send("%2F", "").await;
        let answer = format!("{}{more}", signing.issuer.answer(&sent.address));
        assert_refused(&signing.came(&answer, &sent.cookie).await, what);
    }
    let sent = signing.send("%2F%2Fevil.example", "").await;
    assert_eq!(signing.back(&sent).await.header("location"), "/", "nobody is led away");
}

#[sqlx::test(migrations = false)]
async fn keys_rotate_without_a_restart_and_unknown_ones_are_asked_for_seldom(pool: PgPool) {
    let signing = Signing::new(pool).await;
    signing.signed_in().await;
    let next = Key::ec("two");
    signing.issuer.publish(&[&signing.key, &next]);
    signing.issuer.sign_by(&next);
    signing.signed_in().await;
    assert_eq!(signing.issuer.asked("/keys"), 2, "at the start, and for the new one");
    signing.issuer.sign_by(&Key::ec("three"));
    for _ in 0..3 {
        assert_refused(&signing.sign_in().await, "an unknown key");
    }
    assert_eq!(signing.issuer.asked("/keys"), 2, "tokens do not become requests");
    signing.issuer.sign_by(&signing.key);
    signing.signed_in().await;
}

#[sqlx::test(migrations = false)]
async fn an_issuer_that_fails_is_told_once_and_works_again_without_a_restart(pool: PgPool) {
    let pool = with_rows(pool).await;
    let issuer = Issuer::start(&Key::ec("one")).await;
    let down = Failure::Status(StatusCode::INTERNAL_SERVER_ERROR);
    for fails in [down, Failure::Silence, Failure::Flood, Failure::Redirect] {
        let log = Log::here();
        issuer.fail(Some(fails));
        let site = Site::with(pool.clone(), |operators| operators.oidc = issuer.settings()).await;
        let ask = async || page(site.ask(Method::GET, "/sign-in/issuer?to=%2Ftasks")).await;
        for _ in 0..3 {
            let asked = ask().await;
            assert_eq!(asked.status, 503, "{}", asked.text);
            assert!(asked.text.contains("127.0.0.1 does not answer"), "{}", asked.text);
            assert!(asked.text.contains("/sign-in/issuer?to=%2Ftasks"), "it may be tried again");
        }
        let described = || issuer.asked("/.well-known/openid-configuration");
        let before = described();
        eventually("it is asked again", async || {
            ask().await;
            described() > before
        })
        .await;
        assert_eq!(log.count("issuer.unavailable"), 1);
        issuer.fail(None);
        eventually("it works again", async || ask().await.status == 303).await;
        assert_eq!(log.count("issuer.recovered"), 1);
    }
    assert_eq!(issuer.asked("/elsewhere"), 0, "secrets follow no redirect");
}

#[sqlx::test(migrations = false)]
async fn an_issuer_that_is_gone_when_the_code_comes_leaves_people_signed_out(pool: PgPool) {
    let signing = Signing::new(pool).await;
    let sent = signing.send("%2F", "").await;
    let answer = signing.issuer.answer(&sent.address);
    signing.issuer.fail(Some(Failure::Silence));
    let back = signing.came(&answer, &sent.cookie).await;
    assert_eq!((back.status.as_u16(), signing.sessions().await), (503, 0), "{}", back.text);
    assert!(back.text.contains("<h1>The sign-in service does not answer</h1>"), "{}", back.text);
    signing.issuer.fail(None);
    signing.signed_in().await;
}

#[sqlx::test(migrations = false)]
async fn a_role_that_was_taken_away_ends_with_the_session_and_a_new_one_begins_with_it(
    pool: PgPool,
) {
    let signing = Signing::new(pool).await;
    let cookie = signing.signed_in().await;
    let lasts =
        "select (expires_at - started_at <= interval '1 hour 1 s')::text from reconciler.sessions";
    assert_eq!(signing.text(lasts).await, "true", "however long other sessions last");
    let over = "update reconciler.sessions set idle_until = now(), expires_at = now()";
    signing.site.run(over).await;
    let quiet = "/sign-in/issuer?quiet=1&to=%2Factions%3Fstatus%3Dopen";
    let renew = async |cookie: &str| {
        let asked = signing.get("/actions?status=open", cookie).await;
        assert_eq!((asked.status.as_u16(), asked.header("location")), (303, quiet));
        let sent = signing.send("%2Factions%3Fstatus%3Dopen", "&quiet=1").await;
        assert!(sent.address.contains("prompt=none"), "{}", sent.address);
        signing.back(&sent).await
    };
    signing.issuer.say(json!({ "groups": ["readers"] }));
    let renewed = renew(&cookie).await;
    assert_eq!(renewed.header("location"), "/actions?status=open");
    let cookie = session(&renewed);
    assert!(signing.get("/", &cookie).await.text.contains("<small>viewer"), "less than before");
    signing.site.run(over).await;
    for (claims, words) in [
        (json!({ "groups": ["others"] }), "gives you no role"),
        (json!({ "groups": null }), "gives you no role"),
        (json!({ "workspaces": null }), "gives you no workspace"),
        (json!({ "workspaces": "*" }), "gives you no workspace"),
    ] {
        signing.issuer.say(claims);
        let refused = renew(&cookie).await;
        assert_refused(&refused, words);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    // The issuer would have to show something: then people see the page on which they sign in.
    let sent = signing.send("%2Ftasks", "&quiet=1").await;
    let state = fields(sent.address.split_once('?').unwrap().1)["state"].clone();
    let answer =
        format!("{}/sign-in/callback?error=login_required&state={state}", signing.site.url);
    let asked = signing.came(&answer, &sent.cookie).await;
    assert_eq!(asked.header("location"), "/sign-in?to=%2Ftasks");
}

#[sqlx::test(migrations = false)]
async fn a_sign_in_with_another_role_ends_the_sessions_with_the_old_one(pool: PgPool) {
    let signing = Signing::new(pool).await;
    let is_valid = async |cookie: &str| signing.get("/tasks", cookie).await.status == 200;
    let one = signing.signed_in().await;
    let same = signing.signed_in().await;
    assert!(is_valid(&one).await && is_valid(&same).await, "the same role, in two browsers");
    signing.issuer.say(json!({ "workspaces": ["acme", "globex"] }));
    let wider = signing.signed_in().await;
    assert!(!is_valid(&one).await && !is_valid(&same).await && is_valid(&wider).await);
    signing.issuer.say(json!({ "sub": "lee-2" }));
    let lee = signing.signed_in().await;
    signing.issuer.say(json!({ "groups": [] }));
    assert_refused(&signing.sign_in().await, "no role");
    assert!(!is_valid(&wider).await && is_valid(&lee).await, "all of hers, and nobody else's");
    let ended = "select count(*)::text from reconciler.events where what = 'session.ended' and actor = 'oidc:kim-1'";
    assert_eq!(signing.text(ended).await, "3");
}

#[sqlx::test(migrations = false)]
async fn a_session_that_was_unused_or_ended_by_somebody_does_not_go_on_by_itself(pool: PgPool) {
    let signing = Signing::new(pool).await;
    for ended in [
        "last_seen_at = now() - interval '1 day', idle_until = now(), expires_at = now()",
        "ended_at = now(), idle_until = now(), expires_at = now()",
        "idle_until = now()",
    ] {
        let cookie = signing.signed_in().await;
        let latest = "where id = (select max(id) from reconciler.sessions)";
        signing.site.run(&format!("update reconciler.sessions set {ended} {latest}")).await;
        assert_eq!(signing.get("/tasks", &cookie).await.header("location"), "/sign-in?to=%2Ftasks");
    }
}

#[sqlx::test(migrations = false)]
async fn a_form_that_came_after_the_session_is_shown_with_its_text_and_sent_after_the_sign_in(
    pool: PgPool,
) {
    let signing = Signing::new(pool).await;
    let cookie = signing.signed_in().await;
    let revision = signing.get("/actions/1", &cookie).await.field("revision");
    signing.site.run("update reconciler.sessions set idle_until = now(), expires_at = now()").await;
    let note = "removed & <checked>\nat nine";
    let send = async |cookie: &str| {
        let sent = signing.site.ask(Method::POST, "/actions/1/done").header("cookie", cookie);
        page(form(sent, &[("revision", &revision), ("note", note)])).await
    };
    let asked = send(&cookie).await;
    assert_eq!(asked.status, 401);
    assert!(asked.text.contains("<b>Nothing was done.</b>"), "{}", asked.text);
    assert!(
        asked.text.contains(">removed &amp; &lt;checked&gt;\nat nine</textarea>"),
        "{}",
        asked.text
    );
    assert!(asked.text.contains("action=\"/actions/1/done\""), "{}", asked.text);
    assert_eq!(asked.field("revision"), revision);
    let link = "href=\"/sign-in/issuer?to=%2Fsigned-in\" target=\"_blank\"";
    assert!(asked.text.contains(link), "the form stays in its tab: {}", asked.text);
    let back = signing.back(&signing.send("%2Fsigned-in", "").await).await;
    assert_eq!(back.header("location"), "/signed-in");
    let cookie = session(&back);
    let told = signing.get("/signed-in", &cookie).await.text;
    assert!(told.contains("send the form there. Nothing was done yet."), "{told}");
    assert_eq!(signing.site.status_of(1).await, "open", "nobody has sent it yet");
    assert_eq!(send(&cookie).await.status, 303);
    assert_eq!(signing.site.status_of(1).await, "done");
}

#[sqlx::test(migrations = false)]
async fn an_address_from_which_sign_ins_fail_waits(pool: PgPool) {
    let key = Key::ec("one");
    let issuer = Issuer::start(&key).await;
    let site = Site::with(with_rows(pool).await, |operators| {
        operators.oidc = issuer.settings();
        operators.wrong_tokens_per_minute = 3;
    })
    .await;
    let signing = Signing { site, issuer, key };
    // A page of somebody else lets the browser ask for this, and a program at the address has a token that has expired.
    for _ in 0..4 {
        let path = "/sign-in/callback?code=x&state=0123456789abcdef";
        assert_refused(&signing.get(path, "").await, "an answer to nothing");
        let program = signing.site.ask(Method::GET, "/v1/actions").bearer_auth("cerbyrec_expired");
        program.send().await.unwrap();
    }
    signing.signed_in().await;
    for _ in 0..3 {
        let sent = signing.send("%2F", "").await;
        let wrong = format!("{}&error=access_denied", signing.issuer.answer(&sent.address));
        assert_refused(&signing.came(&wrong, &sent.cookie).await, "refused by the issuer");
    }
    let waits = signing.sign_in().await;
    assert_eq!(waits.status, 429, "{}", waits.text);
    assert!(!waits.header("retry-after").is_empty());
}

#[sqlx::test(migrations = false)]
async fn whom_the_issuer_calls_by_an_odd_name_or_without_an_email_is_nobody_else(pool: PgPool) {
    let signing = Signing::new(pool).await;
    for odd in ["kim via login ops", "a\u{202e}b", "", &"x".repeat(151)] {
        signing.issuer.say(json!({ "sub": odd }));
        let refused = signing.sign_in().await;
        assert_refused(&refused, odd);
        assert_eq!(signing.sessions().await, 0, "{odd:?}");
    }
    signing.issuer.say(json!({ "sub": "token:kim", "email_verified": false }));
    let cookie = signing.signed_in().await;
    let actor = "select actor || coalesce(' ' || email, '') from reconciler.sessions";
    assert_eq!(signing.text(actor).await, "oidc:token:kim", "an address that nobody checked");
    assert!(signing.get("/", &cookie).await.text.contains("<b>oidc:token:kim</b>"));
}

#[sqlx::test(migrations = false)]
async fn a_client_reads_whom_the_trail_calls_by_a_subject_in_its_own_workspaces(pool: PgPool) {
    let signing = Signing::new(pool).await;
    for (subject, workspaces) in [("kim-1", "acme"), ("lee-2", "globex"), ("ann-3", "acme")] {
        let email = format!("{subject}@example.com");
        signing.issuer.say(json!({ "sub": subject, "email": email, "workspaces": [workspaces] }));
        signing.signed_in().await;
    }
    signing.issuer.say(
        json!({ "sub": "all-4", "email": "all-4@example.com", "groups": ["desk", "everywhere"] }),
    );
    signing.signed_in().await;
    let people = async |workspace: &str| {
        let access = Access { role: Role::Viewer, workspaces: Some(vec![workspace.to_owned()]) };
        let token = signing.site.token(workspace, &access).await;
        let asked = page(signing.site.ask(Method::GET, "/v1/people").bearer_auth(token)).await;
        let body: Value = serde_json::from_str(&asked.text).unwrap();
        let items = body["items"].as_array().unwrap().clone();
        let who = items.iter().map(|one| format!("{} {}", one["actor"], one["email"]));
        who.collect::<Vec<_>>().join(", ").replace('"', "")
    };
    let (all, lee) = ("oidc:all-4 all-4@example.com", "oidc:lee-2 lee-2@example.com");
    let acme = "oidc:ann-3 ann-3@example.com, oidc:kim-1 kim-1@example.com";
    assert_eq!(people("acme").await, format!("{all}, {acme}"), "the last who came first");
    assert_eq!(people("globex").await, format!("{all}, {lee}"));
    assert_eq!(people("initech").await, all);
}

#[sqlx::test(migrations = false)]
async fn an_action_is_given_to_nobody_who_cannot_work_on_it(pool: PgPool) {
    let signing = Signing::new(pool).await;
    let came = async |subject: &str, more: Value| {
        let mut claims = json!({ "sub": subject, "email": format!("{subject}@example.com") });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        signing.issuer.say(claims);
        signing.sign_in().await
    };
    came("reads", json!({ "groups": ["readers"] })).await;
    came("elsewhere", json!({ "workspaces": ["globex"] })).await;
    came("left", json!({})).await;
    assert_refused(&came("left", json!({ "groups": [] })).await, "no role any more");
    came("chief", json!({ "groups": ["chiefs", "everywhere"] })).await;
    came("nameless", json!({ "email": null })).await;
    for (name, role, workspace) in [
        ("reads", Role::Viewer, "acme"),
        ("elsewhere", Role::Operator, "globex"),
        ("works", Role::Operator, "acme"),
    ] {
        let access = Access { role, workspaces: Some(vec![workspace.to_owned()]) };
        signing.site.token(name, &access).await;
    }
    let cookie = session(&came("kim", json!({})).await);
    let give = async |to: &str| {
        let revision = signing.get("/actions/1", &cookie).await.field("revision");
        let fields = [("revision", revision.as_str()), ("to", to), ("note", "knows <it>")];
        let give = signing.site.ask(Method::POST, "/actions/1/hand-over").header("cookie", &cookie);
        page(form(give, &fields)).await
    };
    for nobody in [
        "oidc:reads",
        "reads@example.com",
        "oidc:elsewhere",
        "elsewhere@example.com",
        "oidc:left",
        "oidc:4711",
        "never@example.com",
        "token:reads",
        "token:elsewhere",
        "token:4711",
        "robin",
    ] {
        let refused = give(nobody).await;
        let words =
            format!("Nobody who may work on manual actions of workspace acme is called {nobody}");
        assert!(refused.text.contains(&words), "{nobody}: {}", refused.text);
        assert!(refused.text.contains("knows &lt;it&gt;</textarea>"), "{nobody}: the form is kept");
        assert_eq!(
            (refused.status.as_u16(), signing.site.status_of(1).await.as_str()),
            (409, "open")
        );
    }
    let reset = "set session_replication_role = replica;
                 update reconciler.manual_actions set status = 'open', assignee = null, assigned_at = null where id = 1;
                 set session_replication_role = origin";
    for (to, assignee) in [
        ("chief@example.com", "oidc:chief"),
        ("oidc:nameless", "oidc:nameless"),
        ("token:works", "token:works"),
    ] {
        let given = give(to).await;
        assert_eq!(given.status, 303, "{to}: {}", given.text);
        let is = "select assignee from reconciler.manual_actions where id = 1";
        assert_eq!(signing.text(is).await, assignee);
        signing.site.run(reset).await;
    }
}

#[sqlx::test(migrations = false)]
async fn a_new_secret_of_the_client_is_read_from_its_file_without_a_restart(pool: PgPool) {
    let log = Log::here();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "old-secret\n").unwrap();
    let signing = Signing::with(pool, Key::ec("one"), |oidc| {
        oidc.client_secret = Some("old-secret".into());
        oidc.client_secret_file = Some(file.path().to_str().unwrap().to_owned());
    })
    .await;
    assert_refused(&signing.sign_in().await, "with a secret that was replaced at the issuer");
    assert!(log.has_text("invalid_client"));
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    signing.signed_in().await;
    assert!(log.has("secret.changed") && !log.has_text(SECRET) && !log.has_text("old-secret"));
}

#[sqlx::test(migrations = false)]
async fn an_issuer_that_takes_the_secret_in_the_body_alone_gets_it_there(pool: PgPool) {
    let issuer = Issuer::start(&Key::ec("one")).await;
    issuer.take_posted_secrets();
    let site =
        Site::with(with_rows(pool).await, |operators| operators.oidc = issuer.settings()).await;
    let signing = Signing { site, issuer, key: Key::ec("unused") };
    signing.signed_in().await;
}

#[sqlx::test(migrations = false)]
async fn emails_are_forgotten_with_the_trail_and_used_answers_after_a_day(pool: PgPool) {
    let signing = Signing::new(pool).await;
    signing.signed_in().await;
    let kept = "select (select count(*) from reconciler.people) || ' ' ||
                       (select count(*) from reconciler.used_sign_ins)";
    let round = async || {
        let config = Config::from_sources(None, Some([].into())).unwrap();
        let pool = signing.site.pool.clone().into();
        upkeep::round(&pool, &config, &mut upkeep::Sweep::default()).await.unwrap();
        signing.text(kept).await
    };
    let age = |days: u32| {
        format!(
            "update reconciler.people set signed_in_at = now() - interval '{days} days';
             update reconciler.used_sign_ins set used_at = now() - interval '{days} days'"
        )
    };
    assert_eq!(round().await, "1 1");
    signing.site.run(&age(2)).await;
    assert_eq!(round().await, "1 0");
    signing.site.run(&age(401)).await;
    assert_eq!(round().await, "0 0");
}
