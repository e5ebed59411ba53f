//! What the apps show in the end, and what was done to them on the way.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgPool};

use super::world::Ending;
use crate::simulator::{Author, Effect, Operation, Place, Simulator};

/// A job that was requested before a removal was known may still end after it.
const UNDER_WAY: TimeDelta = TimeDelta::seconds(3);

/// Members who are not in the state that the latest request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// They are in the app, or invited, and must not be.
    pub(super) present: Vec<String>,
    /// They are not in the app and must be.
    pub(super) absent: Vec<String>,
    /// They hold other roles.
    pub(super) roles: Vec<String>,
}

pub(super) fn differences(apps: &Simulator, endings: &[Ending]) -> Differences {
    let mut differences = Differences::default();
    for ending in endings {
        let place = &ending.place;
        let member = apps.member(&place.workspace, &place.integration, &ending.member);
        let name = format!("{}/{}", place.integration, ending.member);
        match member {
            Some(_) if !ending.present => differences.present.push(name),
            None if ending.present => differences.absent.push(name),
            Some(member) if member.entitlements != ending.roles => differences.roles.push(name),
            _ => {}
        }
    }
    differences
}

/// Invitations of a member whose last invitation was still valid, no matter who sent them.
pub(super) fn repeated_invitations(effects: &[Effect]) -> u64 {
    let mut last = BTreeMap::new();
    let mut repeated = 0;
    for effect in effects {
        let before = match effect.operation {
            Operation::ChangeRole => continue,
            operation => last.insert((&effect.place, &effect.member), operation),
        };
        let again = before == Some(Operation::Invite) && effect.operation == Operation::Invite;
        repeated += u64::from(again);
    }
    repeated
}

/// A removal that no later invitation or change of role followed.
#[derive(Debug, FromRow)]
pub(super) struct LastRemoval {
    workspace_id: String,
    integration_id: String,
    member_id: String,
    received_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

/// The members whose latest request is a removal, with the times when it became known and was carried out.
pub(super) async fn last_removals(owner: &PgPool) -> sqlx::Result<Vec<LastRemoval>> {
    sqlx::query_as(
        "select r.workspace_id, r.integration_id, r.member_id, min(r.received_at) as received_at,
                min(coalesce(a.closed_at, case when r.state = 'succeeded' then r.closed_at end)) as ended_at
         from reconciler.automation_tasks r
         left join reconciler.manual_actions a on a.workspace_id = r.workspace_id and a.task_id = r.id
         where r.operation = 'remove'
           and not exists (select from reconciler.automation_tasks n
                           where n.workspace_id = r.workspace_id and n.integration_id = r.integration_id
                             and n.member_id = r.member_id and n.operation <> 'remove'
                             and n.requested_at > r.requested_at)
         group by 1, 2, 3",
    )
    .fetch_all(owner)
    .await
}

/// Changes by automation that gave access to members after their removal was carried out, or long after it was known.
pub(super) fn forbidden_effects(effects: &[Effect], removals: &[LastRemoval]) -> u64 {
    let removals: BTreeMap<_, _> = removals
        .iter()
        .map(|removal| {
            let place = Place::new(&removal.workspace_id, &removal.integration_id);
            ((place, removal.member_id.as_str()), removal)
        })
        .collect();
    let forbidden = |effect: &&Effect| {
        let key = (effect.place.clone(), effect.member.as_str());
        effect.author == Author::Automation
            && effect.operation != Operation::Remove
            && removals.get(&key).is_some_and(|removal| {
                effect.at > removal.received_at + UNDER_WAY
                    || removal.ended_at.is_some_and(|ended| effect.at > ended)
            })
    };
    effects.iter().filter(forbidden).count() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
    }

    fn effect(seconds: i64, operation: Operation, author: Author) -> Effect {
        Effect {
            at: at(seconds),
            place: Place::new("acme", "i1"),
            member: "m1".to_owned(),
            operation,
            author,
            entitlements: BTreeSet::new(),
        }
    }

    #[test]
    fn a_second_invitation_is_repeated_unless_a_removal_lies_between() {
        use Operation::{ChangeRole, Invite, Remove};
        let effects = |operations: &[Operation]| -> Vec<_> {
            let one = |operation: &Operation| effect(0, *operation, Author::Automation);
            operations.iter().map(one).collect()
        };
        assert_eq!(repeated_invitations(&effects(&[Invite, ChangeRole, Invite])), 1);
        assert_eq!(repeated_invitations(&effects(&[Invite, Remove, Invite])), 0);
    }

    #[test]
    fn only_automation_that_gives_after_the_removal_is_forbidden() {
        use Operation::{ChangeRole, Invite, Remove};
        let removal = LastRemoval {
            workspace_id: "acme".to_owned(),
            integration_id: "i1".to_owned(),
            member_id: "m1".to_owned(),
            received_at: at(0),
            ended_at: Some(at(2)),
        };
        let count = |seconds, operation, author| {
            forbidden_effects(&[effect(seconds, operation, author)], std::slice::from_ref(&removal))
        };
        assert_eq!(count(1, Invite, Author::Automation), 0, "was under way");
        assert_eq!(count(3, Invite, Author::Automation), 1);
        assert_eq!(count(3, ChangeRole, Author::Automation), 1);
        assert_eq!(count(3, Remove, Author::Automation), 0);
        assert_eq!(count(3, Invite, Author::Person), 0);
    }
}
