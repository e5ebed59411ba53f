//! Facts that must hold between keys, each with what would be right.

use super::{Backoff, Config};

const DAY_S: f64 = 86_400.0;

/// All that is wrong, so that one pass is enough to correct it.
pub(super) fn check(config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, text: String| {
        if !holds {
            wrong.push(text);
        }
    };
    counts(config, &mut must);
    backend(config, &mut must);
    times(config, &mut must);
    listener(config, &mut must);
    for (name, backoff) in [
        ("invite", &config.retry.invite),
        ("change_role", &config.retry.change_role),
        ("remove", &config.retry.remove),
    ] {
        delays(name, backoff, &mut must);
    }
    wrong
}

fn counts(config: &Config, must: &mut impl FnMut(bool, String)) {
    let at_least_one = [
        ("worker.max_tasks_in_flight", config.worker.max_tasks_in_flight as i64),
        ("worker.max_syncs_in_flight", config.worker.max_syncs_in_flight as i64),
        ("worker.max_unreleased_claims", i64::from(config.worker.max_unreleased_claims)),
        ("intake.batch", config.intake.batch),
        ("backend.remind_s", config.backend.remind_s as i64),
        ("backend.silent_after", i64::from(config.backend.silent_after)),
        ("breaker.failures", i64::from(config.breaker.failures)),
        ("breaker.ramp_end", i64::from(config.breaker.ramp_end)),
        ("breaker.remind_s", config.breaker.remind_s as i64),
        ("database.idle_in_transaction_s", config.database.idle_in_transaction_s as i64),
        ("database.answer_timeout_s", config.database.answer_timeout_s as i64),
        ("backend.max_pages", i64::from(config.backend.max_pages)),
        ("backend.max_response_kib", config.backend.max_response_kib as i64),
        ("backend.max_report_kib", config.backend.max_report_kib as i64),
        ("backend.request_timeout_s", config.backend.request_timeout_s as i64),
        ("backend.connect_timeout_s", config.backend.connect_timeout_s as i64),
        ("sync.max_failures", i64::from(config.sync.max_failures)),
        ("sync.unverifiable_after", i64::from(config.sync.unverifiable_after)),
        ("guard.held_s", config.guard.held_s as i64),
        ("upkeep.every_s", config.upkeep.every_s as i64),
        ("upkeep.batch", i64::from(config.upkeep.batch)),
        ("wakeup.poll_ms", config.wakeup.poll_ms as i64),
        ("retention.finished_tasks_days", i64::from(config.retention.finished_tasks_days)),
        ("retention.ended_actions_days", i64::from(config.retention.ended_actions_days)),
    ];
    for (key, value) in at_least_one {
        must(value >= 1, format!("{key} = {value}: must be at least 1"));
    }
    let database = &config.database;
    must(
        database.max_connections >= 4,
        format!(
            "database.max_connections = {}: must be at least 4 (listener, intake, tasks, syncs)",
            database.max_connections
        ),
    );
    let page_size = config.backend.page_size;
    must(
        (1..=100).contains(&page_size),
        format!("backend.page_size = {page_size}: must be 1 to 100"),
    );
    let days = config.retention.events_days;
    must(days >= 30, format!("retention.events_days = {days}: must be at least 30"));
    let percent = config.guard.max_unexpected_percent;
    must(percent <= 100, format!("guard.max_unexpected_percent = {percent}: must be 0 to 100"));
}

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
    let templates: [(&str, &str, &[&str]); 8] = [
        ("integration", &paths.integration, &["{integration}"]),
        ("users", &paths.users, &["{integration}"]),
        ("user", &paths.user, &["{integration}", "{member}"]),
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
        job.first_look_s >= 0.0 && job.first_look_s <= job.max_look_s,
        format!(
            "job.first_look_s = {}: must be 0 to job.max_look_s = {}",
            job.first_look_s, job.max_look_s
        ),
    );
    must(
        job.max_look_s <= DAY_S,
        format!("job.max_look_s = {}: must be at most a day = {DAY_S}", job.max_look_s),
    );
    let sync = &config.sync;
    must(
        (0.0..=DAY_S).contains(&sync.first_look_s),
        format!("sync.first_look_s = {}: must be 0 to a day = {DAY_S}", sync.first_look_s),
    );
    must(
        sync.every_s == 0 || sync.every_s >= 60,
        format!("sync.every_s = {}: must be 0 or at least 60", sync.every_s),
    );
    let lists = [
        ("rereads_s", &sync.rereads_s),
        ("removal_looks_s", &sync.removal_looks_s),
        ("invitation_looks_s", &sync.invitation_looks_s),
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
    let key = |field: &str| format!("retry.{name}.{field}");
    must(backoff.attempts >= 1, format!("{} = 0: must be at least 1", key("attempts")));
    must(
        backoff.first_s >= 0.0 && backoff.first_s <= backoff.max_s,
        format!(
            "{} = {}: must be 0 to {} = {}",
            key("first_s"),
            backoff.first_s,
            key("max_s"),
            backoff.max_s
        ),
    );
    must(
        backoff.factor >= 1.0 && backoff.factor.is_finite(),
        format!("{} = {}: must be at least 1", key("factor"), backoff.factor),
    );
    must(
        (0.0..1.0).contains(&backoff.jitter),
        format!("{} = {}: must be 0 or more and less than 1", key("jitter"), backoff.jitter),
    );
    must(
        backoff.max_s.is_finite() && backoff.max_s <= 30.0 * DAY_S,
        format!("{} = {}: must be at most 30 days", key("max_s"), backoff.max_s),
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
}
