//! Every WARN and ERROR is raised by a test, which looks for it in a log.

use std::collections::BTreeSet;
use std::fs;

use cerby_reconciler::telemetry::events;
use tracing::Level;

use super::current::{root, sources};

/// Each event and the test that raises it.
const RAISED: &[(&str, &str)] = &[
    ("service.failed", "a_second_signal_cuts_a_stop_short"),
    ("log.lost", "lines_that_were_lost_are_counted_when_somebody_reads_again"),
    ("log.repeated", "twenty_escalations_of_one_cause_are_five_lines_and_a_count"),
    ("database.not_ready", "the_start_waits_for_the_database_live_and_not_ready"),
    (
        "database.unreachable",
        "work_is_back_soon_after_each_of_twenty_freezes_with_statements_in_flight",
    ),
    (
        "database.statement_rejected",
        "a_daemon_whose_statements_fail_is_not_ready_and_names_them_once",
    ),
    (
        "database.unverified",
        "a_mode_that_does_not_prove_the_server_is_told_where_the_server_is_on_another_machine",
    ),
    (
        "secret.unusable",
        "a_file_that_becomes_unusable_is_told_once_and_the_known_secret_stays_in_use",
    ),
    (
        "secret.world_readable",
        "a_secret_that_every_account_may_read_is_told_at_the_start_and_by_check",
    ),
    ("operators.request_failed", "a_request_that_the_database_fails_is_logged_without_its_rows"),
    ("issuer.unavailable", "an_issuer_that_fails_is_told_once_and_works_again_without_a_restart"),
    ("sign_in.refused", "an_answer_that_is_not_the_issuers_for_this_sign_in_signs_nobody_in"),
    ("backend.key_rejected", "each_refusal_of_the_key_after_a_success_is_said_again"),
    ("backend.unavailable", "a_fleet_finds_an_outage_once_probes_it_once_and_tells_it_once"),
    ("integration.tripped", "five_failures_in_a_row_trip_the_integration_and_touch_no_other_task"),
    ("integration.still_unavailable", "tasks_that_are_limited_for_ever_are_told_with_the_cause"),
    ("integration.login_rejected", "a_refused_login_asks_one_person_once_and_costs_no_attempt"),
    ("return.stopped", "the_rest_stays_with_people_when_the_canary_failed_again"),
    ("task.escalated", "used_up_attempts_escalate_and_are_never_success"),
    ("action.superseded", "a_removal_stops_the_person_who_was_asked_to_invite"),
    ("actions.overdue", "a_deadline_that_moves_or_passes_is_in_the_trail"),
    (
        "action.screen_changed",
        "a_report_counts_once_for_its_action_is_told_and_a_mended_text_is_counted_anew",
    ),
    ("action.contradicted", "a_lie_opens_the_same_action_again_with_what_was_seen"),
    ("sync.held", "removals_in_small_steps_still_trip_the_limit_and_restarts_forget_nothing"),
    ("sync.failed", "a_report_is_not_applied_where_what_cerby_knows_is_read_twice_the_same"),
    ("member.returned", "somebody_who_comes_back_after_a_proven_removal_opens_an_action_once"),
    ("invitation.expired", "an_expired_invitation_asks_for_a_new_one_once"),
    ("invitation.vanished", "an_invitation_that_vanished_is_told_when_it_is_looked_for"),
    ("integration.unverifiable", "a_sync_that_is_limited_for_ever_is_told_until_the_app_is_read"),
    ("task.quarantined", "an_odd_row_is_set_aside_alone_and_a_warning_names_it"),
    (
        "integration.application_unknown",
        "an_application_that_the_catalogue_lacks_is_told_and_its_rows_worked_on",
    ),
    ("task.held", "an_odd_row_is_set_aside_alone_and_a_warning_names_it"),
    ("webhook.refused", "what_is_not_signed_by_a_key_of_ours_just_now_is_refused"),
    ("webhook.unresolved", "an_unknown_job_is_told_once_shown_and_worked_on_when_it_is_known"),
    ("webhook.given_up", "what_stays_unresolved_is_given_up_with_a_warning_and_deleted_later"),
    ("nudge.quarantined", "what_a_person_did_and_the_database_refuses_to_follow_is_told_and_kept"),
    ("sync.quarantined", "a_sync_that_cannot_be_read_is_told_and_keeps_no_other_waiting"),
    ("worker.panicked", "work_that_panics_is_told"),
    (
        "upkeep.step_failed",
        "a_step_of_upkeep_that_the_database_refuses_is_told_and_the_others_go_on",
    ),
];

/// Those that no test can raise, each with its reason.
const NOT_RAISED: &[(&str, &str)] = &[(
    "service.stalled",
    "no loop of a process stalls on demand; daemon/probes.rs tests the decision",
)];

/// The text of a test function.
fn body<'a>(code: &'a str, name: &str) -> Option<&'a str> {
    let start = code.find(&format!("fn {name}("))?;
    let length = code[start..].find("\n}\n")?;
    Some(&code[start..start + length])
}

#[test]
fn each_warning_and_error_is_raised_by_a_test_that_looks_for_it() {
    let code: Vec<_> = ["tests", "src", "testkit/tests"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    let alerts = events::ALL.iter().filter(|event| event.level <= Level::WARN);
    let alerts: BTreeSet<_> = alerts.map(|event| event.name).collect();
    let listed: BTreeSet<_> = RAISED.iter().chain(NOT_RAISED).map(|(event, _)| *event).collect();
    assert_eq!(listed, alerts);
    for (event, test) in RAISED {
        let found = code.iter().find_map(|code| body(code, test));
        let body = found.unwrap_or_else(|| panic!("{event}: there is no test {test}"));
        assert!(body.contains(&format!("\"{event}\"")), "{test} does not look for {event}");
    }
}
