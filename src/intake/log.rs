//! The log lines of a batch, and its part of the metrics, after its commit.

use std::collections::BTreeMap;

use super::store::{Introduced, Misfit};
use super::{BAD_ROW_PAUSE, order, store};
use crate::catalogue;
use crate::emit;
use crate::telemetry::metrics::{self, TaskEnd};

pub(super) fn log_quarantined(id: i64, error: &str) {
    emit!(
        TASK_QUARANTINED,
        task.id = id,
        error,
        wait_s = BAD_ROW_PAUSE.as_secs(),
        "This row cannot be worked on; all others go on"
    );
}

/// The result of one batch, logged after the commit.
#[derive(Default)]
pub(super) struct Batch {
    /// The rows that were dealt with: ordered or quarantined.
    pub(super) ids: Vec<i64>,
    pub(super) ordered: Vec<i64>,
    pub(super) superseded: Vec<order::Superseded>,
    /// How many rows reported that automation did it.
    pub(super) succeeded_elsewhere: usize,
    pub(super) ended_actions: Vec<(i64, i64)>,
    pub(super) unreadable: Vec<store::Unreadable>,
    pub(super) introduced: Vec<Introduced>,
    /// Rows that are held until a person decides.
    pub(super) misfits: Vec<Misfit>,
    /// Rows that were deleted before they were placed.
    pub(super) gone: Vec<i64>,
}

impl Batch {
    pub(super) fn log(&self) {
        for loser in &self.superseded {
            metrics::task_ended(TaskEnd::Superseded);
            emit!(
                TASK_SUPERSEDED,
                task.id = loser.task,
                superseded_by = loser.by,
                "Replaced by a newer request"
            );
        }
        for _ in 0..self.succeeded_elsewhere {
            metrics::task_ended(TaskEnd::SucceededElsewhere);
        }
        for (action, by) in &self.ended_actions {
            emit!(
                ACTION_SUPERSEDED,
                action.id = action,
                superseded_by = by,
                "Stop: replaced by a newer request"
            );
        }
        for id in &self.ordered {
            emit!(TASK_ORDERED, task.id = id, "The task has its place");
        }
        for (id, error) in &self.unreadable {
            log_quarantined(*id, &error.to_string());
        }
        log_unknown_applications(&self.introduced);
        log_held(&self.misfits);
        for id in &self.gone {
            let error = "The row was deleted before it had a place: nothing is left to do";
            emit!(
                TASK_QUARANTINED,
                task.id = id,
                error,
                "This row cannot be worked on; all others go on"
            );
        }
    }
}

/// An application that is not in the catalogue may be new, so its rows are worked on.
fn log_unknown_applications(introduced: &[Introduced]) {
    for Introduced { workspace, integration, application } in introduced {
        if catalogue::find(application).is_none() {
            emit!(
                INTEGRATION_APPLICATION_UNKNOWN,
                workspace.id = workspace,
                integration.id = integration,
                application,
                "The catalogue does not have this application"
            );
        }
    }
}

/// Logs one WARN for each integration and difference, however many rows have it.
fn log_held(misfits: &[Misfit]) {
    let mut alike: BTreeMap<(&str, &str, &str), Vec<i64>> = BTreeMap::new();
    for Misfit { id, workspace, integration, differs } in misfits {
        alike.entry((workspace, integration, differs)).or_default().push(*id);
    }
    for ((workspace, integration, differs), tasks) in alike {
        emit!(
            TASK_HELD,
            task.id = tasks[0],
            workspace.id = workspace,
            integration.id = integration,
            differs,
            tasks = tasks.len(),
            "The row says another kind or application than its integration has; it waits for a person"
        );
    }
}
