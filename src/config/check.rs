//! Conditions that must hold between keys, each with the value that would be right.

use std::net::IpAddr;

use serde_json::Value;

use super::{Backoff, Config, operators, traces, webhook_keys};

const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 86_400.0;
const MONTH_S: f64 = 30.0 * DAY_S;
const YEAR_S: f64 = 366.0 * DAY_S;

/// The limit for numbers without a natural one, so that they do not overflow.
const MANY: f64 = 1_000_000.0;

/// Returns all errors at once, so that one pass is enough to correct them.
pub(super) fn check(config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, text: String| {
        if !holds {
            wrong.push(text);
        }
    };
    ranges(config, &mut must);
    filter(config, &mut must);
    backend(config, &mut must);
    proxy(config, &mut must);
    operators::check(config, &mut must);
    times(config, &mut must);
    listener(config, &mut must);
    traces::check(config, &mut must);
    webhook_keys::check(config, &mut must);
    for (name, backoff) in [
        ("invite", &config.retry.invite),
        ("change_role", &config.retry.change_role),
        ("remove", &config.retry.remove),
    ] {
        delays(name, backoff, &mut must);
    }
    wrong
}

/// The range of every number. A test fails if a key has no line here.
const RANGES: &[(&str, f64, f64)] = &[
    ("database.max_connections", 4.0, 1000.0),
    ("database.acquire_timeout_s", 1.0, HOUR_S),
    ("database.idle_in_transaction_s", 1.0, HOUR_S),
    ("database.answer_timeout_s", 1.0, HOUR_S),
    ("backend.connect_timeout_s", 1.0, HOUR_S),
    ("backend.request_timeout_s", 1.0, HOUR_S),
    ("backend.max_response_kib", 1.0, 1_048_576.0),
    ("backend.max_report_kib", 1.0, 1_048_576.0),
    ("backend.page_size", 1.0, 100.0),
    ("backend.max_pages", 1.0, MANY),
    ("backend.outage_after", 1.0, MANY),
    ("backend.outage_retry_max_s", 0.0, DAY_S),
    ("backend.remind_s", 1.0, MONTH_S),
    ("worker.max_tasks_in_flight", 1.0, 10_000.0),
    ("worker.max_tasks_ahead", 0.0, MANY),
    ("worker.max_syncs_in_flight", 1.0, 10_000.0),
    ("worker.lease_s", 1.0, DAY_S),
    ("worker.sync_lease_s", 1.0, DAY_S),
    ("worker.sync_step_s", 1.0, DAY_S),
    ("worker.max_unreleased_claims", 1.0, MANY),
    ("wakeup.poll_ms", 1.0, 1000.0 * HOUR_S),
    ("intake.batch", 1.0, 100_000.0),
    ("intake.max_webhook_events", 1.0, MANY),
    ("retry.rate_limit_s", 1.0, DAY_S),
    ("retry.max_retry_after_s", 1.0, MONTH_S),
    ("retry.settle_s", 0.0, MONTH_S),
    ("retry.invite.first_s", 0.0, MONTH_S),
    ("retry.invite.factor", 1.0, 1000.0),
    ("retry.invite.max_s", 0.0, MONTH_S),
    ("retry.invite.attempts", 1.0, 1000.0),
    ("retry.invite.within_s", 0.0, YEAR_S),
    ("retry.invite.jitter", 0.0, 0.99),
    ("retry.change_role.first_s", 0.0, MONTH_S),
    ("retry.change_role.factor", 1.0, 1000.0),
    ("retry.change_role.max_s", 0.0, MONTH_S),
    ("retry.change_role.attempts", 1.0, 1000.0),
    ("retry.change_role.within_s", 0.0, YEAR_S),
    ("retry.change_role.jitter", 0.0, 0.99),
    ("retry.remove.first_s", 0.0, MONTH_S),
    ("retry.remove.factor", 1.0, 1000.0),
    ("retry.remove.max_s", 0.0, MONTH_S),
    ("retry.remove.attempts", 1.0, 1000.0),
    ("retry.remove.within_s", 0.0, YEAR_S),
    ("retry.remove.jitter", 0.0, 0.99),
    ("breaker.failures", 1.0, MANY),
    ("breaker.cooldown_first_s", 0.0, MONTH_S),
    ("breaker.cooldown_max_s", 0.0, MONTH_S),
    ("breaker.ramp_end", 1.0, MANY),
    ("breaker.max_in_flight", 0.0, MANY),
    ("breaker.starts_per_minute", 0.0, MANY),
    ("breaker.remind_s", 1.0, MONTH_S),
    ("job.poll_first_s", 0.0, DAY_S),
    ("job.poll_max_s", 0.0, DAY_S),
    ("job.within_s", 0.0, MONTH_S),
    ("manual_action.due_remove_s", 0.0, YEAR_S),
    ("manual_action.due_change_role_s", 0.0, YEAR_S),
    ("manual_action.due_invite_s", 0.0, YEAR_S),
    ("manual_action.due_reconnect_s", 0.0, YEAR_S),
    ("manual_action.attest_after_s", 0.0, DAY_S),
    ("sync.rereads_s", 0.0, YEAR_S),
    ("sync.removal_checks_s", 0.0, YEAR_S),
    ("sync.invitation_checks_s", 0.0, YEAR_S),
    ("sync.retry_first_s", 0.0, MONTH_S),
    ("sync.retry_max_s", 0.0, MONTH_S),
    ("sync.max_failures", 1.0, MANY),
    ("sync.report_max_age_s", 0.0, MONTH_S),
    ("sync.poll_first_s", 0.0, DAY_S),
    ("sync.every_s", 0.0, YEAR_S),
    ("sync.unverifiable_after", 1.0, MANY),
    ("guard.max_unexpected_removals", 0.0, MANY),
    ("guard.max_unexpected_percent", 0.0, 100.0),
    ("guard.held_s", 1.0, YEAR_S),
    ("retention.finished_tasks_days", 1.0, 36_500.0),
    ("retention.ended_actions_days", 1.0, 36_500.0),
    ("retention.events_days", 30.0, 36_500.0),
    ("upkeep.every_s", 1.0, DAY_S),
    ("upkeep.batch", 1.0, 100_000.0),
    ("http.stalled_s", 10.0, DAY_S),
    ("operators.max_connections", 1.0, 10_000.0),
    ("operators.max_streams", 0.0, 10_000.0),
    ("operators.database_connections", 1.0, 100.0),
    ("operators.request_timeout_s", 1.0, HOUR_S),
    ("operators.wrong_tokens_per_minute", 1.0, MANY),
    ("operators.session_idle_s", 60.0, 7.0 * DAY_S),
    ("operators.session_max_s", 60.0, 30.0 * DAY_S),
    ("operators.oidc.session_max_s", 5.0, DAY_S),
    ("operators.oidc.timeout_s", 1.0, 60.0),
    ("shutdown.grace_s", 0.0, HOUR_S),
    ("traces.timeout_s", 1.0, 60.0),
];

