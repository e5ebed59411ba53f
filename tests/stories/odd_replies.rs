//! Odd replies never make a success: a step says what to record, and whole stories come out right.

use std::time::{Duration, Instant};

use crate::support::{APP, HUB, Task, WORKSPACE, World, a_failed, apps};
use cerby_reconciler::backend::Failure;
use cerby_reconciler::config::Config;
use cerby_reconciler::lease::Lease;
use cerby_reconciler::membership::{Desired, Operation, Trigger};
use cerby_reconciler::retry::{
    ClaimedTask, EscalationReason, RetryPolicy, TaskOutcome, Uncertainty, WaitCause, step::Steps,
};
use cerby_reconciler::sync::{self, ClaimedSync};
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::http_server::{Heard, Reply, Server, error, ok, somebody};
use testkit::simulator::{self, Call, HttpFault, Injection, Place, RetryAfter, Settings};

const OPERATIONS: [Operation; 3] = [Operation::Invite, Operation::ChangeRole, Operation::Remove];

fn policy() -> RetryPolicy {
    let config = Config::from_sources(None, Some(Default::default()));
    RetryPolicy::new(&config.expect("the defaults are a configuration"))
}

fn claimed(operation: Operation) -> ClaimedTask {
    ClaimedTask {
        traceparent: None,
        id: 1,
        lease: Lease { token: 1, ends: Instant::now() + Duration::from_secs(600) },
        key: somebody(),
        desired: Desired {
            operation,
            member: "jo".into(),
            email: "jo@example.com".into(),
            username: None,
            entitlements: ["EDITOR".to_owned()].into(),
        },
        hub_role: "account_collaborator".into(),
        application: "an_app_nobody_catalogued".into(),
        trigger: Trigger::Manual,
        has_automation: true,
        job: None,
        requested_at: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
        returned: false,
        reopened: false,
        is_probe: false,
        first_failure: Failure::ours("LoginTimeout"),
        attempts: 0,
        trying_since: None,
        running: None,
        uncertain_since: None,
        unanswered_since: None,
        superseded_by: None,
        cancel_reason: None,
        unreleased_claims: 1,
        claimed_at: DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
        touched_by_hand: false,
        tried_before: false,
        found_by_id: false,
        taken_in_order: None,
        pickup: None,
    }
}

/// The same task with a job that was started so many minutes ago.
fn watching(operation: Operation, minutes: i64) -> ClaimedTask {
    let task = claimed(operation);
    let since = task.claimed_at - TimeDelta::minutes(minutes);
    ClaimedTask { running: Some(("j1".into(), since)), attempts: 1, ..task }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Look,
    Run,
    Job,
}

fn part(heard: &Heard) -> Part {
    match heard.method.as_str() {
        "GET" if heard.target.contains("/jobs/") => Part::Job,
        "GET" => Part::Look,
        _ => Part::Run,
    }
}

/// What a backend answers in whose app nothing is as the operation wants it.
fn truth(operation: Operation, heard: &Heard) -> Reply {
    let viewer = json!({"email": "jo@example.com", "entitlements": [{"id": "VIEWER"}]});
    match part(heard) {
        Part::Run => ok(&json!({"data": {"id": "j1"}})),
        Part::Job => ok(&json!({"data": {"id": "j1", "attributes": {"status": "finished"}}})),
        Part::Look if heard.target.ends_with("/app-1") => ok(&json!({"data": {"id": "app-1"}})),
        Part::Look if operation == Operation::Invite => error(404, "user_not_found", json!(404)),
        Part::Look => ok(&json!({"data": {"id": "jo", "attributes": viewer}})),
    }
}

/// The next thing to record where one part of the conversation is answered oddly.
async fn next_with(odd: &Reply, at: Part, task: &ClaimedTask) -> TaskOutcome {
    let (odd, operation) = (odd.clone(), task.desired.operation);
    let script = move |heard: &Heard| match part(heard) == at {
        true => odd.clone(),
        false => truth(operation, heard),
    };
    let server = Server::start(script).await;
    Steps { backend: server.client(), policy: policy() }.step(task).await
}

