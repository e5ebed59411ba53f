//! The simulator as a client sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use testkit::simulator::{
    Author, Call, Clock, Counters, Fate, FaultPlan, Held, HttpFault, HubRole, Injection,
    Integration, Invitation, Kind, Member, Operation, Place, RetryAfter, Settings, Simulator,
    Stamps, World,
};

const HUB: &str = "hub-1";
const APP: &str = "app-1";

struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Client {
    fn new(simulator: &Simulator) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().build().expect("a client needs no files"),
            base: simulator.base_url().replace("{workspace}", "acme"),
            key: simulator.api_key(),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Response> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = request.header("X-API-Key", &self.key);
        match body {
            Some(body) => request.json(&body).send().await,
            None => request.send().await,
        }
    }

    async fn json(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let response = self.send(method, path, body).await.expect("an answer");
        let status = response.status();
        (status, response.json().await.expect("JSON"))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.json(Method::GET, path, None).await
    }

    async fn invite(&self, integration: &str, ids: &[&str], held: &[&str]) -> String {
        let body = invite_body(ids, held);
        self.job(Method::POST, &format!("/integrations/{integration}/users"), Some(body)).await
    }

    async fn remove(&self, integration: &str, id: &str) -> String {
        self.job(Method::DELETE, &format!("/integrations/{integration}/users/{id}"), None).await
    }

    async fn change_role(&self, integration: &str, id: &str, held: &[&str]) -> String {
        let attributes = json!({"entitlements": ids(held)});
        let body = json!({"data": {"type": "update_user_entitlement", "attributes": attributes}});
        self.job(Method::PATCH, &format!("/integrations/{integration}/users/{id}"), Some(body))
            .await
    }

    async fn post(&self, path: &str) -> String {
        self.job(Method::POST, path, None).await
    }

    async fn job(&self, method: Method, path: &str, body: Option<Value>) -> String {
        let (status, body) = self.json(method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["data"]["type"], "job");
        assert_eq!(body["data"]["attributes"]["status"], "created");
        body["data"]["id"].as_str().expect("the id of a job").to_owned()
    }

    async fn end(&self, job: &str) -> Value {
        for _ in 0..500 {
            let (_, body) = self.get(&format!("/jobs/{job}")).await;
            let status = &body["data"]["attributes"]["status"];
            if status == "finished" || status == "error" {
                return body["data"]["attributes"].clone();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("job {job} did not end");
    }

    /// The failure code of the job, or `finished`.
    async fn outcome(&self, job: &str) -> String {
        let end = self.end(job).await;
        let code = end["errorDetails"]["errorType"].as_str();
        code.or(end["status"].as_str()).expect("a status").to_owned()
    }

    async fn report(&self) -> Value {
        let check = self.post(&format!("/integrations/{APP}/update-checks")).await;
        assert_eq!(self.outcome(&check).await, "finished");
        let (_, body) = self.get(&format!("/integrations/{APP}/update-report")).await;
        body["data"].clone()
    }

    async fn list(&self) -> reqwest::Result<Response> {
        self.send(Method::GET, &format!("/integrations/{HUB}/users"), None).await
    }
}

fn ids(held: &[&str]) -> Vec<Value> {
    held.iter().map(|id| json!({"id": id})).collect()
}

fn invite_body(users: &[&str], held: &[&str]) -> Value {
    let role = "account_collaborator";
    let attributes = json!({"role": role, "entitlements": ids(held), "userIds": users});
    json!({"data": {"type": "invite_tenant_users", "attributes": attributes}})
}

fn world() -> World {
    let ann = Member::new("ann", "ann@acme.example").named("ann.a").with(&["EDITOR"]);
    World::new()
        .integration(Integration::new("acme", HUB, "Hub", Kind::BusinessHub, "youtube_tenant"))
        .integration(Integration::new("acme", APP, "App", Kind::App, "unheard_of_tenant"))
        .integration(Integration::new("acme", "six", "6sense", Kind::App, "6sense_tenant"))
        .person("acme", Member::new("bob", "bob@acme.example").named("bobby"))
        .member("acme", HUB, ann.clone())
        .member("acme", APP, ann)
}

async fn start(settings: Settings) -> (Simulator, Client) {
    let simulator = Simulator::start(world(), settings).await.expect("a free port");
    let client = Client::new(&simulator);
    (simulator, client)
}

async fn plain() -> (Simulator, Client) {
    start(Settings::default()).await
}

#[tokio::test]
async fn an_integration_and_its_members_have_the_published_shape() {
    let (_simulator, client) = plain().await;
    let (_, integration) = client.get(&format!("/integrations/{HUB}")).await;
    assert_eq!(integration["data"]["type"], "account");
    assert_eq!(integration["data"]["attributes"]["application"], "youtube_tenant");
    assert_eq!(integration["data"]["attributes"]["label"], "Hub");
    assert_eq!(integration["data"]["attributes"]["workspace"], "acme");
    let (_, page) = client.get(&format!("/integrations/{HUB}/users")).await;
    let member = &page["data"][0];
    assert_eq!((&member["type"], &member["id"]), (&json!("user"), &json!("ann")));
    let attributes = &member["attributes"];
    assert_eq!(attributes["email"], "ann@acme.example");
    assert_eq!(attributes["username"], "ann.a");
    assert_eq!(attributes["status"], "live");
    assert_eq!(attributes["invitation"], Value::Null);
    assert_eq!(attributes["isExempt"], false);
    assert_eq!(attributes["entitlements"][0]["id"], "EDITOR");
    assert_eq!(attributes["entitlements"][0]["type"], "entitlement");
    let (_, one) = client.get(&format!("/integrations/{HUB}/users/ann")).await;
    assert_eq!(&one["data"], member);
}

#[tokio::test]
async fn a_job_has_the_published_shape_and_every_other_one_naive_timestamps() {
    let (simulator, client) = plain().await;
    let code = "BadCredentials".to_owned();
    simulator.set_fate("acme", HUB, "bob", Operation::Invite, Fate::Permanent(code));
    let first = client.invite(HUB, &["bob"], &["VIEWER"]).await;
    let first = client.end(&first).await;
    assert_eq!(first["status"], "error");
    assert_eq!(first["canRetry"], false);
    assert_eq!(first["workflowType"], "provide_access");
    assert_eq!(first["account"]["provider"], "youtube_tenant");
    assert_eq!(first["errorDetails"]["errorType"], "BadCredentials");
    assert_eq!(first["errorDetails"]["userRequired"], true);
    let second = client.remove(HUB, "ann").await;
    let second = client.end(&second).await;
    assert_eq!(second["errorDetails"], json!({}));
    let zoned = |job: &Value| job["createdAt"].as_str().is_some_and(|at| at.ends_with("+00:00"));
    assert!(zoned(&first) && !zoned(&second));
}

#[tokio::test]
async fn the_backend_tells_and_writes_the_time_by_a_clock_of_its_own() {
    let (simulator, client) = plain().await;
    let job = client.invite(HUB, &["bob"], &["VIEWER"]).await;
    client.end(&job).await;
    let at = simulator.starts()[0].at + TimeDelta::hours(7);
    let compact = at.format("%Y%m%dT%H%M%S").to_string();
    let table = [
        (Stamps::Mixed, json!(at.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string())),
        (Stamps::Naive, json!(at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())),
        (Stamps::Compact, json!(compact)),
        (Stamps::Seconds, json!(at.timestamp_millis() as f64 / 1000.0)),
        (Stamps::Milliseconds, json!(at.timestamp_millis())),
        (Stamps::Missing, Value::Null),
    ];
    for (stamps, expected) in table {
        simulator.set_clock(Clock { ahead: TimeDelta::hours(7), stamps });
        let path = format!("/jobs/{job}");
        let response = client.send(Method::GET, &path, None).await.expect("an answer");
        let date = response.headers()["date"].to_str().expect("text").to_owned();
        let date = DateTime::parse_from_rfc2822(&date).expect("an HTTP date").to_utc();
        assert!((date - at).num_seconds().abs() < 60, "{date}");
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["data"]["attributes"]["createdAt"], expected, "{stamps:?}");
    }
}

