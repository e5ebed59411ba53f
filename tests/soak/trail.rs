//! Everything that happened to a member, in the order of time: ids and codes only.

use chrono::{DateTime, Utc};

use super::model;
use super::plan::Key;
use super::record::Record;

/// The trail of one member.
pub(super) fn of(record: &Record, key: &Key) -> String {
    let mut lines: Vec<(DateTime<Utc>, String)> = Vec::new();
    for task in record.of_member(key) {
        let id = task.id;
        lines.push((task.requested_at, {
            let elsewhere = if task.is_done_elsewhere { " and done elsewhere" } else { "" };
            format!("task {id} {:?} requested{elsewhere}", task.operation)
        }));
        for line in record.lines.get(&id).into_iter().flatten() {
            let more = [&line.job_id, &line.lost, &line.failure_code];
            let more: Vec<_> = more.into_iter().flatten().map(String::as_str).collect();
            lines.push((line.at, format!("task {id} {} {}", line.what, more.join(" "))));
        }
        for claim in record.claims.get(&id).into_iter().flatten() {
            lines.push((claim.at, format!("task {id} claim {} by {}", claim.token, claim.login)));
        }
        for action in record.actions.get(&id).into_iter().flatten() {
            let id = action.id;
            lines.push((action.opened_at, format!("action {id} {} opened", action.operation)));
            lines.extend(action.done_at.map(|at| (at, format!("action {id} done"))));
            lines.extend(action.closed_at.map(|at| (at, format!("action {id} {}", action.status))));
        }
        let by = task.superseded_by.map(|by| format!(" by {by}")).unwrap_or_default();
        let reason = task.closed_reason.as_deref().unwrap_or_default();
        lines.extend(
            task.closed_at.map(|at| (at, format!("task {id} {}{by}: {reason}", task.state))),
        );
    }
    for start in &record.starts {
        let place = &start.place;
        let same = (&place.workspace, &place.integration, &start.member)
            == (&key.workspace, &key.integration, &key.member);
        if same {
            let heard = if start.is_heard { "" } else { ", unheard" };
            lines.push((
                start.at,
                format!("job {} {:?} started{heard}", start.job, start.operation),
            ));
        }
    }
    for effect in record.effects.iter().filter(|effect| model::key_of(effect) == *key) {
        let (operation, author) = (effect.operation, effect.author);
        let held: Vec<_> = effect.entitlements.iter().map(String::as_str).collect();
        lines.push((effect.at, format!("effect {operation:?} by {author:?} {}", held.join(" "))));
    }
    lines.sort();
    lines.iter().map(|(at, what)| format!("  {} {what}\n", at.format("%H:%M:%S%.6f"))).collect()
}
