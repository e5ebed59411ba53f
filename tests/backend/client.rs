//! The client of the backend against a server that sends what real servers send.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cerby_reconciler::backend::{BackendError, Failure, Gap, Progress};
use cerby_reconciler::membership::{MemberKey, Membership};
use serde_json::{Value, json};
use testkit::http_server::{BODY, Heard, KEY, Reply, Server, client, error, ok, refused, somebody};
use tokio::net::TcpListener;

async fn removal_answered_with(reply: Reply) -> BackendError {
    refused(Server::always(reply).await.client().remove(&somebody()).await)
}

async fn job_answered_with(attributes: Value) -> Progress {
    let body = json!({"data": {"id": "j1", "type": "job", "attributes": attributes}});
    let server = Server::always(ok(&body)).await;
    server.client().job("acme", "j1").await.expect("a job").progress
}

fn member(id: &str) -> Value {
    let email = format!("{id}@example.com");
    json!({"id": id, "type": "user", "attributes": {"email": email, "entitlements": []}})
}

/// A page of members; `total` and more pages as told.
fn page(members: &[Value], more: bool, total: Value) -> Reply {
    let next = more.then_some("/there/is/more");
    ok(&json!({"data": members, "links": {"next": next}, "meta": {"page": {"total": total}}}))
}

// ---- errors ----

#[tokio::test]
async fn the_status_of_an_error_may_be_text_or_a_number() {
    for status in [json!("409"), json!(409), json!(" 409 ")] {
        for http in [200, 409] {
            let error = removal_answered_with(error(http, "conflict", status.clone())).await;
            let BackendError::Refused { status: 409, ref code } = error else {
                panic!("{http} {status}: {error:?}");
            };
            assert_eq!(code, "conflict");
            assert!(!error.is_uncertain());
        }
    }
}

#[tokio::test]
async fn an_error_body_with_200_is_never_success() {
    for (status, expected) in [
        (json!(401), "the backend rejected the API key (HTTP 401)"),
        (json!("403"), "the backend rejected the API key (HTTP 403)"),
        (json!(404), "the backend has no such resource: a_code"),
        (json!("429"), "the backend limits the rate of requests"),
        (json!(500), "the backend is failing (HTTP 500)"),
        (json!(503), "the backend is unavailable (HTTP 503)"),
        (json!(422), "the backend refused the request (HTTP 422): a_code"),
        (json!(200), "the backend refused the request (HTTP 200): a_code"),
        (json!("a text"), "the backend refused the request (HTTP 200): a_code"),
        (Value::Null, "the backend refused the request (HTTP 200): a_code"),
    ] {
        let told = removal_answered_with(error(200, "a_code", status.clone())).await.to_string();
        assert_eq!(told, expected, "{status}");
    }
}

#[tokio::test]
async fn errors_beside_data_in_a_200_are_errors() {
    let errors = json!([{"code": "integration_not_found", "status": 404, "detail": BODY}]);
    for data in [Value::Null, json!([]), json!({"id": "x", "attributes": {"status": "ready"}})] {
        let body = json!({"data": data, "errors": errors});
        let server = Server::always(ok(&body)).await;
        let client = server.client();
        let outcomes = [
            refused(client.integration("acme", "app-1").await),
            refused(client.members("acme", "app-1").await),
            refused(client.member(&somebody()).await),
            refused(client.job("acme", "j1").await),
            refused(client.remove(&somebody()).await),
            refused(client.report("acme", "app-1").await),
        ];
        for error in outcomes {
            assert!(matches!(error, BackendError::NotFound { .. }), "{data}: {error:?}");
        }
    }
}

#[tokio::test]
async fn an_error_that_says_nothing_is_still_no_success() {
    for errors in [json!([{}]), json!(["words"]), json!([null]), json!([{"code": 7, "status": []}])]
    {
        let server = Server::always(ok(&json!({"data": [], "errors": errors}))).await;
        let error = refused(server.client().members("acme", "app-1").await);
        assert_eq!(
            error.to_string(),
            "the backend refused the request (HTTP 200): no code",
            "{errors}"
        );
    }
}