#[tokio::test]
async fn what_automation_does_elsewhere_is_known_at_once_and_not_the_client_s() {
    let (simulator, client) = plain().await;
    let changes = |member, operation, role: &str| {
        let roles = [role.to_owned()].into();
        simulator.changes_elsewhere("acme", HUB, member, operation, &roles)
    };
    assert!(changes("bob", Operation::Invite, "VIEWER"));
    let (_, bob) = client.get(&format!("/integrations/{HUB}/users/bob")).await;
    assert_eq!(bob["data"]["attributes"]["email"], "bob@acme.example");
    assert!(changes("ann", Operation::Remove, ""));
    assert!(simulator.known("acme", HUB, "ann").is_none());
    assert!(!changes("ann", Operation::Remove, ""), "there is nobody");
    assert!(!changes("ann", Operation::ChangeRole, "VIEWER"), "there is nobody");
    let authors: Vec<_> = simulator.effects().iter().map(|effect| effect.author).collect();
    assert_eq!(authors, [Author::Elsewhere; 2]);
    assert_eq!(
        simulator.counters(),
        Counters { requests: simulator.counters().requests, ..Counters::default() }
    );
}

#[tokio::test]
async fn a_job_whose_reply_was_lost_can_take_longer_than_the_others() {
    let settings = Settings { unheard_job_ms: Some(60_000..=60_000), ..Settings::default() };
    let (simulator, client) = start(settings).await;
    inject(&simulator, Call::Remove, 0, HttpFault::LostReply);
    let path = format!("/integrations/{HUB}/users/ann");
    client.send(Method::DELETE, &path, None).await.expect_err("no reply");
    let job = client.invite(HUB, &["bob"], &["VIEWER"]).await;
    assert_eq!(client.outcome(&job).await, "finished");
    assert!(simulator.member("acme", HUB, "ann").is_some(), "it lands later");
    let takes: Vec<_> =
        simulator.starts().iter().map(|start| start.ends_at.expect("an end") - start.at).collect();
    assert_eq!(takes, [TimeDelta::minutes(1), TimeDelta::zero()]);
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_answered_with_its_own_error() {
    let (simulator, mut client) = plain().await;
    let cases = [
        ("/integrations/nowhere", "integration_not_found"),
        ("/integrations/hub-1/users/nobody", "user_not_found"),
        ("/jobs/none", "job_not_found"),
        ("/integrations/app-1/update-report", "report_not_found"),
    ];
    for (path, code) in cases {
        let (status, body) = client.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(body["errors"][0]["code"], code);
        assert_eq!(body["errors"][0]["status"], 404);
    }
    let users = "/integrations/hub-1/users";
    let (status, body) = client.json(Method::POST, users, Some(json!({"data": {}}))).await;
    assert_eq!((status, &body["errors"][0]["status"]), (StatusCode::BAD_REQUEST, &json!("400")));
    let (_, body) = client.get("/integrations/hub-1/users?page%5Bsize%5D=0").await;
    assert_eq!(body["errors"][0]["code"], "bad_request");
    client.key = "wrong".to_owned();
    let (status, body) = client.get("/integrations/hub-1").await;
    assert_eq!((status, &body["errors"][0]["status"]), (StatusCode::UNAUTHORIZED, &json!(401)));
    assert_eq!(simulator.counters().requests(Call::GetIntegration), 2);
}

#[tokio::test]
async fn an_operation_that_the_app_does_not_support_is_refused() {
    let (_simulator, client) = plain().await;
    let body = Some(invite_body(&["bob"], &[]));
    let cases = [
        ("/integrations/six/users", body),
        ("/integrations/app-1/sync", None),
        ("/integrations/hub-1/update-checks", None),
    ];
    for (path, body) in cases {
        let (status, body) = client.json(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body["errors"][0]["code"], "operation_not_supported");
    }
}

#[tokio::test]
async fn pages_lead_from_one_to_the_next_and_hold_no_more_than_their_cap() {
    let members = (0..7).map(|n| Member::new(&format!("m{n}"), &format!("m{n}@acme.example")));
    let world = members.fold(world(), |world, member| world.member("acme", HUB, member));
    let settings = Settings { page_size_cap: 3, ..Settings::default() };
    let simulator = Simulator::start(world, settings).await.expect("a free port");
    let client = Client::new(&simulator);
    let mut path = format!("/acme/api/v1/integrations/{HUB}/users?page%5Bsize%5D=100");
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let (_, page) = client.get(path.trim_start_matches("/acme/api/v1")).await;
        assert_eq!(page["meta"]["page"], json!({"maxSize": 3, "total": 8}));
        let data = page["data"].as_array().expect("a list");
        seen.extend(data.iter().map(|member| member["id"].clone()));
        pages += 1;
        let Some(next) = page["links"]["next"].as_str() else {
            break;
        };
        assert!(next.contains("page%5Bnumber%5D="), "{next}");
        path = next.to_owned();
    }
    assert_eq!(pages, 3);
    assert_eq!(json!(seen), json!(["ann", "m0", "m1", "m2", "m3", "m4", "m5", "m6"]));
}

#[tokio::test]
async fn an_invite_makes_a_pending_member_whom_cerby_knows_at_once() {
    let (simulator, client) = plain().await;
    let job = client.invite(HUB, &["bob", "cid"], &["VIEWER"]).await;
    assert_eq!(client.outcome(&job).await, "finished");
    let bob = simulator.member("acme", HUB, "bob").expect("invited");
    assert_eq!(bob.invitation, Some(Invitation::Pending));
    assert_eq!(bob.username.as_deref(), Some("bobby"));
    assert_eq!(bob.role, HubRole::Collaborator);
    assert!(bob.entitlements.contains("VIEWER"));
    assert_eq!(simulator.known("acme", HUB, "bob"), Some(bob));
    assert!(simulator.known("acme", HUB, "cid").is_some());
    let (_, known) = client.get(&format!("/integrations/{HUB}/users/bob")).await;
    assert_eq!(known["data"]["attributes"]["invitation"], "pending");
}

#[tokio::test]
async fn an_invitation_is_accepted_after_its_time_and_an_expired_one_replaced() {
    let accepted = Some(Duration::ZERO);
    let settings = Settings { invitation_accepted_after: accepted, ..Settings::default() };
    let (simulator, client) = start(settings).await;
    let job = client.invite(HUB, &["bob"], &[]).await;
    client.end(&job).await;
    assert_eq!(simulator.member("acme", HUB, "bob").map(|bob| bob.invitation), Some(None));

    let (simulator, client) = plain().await;
    let job = client.invite(HUB, &["bob"], &[]).await;
    client.end(&job).await;
    assert!(simulator.set_invitation("acme", HUB, "bob", Some(Invitation::Expired)));
    let job = client.invite(HUB, &["bob"], &["ADMIN"]).await;
    assert_eq!(client.outcome(&job).await, "finished");
    let bob = simulator.member("acme", HUB, "bob").expect("invited again");
    assert_eq!(bob.invitation, Some(Invitation::Pending));
    assert!(bob.entitlements.contains("ADMIN"));
    assert_eq!(simulator.counters().duplicate_effects, 0);
}

