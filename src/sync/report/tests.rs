use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::backend::Gap;
use crate::membership::Marks;

fn somebody(id: &str) -> SeenMember {
    SeenMember {
        member: Some(id.to_owned()),
        email: Some(format!("{id}@example.com")),
        username: None,
        entitlements: ["EDITOR".to_owned()].into(),
        membership: Membership::Joined,
        marks: Marks::default(),
    }
}

fn intent(task: i64, operation: Operation, id: &str) -> LatestIntent {
    LatestIntent {
        task,
        desired: Desired {
            operation,
            member: id.to_owned(),
            email: format!("{id}@example.com"),
            username: None,
            entitlements: ["EDITOR".to_owned()].into(),
        },
        worked_at: None,
    }
}

fn reported(id: &str) -> Reported {
    let email = Some(format!("{id}@example.com"));
    Reported { member: Some(id.to_owned()), email, username: None, roles: None }
}

fn update(new: &[&str], removed: &[&str], changed: &[&str]) -> UpdateReport {
    let people = |ids: &[&str]| ids.iter().map(|id| reported(id)).collect();
    UpdateReport {
        id: "r1".to_owned(),
        created_at: None,
        members_read: None,
        members_total: None,
        applied: false,
        new_members: people(new),
        removed_members: people(removed),
        changed_members: people(changed),
    }
}

fn snapshot(members: Vec<SeenMember>) -> Snapshot {
    Snapshot { members, ..Snapshot::default() }
}

