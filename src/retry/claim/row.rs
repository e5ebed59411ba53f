//! A claimed row, and the task that it is read as.

use std::collections::HashMap;
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::backend::{Failure, plain_code};
use crate::lease::Lease;
use crate::member::{Doubts, Effects};
use crate::membership::{Desired, Entitlements, MemberKey, Operation, Trigger, UnknownWord};
use crate::retry::ClaimedTask;
use crate::store::elapsed;

/// A claimed row, as the database returns it. The columns of the task are null if the task is gone.
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) workspace_id: String,
    pub(super) integration_id: String,
    pub(super) member_id: String,
    pub(super) application: Option<String>,
    pub(super) member_email: Option<String>,
    pub(super) member_username: Option<String>,
    pub(super) operation: Option<String>,
    pub(super) entitlements: Vec<Option<String>>,
    pub(super) hub_role: String,
    pub(super) trigger: Option<String>,
    pub(super) job_id: Option<String>,
    pub(super) requested_at: Option<DateTime<Utc>>,
    pub(super) failure_code: Option<String>,
    pub(super) can_retry: Option<bool>,
    pub(super) user_required: Option<bool>,
    pub(super) attempts: Option<i32>,
    pub(super) trying_since: Option<DateTime<Utc>>,
    pub(super) running_job_id: Option<String>,
    pub(super) running_since: Option<DateTime<Utc>>,
    pub(super) found_by_id: bool,
    pub(super) uncertain_since: Option<DateTime<Utc>>,
    pub(super) superseded_by: Option<i64>,
    pub(super) cancel_reason: Option<String>,
    pub(super) unanswered_since: Option<DateTime<Utc>>,
    pub(super) unreleased_claims: i32,
    pub(super) lease_token: i64,
    pub(super) claimed_at: DateTime<Utc>,
    pub(super) is_probe: bool,
    pub(super) returned: bool,
    pub(super) reopened: bool,
    pub(super) taken_in_order: Option<DateTime<Utc>>,
    pub(super) awaited_since: Option<DateTime<Utc>>,
    pub(super) takes: Option<i32>,
    pub(super) removed_by_hand_at: Option<DateTime<Utc>>,
    pub(super) admitted_by_hand_at: Option<DateTime<Utc>>,
    pub(super) removal_tried_until: Option<DateTime<Utc>>,
    pub(super) admission_tried_until: Option<DateTime<Utc>>,
    pub(super) snapshot_at: Option<DateTime<Utc>>,
    pub(super) invite_task_id: Option<i64>,
    pub(super) invite_requested_at: Option<DateTime<Utc>>,
    pub(super) role_task_id: Option<i64>,
    pub(super) role_requested_at: Option<DateTime<Utc>>,
    pub(super) traceparent: Option<String>,
}

/// Whether an integration used up its share of the claim.
pub(super) fn is_any_share_used(rows: &[Row]) -> bool {
    let mut taken: HashMap<(&str, &str), i32> = HashMap::new();
    rows.iter().any(|row| {
        let count = taken.entry((&row.workspace_id, &row.integration_id)).or_default();
        *count += 1;
        row.takes.is_some_and(|takes| *count >= takes)
    })
}

impl Row {
    fn doubts(&self) -> Doubts {
        Doubts {
            removed_by_hand_at: self.removed_by_hand_at,
            admitted_by_hand_at: self.admitted_by_hand_at,
            removal_tried_until: self.removal_tried_until,
            admission_tried_until: self.admission_tried_until,
            snapshot_at: self.snapshot_at,
        }
    }

    fn effects(&self) -> Effects {
        Effects {
            invite: self.invite_task_id.zip(self.invite_requested_at),
            role: self.role_task_id.zip(self.role_requested_at),
        }
    }

    /// Parses the words of the row, or says which of them cannot be read.
    fn words(&self) -> Result<(Operation, Trigger, Entitlements), String> {
        let (Some(operation), Some(trigger)) = (&self.operation, &self.trigger) else {
            return Err("the task is gone".to_owned());
        };
        let entitlements = self.entitlements.iter().cloned().collect::<Option<_>>();
        Ok((
            operation.parse().map_err(|error: UnknownWord| error.to_string())?,
            trigger.parse().map_err(|error: UnknownWord| error.to_string())?,
            entitlements.ok_or("entitlements has an element that is null")?,
        ))
    }

    pub(super) fn decode(self, ends: Instant) -> Result<ClaimedTask, Box<Bad>> {
        let lease = Lease { token: self.lease_token, ends };
        let (words, doubts, effects) = (self.words(), self.doubts(), self.effects());
        let key = MemberKey {
            workspace: self.workspace_id,
            integration: self.integration_id,
            member: self.member_id,
        };
        let (operation, trigger, entitlements) = match words {
            Ok(words) => words,
            Err(why) => return Err(Box::new(Bad { task: self.id, key, lease, why })),
        };
        let touched_by_hand = doubts.touched_by_hand(operation);
        let requested_at = self.requested_at.unwrap_or(self.claimed_at);
        let overtaken_by = effects.over(operation, (self.id, requested_at));
        Ok(ClaimedTask {
            id: self.id,
            lease,
            desired: Desired {
                operation,
                member: key.member.clone(),
                email: self.member_email.unwrap_or_default(),
                username: self.member_username,
                entitlements,
            },
            key,
            hub_role: self.hub_role,
            application: self.application.unwrap_or_default(),
            trigger,
            has_automation: self.returned || trigger.has_job(self.job_id.as_deref()),
            job: self.job_id,
            requested_at,
            returned: self.returned,
            reopened: self.reopened,
            is_probe: self.is_probe,
            first_failure: Failure {
                code: self.failure_code.as_deref().map(plain_code),
                can_retry: self.can_retry,
                user_required: self.user_required,
                ..Failure::default()
            },
            attempts: u32::try_from(self.attempts.unwrap_or(0)).unwrap_or(0),
            trying_since: self.trying_since,
            running: self.running_job_id.zip(self.running_since),
            uncertain_since: self.uncertain_since,
            superseded_by: self.superseded_by.or(overtaken_by),
            cancel_reason: self.cancel_reason,
            unanswered_since: self.unanswered_since,
            found_by_id: self.found_by_id,
            unreleased_claims: self.unreleased_claims,
            claimed_at: self.claimed_at,
            touched_by_hand,
            tried_before: touched_by_hand && doubts.tried_before(operation),
            taken_in_order: self.taken_in_order,
            pickup: self.awaited_since.map(|since| elapsed(since, self.claimed_at)),
            traceparent: self.traceparent,
        })
    }
}

pub(super) struct Bad {
    pub(super) task: i64,
    pub(super) key: MemberKey,
    pub(super) lease: Lease,
    pub(super) why: String,
}