#[tokio::test]
async fn changes_that_hold_already_change_nothing_and_are_counted() {
    let (simulator, client) = plain().await;
    let again = client.invite(HUB, &["ann"], &["ADMIN"]).await;
    assert_eq!(client.outcome(&again).await, "AlreadyMember");
    let absent = client.remove(HUB, "bob").await;
    assert_eq!(client.outcome(&absent).await, "MemberNotFound");
    let same = client.change_role(HUB, "ann", &["EDITOR"]).await;
    assert_eq!(client.outcome(&same).await, "finished");
    let counters = simulator.counters();
    assert_eq!(counters.repeated_requests, 3);
    assert_eq!(counters.effects("acme", HUB, "ann").role_changes, 0);
    let ann = simulator.member("acme", HUB, "ann").expect("still there");
    assert!(ann.entitlements.contains("EDITOR"));
}

#[tokio::test]
async fn effects_are_counted_and_a_second_invitation_is_a_duplicate() {
    let mut hub = Integration::new("acme", HUB, "Hub", Kind::BusinessHub, "youtube_tenant");
    hub.resends_invitations = true;
    let world = World::new().integration(hub);
    let simulator = Simulator::start(world, Settings::default()).await.expect("a free port");
    let client = Client::new(&simulator);
    for _ in 0..2 {
        let job = client.invite(HUB, &["bob"], &[]).await;
        assert_eq!(client.outcome(&job).await, "finished");
    }
    let role = client.change_role(HUB, "bob", &["ADMIN"]).await;
    client.end(&role).await;
    let removal = client.remove(HUB, "bob").await;
    client.end(&removal).await;
    let counters = simulator.counters();
    let effects = counters.effects("acme", HUB, "bob");
    assert_eq!((effects.invites, effects.role_changes, effects.removals), (2, 1, 1));
    assert_eq!(counters.duplicate_effects, 1);
    assert_eq!(simulator.effects().len(), 4);
    assert_eq!(counters.requests(Call::Invite), 2);
    assert_eq!(simulator.member("acme", HUB, "bob"), None);
}

#[tokio::test]
async fn jobs_of_one_member_at_once_are_counted_as_overlapping() {
    let settings = Settings { job_ms: 60_000..=60_000, ..Settings::default() };
    let (simulator, client) = start(settings).await;
    client.invite(HUB, &["bob"], &[]).await;
    client.remove(HUB, "ann").await;
    assert_eq!(simulator.counters().overlapping_jobs, 0);
    let job = client.remove(HUB, "bob").await;
    let counters = simulator.counters();
    assert_eq!((counters.overlapping_jobs, counters.max_concurrent_jobs), (1, 2));
    let (_, body) = client.get(&format!("/jobs/{job}")).await;
    assert_eq!(body["data"]["attributes"]["status"], "created");
}

#[tokio::test]
async fn a_person_s_change_is_known_after_a_sync_of_a_hub() {
    let (simulator, client) = plain().await;
    let bob = Member::new("bob", "bob@acme.example");
    assert!(simulator.person_invites("acme", HUB, bob));
    assert!(simulator.person_removes("acme", HUB, "ann"));
    assert!(simulator.known("acme", HUB, "ann").is_some());
    assert!(simulator.known("acme", HUB, "bob").is_none());
    let job = client.post(&format!("/integrations/{HUB}/sync")).await;
    assert_eq!(client.outcome(&job).await, "finished");
    assert!(simulator.known("acme", HUB, "ann").is_none());
    assert!(simulator.known("acme", HUB, "bob").is_some());
    assert_eq!(simulator.counters().effects("acme", HUB, "bob").invites, 0);
}