/// Replies that are no answer, and what their names are.
fn odd_replies() -> Vec<(&'static str, Reply)> {
    let whole = |status, body: &str| Reply::Whole(status, "", body.to_owned());
    let raw = |text: &str| Reply::Raw(text.as_bytes().to_vec());
    vec![
        ("a reset", Reply::Reset),
        ("nothing", raw("")),
        ("half a body", raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"data\": {\"id\"")),
        ("no HTTP", raw("220 mail.example ESMTP\r\n\r\n")),
        ("HTML", whole(200, "<html></html>")),
        ("no data", whole(200, "{}")),
        ("a list", whole(200, "{\"data\": [{\"id\": \"j1\"}]}")),
        ("a list of fields", whole(200, "{\"data\": [\"jo\", [\"finished\"]]}")),
        ("no body", raw("HTTP/1.1 204 No Content\r\n\r\n")),
        ("a redirect", whole(302, "")),
        ("another way to say it", whole(304, "")),
        ("the 404 of a proxy", whole(404, "<html></html>")),
        ("a timeout", whole(408, "")),
        ("500", whole(500, "")),
        ("502", whole(502, "")),
        ("504", whole(504, "")),
        (
            "another one",
            whole(
                200,
                "{\"data\": {\"id\": \"x\", \"attributes\": {\"status\": \"finished\", \"entitlements\": [{\"id\": \"EDITOR\"}]}}}",
            ),
        ),
        ("an odd list of errors", whole(200, "{\"data\": {\"id\": \"..\"}, \"errors\": {}}")),
        ("an outage", error(200, "unavailable", json!("502"))),
    ]
}

/// Those of them that say nothing of the thing asked for: the next may be an answer.
const PASSING: [&str; 9] =
    ["a reset", "nothing", "half a body", "no HTTP", "a timeout", "500", "502", "504", "an outage"];

#[tokio::test]
async fn a_look_that_is_answered_oddly_is_repeated_and_nothing_is_asked_for() {
    for operation in OPERATIONS {
        for (name, odd) in odd_replies() {
            let next = next_with(&odd, Part::Look, &claimed(operation)).await;
            let waits = matches!(&next, TaskOutcome::Wait { lost: Uncertainty::Nothing, .. });
            assert!(waits, "{operation:?}, {name}: {next:?}");
        }
    }
}

#[tokio::test]
async fn an_operation_that_is_answered_oddly_may_have_begun_and_is_looked_after() {
    for operation in OPERATIONS {
        for (name, odd) in odd_replies() {
            if name == "another one" {
                continue; // a job may have any id
            }
            let next = next_with(&odd, Part::Run, &claimed(operation)).await;
            let waits = matches!(&next, TaskOutcome::Wait { lost: Uncertainty::Answer, .. });
            assert!(waits, "{operation:?}, {name}: {next:?}");
        }
    }
}