fn ranges(config: &Config, must: &mut impl FnMut(bool, String)) {
    // A value that is not a number, or is infinite, is null here.
    let values = serde_json::to_value(config).unwrap_or_default();
    for &(key, least, most) in RANGES {
        let value = key.split('.').fold(&values, |table, name| &table[name]);
        // Each number of a list.
        let numbers = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for number in numbers {
            let within = number.as_f64().is_some_and(|value| (least..=most).contains(&value));
            must(within, out_of_range(key, number, least, most));
        }
    }
}

fn out_of_range(key: &str, number: &Value, least: f64, most: f64) -> String {
    let days = match most {
        most if key.ends_with("_s") && most >= DAY_S => format!(" ({} days)", most / DAY_S),
        _ => String::new(),
    };
    match number.as_f64() {
        None => format!("{key} is not a number from {least} to {most}{days}"),
        Some(value) if value < least => {
            format!("{key} = {number}: must be at least {least}, and at most {most}{days}")
        }
        Some(_) => format!("{key} = {number}: must be {least} to {most}{days}"),
    }
}

/// A filter must begin with a level for everything, and errors must always be logged, so that a typing mistake cannot
/// hide them.
fn filter(config: &Config, must: &mut impl FnMut(bool, String)) {
    let text = &config.telemetry.filter;
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let mut levels = 0;
    let fits = text.split(',').map(str::trim).all(|part| match part.split_once('=') {
        None => {
            levels += 1;
            is_level(part)
        }
        Some((target, level)) => {
            let is_path = !target.is_empty()
                && target.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c));
            let may_be_off =
                level.eq_ignore_ascii_case("off") && !"cerby_reconciler".starts_with(target);
            is_path && (is_level(level) || may_be_off)
        }
    });
    must(
        fits && levels == 1,
        format!(
            "telemetry.filter = {text:?}: must be a level ({}), and may have others for modules after it, such as \
             info,cerby_reconciler=debug",
            LEVELS.join(", ")
        ),
    );
}

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