#[tokio::test]
async fn a_guest_is_marked_as_one() {
    let guest = Member { is_guest: true, ..Member::new("gus", "gus@acme.example") };
    let world = world().member("acme", HUB, guest);
    let simulator = Simulator::start(world, Settings::default()).await.expect("a free port");
    let (_, page) = Client::new(&simulator).get(&format!("/integrations/{HUB}/users")).await;
    let marks = |n: usize| &page["data"][n]["attributes"]["isGuest"];
    assert_eq!((marks(0), marks(1)), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn whoever_keeps_grants_on_assets_is_listed_and_is_no_member() {
    let (simulator, client) = plain().await;
    assert!(!simulator.person_removes_but_leaves_assets("acme", HUB, "bob"), "nobody there");
    let path = format!("/integrations/{HUB}/users/ann");
    let (_, before) = client.get(&path).await;
    assert_eq!(before["data"]["attributes"]["isMember"], true);
    simulator.set_invitation("acme", HUB, "ann", Some(Invitation::Pending));
    assert!(simulator.person_removes_but_leaves_assets("acme", HUB, "ann"));
    assert!(!simulator.person_removes_but_leaves_assets("acme", HUB, "ann"), "no member any more");
    let sync = client.post(&format!("/integrations/{HUB}/sync")).await;
    assert_eq!(client.outcome(&sync).await, "finished");
    let (_, after) = client.get(&path).await;
    let attributes = &after["data"]["attributes"];
    assert_eq!(attributes["isMember"], false);
    assert_eq!(attributes["invitation"], Value::Null);
    assert_eq!(attributes["entitlements"][0]["id"], "EDITOR");
    let effects = simulator.effects();
    assert_eq!(effects.len(), 1);
    assert_eq!((effects[0].author, effects[0].operation), (Author::Person, Operation::Remove));
    assert!(effects[0].entitlements.contains("EDITOR"));
}

#[tokio::test]
async fn a_report_from_before_assets_were_left_over_is_outdated() {
    let (simulator, client) = plain().await;
    let report = client.report().await;
    assert!(simulator.person_removes_but_leaves_assets("acme", APP, "ann"));
    let id = report["id"].as_str().expect("an id");
    let path = format!("/integrations/{APP}/update-report/{id}/apply");
    assert_eq!(client.json(Method::POST, &path, None).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn whoever_keeps_grants_on_assets_can_be_invited_and_removed_but_has_no_role_to_change() {
    let (simulator, client) = plain().await;
    assert!(simulator.person_removes_but_leaves_assets("acme", HUB, "ann"));
    let change = client.change_role(HUB, "ann", &["ADMIN"]).await;
    assert_eq!(client.outcome(&change).await, "MemberNotFound");
    let invite = client.invite(HUB, &["ann"], &["VIEWER"]).await;
    assert_eq!(client.outcome(&invite).await, "finished");
    let ann = simulator.member("acme", HUB, "ann").expect("invited again");
    assert!(ann.is_member && ann.entitlements.contains("VIEWER"));
    assert_eq!(ann.invitation, Some(Invitation::Pending));

    assert!(simulator.person_removes_but_leaves_assets("acme", HUB, "ann"));
    let removal = client.remove(HUB, "ann").await;
    assert_eq!(client.outcome(&removal).await, "finished");
    assert_eq!(simulator.member("acme", HUB, "ann"), None);
    let counters = simulator.counters();
    let effects = counters.effects("acme", HUB, "ann");
    assert_eq!((effects.invites, effects.removals, counters.duplicate_effects), (1, 1, 0));
}

#[tokio::test]
async fn a_person_invites_anew_whoever_kept_grants_on_assets() {
    let (simulator, _client) = plain().await;
    assert!(simulator.person_removes_but_leaves_assets("acme", HUB, "ann"));
    let ann = simulator.member("acme", HUB, "ann").expect("still listed");
    assert!(simulator.person_invites("acme", HUB, ann));
    assert!(simulator.member("acme", HUB, "ann").is_some_and(|ann| ann.is_member));
}

fn unmatched(id: &str) -> Member {
    let email = format!("{id}@acme.example");
    Member { is_matched: false, ..Member::new(id, &email).named(id).with(&["VIEWER"]) }
}

#[tokio::test]
async fn whom_cerby_has_not_matched_is_listed_without_an_id_and_not_found_by_it() {
    let world = world().member("acme", HUB, unmatched("eve"));
    let simulator = Simulator::start(world, Settings::default()).await.expect("a free port");
    let client = Client::new(&simulator);
    let (_, page) = client.get(&format!("/integrations/{HUB}/users")).await;
    let (ann, eve) = (&page["data"][0], &page["data"][1]);
    assert_eq!((&ann["id"], &eve["id"]), (&json!("ann"), &Value::Null));
    assert_eq!(eve["attributes"]["email"], "eve@acme.example");
    assert_eq!(eve["attributes"]["username"], "eve");
    assert_eq!(page["meta"]["page"]["total"], 2);
    let (status, body) = client.get(&format!("/integrations/{HUB}/users/eve")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["errors"][0]["code"], "user_not_found");
    assert!(simulator.known("acme", HUB, "eve").is_some(), "Cerby knows of somebody");
}

#[tokio::test]
async fn a_report_names_whom_cerby_has_not_matched_without_an_id() {
    let people = ["eve", "ned"].map(unmatched);
    let world = people.into_iter().fold(world(), |world, one| world.member("acme", APP, one));
    let simulator = Simulator::start(world, Settings::default()).await.expect("a free port");
    let client = Client::new(&simulator);
    assert!(simulator.person_removes("acme", APP, "eve"));
    assert!(simulator.person_changes_role("acme", APP, "ned", &["ADMIN"]));
    assert!(simulator.person_invites("acme", APP, unmatched("zoe")));
    let report = client.report().await;
    let kinds = [("newUsers", "zoe"), ("removedUsers", "eve"), ("updatedRoles", "ned")];
    for (kind, name) in kinds {
        let person = &report["attributes"][kind][0];
        assert_eq!(person["id"], Value::Null, "{kind}");
        assert_eq!(person["email"], format!("{name}@acme.example"));
        assert_eq!(person["username"], name);
    }
}

#[tokio::test]
async fn a_change_during_a_sync_is_not_part_of_its_snapshot() {
    let settings = Settings { sync_ms: 40..=40, ..Settings::default() };
    let (simulator, client) = start(settings).await;
    let sync = client.post(&format!("/integrations/{HUB}/sync")).await;
    assert!(simulator.person_removes("acme", HUB, "ann"));
    let invite = client.invite(HUB, &["bob"], &[]).await;
    client.end(&invite).await;
    client.end(&sync).await;
    assert!(simulator.known("acme", HUB, "ann").is_some());
    assert!(simulator.known("acme", HUB, "bob").is_some(), "its own job told Cerby");
}

fn coalescing_world() -> World {
    let hub = Integration::new("acme", HUB, "Hub", Kind::BusinessHub, "youtube_tenant");
    let app = Integration::new("acme", APP, "App", Kind::App, "unheard_of_tenant");
    [hub, app].into_iter().fold(world(), |world, integration| {
        world.integration(Integration { coalesces_snapshots: true, ..integration })
    })
}

const SNAPSHOTS: [(&str, &str); 2] = [(HUB, "sync"), (APP, "update-checks")];

#[tokio::test]
async fn a_snapshot_asked_for_while_one_runs_is_that_one_only_where_snapshots_are_coalesced() {
    let slow = Settings { sync_ms: 60_000..=60_000, ..Settings::default() };
    for (integration, step) in SNAPSHOTS {
        let path = format!("/integrations/{integration}/{step}");
        let simulator = Simulator::start(coalescing_world(), slow.clone()).await;
        let client = Client::new(&simulator.expect("a free port"));
        assert_eq!(client.post(&path).await, client.post(&path).await);
        let (_simulator, client) = start(slow.clone()).await;
        assert_ne!(client.post(&path).await, client.post(&path).await);
        let simulator = Simulator::start(coalescing_world(), Settings::default()).await;
        let client = Client::new(&simulator.expect("a free port"));
        assert_ne!(client.post(&path).await, client.post(&path).await, "the first has ended");
    }
}

#[tokio::test]
async fn a_snapshot_is_not_coalesced_with_one_of_another_place_nor_with_another_kind_of_job() {
    let world = coalescing_world().integration(Integration {
        coalesces_snapshots: true,
        ..Integration::new("acme", "hub-2", "Hub 2", Kind::BusinessHub, "youtube_tenant")
    });
    let minute = 60_000..=60_000;
    let settings = Settings { job_ms: minute.clone(), sync_ms: minute, ..Settings::default() };
    let simulator = Simulator::start(world, settings).await.expect("a free port");
    let client = Client::new(&simulator);
    let removal = client.remove(HUB, "ann").await;
    let sync = client.post(&format!("/integrations/{HUB}/sync")).await;
    assert_ne!(sync, removal);
    assert_ne!(sync, client.post("/integrations/hub-2/sync").await);
}

/// The first change asked for after so many requests for a snapshot: its job, and what was counted.
async fn after_snapshots(requests: u32, integration: &str, step: &str) -> (String, Counters) {
    let settings = Settings { sync_ms: 60_000..=60_000, ..Settings::default() };
    let simulator = Simulator::start(coalescing_world(), settings).await.expect("a free port");
    let client = Client::new(&simulator);
    for _ in 0..requests {
        client.post(&format!("/integrations/{integration}/{step}")).await;
    }
    let job = client.remove(integration, "ann").await;
    let counters = simulator.counters();
    (job, Counters { requests: BTreeMap::new(), ..counters })
}

#[tokio::test]
async fn a_coalesced_snapshot_counts_for_nothing_but_a_request() {
    for (integration, step) in SNAPSHOTS {
        // The ids of jobs depend on what happened before.
        let once = after_snapshots(1, integration, step).await;
        assert_eq!(once, after_snapshots(3, integration, step).await);
    }
}

#[tokio::test]
async fn a_report_tells_the_differences_and_its_apply_makes_them_known() {
    let (simulator, client) = plain().await;
    let bob = Member::new("bob", "bob@acme.example").with(&["VIEWER"]);
    simulator.person_invites("acme", APP, bob);
    simulator.person_changes_role("acme", APP, "ann", &["ADMIN"]);
    let report = client.report().await;
    let attributes = &report["attributes"];
    assert_eq!(
        (&report["type"], &attributes["status"]),
        (&json!("update_report"), &json!("ready"))
    );
    let counts = [&attributes["pages"], &attributes["membersRead"], &attributes["membersTotal"]];
    assert_eq!(counts, [&json!(1), &json!(2), &json!(2)]);
    assert_eq!(attributes["newUsers"][0]["id"], "bob");
    assert_eq!(attributes["newUsers"][0]["entitlements"], json!([{"id": "VIEWER"}]));
    assert_eq!(attributes["updatedRoles"][0]["from"], json!([{"id": "EDITOR"}]));
    assert_eq!(attributes["updatedRoles"][0]["to"], json!([{"id": "ADMIN"}]));
    assert_eq!(attributes["removedUsers"], json!([]));
    assert!(simulator.known("acme", APP, "bob").is_none(), "a check imports nothing");
    let id = report["id"].as_str().expect("an id");
    let path = format!("/integrations/{APP}/update-report/{id}/apply");
    let job = client.post(&path).await;
    assert_eq!(client.outcome(&job).await, "finished");
    assert_eq!(simulator.known("acme", APP, "bob"), simulator.member("acme", APP, "bob"));
    assert_eq!(simulator.known("acme", APP, "ann"), simulator.member("acme", APP, "ann"));
    let (_, body) = client.get(&format!("/integrations/{APP}/update-report")).await;
    assert_eq!(body["data"]["attributes"]["status"], "applied");
    let (status, _) = client.json(Method::POST, &path, None).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_report_is_not_applied_once_it_is_replaced_or_the_app_has_changed() {
    let (simulator, client) = plain().await;
    let apply = |report: &Value| {
        let id = report["id"].as_str().expect("an id");
        format!("/integrations/{APP}/update-report/{id}/apply")
    };
    let first = client.report().await;
    let second = client.report().await;
    let (status, _) = client.json(Method::POST, &apply(&first), None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    simulator.person_removes("acme", APP, "ann");
    let (status, body) = client.json(Method::POST, &apply(&second), None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["errors"][0]["code"], "report_outdated");
    let third = client.report().await;
    assert_eq!(third["attributes"]["removedUsers"][0]["email"], "ann@acme.example");
    let job = client.post(&apply(&third)).await;
    assert_eq!(client.outcome(&job).await, "finished");
    assert!(simulator.known("acme", APP, "ann").is_none());
}

#[tokio::test]
async fn a_report_being_applied_is_not_applied_twice() {
    let (simulator, client) = plain().await;
    let report = client.report().await;
    simulator.set_sync_fate("acme", APP, Fate::NeverEnds);
    let id = report["id"].as_str().expect("an id");
    let path = format!("/integrations/{APP}/update-report/{id}/apply");
    assert_eq!(client.post(&path).await, client.post(&path).await);
}

fn made(report: &Value) -> DateTime<Utc> {
    let text = report["attributes"]["createdAt"].as_str().expect("a time");
    text.parse().expect("a time with a zone")
}

#[tokio::test]
async fn a_backdated_report_looks_older_and_the_next_one_does_not() {
    let (simulator, client) = plain().await;
    assert!(!simulator.backdate_report("acme", APP, A_MINUTE), "there is none yet");
    let report = client.report().await;
    assert!(simulator.backdate_report("acme", APP, A_MINUTE));
    let (_, body) = client.get(&format!("/integrations/{APP}/update-report")).await;
    assert_eq!(body["data"]["id"], report["id"]);
    assert_eq!(made(&report) - made(&body["data"]), TimeDelta::minutes(1));
    // The timestamps of the second job have no zone.
    client.report().await;
    assert!(made(&client.report().await) >= made(&report));
}

#[tokio::test]
async fn a_cut_snapshot_shows_in_its_report() {
    let (simulator, client) = plain().await;
    simulator.limit_snapshot("acme", APP, Some(0));
    let report = client.report().await;
    assert_eq!(report["attributes"]["membersRead"], 0);
    assert_eq!(report["attributes"]["membersTotal"], 1);
    assert_eq!(report["attributes"]["removedUsers"][0]["id"], "ann");
}

#[tokio::test]
async fn each_fate_takes_its_course() {
    let (simulator, client) = plain().await;
    let page_changed = || "PageChanged".to_owned();
    let cases = [
        (Fate::Succeed, ["finished", "AlreadyMember", "AlreadyMember"]),
        (Fate::Permanent("NotEnoughSeats".to_owned()), ["NotEnoughSeats"; 3]),
        (
            Fate::Transient { times: 2, code: page_changed() },
            ["PageChanged", "PageChanged", "finished"],
        ),
        (Fate::FailedThoughDone(page_changed()), ["PageChanged", "AlreadyMember", "AlreadyMember"]),
        (Fate::FinishedThoughNotDone, ["finished", "finished", "AlreadyMember"]),
    ];
    for (number, (fate, expected)) in cases.into_iter().enumerate() {
        let id = format!("member-{number}");
        simulator.set_fate("acme", HUB, &id, Operation::Invite, fate.clone());
        for outcome in expected {
            let job = client.invite(HUB, &[&id], &[]).await;
            assert_eq!(client.outcome(&job).await, outcome, "{fate:?}");
        }
        let is_there = expected != ["NotEnoughSeats"; 3];
        assert_eq!(simulator.member("acme", HUB, &id).is_some(), is_there, "{fate:?}");
    }
}

#[tokio::test]
async fn a_job_that_never_ends_stays_running() {
    let (simulator, client) = plain().await;
    simulator.set_fate("acme", HUB, "ann", Operation::Remove, Fate::NeverEnds);
    let job = client.remove(HUB, "ann").await;
    let (_, body) = client.get(&format!("/jobs/{job}")).await;
    assert_eq!(body["data"]["attributes"]["status"], "running");
    assert!(simulator.member("acme", HUB, "ann").is_some());
}

#[tokio::test]
async fn a_sync_can_fail_and_then_imports_nothing() {
    let (simulator, client) = plain().await;
    let fate = Fate::Transient { times: 1, code: "LoginTimeout".to_owned() };
    simulator.set_sync_fate("acme", HUB, fate);
    simulator.person_removes("acme", HUB, "ann");
    let path = format!("/integrations/{HUB}/sync");
    let job = client.post(&path).await;
    assert_eq!(client.outcome(&job).await, "LoginTimeout");
    assert!(simulator.known("acme", HUB, "ann").is_some());
    let job = client.post(&path).await;
    assert_eq!(client.outcome(&job).await, "finished");
    assert!(simulator.known("acme", HUB, "ann").is_none());
}

async fn outcomes(seed: u64, order: impl Iterator<Item = u32>) -> Vec<(u32, String)> {
    let faults = FaultPlan {
        permanent: 0.2,
        transient: 0.2,
        failed_though_done: 0.2,
        finished_though_not_done: 0.2,
        ..FaultPlan::none()
    };
    let (_simulator, client) = start(Settings { seed, faults, ..Settings::default() }).await;
    let mut outcomes = Vec::new();
    for number in order {
        let job = client.invite(HUB, &[&format!("m{number}")], &[]).await;
        outcomes.push((number, client.outcome(&job).await));
    }
    outcomes.sort();
    outcomes
}

#[tokio::test]
async fn the_same_seed_deals_the_same_fates_in_any_order() {
    let forth = outcomes(7, 0..40).await;
    assert_eq!(forth, outcomes(7, (0..40).rev()).await);
    assert_ne!(forth, outcomes(8, 0..40).await);
    let mut kinds: Vec<_> = forth.iter().map(|(_, outcome)| outcome).collect();
    kinds.sort();
    kinds.dedup();
    assert!(kinds.len() > 3, "{kinds:?}");
}

fn inject(simulator: &Simulator, call: Call, nth: u64, fault: HttpFault) {
    simulator.inject(Injection { call, nth, fault });
}

#[tokio::test]
async fn a_fault_strikes_only_the_request_that_it_was_meant_for() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::ListMembers, 1, HttpFault::Status(502));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(client.list().await.expect("an answer").status().as_u16());
    }
    assert_eq!(statuses, [200, 502, 200]);
}

#[tokio::test]
async fn answers_that_are_not_what_they_seem_reach_the_client() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::ListMembers, 0, HttpFault::Html);
    inject(&simulator, Call::ListMembers, 1, HttpFault::OkWithErrors);
    inject(&simulator, Call::ListMembers, 2, HttpFault::RepeatedPage);
    inject(&simulator, Call::ListMembers, 3, HttpFault::Delay(Duration::from_millis(20)));
    let html = client.list().await.expect("an answer");
    assert_eq!(html.status(), StatusCode::OK);
    assert!(html.json::<Value>().await.is_err());
    let (status, errors) = client.get(&format!("/integrations/{HUB}/users")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(errors["errors"].is_array());
    let (_, page) = client.get(&format!("/integrations/{HUB}/users")).await;
    assert_eq!(page["links"]["next"], page["links"]["self"]);
    let begin = std::time::Instant::now();
    let (_, page) = client.get(&format!("/integrations/{HUB}/users")).await;
    assert!(begin.elapsed() >= Duration::from_millis(20));
    assert_eq!(page["data"][0]["id"], "ann");
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back_in_every_way_or_not_at_all() {
    let (simulator, client) = plain().await;
    let ways = [
        RetryAfter::Absent,
        RetryAfter::Seconds(7),
        RetryAfter::Date(60),
        RetryAfter::Past,
        RetryAfter::TenYears,
    ];
    let mut headers = Vec::new();
    for (nth, way) in (0..).zip(ways) {
        inject(&simulator, Call::ListMembers, nth, HttpFault::RateLimited(way));
        let response = client.list().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let header = response.headers().get("retry-after");
        headers.push(header.map(|text| text.to_str().expect("text").to_owned()));
    }
    assert_eq!(headers[0], None);
    assert_eq!(headers[1].as_deref(), Some("7"));
    let days = |header: &Option<String>| {
        let text = header.as_deref().expect("a date");
        let at = chrono::DateTime::parse_from_rfc2822(text).expect("an HTTP date");
        (at.to_utc() - chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()))
            .num_days()
    };
    assert_eq!(days(&headers[2]), 0);
    assert!(days(&headers[3]) < 0);
    assert!(days(&headers[4]) > 3600);
}

fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        text += &format!("{error}; ");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_reset_breaks_the_connection_before_anything_happens() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::Remove, 0, HttpFault::Reset);
    let path = format!("/integrations/{HUB}/users/ann");
    let error = client.send(Method::DELETE, &path, None).await.expect_err("a reset");
    assert!(causes(&error).contains("reset"), "{}", causes(&error));
    assert!(simulator.member("acme", HUB, "ann").is_some());
    assert_eq!(simulator.counters().requests(Call::Remove), 1);
}