#[tokio::test]
async fn an_integration_without_an_id_is_no_proof_that_it_exists() {
    for data in [Value::Null, json!({}), json!([]), json!("gone")] {
        let server = Server::start(move |heard| {
            if heard.target.contains("/users") {
                error(404, "not_found", json!(404))
            } else {
                ok(&json!({"data": data}))
            }
        })
        .await;
        let error = refused(server.client().member(&somebody()).await);
        assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_not_the_promised_json_is_nonsense_with_an_unknown_effect() {
    for body in [
        format!("<html><body>{BODY}</body></html>"),
        String::new(),
        format!("{{\"data\": {{\"id\": \"{BODY}"),
        format!("\"{BODY}\""),
        "null".to_owned(),
        json!({"data": {"id": 7, "title": BODY}}).to_string(),
        json!({"data": {"id": ""}}).to_string(),
        json!({"data": {"id": ".."}}).to_string(),
        json!({"data": {"id": BODY.repeat(20)}}).to_string(),
        json!({"errors": []}).to_string(),
        "\u{0}\u{1}".to_owned(),
    ] {
        let error = removal_answered_with(Reply::Whole(200, "", body.clone())).await;
        assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{body}: {error:?}");
        assert!(error.is_uncertain(), "the removal may have begun");
    }
}

#[tokio::test]
async fn a_gateways_page_is_an_outage_and_not_an_answer() {
    let html = format!("<html><body>{BODY}</body></html>");
    for (status, uncertain) in [(502, true), (503, false), (504, true)] {
        let reply = Reply::Whole(status, "retry-after: 7\r\n", html.clone());
        let error = removal_answered_with(reply).await;
        assert!(
            matches!(error, BackendError::Unavailable { status: got, .. } if got == status),
            "{error:?}"
        );
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.is_uncertain(), uncertain, "{status}");
    }
    let error = removal_answered_with(Reply::Whole(500, "", html)).await;
    assert!(matches!(error, BackendError::ServerError { status: 500 }), "{error:?}");
    assert!(error.is_uncertain());
}

#[tokio::test]
async fn a_refused_key_is_told_apart() {
    for status in [401, 403] {
        let error = removal_answered_with(error(status, "unauthorized", json!(status))).await;
        assert!(
            matches!(error, BackendError::KeyRejected { status: got } if got == status),
            "{error:?}"
        );
        assert!(!error.is_uncertain());
    }
}

#[tokio::test]
async fn codes_come_without_what_a_log_could_stumble_over() {
    let code = format!("a_code\n\u{1b}[31m\"{{}}{}", "x".repeat(200));
    let error = removal_answered_with(error(409, &code, json!(409))).await;
    let BackendError::Refused { code, .. } = error else { panic!("{error:?}") };
    assert!(code.len() <= 64 && code.starts_with("a_code31mxxx"), "{code}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_takes_the_key_nowhere() {
    let elsewhere = Server::always(ok(&json!({"data": {"id": "j1"}}))).await;
    for status in [301, 302, 303, 307, 308] {
        let location: &'static str = format!("location: http://{}/\r\n", elsewhere.address).leak();
        let error = removal_answered_with(Reply::Whole(status, location, BODY.to_owned())).await;
        assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{status}: {error:?}");
        assert!(error.is_uncertain(), "what a {status} did is unknown");
    }
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0);
}

// ---- the way there and back ----

#[tokio::test]
async fn an_answer_larger_than_allowed_is_not_read_to_its_end() {
    let body = json!({"data": {"id": "j1"}, "filler": "x".repeat(2048)});
    let server = Server::always(ok(&body)).await;
    let strict = client(server.address, &[("MAX_RESPONSE_KIB", "1")]);
    let error = refused(strict.remove(&somebody()).await);
    assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{error:?}");
    assert!(error.to_string().contains("1024 bytes"), "{error}");
    assert_eq!(server.client().remove(&somebody()).await.unwrap(), "j1");
}

#[tokio::test]
async fn a_body_slower_than_the_timeout_is_a_lost_answer() {
    let server = Server::always(Reply::Part).await;
    let hasty = client(server.address, &[("REQUEST_TIMEOUT_S", "1"), ("CONNECT_TIMEOUT_S", "1")]);
    let error = refused(hasty.remove(&somebody()).await);
    assert!(matches!(&error, BackendError::NoAnswer(cause) if cause.is_timeout()), "{error:?}");
    assert!(error.is_uncertain());
}

#[tokio::test]
async fn a_reset_before_the_answer_is_a_lost_answer_and_is_not_asked_again() {
    let server = Server::always(Reply::Reset).await;
    let error = refused(server.client().remove(&somebody()).await);
    assert!(matches!(error, BackendError::NoAnswer(_)), "{error:?}");
    assert!(error.is_uncertain());
    assert_eq!(server.heard().len(), 1, "a second removal would be invisible to the queue");
}

#[tokio::test]
async fn a_refused_connection_is_certain_to_have_done_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = refused(client(address, &[]).remove(&somebody()).await);
    assert!(matches!(error, BackendError::Unreachable(_)), "{error:?}");
    assert!(!error.is_uncertain());
}