fn backend(config: &Config, must: &mut impl FnMut(bool, String)) {
    if let Some(url) = &config.backend.base_url {
        let filled = url.replace("{workspace}", "workspace");
        let parsed = reqwest::Url::parse(&filled);
        let http = parsed.as_ref().is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        must(
            http,
            "backend.base_url must be an http or https URL such as \
             https://{workspace}.example/api/v1"
                .to_owned(),
        );
        must(
            !http || parsed.as_ref().is_ok_and(|url| is_safe(url, config)),
            "backend.base_url is plain http to another machine: the API key would be readable on the way; use https, or \
             set backend.allow_plain_http = true to allow it"
                .to_owned(),
        );
        let bare =
            parsed.as_ref().is_ok_and(|url| url.username().is_empty() && url.password().is_none());
        must(bare || !http, "backend.base_url must not carry a user or password".to_owned());
        let path_last =
            parsed.as_ref().is_ok_and(|url| url.query().is_none() && url.fragment().is_none());
        must(
            path_last || !http,
            "backend.base_url must end with its path: paths are put behind it, so no ? and no #"
                .to_owned(),
        );
    }
    let paths = &config.backend.paths;
    let templates: [(&str, &str, &[&str]); 9] = [
        ("integration", &paths.integration, &["{integration}"]),
        ("users", &paths.users, &["{integration}"]),
        ("user", &paths.user, &["{integration}", "{member}"]),
        ("person", &paths.person, &["{member}"]),
        ("job", &paths.job, &["{job}"]),
        ("sync", &paths.sync, &["{integration}"]),
        ("update_checks", &paths.update_checks, &["{integration}"]),
        ("update_report", &paths.update_report, &["{integration}"]),
        ("apply_report", &paths.apply_report, &["{integration}", "{report}"]),
    ];
    for (key, template, placeholders) in templates {
        let complete =
            template.starts_with('/') && placeholders.iter().all(|p| template.contains(p));
        must(
            complete,
            format!(
                "backend.paths.{key} = {template:?}: must start with / and contain {}",
                placeholders.join(" and ")
            ),
        );
    }
}

/// Whether nobody on the network can read the API key.
fn is_safe(url: &reqwest::Url, config: &Config) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme() == "https"
        || config.backend.allow_plain_http
        || is_loopback && config.backend.proxy.is_none()
}

fn proxy(config: &Config, must: &mut impl FnMut(bool, String)) {
    if let Some(proxy) = &config.backend.proxy {
        let fits = reqwest::Url::parse(proxy).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.password().is_none()
                && url.username().is_empty()
        });
        must(fits, "backend.proxy must be a URL such as http://proxy.example:3128, without a user or password".to_owned());
    }
}