#[tokio::test]
async fn a_lost_reply_breaks_the_connection_after_the_effect() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::Remove, 0, HttpFault::LostReply);
    let path = format!("/integrations/{HUB}/users/ann");
    let error = client.send(Method::DELETE, &path, None).await.expect_err("no reply");
    assert!(error.is_request(), "{}", causes(&error));
    assert!(simulator.member("acme", HUB, "ann").is_none());
    assert_eq!(simulator.counters().requests(Call::Remove), 1);
}

#[tokio::test]
async fn a_stalled_reply_outlasts_the_client_and_does_not_hinder_the_stop() {
    let (simulator, mut client) = plain().await;
    let brief = Duration::from_millis(100);
    client.http = reqwest::Client::builder().timeout(brief).build().expect("a client");
    inject(&simulator, Call::Remove, 0, HttpFault::Stall);
    let path = format!("/integrations/{HUB}/users/ann");
    let error = client.send(Method::DELETE, &path, None).await.expect_err("no reply");
    assert!(error.is_timeout());
    assert!(simulator.member("acme", HUB, "ann").is_none());
    simulator.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_trickling_reply_is_the_right_one_but_for_its_end_and_does_not_hinder_the_stop() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::Remove, 0, HttpFault::Trickle);
    let path = format!("/integrations/{HUB}/users/ann");
    let mut response = client.send(Method::DELETE, &path, None).await.expect("a head");
    assert!(simulator.member("acme", HUB, "ann").is_none());
    let length = response.content_length().expect("a length");
    let mut reply = Vec::new();
    while reply.len() as u64 + 1 < length {
        reply.extend(response.chunk().await.expect("a byte").expect("more to come"));
    }
    assert!(reply.starts_with(br#"{"data":{"#) && reply.ends_with(b"}"));
    let more = tokio::time::timeout(Duration::from_millis(200), response.chunk()).await;
    assert!(more.is_err(), "the last byte is not to come");
    simulator.stop().await.expect("a clean stop");
    let error = response.bytes().await.expect_err("the last byte is missing");
    assert!(error.is_decode() || error.is_body(), "{}", causes(&error));
}

#[tokio::test]
async fn a_trickling_reply_outlasts_the_client() {
    let (simulator, mut client) = plain().await;
    let brief = Duration::from_millis(200);
    client.http = reqwest::Client::builder().timeout(brief).build().expect("a client");
    inject(&simulator, Call::ListMembers, 0, HttpFault::Trickle);
    let error = match client.list().await {
        Ok(response) => response.bytes().await.expect_err("no end"),
        Err(error) => error,
    };
    assert!(error.is_timeout(), "{}", causes(&error));
}

#[tokio::test]
async fn a_reply_broken_after_the_effect_does_not_tell_of_it() {
    let (simulator, client) = plain().await;
    for (nth, status) in [(0, 500), (1, 504)] {
        inject(&simulator, Call::Invite, nth, HttpFault::BrokenAfterEffect(status));
        let member = format!("member-{nth}");
        let body = Some(invite_body(&[&member], &[]));
        let path = format!("/integrations/{HUB}/users");
        let (got, body) = client.json(Method::POST, &path, body).await;
        assert_eq!(got.as_u16(), status);
        assert_eq!(body["errors"][0]["status"], status);
        assert!(simulator.member("acme", HUB, &member).is_some());
    }
}

#[tokio::test]
async fn a_huge_body_has_no_end_and_no_effect_and_does_not_hinder_the_stop() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::Remove, 0, HttpFault::Huge);
    let path = format!("/integrations/{HUB}/users/ann");
    let mut response = client.send(Method::DELETE, &path, None).await.expect("a head");
    assert_eq!((response.status(), response.content_length()), (StatusCode::OK, None));
    let mut length = 0;
    while length < 4 * 1024 * 1024 {
        length += response.chunk().await.expect("more").expect("still more").len();
    }
    assert!(simulator.member("acme", HUB, "ann").is_some());
    let read_on = async { while let Ok(Some(_)) = response.chunk().await {} };
    tokio::join!(async { simulator.stop().await.expect("a clean stop") }, read_on);
}