#[tokio::test]
async fn connections_are_reused() {
    let server = Server::always(ok(&json!({"data": {"id": "j1"}}))).await;
    let client = server.client();
    for _ in 0..5 {
        client.remove(&somebody()).await.unwrap();
        client.clone().start_sync("other", "app-2").await.unwrap();
    }
    assert_eq!(server.heard().len(), 10);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_abandoned_call_leaves_the_client_usable() {
    let server = Server::start(|heard| {
        if heard.method == "DELETE" { Reply::Part } else { ok(&json!({"data": {"id": "j1"}})) }
    })
    .await;
    let client = server.client();
    {
        let key = somebody();
        let mut removal = pin!(client.remove(&key));
        poll_fn(|context| {
            assert!(removal.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    assert_eq!(client.start_sync("acme", "app-1").await.unwrap(), "j1");
}

// ---- 429 ----

/// What is taken for any longer time, so that it can be added to a time.
const A_CENTURY: u64 = 100 * 366 * 24 * 60 * 60;

async fn rate_limit_of(headers: &'static str) -> Option<Duration> {
    let error = removal_answered_with(Reply::Whole(429, headers, BODY.to_owned())).await;
    assert!(matches!(error, BackendError::RateLimited { .. }), "{error:?}");
    assert!(!error.is_uncertain());
    error.retry_after()
}

#[tokio::test]
async fn a_rate_limit_tells_what_the_backend_asks_for_and_no_more() {
    let table = [
        ("", None),
        ("retry-after: 42\r\n", Some(42)),
        ("retry-after:  42 \r\n", Some(42)),
        ("retry-after: 0\r\n", Some(0)),
        ("retry-after: 315360000\r\n", Some(315_360_000)),
        (
            "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:29:30 GMT\r\n",
            Some(90),
        ),
        (
            "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Tue, 21 Oct 2025 07:28:00 GMT\r\n",
            Some(315_619_200),
        ),
        (
            "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:27:00 GMT\r\n",
            Some(0),
        ),
        ("retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", Some(0)),
        ("date: yesterday\r\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", Some(0)),
        ("retry-after: 18446744073709551615\r\n", Some(A_CENTURY)),
        ("retry-after: 1.2\r\n", Some(2)),
        ("retry-after: .\r\n", None),
        ("retry-after: 1e3\r\n", None),
        ("retry-after: inf\r\n", None),
        ("retry-after: 7, 9\r\n", None),
        ("retry-after: \u{fc}\r\n", None),
        ("retry-after: 7\r\nretry-after: 9\r\n", Some(9)),
        ("retry-after: soon\r\nretry-after: 9\r\n", Some(9)),
        ("retry-after: Wed, 32 Oct 2015 07:28:00 GMT\r\n", None),
        ("retry-after: Wed, 21 Oct 99999 07:28:00 GMT\r\n", None),
        ("retry-after: -5\r\n", None),
        ("retry-after: soon\r\n", None),
        ("retry-after: \r\n", None),
        ("retry-after: 99999999999999999999999\r\n", Some(A_CENTURY)),
    ];
    for (headers, seconds) in table {
        assert_eq!(rate_limit_of(headers).await, seconds.map(Duration::from_secs), "{headers:?}");
    }
}

// ---- one member ----

#[tokio::test]
async fn nobody_is_absent_unless_the_integration_exists() {
    for code in ["not_found", "integration_not_found", "no such thing"] {
        for (exists, gone) in [(true, false), (false, true)] {
            let server = Server::start(move |heard| match heard.target.ends_with("/users/jo") {
                false if exists => ok(&json!({"data": {"id": "app-1", "attributes": {}}})),
                _ => error(404, code, json!(404)),
            })
            .await;
            let answer = server.client().member(&somebody()).await;
            if gone {
                let error = refused(answer);
                assert!(matches!(error, BackendError::NotFound { .. }), "{error:?}");
            } else {
                assert_eq!(answer.unwrap(), None);
            }
            let lines = server.lines();
            assert_eq!(lines[1], "GET /acme/api/v1/integrations/app-1", "{lines:?}");
        }
    }
}

#[tokio::test]
async fn a_404_that_names_the_user_is_absence_without_a_second_question() {
    let server = Server::always(error(404, "user_not_found", json!("404"))).await;
    assert_eq!(server.client().member(&somebody()).await.unwrap(), None);
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn an_outage_while_the_integration_is_looked_for_proves_no_absence() {
    let server = Server::start(|heard| match heard.target.ends_with("/users/jo") {
        true => error(404, "not_found", json!(404)),
        false => Reply::Whole(503, "", String::new()),
    })
    .await;
    let error = refused(server.client().member(&somebody()).await);
    assert!(matches!(error, BackendError::Unavailable { status: 503, .. }), "{error:?}");
}

#[tokio::test]
async fn a_member_is_read_with_roles_and_standing() {
    for (invitation, standing) in [
        (Value::Null, Membership::Joined),
        (json!("accepted"), Membership::Joined),
        (json!(""), Membership::Joined),
        (json!("pending"), Membership::Invited),
        (json!("Pending "), Membership::Invited),
        (json!("expired"), Membership::InvitationExpired),
        (json!("revoked"), Membership::InvitationUnclear),
        (json!("declined"), Membership::InvitationUnclear),
        (json!("a word of tomorrow"), Membership::InvitationUnclear),
    ] {
        let attributes = json!({
            "email": "jo@example.com", "username": "", "invitation": invitation,
            "entitlements": [{"id": "B", "type": "entitlement"}, {"id": "A"}], "news": [1, 2],
        });
        let body = json!({"data": {"id": "jo", "type": "user", "attributes": attributes}});
        let seen = Server::always(ok(&body)).await.client().member(&somebody()).await.unwrap();
        let seen = seen.unwrap();
        assert_eq!(seen.membership, standing, "{invitation}");
        assert_eq!(seen.member.as_deref(), Some("jo"));
        assert_eq!(seen.username, None, "an empty name is none");
        assert_eq!(seen.entitlements, ["A".to_owned(), "B".to_owned()].into());
    }
}

#[tokio::test]
async fn one_member_whom_nothing_tells_is_nonsense() {
    let body = json!({"data": {"id": " ", "attributes": {"email": "", "username": null}}});
    let error = refused(Server::always(ok(&body)).await.client().member(&somebody()).await);
    assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{error:?}");
}

// ---- all members ----

async fn snapshot(
    script: impl Fn(&Heard) -> Reply + Send + Sync + 'static,
) -> (cerby_reconciler::backend::Snapshot, Vec<String>) {
    let server = Server::start(script).await;
    let client = client(server.address, &[("MAX_PAGES", "5"), ("PAGE_SIZE", "2")]);
    (client.members("acme", "app-1").await.expect("a snapshot"), server.lines())
}

#[tokio::test]
async fn a_whole_list_is_complete() {
    let (read, lines) = snapshot(|heard| match heard.page() {
        1 => page(&[member("a"), member("b")], true, json!(3)),
        _ => page(&[member("c")], false, json!(3.0)),
    })
    .await;
    assert!(read.is_complete(), "{:?}", read.gaps);
    assert_eq!((read.members.len(), read.pages, read.total), (3, 2, Some(3)));
    let users = "GET /acme/api/v1/integrations/app-1/users";
    assert_eq!(
        lines,
        [1, 2].map(|page| format!("{users}?page%5Bnumber%5D={page}&page%5Bsize%5D=2"))
    );
}

#[tokio::test]
async fn a_page_that_repeats_ends_the_snapshot_incomplete() {
    let (read, lines) = snapshot(|_| page(&[member("a"), member("b")], true, json!(9))).await;
    assert!(read.gaps.contains(&Gap::RepeatedMember), "{:?}", read.gaps);
    assert_eq!(lines.len(), 2, "asking on would bring the same again");
}

#[tokio::test]
async fn pages_that_never_end_are_read_as_often_as_allowed() {
    let (read, lines) =
        snapshot(|heard| page(&[member(&heard.page().to_string())], true, json!(5))).await;
    assert_eq!(read.gaps, [Gap::EndlessPages]);
    assert_eq!(lines.len(), 5);
}

#[tokio::test]
async fn an_app_with_more_members_than_allowed_is_told_at_the_first_page() {
    for (total, is_allowed) in [(10, true), (11, false)] {
        let script = move |heard: &Heard| {
            let first = heard.page() * 2;
            let two = [first - 1, first].map(|number| member(&number.to_string()));
            page(&two, heard.page() < 5, json!(total))
        };
        let server = Server::start(script).await;
        let client = client(server.address, &[("MAX_PAGES", "5"), ("PAGE_SIZE", "2")]);
        let read = client.members("acme", "app-1").await;
        assert_eq!(server.lines().len(), if is_allowed { 5 } else { 1 }, "{total}");
        match read {
            Ok(read) => assert!(is_allowed && read.is_complete(), "{total}: {:?}", read.gaps),
            Err(error) => {
                let told = "the app has 11 members; backend.max_pages = 5 allows 10";
                assert!(!is_allowed && error.to_string().contains(told), "{total}: {error}");
            }
        }
    }
}

/// A list of so many members, each with a photo of so many KiB, in pages as large as asked for up to a largest size.
fn with_photos(count: usize, kib: usize, largest: usize) -> impl Fn(&Heard) -> Reply {
    let photo = "x".repeat(kib * 1024);
    move |heard| {
        let size = heard.target.split("page%5Bsize%5D=").nth(1).and_then(|size| size.parse().ok());
        let size = largest.min(size.expect("a size in the query"));
        let first = (heard.page() - 1) * size;
        let members: Vec<_> = (first..count.min(first + size))
            .map(|number| {
                let mut member = member(&format!("m{number}"));
                member["attributes"]["photo"] = json!(photo);
                member
            })
            .collect();
        page(&members, first + size < count, json!(count))
    }
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_again_in_smaller_ones() {
    for (largest, sizes) in [(100, vec![100, 50]), (30, vec![100, 50, 25, 12])] {
        let server = Server::start(with_photos(99, 50, largest)).await;
        let limit = if largest == 100 { "4096" } else { "700" };
        let client = client(server.address, &[("MAX_RESPONSE_KIB", limit)]);
        let read = client.members("acme", "app-1").await.expect("a snapshot");
        assert!(read.is_complete(), "{:?}", read.gaps);
        assert_eq!(read.members.len(), 99);
        let mut asked: Vec<usize> = server
            .lines()
            .iter()
            .filter_map(|line| line.split("page%5Bsize%5D=").nth(1)?.parse().ok())
            .collect();
        asked.dedup();
        assert_eq!(asked, sizes);
    }
}

#[tokio::test]
async fn a_member_that_is_too_large_names_the_key_to_raise() {
    let server = Server::start(with_photos(3, 50, 100)).await;
    let small = [("MAX_RESPONSE_KIB", "40")];
    let error = refused(client(server.address, &small).members("acme", "app-1").await);
    assert!(error.to_string().contains("backend.max_response_kib = 40"), "{error}");
    assert_eq!(server.lines().len(), 7, "100, 50, 25, 12, 6, 3, 1");
}

#[tokio::test]
async fn a_report_has_a_limit_of_its_own() {
    let people: Vec<_> = (0..2000).map(|n| json!({"id": format!("m{n}")})).collect();
    let attributes = json!({"status": "ready", "newUsers": people, "removedUsers": [],
        "updatedRoles": []});
    let server = Server::always(ok(&json!({"data": {"id": "r1", "attributes": attributes}}))).await;
    let limited =
        |kib| client(server.address, &[("MAX_RESPONSE_KIB", "1"), ("MAX_REPORT_KIB", kib)]);
    let report = limited("64").report("acme", "app-1").await.expect("an answer");
    assert_eq!(report.map(|(report, _)| report.new_members.len()), Some(2000));
    let error = refused(limited("8").report("acme", "app-1").await);
    assert!(error.to_string().contains("backend.max_report_kib = 8"), "{error}");
}

#[tokio::test]
async fn an_empty_page_with_a_next_one_is_no_end() {
    let (read, lines) = snapshot(|heard| match heard.page() {
        1 => page(&[member("a")], true, json!(1)),
        _ => page(&[], true, json!(1)),
    })
    .await;
    assert!(!read.is_complete());
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn counts_that_do_not_agree_make_a_snapshot_incomplete() {
    let (read, _) = snapshot(|_| page(&[member("a")], false, json!(2))).await;
    assert_eq!(read.gaps, [Gap::TotalDiffers]);
    let (read, _) = snapshot(|_| page(&[], false, json!(7))).await;
    assert_eq!(read.gaps, [Gap::TotalDiffers]);
    for last in [json!(3), Value::Null] {
        let (read, _) = snapshot(move |heard| match heard.page() {
            1 => page(&[member("a"), member("b")], true, json!(4)),
            _ => page(&[member("c")], false, last.clone()),
        })
        .await;
        assert!(read.gaps.contains(&Gap::TotalChanged), "{:?}", read.gaps);
    }
}

#[tokio::test]
async fn members_whom_little_tells_are_kept_and_whom_nothing_tells_are_gaps() {
    let (read, _) = snapshot(|_| {
        let nobody = json!({"id": null, "attributes": {"entitlements": []}});
        let by_email = json!({"attributes": {"email": "jo@example.com", "entitlements": []}});
        let by_name = json!({"id": "", "attributes": {"username": "jo", "entitlements": []}});
        let by_id = json!({"id": "jo", "attributes": {"email": null, "entitlements": []}});
        page(&[by_email, by_name, by_id, nobody], false, json!(4))
    })
    .await;
    assert_eq!(read.members.len(), 3);
    assert!(read.gaps.contains(&Gap::UnreadableMember), "{:?}", read.gaps);
}

#[tokio::test]
async fn a_member_that_cannot_be_read_is_a_gap_and_hides_nobody() {
    let odd = [
        json!({}),
        json!({"id": "lee", "attributes": null}),
        json!({"id": "lee\u{0}", "attributes": {"email": "lee@example.com", "entitlements": []}}),
        json!({"id": "lee", "attributes": {"email": "lee@example.com"}}),
        json!({"id": "lee", "attributes": {"email": 7, "entitlements": []}}),
        json!({"id": "lee", "attributes": {"email": "lee@example.com", "entitlements": [7]}}),
        json!({"id": "lee", "attributes": {"email": "lee@example.com", "entitlements": "ADMIN"}}),
        json!({"id": "lee", "attributes": {"email": "lee@example.com", "entitlements": [{"id": ""}]}}),
        json!({"id": " ", "attributes": {"email": "", "username": "\u{200b}", "entitlements": []}}),
    ];
    for odd in odd {
        let (read, _) = {
            let odd = odd.clone();
            snapshot(move |_| page(&[member("jo"), odd.clone()], false, json!(1))).await
        };
        assert_eq!(
            (read.members.len(), &read.gaps[..]),
            (1, &[Gap::UnreadableMember][..]),
            "{odd}"
        );
    }
}

#[tokio::test]
async fn one_person_on_a_page_twice_is_two_entries_and_one_entry_twice_hides_another() {
    let mut pending = member("jo");
    pending["attributes"]["invitation"] = json!("pending");
    let entries = [member("jo"), pending, member("kim")];
    let (read, _) = snapshot(move |_| page(&entries, false, json!(3))).await;
    assert!(read.is_complete(), "{:?}", read.gaps);
    assert_eq!(read.members.len(), 3);
    let entries = [member("jo"), member("jo"), member("kim")];
    let (read, _) = snapshot(move |_| page(&entries, false, json!(3))).await;
    assert_eq!(read.gaps, [Gap::RepeatedMember]);
}

#[tokio::test]
async fn a_list_that_does_not_say_how_many_there_are_is_one_page_and_proves_no_absence() {
    for rest in [json!({}), json!({"links": {"next": null}}), json!({"meta": {"page": {}}})] {
        let mut body = json!({"data": [member("jo")]});
        body.as_object_mut().expect("an object").extend(rest.as_object().expect("one").clone());
        let reply = ok(&body);
        let (read, _) = snapshot(move |_| reply.clone()).await;
        assert_eq!((read.members.len(), &read.gaps[..]), (1, &[Gap::NoTotal][..]), "{body}");
    }
}

#[tokio::test]
async fn empty_text_is_no_next_page() {
    for next in ["", " "] {
        let body = json!({"data": [member("jo")], "links": {"next": next}, "meta": {"page": {"total": 1}}});
        let (read, lines) = snapshot(move |_| ok(&body)).await;
        assert!(read.is_complete(), "{:?}", read.gaps);
        assert_eq!(lines.len(), 1);
    }
}

#[tokio::test]
async fn a_page_that_fails_fails_the_whole_snapshot() {
    let server = Server::start(|heard| match heard.page() {
        1 => page(&[member("a")], true, json!(2)),
        _ => Reply::Whole(200, "", format!("<html>{BODY}</html>")),
    })
    .await;
    let error = refused(server.client().members("acme", "app-1").await);
    assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{error:?}");
}

// ---- jobs and reports ----

#[tokio::test]
async fn a_job_is_over_only_when_it_says_so() {
    for status in ["created", "started", "running", "retrying", "FINISHED", "done", ""] {
        let progress = job_answered_with(json!({"status": status, "errorDetails": {}})).await;
        assert_eq!(progress, Progress::Running, "{status}");
    }
    let finished = job_answered_with(json!({"status": "finished", "errorDetails": null})).await;
    assert_eq!(finished, Progress::Finished);
}

#[tokio::test]
async fn a_failed_job_brings_what_details_it_has() {
    for details in [json!({"status": "error"}), json!({"status": "error", "errorDetails": null})] {
        assert_eq!(job_answered_with(details).await, Progress::Failed(Failure::default()));
    }
    let details = json!({
        "errorType": "LoginTimeout", "screenshotUrl": "https://x.example/1", "userRequired": true,
        "message": "words", "tomorrow": {},
    });
    let failed = json!({"status": "error", "canRetry": false, "errorDetails": details});
    let expected = Failure {
        code: Some("LoginTimeout".to_owned()),
        message: Some("words".to_owned()),
        screenshot_url: Some("https://x.example/1".to_owned()),
        can_retry: Some(false),
        user_required: Some(true),
    };
    assert_eq!(job_answered_with(failed).await, Progress::Failed(expected));
}

#[tokio::test]
async fn a_jobs_age_is_told_by_the_backends_own_clock() {
    let date = "date: Thu, 29 Aug 2024 19:32:21 GMT\r\n";
    let age = Some(Duration::from_millis(59_437));
    for (header, text, expected) in [
        (date, json!("2024-08-29T19:31:21.563000+00:00"), age),
        (date, json!("2024-08-29T21:31:21.563+02:00"), age),
        (date, json!("2024-08-29T19:31:21.563Z"), age),
        (date, json!("2024-08-29T19:31:21.563"), age),
        (date, json!("2024-08-29T19:31:21.563000"), age),
        (date, json!("2024-08-29 19:31:21.563"), age),
        (date, json!("2024-08-29T19:31:21.563+0000"), age),
        (date, json!("20240829T193121.563Z"), age),
        (date, json!("20240829T193121.563"), age),
        (date, json!(1_724_959_881.563), age),
        (date, json!(1_724_959_881_563_u64), age),
        (date, json!("1724959881563"), age),
        (date, json!("2024-08-29T19:32:21.9Z"), Some(Duration::ZERO)),
        (date, json!("2024-08-29T19:33:20Z"), Some(Duration::ZERO)),
        // Well ahead of the clock that it is compared with, or of another century: no time of a job.
        (date, json!("2024-08-29T21:31:21.563"), None),
        (date, json!("1970-01-01T00:00:00Z"), None),
        (date, json!(0), None),
        (date, json!("last Thursday"), None),
        (date, json!(""), None),
        (date, Value::Null, None),
        ("", json!("2024-08-29T19:31:21.563Z"), None),
        ("date: yesterday\r\n", json!("2024-08-29T19:31:21.563Z"), None),
    ] {
        let attributes = json!({"status": "running", "createdAt": text});
        let body = json!({"data": {"id": "j1", "attributes": attributes}});
        let server = Server::always(Reply::Whole(200, header, body.to_string())).await;
        let job = server.client().job("acme", "j1").await.unwrap();
        assert_eq!(job.age, expected, "{text}");
    }
}

#[tokio::test]
async fn no_report_is_told_from_no_integration() {
    let none = Server::always(error(404, "report_not_found", json!(404))).await;
    assert_eq!(none.client().report("acme", "app-1").await.unwrap(), None);
    assert_eq!(none.heard().len(), 1);

    let bare = Server::start(|heard| match heard.target.ends_with("/update-report") {
        true => error(404, "not_found", json!(404)),
        false => ok(&json!({"data": {"id": "app-1"}})),
    })
    .await;
    assert_eq!(bare.client().report("acme", "app-1").await.unwrap(), None);

    let gone = Server::always(error(404, "integration_not_found", json!(404))).await;
    let error = refused(gone.client().report("acme", "app-1").await);
    assert!(matches!(error, BackendError::NotFound { .. }), "{error:?}");
}

fn report(id: &str) -> Value {
    let person = |id: &str| json!({"id": id, "email": "x@example.com", "entitlements": []});
    json!({"data": {"id": id, "type": "update_report", "attributes": {
        "status": "ready", "createdAt": "2024-08-29T19:31:21", "pages": 1,
        "membersRead": 2, "membersTotal": 3,
        "newUsers": [person("a")], "removedUsers": [person("b")],
        "updatedRoles": [{"id": "c", "email": "c@example.com", "from": [], "to": []}],
    }}})
}

#[tokio::test]
async fn a_report_is_read_whole_or_not_at_all() {
    let server = Server::always(ok(&report("r1"))).await;
    let read = server.client().report("acme", "app-1").await.unwrap().unwrap().0;
    assert_eq!((read.id.as_str(), read.applied), ("r1", false));
    assert_eq!((read.members_read, read.members_total), (Some(2), Some(3)));
    let people = [read.new_members, read.removed_members, read.changed_members].concat();
    let ids: Vec<_> = people.iter().filter_map(|one| one.member.as_deref()).collect();
    assert_eq!(ids, ["a", "b", "c"]);

    let mut body = report("r1");
    body["data"]["attributes"]["removedUsers"] = json!([{"id": "", "email": "a@example.com"}]);
    let server = Server::always(ok(&body)).await;
    let removed = server.client().report("acme", "app-1").await.unwrap().unwrap().0.removed_members;
    let known = (removed[0].member.as_deref(), removed[0].email.as_deref());
    assert_eq!(known, (None, Some("a@example.com")), "an empty id is none");

    for nobody in [json!({}), json!({"id": null}), json!({"id": ""}), json!({"id": "a\u{0}"})] {
        let mut body = report("r1");
        body["data"]["attributes"]["removedUsers"] = json!([nobody]);
        let error = refused(Server::always(ok(&body)).await.client().report("acme", "app-1").await);
        assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{nobody}: {error:?}");
    }

    for missing in ["newUsers", "removedUsers", "updatedRoles", "status"] {
        let mut body = report("r1");
        body["data"]["attributes"].as_object_mut().unwrap().remove(missing);
        let error = refused(Server::always(ok(&body)).await.client().report("acme", "app-1").await);
        assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{missing}: {error:?}");
    }
}

#[tokio::test]
async fn a_report_whose_id_is_a_path_is_nonsense() {
    for id in ["", ".", ".."] {
        let server = Server::always(ok(&report(id))).await;
        let error = refused(server.client().report("acme", "app-1").await);
        assert!(matches!(error, BackendError::UnexpectedResponse(_)), "{id:?}: {error:?}");
    }
}

// ---- what is sent ----

#[tokio::test]
async fn every_call_is_sent_as_the_api_document_says() {
    let server = Server::always(ok(&json!({"data": {"id": "j1"}}))).await;
    let client = server.client();
    let roles = ["B".to_owned(), "A".to_owned()].into();
    client.invite(&somebody(), "account_collaborator", &roles).await.unwrap();
    client.change_role(&somebody(), &roles).await.unwrap();
    client.remove(&somebody()).await.unwrap();
    client.start_sync("acme", "app-1").await.unwrap();
    client.start_check("acme", "app-1").await.unwrap();
    client.apply_report("acme", "app-1", "r1").await.unwrap();
    refused(client.integration("acme", "app-1").await);
    refused(client.member(&somebody()).await);
    refused(client.job("acme", "j1").await);
    refused(client.report("acme", "app-1").await);
    refused(client.described_job("acme", "j1").await);
    refused(client.person("acme", "jo").await);

    let base = "/acme/api/v1";
    let heard = server.heard();
    let lines: Vec<_> = heard.iter().map(|heard| heard.line().replacen(base, "", 1)).collect();
    assert_eq!(
        lines,
        [
            "POST /integrations/app-1/users",
            "PATCH /integrations/app-1/users/jo",
            "DELETE /integrations/app-1/users/jo",
            "POST /integrations/app-1/sync",
            "POST /integrations/app-1/update-checks",
            "POST /integrations/app-1/update-report/r1/apply",
            "GET /integrations/app-1",
            "GET /integrations/app-1/users/jo",
            "GET /jobs/j1",
            "GET /integrations/app-1/update-report",
            "GET /jobs/j1",
            "GET /users/jo",
        ]
    );
    let roles = json!([{"id": "A"}, {"id": "B"}]);
    let invitation = json!({"data": {"type": "invite_tenant_users", "attributes": {
        "role": "account_collaborator", "entitlements": roles, "userIds": ["jo"],
    }}});
    let change =
        json!({"data": {"type": "update_user_entitlement", "attributes": {"entitlements": roles}}});
    for (heard, body) in heard.iter().zip([invitation, change]) {
        assert_eq!(serde_json::from_str::<Value>(&heard.body).unwrap(), body);
        assert_eq!(heard.header("content-type"), Some("application/json"));
    }
    for heard in &heard {
        assert_eq!(heard.header("x-api-key"), Some(KEY), "{}", heard.line());
    }
    assert!(heard[2..].iter().all(|heard| heard.body.is_empty()));
}

#[tokio::test]
async fn an_id_is_one_segment_of_the_path_whatever_is_in_it() {
    let odd = "a/b?c=d#e%2Ff g\"é{member}...\\&";
    let encoded = "a%2Fb%3Fc%3Dd%23e%252Ff%20g%22%C3%A9%7Bmember%7D%2E%2E%2E%5C%26";
    let key = MemberKey {
        workspace: "acme".to_owned(),
        integration: odd.to_owned(),
        member: odd.to_owned(),
    };
    let server = Server::always(ok(&json!({"data": {"id": "j1"}}))).await;
    let client = server.client();
    client.remove(&key).await.unwrap();
    client.apply_report("acme", odd, odd).await.unwrap();
    refused(client.job("acme", odd).await);
    let base = "/acme/api/v1";
    assert_eq!(
        server.lines(),
        [
            format!("DELETE {base}/integrations/{encoded}/users/{encoded}"),
            format!("POST {base}/integrations/{encoded}/update-report/{encoded}/apply"),
            format!("GET {base}/jobs/{encoded}"),
        ]
    );
}

#[tokio::test]
async fn paths_are_what_the_configuration_says() {
    let server = Server::always(ok(&json!({"data": {"id": "j1"}}))).await;
    let users = [("PATHS__USERS", "/integrations/{integration}/user")];
    client(server.address, &users).invite(&somebody(), "x", &[].into()).await.unwrap();
    assert_eq!(server.lines(), ["POST /acme/api/v1/integrations/app-1/user"]);
}

#[tokio::test]
async fn a_client_shown_for_debugging_hides_the_key() {
    let server = Server::always(Reply::Reset).await;
    let shown = format!("{:?}", server.client());
    assert!(!shown.contains(KEY), "{shown}");
}