fn times(config: &Config, must: &mut impl FnMut(bool, String)) {
    let (lease, request) = (config.worker.lease_s, config.backend.request_timeout_s);
    must(
        lease > request.saturating_mul(2),
        format!(
            "worker.lease_s = {lease}: must be longer than two requests \
             (2 × backend.request_timeout_s = {}), or an answer could outlive its lease",
            request.saturating_mul(2)
        ),
    );
    let sync_lease = config.worker.sync_lease_s;
    must(
        sync_lease > request.saturating_mul(3),
        format!(
            "worker.sync_lease_s = {sync_lease}: must be longer than three requests \
             (3 × backend.request_timeout_s = {})",
            request.saturating_mul(3)
        ),
    );
    let sync_step = config.worker.sync_step_s;
    must(
        sync_step >= sync_lease,
        format!(
            "worker.sync_step_s = {sync_step}: must be at least worker.sync_lease_s = {sync_lease}"
        ),
    );
    let connect = config.backend.connect_timeout_s;
    must(
        connect <= request,
        format!(
            "backend.connect_timeout_s = {connect}: must not exceed backend.request_timeout_s = {request}"
        ),
    );
    let (grace, job) = (config.shutdown.grace_s, &config.job);
    must(
        grace >= request,
        format!(
            "shutdown.grace_s = {grace}: must be at least backend.request_timeout_s = {request}, \
             or a stop cuts requests off"
        ),
    );
    must(
        job.poll_first_s <= job.poll_max_s,
        format!(
            "job.poll_first_s = {}: must be 0 to job.poll_max_s = {}",
            job.poll_first_s, job.poll_max_s
        ),
    );
    let (settle, within) = (config.retry.settle_s, job.within_s);
    must(
        settle >= within,
        format!(
            "retry.settle_s = {settle}: must be at least job.within_s = {within}, or a job that was lost sight of could \
             take effect after what came later"
        ),
    );
    let (breaker, sync) = (&config.breaker, &config.sync);
    must(
        breaker.cooldown_first_s <= breaker.cooldown_max_s,
        format!(
            "breaker.cooldown_first_s = {}: must be at most breaker.cooldown_max_s = {}",
            breaker.cooldown_first_s, breaker.cooldown_max_s
        ),
    );
    must(
        sync.every_s == 0 || sync.every_s >= 60,
        format!("sync.every_s = {}: must be 0 or at least 60", sync.every_s),
    );
    let lists = [
        ("rereads_s", &sync.rereads_s),
        ("removal_checks_s", &sync.removal_checks_s),
        ("invitation_checks_s", &sync.invitation_checks_s),
    ];
    for (key, list) in lists {
        must(!list.is_empty(), format!("sync.{key} is empty: give at least one number of seconds"));
    }
    for (key, list) in &lists[1..] {
        let grows = list.is_sorted_by(|earlier, later| earlier < later);
        must(grows, format!("sync.{key} = {list:?}: must grow"));
    }
}

fn delays(name: &str, backoff: &Backoff, must: &mut impl FnMut(bool, String)) {
    let (first, max) = (backoff.first_s, backoff.max_s);
    must(
        first <= max,
        format!("retry.{name}.first_s = {first}: must be 0 to retry.{name}.max_s = {max}"),
    );
}

fn listener(config: &Config, must: &mut impl FnMut(bool, String)) {
    let http = &config.http;
    must(
        http.listen.ip().is_loopback() || http.expose_probes,
        format!(
            "http.listen = {}: is not a loopback address; set http.expose_probes = true to allow it",
            http.listen
        ),
    );
    // An idle loop ends a round once in its interval, a little late, and one that waits for the database once in its
    // timeout.
    let rounds = [
        config.upkeep.every_s,
        config.wakeup.poll_ms.saturating_mul(30) / 1000,
        config.database.answer_timeout_s.saturating_mul(6),
    ];
    let longest = rounds.into_iter().max().unwrap_or_default();
    must(
        http.stalled_s > longest.saturating_mul(2),
        format!(
            "http.stalled_s = {}: must be more than {}, twice the longest of upkeep.every_s, 30 times wakeup.poll_ms, \
             and 6 times database.answer_timeout_s",
            http.stalled_s,
            longest.saturating_mul(2)
        ),
    );
}