/// The next held request, unless none comes within half a minute.
async fn held(simulator: &Simulator) -> Held {
    let held = tokio::time::timeout(Duration::from_secs(30), simulator.held());
    held.await.expect("a held request")
}

async fn abandoned(held: &mut Held) {
    let abandoned = tokio::time::timeout(Duration::from_secs(30), held.abandoned());
    abandoned.await.expect("a client that went away");
}

fn removal_of(member: &str, client: &Client) -> impl Future<Output = (StatusCode, Value)> + use<> {
    let url = format!("{}/integrations/{HUB}/users/{member}", client.base);
    let request = client.http.delete(url).header("X-API-Key", &client.key);
    async move {
        let response = request.send().await.expect("an answer");
        (response.status(), response.json().await.expect("JSON"))
    }
}

#[tokio::test]
async fn a_held_request_has_its_effect_once_it_is_released() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::Remove, 0, HttpFault::Hold);
    let removal = tokio::spawn(removal_of("ann", &client));
    let request = held(&simulator).await;
    assert_eq!(request.call(), Call::Remove);
    assert_eq!(simulator.counters().requests(Call::Remove), 1);
    assert!(simulator.member("acme", HUB, "ann").is_some());
    assert!(!removal.is_finished());
    assert!(request.release());
    let (status, body) = removal.await.expect("an answer");
    assert_eq!((status, &body["data"]["type"]), (StatusCode::OK, &json!("job")));
    assert!(simulator.member("acme", HUB, "ann").is_none());
}

#[tokio::test]
async fn nothing_becomes_of_a_held_request_whose_client_went_away() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::Remove, 0, HttpFault::Hold);
    let removal = tokio::spawn(removal_of("ann", &client));
    let mut request = held(&simulator).await;
    removal.abort();
    abandoned(&mut request).await;
    assert!(!request.release(), "nobody is there");
    assert!(simulator.member("acme", HUB, "ann").is_some());
    let (status, _) = removal_of("ann", &client).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(simulator.counters().effects("acme", HUB, "ann").removals, 1);
}

