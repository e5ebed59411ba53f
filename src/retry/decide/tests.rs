use std::time::Instant;

use super::*;
use crate::backend::Gap;
use crate::backend::failure::Remedy;
use crate::config::Config;
use crate::lease::Lease;
use crate::membership::{Desired, MemberKey, Membership, Trigger};

fn policy() -> RetryPolicy {
    RetryPolicy::new(&Config::from_sources(None, Some(Default::default())).unwrap())
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn seconds_ago(seconds: i64) -> Option<DateTime<Utc>> {
    Some(now() - chrono::TimeDelta::seconds(seconds))
}

pub(in crate::retry) fn task(operation: Operation) -> ClaimedTask {
    ClaimedTask {
        id: 1,
        lease: Lease { token: 1, ends: Instant::now() + Duration::from_secs(45) },
        key: MemberKey { workspace: "acme".into(), integration: "i".into(), member: "m".into() },
        desired: Desired {
            operation,
            member: "m".into(),
            email: "m@example.com".into(),
            username: None,
            entitlements: ["EDITOR".to_owned()].into(),
        },
        hub_role: "account_collaborator".into(),
        application: "an_app_nobody_catalogued".into(),
        trigger: Trigger::Manual,
        has_automation: true,
        job: None,
        requested_at: now(),
        returned: false,
        reopened: false,
        is_probe: false,
        first_failure: Failure::ours("LoginTimeout"),
        attempts: 0,
        trying_since: None,
        running: None,
        uncertain_since: None,
        superseded_by: None,
        cancel_reason: None,
        unanswered_since: None,
        unreleased_claims: 1,
        claimed_at: now(),
        touched_by_hand: false,
        tried_before: false,
        found_by_id: false,
        taken_in_order: None,
        pickup: None,
        traceparent: None,
    }
}

const THERE: Observation = Observation::StillThere(Membership::Joined);

#[test]
fn a_task_whose_workers_die_while_they_look_is_not_looked_at_for_ever() {
    let after = |unreleased_claims, superseded_by| {
        let task = ClaimedTask { unreleased_claims, superseded_by, ..task(Operation::Remove) };
        before_read(&policy(), &task).map(|next| word_of(&next))
    };
    assert_eq!(after(6, None), None);
    assert_eq!(after(7, None).as_deref(), Some("escalate CrashLoop"));
    assert_eq!(after(6, Some(2)), None);
    assert_eq!(after(7, Some(2)).as_deref(), Some("abandon"));
    let running = Some(("job".to_owned(), now()));
    let watched = ClaimedTask { unreleased_claims: 7, running, ..task(Operation::Invite) };
    let next = before_read(&policy(), &watched).map(|next| word_of(&next));
    assert_eq!(next.as_deref(), Some("escalate CrashLoop"));
}

/// The record as one word and its reason.
fn word(after: AfterRead) -> String {
    match after {
        AfterRead::Run => "run".to_owned(),
        AfterRead::Record(next) => word_of(&next),
    }
}

fn word_of(next: &TaskOutcome) -> String {
    match next {
        TaskOutcome::Succeed { .. } => "succeed".to_owned(),
        TaskOutcome::Watch { .. } => "watch".to_owned(),
        TaskOutcome::Retry { .. } => "retry".to_owned(),
        TaskOutcome::Wait { lost: Uncertainty::Nothing, .. } => "wait".to_owned(),
        TaskOutcome::Wait { lost, .. } => format!("wait, lost {lost:?}"),
        TaskOutcome::Park { .. } => "park".to_owned(),
        TaskOutcome::Escalate { reason, .. } => format!("escalate {reason:?}"),
        TaskOutcome::Abandon => "abandon".to_owned(),
    }
}

#[test]
fn a_look_before_a_removal_is_decided_by_this_table() {
    let of = || task(Operation::Remove);
    let gone = Observation::AsDesired;
    let person = Failure::ours("InvalidBusinessId");
    let login = Failure::ours("BadCredentials");
    let unmatched = Observation::Unmatched(Membership::Joined);
    let table: [(&str, ClaimedTask, &Observation, &str); 26] = [
        ("still there", of(), &THERE, "run"),
        ("already gone", of(), &gone, "succeed"),
        ("gone by id, and the list cannot tell", of(), &Observation::NotFoundById, "run"),
        (
            "gone by id, the list cannot tell, and there is no automation",
            ClaimedTask { has_automation: false, ..of() },
            &Observation::NotFoundById,
            "escalate Deprovisioned",
        ),
        ("gone by id, and in the list", of(), &unmatched, "escalate NotMatched"),
        (
            "gone by id, in the list, and something is on its way",
            ClaimedTask { uncertain_since: seconds_ago(1), ..of() },
            &unmatched,
            "wait",
        ),
        (
            "gone by id, in the list, and superseded",
            ClaimedTask { superseded_by: Some(2), ..of() },
            &unmatched,
            "abandon",
        ),
        (
            "gone, by a list older than a person's hand",
            ClaimedTask { touched_by_hand: true, ..of() },
            &gone,
            "run",
        ),
        (
            "gone, by the list of an app that cannot be read",
            ClaimedTask { application: "discord_tenant".into(), ..of() },
            &gone,
            "run",
        ),
        (
            "gone, by the list of an app that can neither be read nor automated",
            ClaimedTask { touched_by_hand: true, has_automation: false, ..of() },
            &gone,
            "escalate Deprovisioned",
        ),
        ("superseded", ClaimedTask { superseded_by: Some(2), ..of() }, &THERE, "abandon"),
        ("superseded and gone", ClaimedTask { superseded_by: Some(2), ..of() }, &gone, "abandon"),
        (
            "superseded with something on its way",
            ClaimedTask { superseded_by: Some(2), uncertain_since: seconds_ago(1), ..of() },
            &gone,
            "wait",
        ),
        (
            "superseded and settled",
            ClaimedTask { superseded_by: Some(2), uncertain_since: seconds_ago(1801), ..of() },
            &gone,
            "abandon",
        ),
        ("unsettled", ClaimedTask { uncertain_since: seconds_ago(1), ..of() }, &THERE, "wait"),
        ("settled", ClaimedTask { uncertain_since: seconds_ago(1801), ..of() }, &THERE, "run"),
        (
            "only a person can",
            ClaimedTask { first_failure: person.clone(), ..of() },
            &THERE,
            "escalate OnlyAPersonCan",
        ),
        (
            "only a person could, and it was tried since",
            ClaimedTask { first_failure: person, attempts: 1, ..of() },
            &THERE,
            "run",
        ),
        (
            "deprovisioned",
            ClaimedTask { has_automation: false, ..of() },
            &THERE,
            "escalate Deprovisioned",
        ),
        ("login refused", ClaimedTask { first_failure: login.clone(), ..of() }, &THERE, "park"),
        (
            "login refused, and the integration became active since",
            ClaimedTask { first_failure: login, reopened: true, ..of() },
            &THERE,
            "run",
        ),
        (
            "only a person could, and sent it back",
            ClaimedTask { first_failure: Failure::ours("NotEnoughSeats"), returned: true, ..of() },
            &THERE,
            "run",
        ),
        (
            "desired before our memory first_due",
            ClaimedTask { requested_at: now() - chrono::TimeDelta::days(91), ..of() },
            &THERE,
            "escalate TooOld",
        ),
        ("attempts used", ClaimedTask { attempts: 6, ..of() }, &THERE, "escalate AttemptsUsed"),
        (
            "time used",
            ClaimedTask { attempts: 1, trying_since: seconds_ago(3600), ..of() },
            &THERE,
            "escalate TimeUsed",
        ),
        (
            "kills its workers",
            ClaimedTask { unreleased_claims: 4, ..of() },
            &THERE,
            "escalate CrashLoop",
        ),
    ];
    for (case, task, seen, expected) in table {
        assert_eq!(word(after_read(&policy(), &task, seen, now())), expected, "{case}");
    }
}

#[test]
fn whatever_uses_up_the_attempts_nothing_but_the_desired_state_is_success() {
    for attempts in 0..12 {
        for seen in [THERE, Observation::Absent, Observation::InvitationExpired] {
            let task = ClaimedTask { attempts, ..task(Operation::Remove) };
            assert_ne!(word(after_read(&policy(), &task, &seen, now())), "succeed");
        }
    }
}

#[test]
fn a_failed_attempt_is_decided_by_this_table() {
    let table = [
        ("LoginTimeout", 1, "retry"),
        ("LoginTimeout", 6, "escalate AttemptsUsed"),
        ("NotEnoughSeats", 1, "escalate OnlyAPersonCan"),
        ("BadCredentials", 1, "park"),
        ("operation_not_supported", 1, "escalate NoAutomation"),
        ("MemberNotFound", 1, "retry"),
    ];
    for (code, attempts, expected) in table {
        let task = ClaimedTask { attempts, ..task(Operation::Remove) };
        let next = after_failure(&policy(), &task, Failure::ours(code), now());
        assert_eq!(word_of(&next), expected, "{code} after {attempts}");
    }
}

#[test]
fn a_job_lost_sight_of_is_never_followed_at_once() {
    let superseded = ClaimedTask { superseded_by: Some(2), ..task(Operation::Invite) };
    let failure = || Failure::ours(JOB_UNKNOWN);
    assert_eq!(
        word_of(&after_lost_job(&policy(), &superseded, failure(), now())),
        "wait, lost Job"
    );
    let next = after_lost_job(&policy(), &task(Operation::Invite), failure(), now());
    assert!(matches!(next, TaskOutcome::Retry { lost: Uncertainty::Job, .. }), "{next:?}");
    let used_up = ClaimedTask { attempts: 100, ..task(Operation::Invite) };
    let next = after_lost_job(&policy(), &used_up, failure(), now());
    assert_eq!(word_of(&next), "wait, lost Job", "nor by a person");
}

#[test]
fn beside_a_job_that_never_ended_no_other_is_started_and_nothing_else_before_it_settled() {
    let running = Some(("job".to_owned(), seconds_ago(1800).unwrap()));
    for operation in [Operation::Invite, Operation::ChangeRole, Operation::Remove] {
        let watched = ClaimedTask { attempts: 1, running: running.clone(), ..task(operation) };
        let failure = || Failure::ours(JOB_NEVER_ENDED);
        let next = after_lost_job(&policy(), &watched, failure(), now());
        assert_eq!(word_of(&next), "escalate JobNeverEnded", "{operation}");
        let left = effects_for(&policy(), &watched, now());
        assert_eq!(left, Some(Duration::from_secs(1800)), "it may still take effect");
        let overtaken = ClaimedTask { superseded_by: Some(2), ..watched };
        let next = after_lost_job(&policy(), &overtaken, failure(), now());
        assert_eq!(word_of(&next), "wait, lost Job");
    }
}

#[test]
fn whoever_is_not_found_by_id_is_gone_only_if_the_whole_list_says_so() {
    use Membership::{InvitationExpired, Invited, Joined};
    let entry = |member: Option<&str>, email: &str, membership| SeenMember {
        member: member.map(str::to_owned),
        email: Some(email.to_owned()),
        username: None,
        entitlements: Default::default(),
        membership,
        marks: Default::default(),
    };
    let kim = || entry(Some("kim"), "kim@example.com", Joined);
    let unmatched = |standing| entry(None, "M@Example.com ", standing);
    let crowd =
        |size| (0..size).map(|n| entry(None, &format!("{n}@example.com"), Joined)).collect();
    let table = [
        (vec![], true, Observation::NotFoundById),
        (crowd(9), true, Observation::AsDesired),
        (crowd(10), true, Observation::AsDesired),
        (crowd(25), true, Observation::NotFoundById),
        (vec![kim()], true, Observation::AsDesired),
        (vec![kim()], false, Observation::NotFoundById),
        (vec![kim(), unmatched(Joined)], true, Observation::Unmatched(Joined)),
        (vec![unmatched(Invited)], false, Observation::Unmatched(Invited)),
        (vec![unmatched(InvitationExpired)], true, Observation::AsDesired),
        (
            vec![unmatched(InvitationExpired), unmatched(Joined)],
            true,
            Observation::Unmatched(Joined),
        ),
        (vec![entry(Some("m"), "m@example.com", Joined)], true, THERE),
        (vec![entry(Some("other"), "m@example.com", Joined)], true, Observation::AsDesired),
    ];
    for (members, is_complete, expected) in table {
        let gaps = if is_complete { Vec::new() } else { vec![Gap::EndlessPages] };
        let list = Snapshot { members, gaps, ..Snapshot::default() };
        let seen = observe_in_list(&task(Operation::Remove).desired, &list);
        assert_eq!(seen, expected, "{list:?}");
    }
}

#[test]
fn what_was_lost_sight_of_acts_on_for_as_long_as_it_takes_to_settle() {
    let of = || task(Operation::Invite);
    let running = Some(("job".to_owned(), now()));
    let seconds = |task| lost_effects_for(&policy(), &task, now()).map(|left| left.as_secs());
    assert_eq!(seconds(of()), None, "nothing was tried");
    let watched = ClaimedTask { attempts: 1, running: running.clone(), ..of() };
    assert_eq!(seconds(watched), None, "how it ended was seen");
    let unseen = ClaimedTask { unreleased_claims: 7, running, ..of() };
    assert_eq!(seconds(unseen), Some(1800), "nobody saw how it ended");
    assert_eq!(seconds(ClaimedTask { uncertain_since: seconds_ago(20), ..of() }), Some(1780));
    assert_eq!(seconds(ClaimedTask { uncertain_since: seconds_ago(1801), ..of() }), Some(0));
}

#[test]
fn whatever_was_tried_has_acted_until_now_at_least() {
    let of = || task(Operation::Invite);
    let seconds = |task| effects_for(&policy(), &task, now()).map(|left| left.as_secs());
    assert_eq!(seconds(of()), None, "nothing was tried");
    assert_eq!(seconds(ClaimedTask { attempts: 1, ..of() }), Some(0));
    assert_eq!(seconds(ClaimedTask { trying_since: seconds_ago(5), ..of() }), Some(0));
    assert_eq!(seconds(ClaimedTask { uncertain_since: seconds_ago(20), ..of() }), Some(1780));
}

#[test]
fn a_change_of_role_for_somebody_who_is_not_there_is_a_failure_and_never_asked_for() {
    let next = after_read(&policy(), &task(Operation::ChangeRole), &Observation::Absent, now());
    assert_eq!(word(next), "retry");
}

#[test]
fn a_backend_that_does_not_answer_uses_no_attempt() {
    let unanswered = || {
        [
            BackendError::RateLimited { retry_after: None },
            BackendError::KeyRejected { status: 401 },
            BackendError::Unavailable { status: 503, retry_after: None },
        ]
    };
    let task = task(Operation::Remove);
    for error in unanswered() {
        assert_eq!(
            word_of(&after_unanswered_read(&policy(), &task, &error, false, now())),
            "wait",
            "{error}"
        );
        assert_eq!(
            word_of(&after_unanswered_run(&policy(), &task, &error, false, now())),
            "wait",
            "{error}"
        );
    }
}

#[test]
fn an_operation_whose_answer_was_lost_counts_and_leaves_the_outcome_open() {
    let task = task(Operation::Invite);
    for error in [
        BackendError::UnexpectedResponse("HTML".to_owned()),
        BackendError::ServerError { status: 500 },
        BackendError::Unavailable { status: 504, retry_after: None },
    ] {
        let next = after_unanswered_run(&policy(), &task, &error, false, now());
        assert_eq!(word_of(&next), "wait, lost Answer", "{error}");
    }
}

#[test]
fn what_the_backend_refuses_is_decided_by_this_table() {
    let refused = |status, code: &str| BackendError::Refused { status, code: code.to_owned() };
    let table = [
        (refused(400, "operation_not_supported"), "escalate NoAutomation"),
        (refused(400, "Bad request"), "escalate OnlyAPersonCan"),
        (refused(409, "Conflict"), "retry"),
        (BackendError::NotFound { code: "Not found".to_owned() }, "retry"),
    ];
    for (error, expected) in table {
        let next = after_unanswered_run(&policy(), &task(Operation::Invite), &error, false, now());
        assert_eq!(word_of(&next), expected, "{error}");
    }
}

#[test]
fn an_operation_that_is_refused_for_one_member_alone_has_an_end() {
    let refused = BackendError::KeyRejected { status: 403 };
    let table = [
        (true, seconds_ago(3600), "escalate Unanswered"),
        (true, seconds_ago(60), "wait"),
        (true, None, "wait"),
        (false, seconds_ago(3600), "wait"),
    ];
    for (answers_otherwise, unanswered_since, expected) in table {
        let task = ClaimedTask { unanswered_since, ..task(Operation::Remove) };
        let next = after_unanswered_run(&policy(), &task, &refused, answers_otherwise, now());
        assert_eq!(word_of(&next), expected, "{unanswered_since:?}");
    }
}

#[test]
fn retry_after_is_honoured_up_to_an_hour_and_never_shortens_the_usual_wait() {
    let wait = |error: BackendError| match after_unanswered_read(
        &policy(),
        &task(Operation::Remove),
        &error,
        false,
        now(),
    ) {
        TaskOutcome::Wait { after, .. } => after.as_secs(),
        next => panic!("{next:?}"),
    };
    let limited = |seconds: Option<u64>| BackendError::RateLimited {
        retry_after: seconds.map(Duration::from_secs),
    };
    assert_eq!(wait(limited(None)), 300);
    assert_eq!(wait(limited(Some(0))), 300, "a time that is over is no time");
    assert_eq!(wait(limited(Some(7))), 7);
    assert_eq!(wait(limited(Some(10 * 365 * 86_400))), 3600);
    let unavailable = |seconds| BackendError::Unavailable {
        status: 503,
        retry_after: Some(Duration::from_secs(seconds)),
    };
    assert_eq!(wait(unavailable(900)), 900);
    assert!((12..=18).contains(&wait(unavailable(0))), "not at once");
}

#[test]
fn looks_at_a_job_grow_apart_until_it_is_given_up() {
    let look = |age| policy().job.next_poll(Duration::from_secs(age)).map(|after| after.as_secs());
    assert_eq!(look(0), Some(5));
    assert_eq!(look(40), Some(20));
    assert_eq!(look(600), Some(60));
    assert_eq!(look(1800), None);
}

#[test]
fn a_new_task_is_due_at_once_only_if_nothing_would_be_retried() {
    let begun = |failure: &Failure, has_automation, application| {
        let arrival =
            Arrival { operation: Operation::Invite, application, has_automation, failure };
        let Beginning { after, needs_no_automation } = first_due(&policy(), &arrival);
        (after.as_secs(), needs_no_automation)
    };
    let (transient, app) = (Failure::ours("LoginTimeout"), "an_app_nobody_catalogued");
    let (after, needs_no_automation) = begun(&transient, true, app);
    assert!((48..=72).contains(&after) && !needs_no_automation);
    assert_eq!(begun(&Failure::ours("NotEnoughSeats"), true, app), (0, true));
    assert_eq!(begun(&transient, false, app), (0, true));
    let no_way_to_invite = "6sense_tenant";
    assert_eq!(begun(&transient, true, no_way_to_invite), (0, true));
    let waits_for_the_login = Failure::ours("BadCredentials");
    assert_eq!(begun(&waits_for_the_login, true, app), (0, false));
}

#[test]
fn doubtful_absence_is_believed_only_from_a_job_that_saw_it() {
    let doubtful = ClaimedTask { touched_by_hand: true, ..task(Operation::Remove) };
    let ended = |code: &str| Progress::Failed(Failure::ours(code));
    assert!(is_believed(&doubtful, &Progress::Finished, &Observation::AsDesired));
    assert!(is_believed(&doubtful, &ended("MemberNotFound"), &Observation::AsDesired));
    assert!(!is_believed(&doubtful, &ended("LoginTimeout"), &Observation::AsDesired));
    assert!(is_believed(&task(Operation::Remove), &ended("LoginTimeout"), &Observation::AsDesired));
}

#[test]
fn where_the_list_cannot_tell_only_a_job_that_did_not_find_the_member_is_believed() {
    let removal = task(Operation::Remove);
    let ended = |code: &str| Progress::Failed(Failure::ours(code));
    for (ended, is_believed_then) in [
        (ended("MemberNotFound"), true),
        (Progress::Finished, false),
        (ended("LoginTimeout"), false),
    ] {
        let believed = is_believed(&removal, &ended, &Observation::NotFoundById);
        assert_eq!(believed, is_believed_then, "{ended:?}");
    }
    for seen in [Observation::Unmatched, Observation::StillThere] {
        assert!(!is_believed(&removal, &Progress::Finished, &seen(Membership::Joined)));
    }
}

#[test]
fn only_a_jobs_end_is_a_sign_of_the_app() {
    let at_work = ClaimedTask { running: Some(("job".into(), now())), ..task(Operation::Remove) };
    let idle = task(Operation::Remove);
    let retry = |code| TaskOutcome::Retry {
        after: Duration::ZERO,
        failure: Failure::ours(code),
        lost: Uncertainty::Nothing,
    };
    let escalate = |code| TaskOutcome::Escalate {
        reason: EscalationReason::AttemptsUsed,
        failure: Failure::ours(code),
        after_attempt: true,
    };
    let waits = |cause| TaskOutcome::Wait {
        after: Duration::from_secs(9),
        why: String::new(),
        lost: Uncertainty::Nothing,
        cause,
    };
    let asked = Some(Duration::from_secs(9));
    let table = [
        (&at_work, TaskOutcome::Succeed { reason: "" }, HealthSignal::Works),
        (&idle, TaskOutcome::Succeed { reason: "" }, HealthSignal::Answers),
        (&at_work, retry("PageChanged"), HealthSignal::Fails),
        (&at_work, retry("JobNeverEnded"), HealthSignal::Fails),
        (&at_work, retry(JOB_UNKNOWN), HealthSignal::Nothing),
        (&at_work, retry("MemberNotFound"), HealthSignal::Works),
        (&idle, retry("conflict"), HealthSignal::Nothing),
        (&at_work, escalate("PageChanged"), HealthSignal::Fails),
        (&at_work, escalate("NotEnoughSeats"), HealthSignal::Works),
        (&idle, escalate("PageChanged"), HealthSignal::Nothing),
        (&at_work, waits(WaitCause::Ourselves), HealthSignal::Nothing),
        (&idle, waits(WaitCause::Member), HealthSignal::Nothing),
        (&idle, waits(WaitCause::RateLimit { asked }), HealthSignal::LimitsRate(asked)),
        (&at_work, TaskOutcome::Abandon, HealthSignal::Nothing),
    ];
    for (task, next, expected) in table {
        assert_eq!(signal(task, &next), expected, "{next:?}");
    }
}

#[test]
fn presence_that_is_older_than_a_removal_by_hand_is_believed_only_from_a_job_that_saw_it() {
    let ended = |code: &str| Progress::Failed(Failure::ours(code));
    for operation in [Operation::Invite, Operation::ChangeRole] {
        let by_hand = ClaimedTask { touched_by_hand: true, ..task(operation) };
        let tried = ClaimedTask { attempts: 1, ..by_hand.clone() };
        let long_ago = Some(now() - chrono::TimeDelta::days(1));
        let unheard = ClaimedTask { uncertain_since: long_ago, ..by_hand.clone() };
        let restarted = ClaimedTask { trying_since: seconds_ago(1), ..by_hand.clone() };
        let followed = ClaimedTask { tried_before: true, ..by_hand.clone() };
        let look = |task| word(after_read(&policy(), task, &Observation::AsDesired, now()));
        assert_eq!(look(&by_hand), "run");
        for task in [&tried, &unheard, &restarted, &followed] {
            assert_eq!(look(task), "escalate CannotTell", "asking again could invite twice");
        }
        for task in [&by_hand, &tried] {
            assert!(is_believed(task, &Progress::Finished, &Observation::AsDesired));
            for unsaid in [Progress::Running, ended("PageChanged"), ended(JOB_UNKNOWN)] {
                assert!(!is_believed(task, &unsaid, &Observation::AsDesired), "{unsaid:?}");
            }
        }
    }
    assert!(is_believed(
        &ClaimedTask { touched_by_hand: true, ..task(Operation::Invite) },
        &ended("AlreadyMember"),
        &Observation::AsDesired
    ));
}

#[test]
fn each_attempt_ends_once_and_in_one_class() {
    let idle = task(Operation::Remove);
    let at_work = ClaimedTask { running: Some(("job".to_owned(), now())), ..idle.clone() };
    let succeed = || TaskOutcome::Succeed { reason: "seen" };
    let retry = |code: &str, lost| TaskOutcome::Retry {
        after: Duration::ZERO,
        failure: Failure::ours(code),
        lost,
    };
    let wait = |lost| TaskOutcome::Wait {
        after: Duration::ZERO,
        why: String::new(),
        lost,
        cause: WaitCause::Ourselves,
    };
    let escalate = |reason, code: &str, after_attempt| TaskOutcome::Escalate {
        reason,
        failure: Failure::ours(code),
        after_attempt,
    };
    let park = || TaskOutcome::Park { failure: Failure::ours("c"), remedy: Remedy::Review };
    let watch = TaskOutcome::Watch {
        job: "job".to_owned(),
        after: Duration::ZERO,
        started: true,
        found_by_id: true,
    };
    use EscalationReason::{AttemptsUsed, JobNeverEnded, NoAutomation, OnlyAPersonCan};
    let table = [
        (&at_work, succeed(), Some(AttemptClass::Succeeded)),
        (&idle, succeed(), None),
        (&idle, watch, None),
        (&at_work, retry("PageChanged", Uncertainty::Nothing), Some(AttemptClass::Transient)),
        (&at_work, retry("PageChanged", Uncertainty::Job), Some(AttemptClass::Lost)),
        (&idle, wait(Uncertainty::Answer), Some(AttemptClass::Lost)),
        (&idle, wait(Uncertainty::Nothing), None),
        (&at_work, escalate(OnlyAPersonCan, "NotEnoughSeats", true), Some(AttemptClass::Person)),
        (&at_work, escalate(AttemptsUsed, "PageChanged", true), Some(AttemptClass::Transient)),
        (
            &at_work,
            escalate(NoAutomation, "operation_not_supported", true),
            Some(AttemptClass::NoAutomation),
        ),
        (&at_work, escalate(JobNeverEnded, JOB_NEVER_ENDED, true), Some(AttemptClass::Lost)),
        (&idle, escalate(AttemptsUsed, "PageChanged", false), None),
        (&at_work, park(), Some(AttemptClass::Login)),
        (&idle, park(), None),
        (&at_work, TaskOutcome::Abandon, None),
    ];
    for (task, next, expected) in table {
        assert_eq!(ended_attempt(task, &next), expected, "{next:?}");
    }
}