/// The class of jo, who is the only member.
fn class(seen: Option<SeenMember>, operation: Option<Operation>, update: &UpdateReport) -> String {
    let intents: Vec<_> =
        operation.map(|operation| intent(1, operation, "jo")).into_iter().collect();
    let report = classify(&snapshot(seen.into_iter().collect()), &intents, Some(update));
    let counts = report.counts.iter().filter(|(_, count)| **count > 0);
    counts.map(|(class, count)| format!("{count} {class:?}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn everybody_has_one_class() {
    use Membership::{AssetsOnly, InvitationExpired, Invited};
    use Operation::{ChangeRole, Invite, Remove};
    let nothing = update(&[], &[], &[]);
    let new = update(&["jo"], &[], &[]);
    let gone = update(&[], &["jo"], &[]);
    let changed = update(&[], &[], &["jo"]);
    let jo = || Some(somebody("jo"));
    let standing = |membership| jo().map(|seen| SeenMember { membership, ..seen });
    let viewer = || jo().map(|seen| SeenMember { entitlements: ["VIEWER".into()].into(), ..seen });
    let stranger = || jo().map(|seen| SeenMember { member: None, ..seen });
    let marked = |marks| jo().map(|seen| SeenMember { marks, ..seen });
    let exempt = || marked(Marks { is_exempt: true, is_guest: true, ..Marks::default() });
    let guest = || marked(Marks { is_guest: true, ..Marks::default() });
    let table = [
        (jo(), None, &nothing, "1 Matched"),
        (jo(), Some(Invite), &nothing, "1 Matched"),
        (jo(), Some(Invite), &new, "1 Matched"),
        (jo(), None, &new, "1 Unexpected"),
        (jo(), Some(Remove), &nothing, "1 Unexpected"),
        (standing(Invited), Some(Remove), &nothing, "1 Unexpected"),
        (standing(AssetsOnly), Some(Remove), &nothing, "1 Unexpected"),
        (standing(AssetsOnly), None, &nothing, "1 Unexpected"),
        (standing(InvitationExpired), Some(Remove), &nothing, "1 ExpiredInvite"),
        (standing(InvitationExpired), Some(Invite), &nothing, "1 ExpiredInvite"),
        (standing(Invited), Some(Invite), &nothing, "1 PendingInvite"),
        (standing(Invited), None, &new, "1 PendingInvite"),
        (stranger(), None, &nothing, "1 Unexpected"),
        (stranger(), Some(Remove), &nothing, "1 Unexpected"),
        (exempt(), None, &new, "1 Exempt"),
        (exempt(), Some(Remove), &nothing, "1 Unexpected"),
        (guest(), None, &new, "1 Guest"),
        (viewer(), Some(ChangeRole), &nothing, "1 WrongRole"),
        (viewer(), Some(ChangeRole), &new, "1 WrongRole"),
        (jo(), Some(ChangeRole), &changed, "1 Matched"),
        (viewer(), None, &changed, "1 WrongRole"),
        (viewer(), Some(Invite), &nothing, "1 Matched"),
        (None, Some(Invite), &nothing, "1 Missing"),
        (None, Some(ChangeRole), &gone, "1 Missing"),
        (None, Some(Remove), &gone, ""),
        (None, Some(Remove), &nothing, ""),
        (None, None, &gone, "1 Missing"),
        (jo(), None, &gone, "1 Missing"),
    ];
    for (seen, intent, update, expected) in table {
        let case = format!("{seen:?} {intent:?} {update:?}");
        assert_eq!(class(seen, intent, update), expected, "{case}");
    }
}

#[test]
fn two_with_one_email_are_ambiguous_and_so_are_two_with_one_id() {
    let other = SeenMember { email: Some("JO@example.com".to_owned()), ..somebody("lee") };
    let twin = SeenMember { email: None, ..somebody("kim") };
    let members = vec![somebody("jo"), other, somebody("kim"), twin, somebody("ann")];
    let report = classify(&snapshot(members), &[intent(1, Operation::Remove, "jo")], None);
    assert_eq!((report.counts[&Class::Ambiguous], report.counts[&Class::Matched]), (4, 1));
}

#[test]
fn nobody_is_missing_from_an_incomplete_snapshot() {
    let snapshot = Snapshot { gaps: vec![Gap::TotalDiffers], ..snapshot(vec![somebody("ann")]) };
    let report = classify(&snapshot, &[intent(1, Operation::Invite, "jo")], None);
    assert_eq!(report.counts[&Class::Missing], 0);
}

#[test]
fn a_stranger_is_known_by_the_email_that_the_report_gives() {
    let stranger = SeenMember { member: None, ..somebody("jo") };
    let gone = UpdateReport {
        removed_members: vec![Reported { member: None, ..reported("jo") }],
        ..update(&[], &[], &[])
    };
    let report = classify(&snapshot(vec![stranger]), &[], Some(&gone));
    assert_eq!((report.counts[&Class::Missing], report.counts[&Class::Unexpected]), (1, 0));
}

#[test]
fn one_person_in_two_spellings_is_one_for_the_report() {
    let stranger =
        |email: &str| SeenMember { member: None, email: Some(email.to_owned()), ..somebody("") };
    let members = vec![stranger("JÖRG@example.com"), stranger("jo\u{308}rg@example.com ")];
    let report = classify(&snapshot(members.clone()), &[], None);
    assert_eq!(report.counts[&Class::Ambiguous], 2);
    let mut invite = intent(1, Operation::Invite, "m1");
    invite.desired.email = "jörg@example.com".to_owned();
    let report = classify(&snapshot(members), &[invite.clone()], None);
    assert_eq!(report.counts[&Class::Missing], 0, "whoever is desired is there");
    let email = Some("JÖRG@EXAMPLE.COM".to_owned());
    let gone = UpdateReport {
        removed_members: vec![Reported { member: None, email, username: None, roles: None }],
        ..update(&[], &[], &[])
    };
    invite.desired.operation = Operation::Remove;
    let report = classify(&snapshot(vec![stranger("jörg@example.com")]), &[invite], Some(&gone));
    assert_eq!((report.counts[&Class::Missing], report.counts[&Class::Unexpected]), (0, 0));
}

proptest! {
    #[test]
    fn every_member_is_counted_once_in_whatever_order_they_were_read(
        stands in prop::collection::vec((0_usize..8, 0_usize..4, any::<bool>()), 0..12),
        intents in prop::collection::vec((0_usize..8, 0_usize..3), 0..8),
    ) {
        let membership = [
            Membership::Joined, Membership::Invited, Membership::InvitationExpired, Membership::AssetsOnly,
        ];
        let operation = [Operation::Invite, Operation::Remove, Operation::ChangeRole];
        let members: Vec<_> = stands.iter().map(|(id, standing, known)| {
            let seen = SeenMember { membership: membership[*standing], ..somebody(&id.to_string()) };
            if *known { seen } else { SeenMember { member: None, ..seen } }
        }).collect();
        let latest: HashMap<_, _> = intents.iter().copied().collect();
        let intents: Vec<_> = (1..).zip(&latest)
            .map(|(task, (id, op))| intent(task, operation[*op], &id.to_string())).collect();
        let report = classify(&snapshot(members.clone()), &intents, None);
        let total: u64 = report.counts.values().sum();
        prop_assert_eq!(total - report.counts[&Class::Missing], members.len() as u64);
        prop_assert_eq!(report.differences.len() as u64 + report.counts[&Class::Matched], total);
        let mut backwards = members;
        backwards.reverse();
        let again = classify(&snapshot(backwards), &intents, None);
        prop_assert_eq!((again.hash, again.counts), (report.hash, report.counts));
    }
}