#[tokio::test]
async fn a_held_reply_comes_after_its_effect_if_anybody_waits_for_it() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::Remove, 0, HttpFault::HoldReply);
    inject(&simulator, Call::Remove, 1, HttpFault::HoldReply);
    let removal = tokio::spawn(removal_of("ann", &client));
    let request = held(&simulator).await;
    assert!(simulator.member("acme", HUB, "ann").is_none());
    assert!(!removal.is_finished());
    assert!(request.release());
    assert_eq!(removal.await.expect("an answer").0, StatusCode::OK);

    simulator.person_invites("acme", HUB, Member::new("ann", "ann@acme.example"));
    let removal = tokio::spawn(removal_of("ann", &client));
    let mut request = held(&simulator).await;
    removal.abort();
    abandoned(&mut request).await;
    assert_eq!(simulator.counters().effects("acme", HUB, "ann").removals, 2);
}

#[tokio::test]
async fn held_requests_do_not_hinder_the_stop_and_do_nothing_then() {
    let (simulator, client) = plain().await;
    inject(&simulator, Call::Remove, 0, HttpFault::Hold);
    let removal = tokio::spawn(removal_of("ann", &client));
    let request = held(&simulator).await;
    simulator.stop().await.expect("a clean stop");
    let (status, _) = removal.await.expect("an answer");
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!request.release());
}

const RESTARTED: &str = "a-job-of-yesterday";

/// Somebody has the removal of `ann` run again for a minute, or for no time.
fn restart(simulator: &Simulator, takes: Duration, fate: &Fate) -> bool {
    let ann = Member::new("ann", "ann@acme.example");
    let place = Place::new("acme", HUB);
    simulator.restart_job(&place, RESTARTED, ann, Operation::Remove, takes, fate)
}

const A_MINUTE: Duration = Duration::from_secs(60);

async fn status_of(client: &Client, job: &str) -> Value {
    let (_, body) = client.get(&format!("/jobs/{job}")).await;
    body["data"]["attributes"]["status"].clone()
}

#[tokio::test]
async fn a_job_restarted_by_hand_is_retrying_and_then_makes_its_change() {
    let (simulator, client) = plain().await;
    let code = "PageChanged".to_owned();
    assert!(restart(&simulator, Duration::ZERO, &Fate::Transient { times: 1, code }));
    assert_eq!(client.outcome(RESTARTED).await, "PageChanged");
    assert!(simulator.member("acme", HUB, "ann").is_some());

    assert!(restart(&simulator, A_MINUTE, &Fate::Succeed), "it is over, so it can be restarted");
    assert_eq!(status_of(&client, RESTARTED).await, "retrying");
    assert!(!restart(&simulator, A_MINUTE, &Fate::Succeed), "it runs");
    assert!(simulator.member("acme", HUB, "ann").is_some());

    let (simulator, client) = plain().await;
    assert!(restart(&simulator, Duration::ZERO, &Fate::Succeed));
    assert_eq!(client.outcome(RESTARTED).await, "finished");
    assert!(simulator.member("acme", HUB, "ann").is_none());
    assert_eq!(simulator.effects()[0].author, Author::Automation);
    assert_eq!(simulator.counters().effects("acme", HUB, "ann").removals, 1);
    let nowhere = Place::new("acme", "nowhere");
    let ann = Member::new("ann", "ann@acme.example");
    let remove = Operation::Remove;
    assert!(!simulator.restart_job(&nowhere, "j", ann, remove, A_MINUTE, &Fate::Succeed));
}

#[tokio::test]
async fn a_job_asked_for_beside_a_restarted_one_overlaps_and_the_restarted_one_does_not() {
    let settings = Settings { job_ms: 60_000..=60_000, ..Settings::default() };
    let (simulator, client) = start(settings.clone()).await;
    client.remove(HUB, "ann").await;
    assert!(restart(&simulator, A_MINUTE, &Fate::Succeed));
    let counters = simulator.counters();
    assert_eq!((counters.overlapping_jobs, counters.max_concurrent_jobs), (0, 1));

    let (simulator, client) = start(settings).await;
    assert!(restart(&simulator, A_MINUTE, &Fate::Succeed));
    client.invite(HUB, &["bob"], &[]).await;
    assert_eq!(simulator.counters().overlapping_jobs, 0, "another member");
    client.remove(HUB, "ann").await;
    let counters = simulator.counters();
    assert_eq!((counters.overlapping_jobs, counters.max_concurrent_jobs), (1, 2));

    let (simulator, client) = plain().await;
    assert!(restart(&simulator, Duration::ZERO, &Fate::Succeed));
    client.end(RESTARTED).await;
    client.remove(HUB, "ann").await;
    assert_eq!(simulator.counters().overlapping_jobs, 0, "it was over");
}

#[tokio::test]
async fn a_job_says_the_word_that_was_chosen_for_it_until_it_ends() {
    let settings = Settings { job_ms: 60_000..=60_000, ..Settings::default() };
    let (simulator, client) = start(settings).await;
    let choose = |status| {
        simulator.set_unended_status("acme", HUB, "ann", Operation::Remove, status);
    };
    for word in ["retrying", "a word of tomorrow", ""] {
        choose(Some(word));
        let job = client.remove(HUB, "ann").await;
        assert_eq!(status_of(&client, &job).await, word);
    }
    let other = client.invite(HUB, &["bob"], &[]).await;
    assert_eq!(status_of(&client, &other).await, "created");
    choose(None);
    let job = client.remove(HUB, "ann").await;
    assert_eq!(status_of(&client, &job).await, "created");

    let (simulator, client) = plain().await;
    simulator.set_unended_status("acme", HUB, "ann", Operation::Remove, Some("retrying"));
    let job = client.remove(HUB, "ann").await;
    assert_eq!(client.outcome(&job).await, "finished");
}

