//! A moment of a demo for the tests and the picture in the documentation. It needs no database.

use chrono::{DateTime, TimeDelta, Utc};

use crate::demo::cast::{self, Part};
use crate::demo::progress::Progress;
use crate::demo::sentences::{Change, Happening, Told};
use crate::demo::snapshot::{Count, Snapshot, Urgent};
use crate::demo::tasks;

pub(in crate::demo) const SOURCE: &str = ". target/demo.env";

/// Seconds, name of the event, actor, operation, person, app.
type Row = (i64, &'static str, &'static str, &'static str, &'static str, &'static str);

const HAPPENED: [Row; 14] = [
    (83, "action.contradicted", "daemon", "remove", "Oluwaseun Patel", "Linear"),
    (81, "action.verified", "daemon", "invite", "Yuki Kaya", "Luru"),
    (80, "task.succeeded", "daemon", "remove", "Noah Haddad", "Salesforce"),
    (78, "sync.held", "daemon", "", "", "Adobe Creative Cloud"),
    (77, "action.opened", "daemon", "invite", "Dimitra Okafor", "LinkedIn Business Manager"),
    (74, "integration.login_rejected", "daemon", "", "", "Canva"),
    (73, "task.attempt_failed", "daemon", "change_role", "Priya Müller", "Zoom"),
    (71, "action.done", "robin", "remove", "Oluwaseun Patel", "Linear"),
    (70, "task.succeeded", "daemon", "invite", "李小龍", "Notion"),
    (68, "action.opened", "daemon", "remove", "Kwame O’Neill", "Hootsuite"),
    (66, "action.opened", "daemon", "remove", "Élodie Novák", "Luru"),
    (65, "action.opened", "daemon", "invite", "Liam García", "Autodesk"),
    (64, "action.opened", "daemon", "invite", "Mei Wójcik", "Zoom"),
    (62, "action.opened", "daemon", "remove", "Ivo Lane", "Zoom"),
];

pub(in crate::demo) fn snapshot() -> Snapshot {
    Snapshot {
        seed: 1,
        began_at: at(0),
        now: at(84),
        expected: 351,
        tasks: counts(&[
            ("succeeded", 84),
            ("escalated", 27),
            ("superseded", 9),
            ("pending", 32),
            ("running", 6),
        ]),
        actions: counts(&[("verified", 12), ("open", 11), ("in_progress", 1), ("done", 2)]),
        contradicted: 1,
        held_reports: 1,
        happenings: HAPPENED.iter().map(happening).collect(),
        urgent: Some(Urgent {
            id: 16,
            change: Change::new("remove", Some("Ivo Lane"), "", "Zoom"),
        }),
        stories: cast::cast(&tasks::all(), 1)
            .iter()
            .zip([4, 5, 5, 3, 2, 0])
            .map(progress)
            .collect(),
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn counts(counts: &[(&str, i64)]) -> Vec<Count> {
    counts.iter().map(|(state, rows)| Count { state: (*state).to_owned(), rows: *rows }).collect()
}

fn happening(row: &Row) -> Happening {
    let (seconds, what, actor, operation, name, app) = *row;
    let told = Told {
        at: at(seconds),
        actor: actor.to_owned(),
        what: what.to_owned(),
        operation: Some(operation.to_owned()),
        member_name: Some(name.to_owned()),
        member_email: None,
        integration_name: Some(app.to_owned()),
        failure_code: Some("LoginTimeout".to_owned()),
    };
    told.happening()
}

/// A story of which this many steps have happened.
fn progress((part, reached): (&Part, usize)) -> Progress {
    let reached = (1..=reached).map(|step| at(step as i64 * 7)).collect();
    Progress { part: part.clone(), reached }
}