#[tokio::test]
async fn a_job_of_which_is_spoken_oddly_is_watched_on() {
    for operation in OPERATIONS {
        for (name, odd) in odd_replies() {
            for at in [Part::Job, Part::Look] {
                let next = next_with(&odd, at, &watching(operation, 1)).await;
                let watches =
                    matches!(&next, TaskOutcome::Watch { job, started: false, .. } if job == "j1");
                assert!(watches, "{operation:?}, {name} at {at:?}: {next:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_job_of_which_nothing_sensible_is_ever_said_is_lost_sight_of() {
    for operation in OPERATIONS {
        for (name, odd) in odd_replies() {
            let next = next_with(&odd, Part::Job, &watching(operation, 60)).await;
            let is_given_up = matches!(&next, TaskOutcome::Retry { lost: Uncertainty::Job, failure, .. }
                if failure.code.as_deref() == Some("JobUnknown"));
            assert!(is_given_up, "{operation:?}, {name}: {next:?}");
        }
    }
}

#[tokio::test]
async fn a_job_is_not_given_up_while_the_backend_answers_nothing_at_all() {
    for operation in OPERATIONS {
        for (name, odd) in odd_replies() {
            let server = Server::always(odd).await;
            let step = Steps { backend: server.client(), policy: policy() };
            let next = step.step(&watching(operation, 60)).await;
            let watches = matches!(&next, TaskOutcome::Watch { started: false, .. });
            assert!(watches, "{operation:?}, {name}: {next:?}");
        }
    }
}

/// The next thing to record of a member whose look is answered oddly, after so many minutes without a usable answer.
async fn next_unanswered(
    odd: &Reply,
    is_all: bool,
    task: &ClaimedTask,
    minutes: i64,
) -> TaskOutcome {
    let odd = odd.clone();
    let script = move |heard: &Heard| match heard.target.ends_with("/app-1") {
        true if !is_all => ok(&json!({"data": {"id": "app-1"}})),
        _ => odd.clone(),
    };
    let server = Server::start(script).await;
    let unanswered_since = Some(task.claimed_at - TimeDelta::minutes(minutes));
    let task = ClaimedTask { unanswered_since, ..task.clone() };
    Steps { backend: server.client(), policy: policy() }.step(&task).await
}

#[tokio::test]
async fn a_member_of_whom_alone_nothing_usable_is_ever_said_goes_to_a_person() {
    let deprovisioned = ClaimedTask { has_automation: false, ..claimed(Operation::Remove) };
    let replaced = ClaimedTask { superseded_by: Some(2), ..claimed(Operation::Remove) };
    let refused = ("a refusal", error(400, "bad_request", json!(400)));
    for (name, odd) in odd_replies().into_iter().chain([refused]) {
        for task in [claimed(Operation::Remove), deprovisioned.clone()] {
            let next = next_unanswered(&odd, false, &task, 10).await;
            let waits = matches!(&next, TaskOutcome::Wait { cause: WaitCause::Member, after, .. }
                if after.as_secs() == 300);
            assert!(waits, "it waits for longer and longer, {name}: {next:?}");
            let next = next_unanswered(&odd, false, &task, 60).await;
            let is_told = matches!(&next, TaskOutcome::Escalate { reason, after_attempt: false, .. }
                if *reason == EscalationReason::Unanswered);
            assert!(is_told, "{name}: {next:?}");
            let next = next_unanswered(&odd, true, &task, 60).await;
            let waits = matches!(&next, TaskOutcome::Wait { cause: WaitCause::Outage, .. });
            assert!(waits, "an outage escalates nothing, {name}: {next:?}");
        }
        let next = next_unanswered(&odd, false, &replaced, 1).await;
        assert_eq!(next, TaskOutcome::Abandon, "{name}");
    }
}

#[tokio::test]
async fn no_word_for_the_state_of_a_job_makes_a_success_without_the_desired_state() {
    for operation in OPERATIONS {
        for word in ["finished", "error", "retrying", "a word of tomorrow", "", "FINISHED"] {
            for minutes in [1, 60] {
                let odd = ok(&json!({"data": {"id": "j1", "attributes": {"status": word}}}));
                let next = next_with(&odd, Part::Job, &watching(operation, minutes)).await;
                let has_ended = matches!(word, "finished" | "error");
                let expected = match &next {
                    TaskOutcome::Retry { .. } => has_ended,
                    TaskOutcome::Watch { started: false, .. } => !has_ended && minutes == 1,
                    TaskOutcome::Escalate { .. } => !has_ended && minutes == 60,
                    _ => false,
                };
                assert!(expected, "{operation:?}, {word:?} after {minutes} min: {next:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_job_of_which_only_a_limit_of_the_rate_is_told_is_lost_in_the_end() {
    let busy = Reply::Whole(429, "retry-after: 900\r\n", String::new());
    for operation in OPERATIONS {
        for minutes in [1, 60] {
            let task = watching(operation, minutes);
            let limited = [next_with(&busy, Part::Job, &task).await, {
                let all = Server::always(busy.clone()).await;
                Steps { backend: all.client(), policy: policy() }.step(&task).await
            }];
            for next in limited {
                let is_lost = matches!(&next, TaskOutcome::Retry { lost: Uncertainty::Job, .. });
                assert_eq!(is_lost, minutes == 60, "{operation:?} after {minutes} min: {next:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_job_of_which_nothing_sensible_is_ever_said_keeps_nobody_waiting() {
    for operation in OPERATIONS {
        for (name, odd) in odd_replies() {
            for minutes in [1, 60] {
                let task = claimed(operation);
                let requested_at = task.claimed_at - TimeDelta::minutes(minutes);
                let task = ClaimedTask { job: Some("j1".into()), requested_at, ..task };
                let next = next_with(&odd, Part::Job, &task).await;
                let runs =
                    |next: &TaskOutcome| matches!(next, TaskOutcome::Watch { started: true, .. });
                let is_none = !PASSING.contains(&name);
                assert_eq!(
                    runs(&next),
                    is_none && minutes == 60,
                    "{operation:?}, {name}: {next:?}"
                );
                let unanswered_since = Some(requested_at);
                let next =
                    next_with(&odd, Part::Job, &ClaimedTask { unanswered_since, ..task }).await;
                assert_eq!(runs(&next), minutes == 60, "{operation:?}, {name}: {next:?}");
            }
        }
        let task = ClaimedTask { job: Some("j1".into()), ..claimed(operation) };
        let bad_id = error(400, "invalid_job_id", json!(400));
        let next = next_with(&bad_id, Part::Job, &task).await;
        assert!(
            matches!(&next, TaskOutcome::Watch { started: true, .. }),
            "{operation:?}: {next:?}"
        );
    }
}

/// What a sync does whose check for updates was started so many minutes ago, where its job is answered oddly.
async fn next_of_sync_with(odd: &Reply, minutes: i64) -> sync::SyncOutcome {
    let odd = odd.clone();
    next_of_sync(&Server::start(move |_| odd.clone()).await, minutes).await
}

async fn next_of_sync(server: &Server, minutes: i64) -> sync::SyncOutcome {
    next_of(server, &claimed_sync(minutes)).await
}

/// A sync whose check for updates was started so many minutes ago.
fn claimed_sync(minutes: i64) -> ClaimedSync {
    let (key, claimed_at) = (somebody(), claimed(Operation::Remove).claimed_at);
    ClaimedSync {
        traceparents: Vec::new(),
        id: 1,
        lease: Lease { token: 1, ends: Instant::now() + Duration::from_secs(600) },
        workspace: key.workspace,
        integration: key.integration,
        application: "an_app_nobody_catalogued".into(),
        procedure: sync::Procedure::CheckAndApply,
        state: sync::SyncState::Started,
        running: Some(("j1".into(), claimed_at - TimeDelta::minutes(minutes))),
        report: None,
        update: None,
        held_hash: None,
        held_until: None,
        started_at: Some(claimed_at - TimeDelta::minutes(minutes)),
        trying_since: Some(claimed_at - TimeDelta::minutes(minutes)),
        own_account: None,
        four_eyes: false,
        loosened_at: None,
        administrator_roles: None,
        failures: 0,
        decision: None,
        unreleased_claims: 1,
        claimed_at,
        earlier_runs: Vec::new(),
    }
}

async fn next_of(server: &Server, sync: &ClaimedSync) -> sync::SyncOutcome {
    let config = Config::from_sources(None, Some(Default::default())).expect("the defaults");
    let step = sync::step::Step {
        backend: &server.client(),
        policy: &sync::SyncPolicy::new(&config),
        pool: &PgPool::connect_lazy("postgres://nowhere").expect("a URL").into(),
        sync,
    };
    step.run().await.expect("no question to the database")
}

#[tokio::test]
async fn a_sync_whose_job_is_never_spoken_of_sensibly_begins_anew() {
    for (name, odd) in odd_replies() {
        for minutes in [1, 60] {
            let next = next_of_sync_with(&odd, minutes).await;
            let begins_anew = matches!(&next, sync::SyncOutcome::RetryLater { waits: false, .. });
            let expected = minutes == 60 && !PASSING.contains(&name);
            assert_eq!(begins_anew, expected, "{name} after {minutes} min: {next:?}");
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_began_before_it_was_asked_for_proves_nothing() {
    for (made, is_ours) in [
        ("2024-08-29T19:30:31+00:00", false),
        ("2024-08-29T19:31:11+00:00", false),
        ("2024-08-29T19:31:21+00:00", true),
        ("2024-08-29T19:32:20", true),
    ] {
        let job = json!({"id": "j1", "attributes": {"status": "finished", "createdAt": made}});
        let date = "date: Thu, 29 Aug 2024 19:32:21 GMT\r\n";
        let finished = Reply::Whole(200, date, json!({"data": job}).to_string());
        let report = error(404, "report_not_found", json!(404));
        let server = Server::start(move |heard| match heard.target.contains("/jobs/") {
            true => finished.clone(),
            false if heard.target.contains("/update-report") => report.clone(),
            false => ok(&json!({"data": []})),
        })
        .await;
        let next = next_of_sync(&server, 1).await;
        assert_eq!(matches!(&next, sync::SyncOutcome::Judge { .. }), is_ours, "{made}: {next:?}");
        let is_counted = matches!(&next, sync::SyncOutcome::RetryLater { waits: false, .. });
        assert_eq!(is_counted, !is_ours, "{made}: {next:?}");
    }
}

/// No clock tells how old it is: only another one that was asked for once it had ended is younger than the sync.
#[tokio::test]
async fn a_job_of_unknown_age_proves_nothing_and_the_one_after_it_does() {
    let attributes = json!({"status": "finished", "createdAt": "last Thursday"});
    let job = ok(&json!({"data": {"id": "j1", "attributes": attributes}}));
    let report = error(404, "report_not_found", json!(404));
    let server = Server::start(move |heard| match heard.target.contains("/jobs/") {
        true => job.clone(),
        false if heard.target.contains("/update-report") => report.clone(),
        false => ok(&json!({"data": []})),
    })
    .await;
    let after = async |former: &[&str]| {
        let former = former.iter().map(|one| (*one).to_owned()).collect();
        next_of(&server, &ClaimedSync { earlier_runs: former, ..claimed_sync(1) }).await
    };
    let unknown = sync::SyncOutcome::Unknown { kind: sync::RunKind::Job, id: "j1".into() };
    assert_eq!(after(&[]).await, unknown);
    assert_eq!(after(&["report j0"]).await, unknown, "another kind says nothing");
    assert!(matches!(after(&["job j0"]).await, sync::SyncOutcome::Judge { .. }));
    let again = after(&["job j0", "job j1"]).await;
    assert!(
        matches!(again, sync::SyncOutcome::RetryLater { waits: false, .. }),
        "the same again: {again:?}"
    );
}

/// A report that was there before the sync, by the backend's clock, whatever ours says; and one of unknown age.
#[tokio::test]
async fn a_report_that_was_there_before_the_sync_by_the_clock_that_wrote_it_is_not_applied() {
    let report = |id: &str, made: &str| {
        json!({"data": {"id": id, "attributes": {
            "status": "ready", "createdAt": made, "membersRead": 1, "membersTotal": 1,
            "newUsers": [{"id": "kim", "email": "kim@example.com"}], "removedUsers": [], "updatedRoles": [],
        }}})
    };
    let date = "date: Thu, 29 Aug 2024 19:32:21 GMT\r\n";
    let dated = |body: Value| Reply::Whole(200, date, body.to_string());
    let next = async |made: &str| {
        let job = json!({"id": "j1", "attributes": {"status": "finished", "createdAt": "2024-08-29T19:31:31Z"}});
        let (job, report) = (dated(json!({"data": job})), dated(report("r1", made)));
        let server = Server::start(move |heard| match &heard.target {
            target if target.contains("/jobs/") => job.clone(),
            target if target.ends_with("/apply") => ok(&json!({"data": {"id": "j2"}})),
            _ => report.clone(),
        })
        .await;
        let next = next_of(&server, &claimed_sync(1)).await;
        (next, server.heard().iter().any(|heard| heard.target.ends_with("/apply")))
    };
    let (older, is_applied) = next("2024-08-29T18:42:21Z").await;
    assert!(
        !is_applied
            && matches!(&older, sync::SyncOutcome::RetryLater { why, .. } if why.contains("before this sync")),
        "{older:?}"
    );
    let (unknown, is_applied) = next("last Thursday").await;
    let expected = sync::SyncOutcome::Unknown { kind: sync::RunKind::Report, id: "r1".into() };
    assert!(!is_applied && unknown == expected, "{unknown:?}");
}

#[tokio::test]
async fn a_sync_whose_jobs_all_seem_to_begin_too_early_fails_with_that_reason() {
    let attributes = json!({"status": "finished", "createdAt": "2024-08-29T19:00:00Z"});
    let date = "date: Thu, 29 Aug 2024 19:32:21 GMT\r\n";
    let job = json!({"data": {"id": "j1", "attributes": attributes}}).to_string();
    let server = Server::always(Reply::Whole(200, date, job)).await;
    for failures in 0..4 {
        let sync = ClaimedSync { failures, ..claimed_sync(1) };
        let next = next_of(&server, &sync).await;
        match &next {
            sync::SyncOutcome::RetryLater { waits: false, .. } => {
                assert!(failures < 2, "{failures}")
            }
            sync::SyncOutcome::Fail { reason } if reason.contains("begun before") => {
                assert!(failures >= 2, "{failures}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_sync_that_alone_gets_no_usable_answer_is_counted_and_an_outage_is_not() {
    for (name, odd) in odd_replies().into_iter().filter(|(name, _)| PASSING.contains(name)) {
        for is_all in [false, true] {
            let odd = odd.clone();
            let server = Server::start(move |heard| match heard.target.ends_with("/app-1") {
                true if !is_all => ok(&json!({"data": {"id": "app-1"}})),
                _ => odd.clone(),
            })
            .await;
            let next = next_of(&server, &claimed_sync(60)).await;
            let is_counted = matches!(&next, sync::SyncOutcome::RetryLater { waits: false, .. });
            assert_eq!(is_counted, !is_all, "{name}: {next:?}");
        }
    }
}

#[tokio::test]
async fn a_sync_leaves_a_backend_alone_for_as_long_as_it_asks() {
    let busy = Reply::Whole(429, "retry-after: 900\r\n", String::new());
    let next = next_of_sync_with(&busy, 1).await;
    let watches_later =
        matches!(&next, sync::SyncOutcome::Watch { after, .. } if after.as_secs() == 900);
    assert!(watches_later, "{next:?}");
    // For longer than a job may take: the sync itself waits then, and somebody is told.
    let next = next_of_sync_with(&busy, 60).await;
    let waits = matches!(&next, sync::SyncOutcome::RetryLater { waits: true, min_wait, .. } if min_wait.as_secs() == 900);
    assert!(waits, "{next:?}");
}

// ---- stories ----

/// What may go wrong with a request of which the client hears nothing true.
fn faults() -> Vec<HttpFault> {
    vec![
        HttpFault::Html,
        HttpFault::OkWithErrors,
        HttpFault::Huge,
        HttpFault::Trickle,
        HttpFault::LostReply,
        HttpFault::Reset,
        HttpFault::BrokenAfterEffect(500),
        HttpFault::BrokenAfterEffect(504),
        HttpFault::Status(500),
        HttpFault::Status(302),
        HttpFault::Status(408),
        HttpFault::RateLimited(RetryAfter::TenYears),
        HttpFault::RateLimited(RetryAfter::Past),
    ]
}

/// A task whose first look, run, watch and last look each go wrong in this way.
async fn survives(world: &World, task: &Task, call: Call, fault: HttpFault) {
    for call in [Call::GetMember, call, Call::GetJob] {
        let nth = world.apps.counters().requests(call);
        world.apps.inject(Injection { call, nth, fault });
    }
    let id = world.insert(task).await;
    world.drive().await;
    assert_eq!(world.state(id).await, "succeeded", "{call:?} {fault:?}");
    let counters = world.apps.counters();
    assert_eq!(counters.duplicate_effects, 0, "{call:?} {fault:?}");
    assert_eq!(counters.overlapping_jobs, 0, "{call:?} {fault:?}");
}

#[sqlx::test(migrations = false)]
async fn a_removal_happens_once_whatever_is_said_of_it(pool: PgPool) {
    let world = World::new(pool).await;
    for (number, fault) in (1..).zip(faults()) {
        let jo = simulator::Member::new("jo", "jo@example.com");
        world.apps.person_invites(WORKSPACE, HUB, jo.clone());
        let place = Place::new(WORKSPACE, HUB);
        // Cerby knows of the invitation by a job that found her there.
        let (invite, now) = (simulator::Operation::Invite, Duration::ZERO);
        let job = format!("job-{number}");
        assert!(world.apps.restart_job(&place, &job, jo, invite, now, &simulator::Fate::Succeed));
        let task = a_failed("remove", HUB, "jo").requested_minutes_ago(200 - number);
        survives(&world, &task, Call::Remove, fault).await;
        assert!(!world.is_in_app(HUB, "jo"), "{fault:?}");
        let removals = world.apps.counters().effects(WORKSPACE, HUB, "jo").removals;
        assert_eq!(removals, u64::from(number.unsigned_abs()), "{fault:?}");
    }
}

#[sqlx::test(migrations = false)]
async fn an_invitation_is_sent_once_whatever_is_said_of_it(pool: PgPool) {
    let mut hub = simulator::Integration::new(
        WORKSPACE,
        HUB,
        "Asana hub",
        simulator::Kind::BusinessHub,
        "asana_tenant",
    );
    hub.resends_invitations = true;
    let world = World::with(pool, apps().integration(hub), Settings::default()).await;
    for (number, fault) in (1..).zip(faults()) {
        let task = a_failed("invite", HUB, "lee").requested_minutes_ago(200 - number);
        survives(&world, &task, Call::Invite, fault).await;
        assert!(world.is_in_app(HUB, "lee"), "{fault:?}");
        let effects = world.apps.counters().effects(WORKSPACE, HUB, "lee");
        assert_eq!(effects.invites, u64::from(number.unsigned_abs()), "{fault:?}");
        let gone = a_failed("remove", HUB, "lee").requested_minutes_ago(200 - number);
        world.insert(&gone).await;
        world.drive().await;
        assert!(!world.is_in_app(HUB, "lee"), "{fault:?}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_role_is_what_was_desired_whatever_is_said_of_it(pool: PgPool) {
    let world = World::new(pool).await;
    for (number, fault) in (1..).zip(faults()) {
        world.apps.person_changes_role(WORKSPACE, APP, "jo", &["VIEWER"]);
        let mut task = a_failed("change_role", APP, "jo").requested_minutes_ago(200 - number);
        task.roles = vec![if number % 2 == 0 { "EDITOR" } else { "ADMIN" }];
        survives(&world, &task, Call::ChangeRole, fault).await;
        let jo = world.apps.member(WORKSPACE, APP, "jo").unwrap();
        assert!(jo.entitlements.contains(task.roles[0]), "{fault:?}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_word_that_is_not_true_is_never_verified_whatever_is_said_of_the_sync(pool: PgPool) {
    let world = World::new(pool).await;
    let calls = [
        (APP, [Call::StartCheck, Call::GetJob, Call::GetReport, Call::ListMembers]),
        (HUB, [Call::StartSync, Call::GetJob, Call::ListMembers, Call::ListMembers]),
    ];
    for (integration, calls) in calls {
        let id = world.insert(&a_failed("remove", integration, "jo").code("NotEnoughSeats")).await;
        world.drive().await;
        let action = world.action_of(id).await;
        for fault in faults() {
            for call in calls {
                let nth = world.apps.counters().requests(call);
                world.apps.inject(Injection { call, nth, fault });
            }
            world.mark_done(action).await;
            world.drive().await;
            assert_eq!(world.status(action).await, "open", "{integration} {fault:?}");
            assert_eq!(world.verdict(action).await, "contradicted", "{integration} {fault:?}");
            assert!(world.is_in_app(integration, "jo"));
        }
    }
}

#[sqlx::test(migrations = false)]
async fn a_job_that_says_a_word_of_tomorrow_is_waited_for(pool: PgPool) {
    let settings = Settings { job_ms: 60_000..=60_000, ..Settings::default() };
    let world = World::with(pool, apps(), settings).await;
    let remove = simulator::Operation::Remove;
    for (member, word) in [("jo", "retrying"), ("kim", "a word of tomorrow")] {
        world.apps.set_unended_status(WORKSPACE, HUB, member, remove, Some(word));
        let id = world.insert(&a_failed("remove", HUB, member)).await;
        for _ in 0..4 {
            world.order().await;
            world.let_time_pass().await;
            world.step().await;
        }
        assert_eq!(world.state(id).await, "running", "{word}");
        assert_eq!(world.attempts(id).await, 1, "{word}");
    }
    assert_eq!(world.apps.counters().requests(Call::Remove), 2);
    assert_eq!(world.apps.counters().overlapping_jobs, 0);
}