#[tokio::test]
async fn faults_come_as_often_as_planned_and_the_same_for_the_same_seed() {
    let faults = FaultPlan { server_error: 0.3, unavailable: 0.2, ..FaultPlan::none() };
    let mut runs = Vec::new();
    for _ in 0..2 {
        let settings = Settings { faults: faults.clone(), ..Settings::default() };
        let (_simulator, client) = start(settings).await;
        let mut statuses = Vec::new();
        for _ in 0..60 {
            statuses.push(client.list().await.expect("an answer").status().as_u16());
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    let failed = runs[0].iter().filter(|status| **status >= 500).count();
    assert!((18..=42).contains(&failed), "{failed} of 60 failed");
}

#[tokio::test]
async fn an_outage_answers_503_until_it_is_over() {
    let (simulator, client) = plain().await;
    simulator.set_outage(true);
    assert_eq!(client.list().await.expect("an answer").status(), StatusCode::SERVICE_UNAVAILABLE);
    simulator.set_outage(false);
    assert_eq!(client.list().await.expect("an answer").status(), StatusCode::OK);
}

/// Every call about an integration.
fn calls(integration: &str) -> Vec<(Method, String, Option<Value>)> {
    let path = |rest: &str| format!("/integrations/{integration}{rest}");
    let attributes = json!({"entitlements": []});
    let role = json!({"data": {"type": "update_user_entitlement", "attributes": attributes}});
    vec![
        (Method::GET, path(""), None),
        (Method::GET, path("/users"), None),
        (Method::POST, path("/users"), Some(invite_body(&["bob"], &[]))),
        (Method::GET, path("/users/ann"), None),
        (Method::PATCH, path("/users/ann"), Some(role)),
        (Method::DELETE, path("/users/ann"), None),
        (Method::POST, path("/sync"), None),
        (Method::POST, path("/update-checks"), None),
        (Method::GET, path("/update-report"), None),
        (Method::POST, path("/update-report/r/apply"), None),
    ]
}

#[tokio::test]
async fn of_a_forgotten_integration_nothing_is_found() {
    let (simulator, client) = plain().await;
    for integration in [HUB, APP] {
        let job = client.invite(integration, &["bob"], &[]).await;
        client.end(&job).await;
        assert!(simulator.forget_integration("acme", integration));
        assert!(!simulator.forget_integration("acme", integration), "forgotten already");
        for (method, path, body) in calls(integration) {
            let (status, body) = client.json(method.clone(), &path, body).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(body["errors"][0]["code"], "integration_not_found", "{method} {path}");
        }
        let (status, body) = client.get(&format!("/jobs/{job}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(body["errors"][0]["code"], "job_not_found");
    }
}

#[tokio::test]
async fn jobs_of_a_forgotten_integration_end_without_effect_and_others_go_on() {
    let settings = Settings { job_ms: 100..=100, sync_ms: 100..=100, ..Settings::default() };
    let (simulator, client) = start(settings).await;
    client.invite(HUB, &["bob"], &[]).await;
    client.post(&format!("/integrations/{HUB}/sync")).await;
    assert!(simulator.forget_integration("acme", HUB));
    let at_first = simulator.counters().effects("acme", HUB, "bob");
    // Asked for later, it ends later.
    let other = client.remove(APP, "ann").await;
    assert_eq!(client.outcome(&other).await, "finished");
    let counters = simulator.counters();
    assert_eq!(counters.effects("acme", HUB, "bob"), at_first);
    assert_eq!(counters.effects("acme", APP, "ann").removals, 1);
}

#[tokio::test]
async fn persons_and_tests_find_nothing_of_a_forgotten_integration() {
    let (simulator, client) = plain().await;
    client.report().await;
    assert!(simulator.forget_integration("acme", APP));
    assert!(!simulator.person_invites("acme", APP, Member::new("bob", "bob@acme.example")));
    assert!(!simulator.person_removes("acme", APP, "ann"));
    assert!(!simulator.person_removes_but_leaves_assets("acme", APP, "ann"));
    assert!(!simulator.person_changes_role("acme", APP, "ann", &["ADMIN"]));
    assert!(!simulator.set_invitation("acme", APP, "ann", None));
    assert!(!simulator.backdate_report("acme", APP, A_MINUTE));
    assert_eq!(simulator.member("acme", APP, "ann"), None);
    assert_eq!(simulator.known("acme", APP, "ann"), None);
    assert!(simulator.members("acme", APP).is_empty());
}

#[tokio::test]
async fn another_process_changes_the_app_and_reads_the_counters_over_http() {
    let (simulator, client) = plain().await;
    let root = format!("http://{}/simulator", simulator.address());
    let members = format!("{root}/acme/integrations/{APP}/members");
    let post =
        |rest: &str, body: Value| client.http.post(format!("{members}/{rest}")).json(&body).send();
    let body = json!({"email": "bob@b.example", "username": "b", "entitlements": ["VIEWER"]});
    let invited = post("bob/invite", body.clone()).await.expect("an answer");
    assert_eq!(invited.status(), StatusCode::OK);
    let again = post("bob/invite", body).await.expect("an answer");
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let changed = post("ann/change-role", json!({"entitlements": ["ADMIN"]})).await;
    assert_eq!(changed.expect("an answer").status(), StatusCode::OK);
    let list = client.http.get(&members).send().await.expect("an answer");
    let list: Value = list.json().await.expect("JSON");
    assert_eq!(list["data"][1]["attributes"]["email"], "bob@b.example");
    assert_eq!(list["data"][0]["attributes"]["entitlements"][0]["id"], "ADMIN");
    let removed = client.http.post(format!("{members}/ann/remove")).send().await;
    assert_eq!(removed.expect("an answer").status(), StatusCode::OK);
    assert!(simulator.members("acme", APP).contains("bob"));
    assert!(simulator.known("acme", APP, "bob").is_none());
    let removal = client.remove(HUB, "ann").await;
    client.end(&removal).await;
    let counters = client.http.get(format!("{root}/counters")).send().await.expect("an answer");
    let counters: Value = counters.json().await.expect("JSON");
    assert_eq!(counters["members"][0]["removals"], 1);
    assert_eq!(counters["members"][0]["member"], "ann");
    assert_eq!(counters["requests"]["remove"], 1);
}

#[tokio::test]
async fn the_simulator_serves_the_document_of_its_api() {
    let (simulator, client) = plain().await;
    let url = format!("http://{}/openapi.yaml", simulator.address());
    let text = client.http.get(url).send().await.expect("an answer").text().await.expect("text");
    assert!(text.starts_with("openapi: 3.0.3"));
}

#[tokio::test]
async fn a_world_with_a_member_of_no_integration_does_not_start() {
    let world = World::new().member("acme", "nowhere", Member::new("ann", "ann@acme.example"));
    assert!(Simulator::start(world, Settings::default()).await.is_err());
}

#[tokio::test]
async fn starts_effects_and_faults_are_told_one_by_one() {
    let (simulator, client) = plain().await;
    simulator.inject(Injection { call: Call::Invite, nth: 0, fault: HttpFault::Reset });
    simulator.inject(Injection { call: Call::Invite, nth: 1, fault: HttpFault::LostReply });
    let path = format!("/integrations/{HUB}/users");
    for _ in 0..2 {
        let body = invite_body(&["bob"], &["ADMIN"]);
        client.send(Method::POST, &path, Some(body)).await.expect_err("no reply");
    }
    let effects = simulator.effects();
    let starts = simulator.starts();
    assert_eq!((starts.len(), effects.len()), (1, 1), "a reset has no effect, a lost reply has");
    let (start, effect) = (&starts[0], &effects[0]);
    assert_eq!((start.member.as_str(), start.operation), ("bob", Operation::Invite));
    assert!(!start.is_heard && start.ends_at >= Some(start.at));
    assert!(start.entitlements.contains("ADMIN") && start.entitlements == effect.entitlements);
    let faults = &simulator.counters().faults[&Call::Invite];
    assert_eq!((faults["reset"], faults["lost_reply"]), (1, 1));
}

#[tokio::test]
async fn what_goes_wrong_with_requests_changes_while_it_runs() {
    let (simulator, client) = plain().await;
    let path = format!("/integrations/{HUB}");
    simulator.set_http_faults(FaultPlan { rate_limited: 1.0, ..FaultPlan::none() });
    assert_eq!(client.get(&path).await.0, StatusCode::TOO_MANY_REQUESTS);
    simulator.set_http_faults(FaultPlan::none());
    assert_eq!(client.get(&path).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_job_tells_whom_it_is_about_and_a_person_is_found_whatever_they_are_in() {
    let (simulator, client) = plain().await;
    let place = Place::new("acme", HUB);
    let fails = Fate::Permanent("NotEnoughSeats".to_owned());
    let bob = Member::new("bob", "bob@acme.example").with(&["ADMIN"]);
    let changes = [(bob.clone(), fails.clone()), (Member { id: "cy".to_owned(), ..bob }, fails)];
    let invite = Operation::Invite;
    assert!(simulator.job_elsewhere(&place, "j9", invite, &changes, Duration::ZERO));
    let (_, job) = client.get("/jobs/j9").await;
    let attributes = &job["data"]["attributes"];
    assert_eq!(attributes["payload"]["userIds"], json!(["bob", "cy"]));
    assert_eq!(attributes["payload"]["entitlements"], json!([{"id": "ADMIN"}]));
    assert_eq!(
        (&attributes["status"], &attributes["account"]["id"]),
        (&json!("error"), &json!(HUB))
    );
    let (status, person) = client.get("/users/ann").await;
    assert_eq!(
        (status, &person["data"]["attributes"]["email"]),
        (StatusCode::OK, &json!("ann@acme.example"))
    );
    assert_eq!(client.get("/users/nobody").await.0, StatusCode::NOT_FOUND);
}
