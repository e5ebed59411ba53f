use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::backend::{Gap, Reported};
use crate::membership::{Desired, Marks};

const HOUR: Duration = Duration::from_secs(3600);

fn limits() -> config::Guard {
    config::Guard {
        max_unexpected_removals: 3,
        max_unexpected_percent: 10,
        administrator_roles: vec![" ADMIN".to_owned()],
        held_s: 86_400,
    }
}

fn facts() -> Facts {
    Facts {
        age: Some(Duration::from_secs(5)),
        read_of_total: Some((100, 100)),
        removed: 1,
        ..Facts::default()
    }
}

fn kind(facts: &Facts) -> &'static str {
    match rule(&limits(), HOUR, facts) {
        Ruling::Apply => "apply",
        Ruling::Hold(_) => "hold",
        Ruling::Refuse(_) => "refuse",
    }
}

#[test]
fn reports_are_ruled_by_this_table() {
    let stale = || Facts { age: Some(2 * HOUR), ..facts() };
    let incomplete = || Facts { read_of_total: Some((20, 100)), ..facts() };
    // The ruling, and the ruling with a person's approval.
    let table = [
        ("expected removals only", facts(), "apply", "apply"),
        ("up to the count", Facts { removed: 3, unexpected: 3, ..facts() }, "apply", "apply"),
        ("over the count", Facts { removed: 4, unexpected: 4, ..facts() }, "hold", "apply"),
        (
            "small steps add up",
            Facts { unexpected: 1, unexpected_before: 3, ..facts() },
            "hold",
            "apply",
        ),
        (
            "nothing unexpected after too much",
            Facts { unexpected_before: 9, ..facts() },
            "apply",
            "apply",
        ),
        (
            "over the percentage of a small app",
            Facts { unexpected: 1, read_of_total: Some((4, 4)), ..facts() },
            "hold",
            "apply",
        ),
        ("completeness unknown", Facts { read_of_total: None, ..facts() }, "hold", "apply"),
        (
            "nothing removed, completeness unknown",
            Facts { removed: 0, read_of_total: None, ..facts() },
            "apply",
            "apply",
        ),
        ("incomplete", incomplete(), "refuse", "refuse"),
        ("age unknown", Facts { age: None, ..facts() }, "hold", "apply"),
        (
            "age unknown, nothing removed",
            Facts { age: None, removed: 0, ..facts() },
            "apply",
            "apply",
        ),
        ("age unknown and incomplete", Facts { age: None, ..incomplete() }, "refuse", "refuse"),
        ("stale: an approval has its own time", stale(), "refuse", "apply"),
        ("stale, nothing removed", Facts { removed: 0, ..stale() }, "refuse", "apply"),
        (
            "made before it was asked for",
            Facts { is_older_than_question: true, ..facts() },
            "refuse",
            "refuse",
        ),
        (
            "made before it was asked for, nothing removed",
            Facts { is_older_than_question: true, removed: 0, ..facts() },
            "refuse",
            "refuse",
        ),
        (
            "the last administrator's role, nobody removed",
            Facts { last_administrator: true, removed: 0, ..facts() },
            "hold",
            "apply",
        ),
        ("exempt or guest", Facts { protected: 1, unexpected: 1, ..facts() }, "hold", "apply"),
        ("the last administrator", Facts { last_administrator: true, ..facts() }, "hold", "apply"),
        ("the automation's own account", Facts { own_account: true, ..facts() }, "hold", "apply"),
        ("not told from others", Facts { ambiguous: 1, ..facts() }, "hold", "apply"),
        ("changed underneath", Facts { changed_underneath: true, ..facts() }, "refuse", "refuse"),
        ("let in meanwhile", Facts { let_in_meanwhile: 1, ..facts() }, "refuse", "refuse"),
    ];
    for (case, facts, expected, with_approval) in table {
        assert_eq!(kind(&facts), expected, "{case}");
        let approved = Facts { approved: true, ..facts };
        assert_eq!(kind(&approved), with_approval, "{case}, approved");
    }
}

fn member(id: &str, role: &str) -> SeenMember {
    SeenMember {
        member: Some(id.to_owned()),
        email: Some(format!("{id}@example.com")),
        username: None,
        entitlements: [role.to_owned()].into(),
        membership: Membership::Joined,
        marks: Marks::default(),
    }
}

fn began() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn intent(id: &str, operation: Operation, worked_at: Option<DateTime<Utc>>) -> LatestIntent {
    let desired = Desired {
        operation,
        member: id.to_owned(),
        email: format!("{id}@example.com"),
        username: None,
        entitlements: [].into(),
    };
    LatestIntent { task: 1, desired, worked_at }
}

fn reported(id: Option<&str>, email: Option<&str>) -> Reported {
    Reported {
        member: id.map(str::to_owned),
        email: email.map(str::to_owned),
        username: None,
        roles: None,
    }
}

/// The facts about a report that removes these members.
fn judged(
    known: &Snapshot,
    removed: &[&str],
    intents: &[LatestIntent],
    own: Option<&str>,
) -> Facts {
    judged_of(known, removed.iter().map(|id| reported(Some(id), None)).collect(), intents, own)
}

fn judged_of(
    known: &Snapshot,
    removed: Vec<Reported>,
    intents: &[LatestIntent],
    own: Option<&str>,
) -> Facts {
    let facts = Facts { removed: count(removed.len()), ..Facts::default() };
    let update = UpdateReport {
        id: "r1".to_owned(),
        created_at: None,
        members_read: None,
        members_total: None,
        applied: false,
        new_members: vec![],
        removed_members: removed,
        changed_members: vec![],
    };
    let removals = Removals {
        update: &update,
        known,
        intents,
        started_at: began(),
        own_account: own,
        administrator_roles: &limits().administrator_roles,
    };
    removals.judge(facts)
}

fn known(members: Vec<SeenMember>) -> Snapshot {
    Snapshot { members, ..Snapshot::default() }
}

#[test]
fn a_removal_is_expected_only_while_it_is_the_latest_wish() {
    let known = known(vec![member("jo", "EDITOR"), member("kim", "EDITOR")]);
    let intents = [intent("jo", Operation::Remove, None), intent("kim", Operation::Invite, None)];
    assert_eq!(judged(&known, &["jo"], &intents, None).unexpected, 0);
    assert_eq!(judged(&known, &["jo", "kim"], &intents, None).unexpected, 1);
    assert_eq!(judged(&known, &["jo", "kim"], &[], None).unexpected, 2);
}

#[test]
fn whoever_was_let_in_since_the_snapshot_began_is_younger_than_it() {
    let known = known(vec![member("kim", "EDITOR")]);
    let later = Some(began() + TimeDelta::seconds(1));
    let earlier = Some(began() - TimeDelta::seconds(1));
    for (worked_at, expected) in [(later, 1), (earlier, 0), (None, 0)] {
        let intents = [intent("kim", Operation::Invite, worked_at)];
        assert_eq!(judged(&known, &["kim"], &intents, None).let_in_meanwhile, expected);
    }
}

#[test]
fn the_last_administrator_is_one_by_role_or_by_owning_the_account() {
    let owner = SeenMember {
        marks: Marks { is_owner: true, ..Marks::default() },
        ..member("ann", "EDITOR")
    };
    let invited = SeenMember { membership: Membership::Invited, ..member("lee", "ADMIN") };
    let all = || {
        known(vec![member("jo", "admin"), owner.clone(), member("kim", "EDITOR"), invited.clone()])
    };
    let last = |removed: &[&str]| judged(&all(), removed, &[], None).last_administrator;
    assert!(!last(&["jo"]) && !last(&["ann"]) && !last(&["kim"]));
    assert!(last(&["jo", "ann"]), "an invitation administrates nothing yet");
    let nobody = known(vec![member("kim", "EDITOR")]);
    assert!(!judged(&nobody, &["kim"], &[], None).last_administrator, "there was none before");
}

/// A person, and their new role if the report names it.
type Changed<'a> = (&'a str, Option<&'a str>);

/// The facts about a report that removes nobody, changes the roles of these people, and adds those new ones.
fn judged_roles(known: &Snapshot, changed: &[Changed<'_>], new: &[(&str, &str)]) -> Facts {
    let roles = |role: &str| Some([role.to_owned()].into());
    let update = UpdateReport {
        id: "r1".to_owned(),
        created_at: None,
        members_read: None,
        members_total: None,
        applied: false,
        new_members: new
            .iter()
            .map(|(id, role)| Reported { roles: roles(role), ..reported(Some(id), None) })
            .collect(),
        removed_members: Vec::new(),
        changed_members: changed
            .iter()
            .map(|(id, role)| Reported { roles: role.and_then(roles), ..reported(Some(id), None) })
            .collect(),
    };
    let removals = Removals {
        update: &update,
        known,
        intents: &[],
        started_at: began(),
        own_account: None,
        administrator_roles: &limits().administrator_roles,
    };
    removals.judge(Facts::default())
}

#[test]
fn a_report_that_takes_the_last_administrators_role_is_known_for_it() {
    let owner = SeenMember {
        marks: Marks { is_owner: true, ..Marks::default() },
        ..member("owner", "VIEWER")
    };
    let one = known(vec![member("ann", "ADMIN"), member("kim", "VIEWER")]);
    let two = known(vec![member("ann", "ADMIN"), member("kim", "admin")]);
    let owned = known(vec![member("ann", "ADMIN"), owner]);
    type Case<'a> = (&'a str, &'a Snapshot, &'a [Changed<'a>], &'a [(&'a str, &'a str)], bool);
    let table: [Case<'_>; 9] = [
        ("the last one's role goes", &one, &[("ann", Some("VIEWER"))], &[], true),
        ("the last one's new role is not told", &one, &[("ann", None)], &[], true),
        ("the last one keeps it", &one, &[("ann", Some("ADMIN"))], &[], false),
        ("somebody else's role changes", &one, &[("kim", Some("EDITOR"))], &[], false),
        ("another one is left", &two, &[("ann", Some("VIEWER"))], &[], false),
        ("both lose it", &two, &[("ann", Some("VIEWER")), ("kim", Some("VIEWER"))], &[], true),
        ("somebody new has it", &one, &[("ann", Some("VIEWER"))], &[("lee", "ADMIN")], false),
        ("the owner is left", &owned, &[("ann", Some("VIEWER"))], &[], false),
        ("nobody had it", &known(vec![member("kim", "VIEWER")]), &[("kim", Some("X"))], &[], false),
    ];
    for (case, known, changed, new, expected) in table {
        assert_eq!(judged_roles(known, changed, new).last_administrator, expected, "{case}");
    }
}

#[test]
fn the_own_account_is_known_by_id_email_or_name() {
    let bot = SeenMember { username: Some("Bot".to_owned()), ..member("b1", "ADMIN") };
    let known = known(vec![bot, member("jo", "EDITOR")]);
    for own in ["b1", "B1@example.com", "bot"] {
        assert!(judged(&known, &["b1"], &[], Some(own)).own_account, "{own}");
        assert!(!judged(&known, &["jo"], &[], Some(own)).own_account, "{own}");
    }
    assert!(!judged(&known, &["b1"], &[], None).own_account);
}

#[test]
fn the_exempt_and_guests_are_protected_unless_their_removal_was_asked_for() {
    let marked = |id, marks| SeenMember { marks, ..member(id, "EDITOR") };
    let known = known(vec![
        marked("jo", Marks { is_exempt: true, ..Marks::default() }),
        marked("kim", Marks { is_guest: true, ..Marks::default() }),
    ]);
    assert_eq!(judged(&known, &["jo", "kim"], &[], None).protected, 2);
    let asked = [intent("jo", Operation::Remove, None)];
    assert_eq!(judged(&known, &["jo", "kim"], &asked, None).protected, 1);
}

#[test]
fn a_report_about_others_than_cerby_knows_has_changed_underneath() {
    let whole = known(vec![member("jo", "EDITOR")]);
    assert!(!judged(&whole, &["jo"], &[], None).changed_underneath);
    assert!(judged(&whole, &["lee"], &[], None).changed_underneath);
    let partial = Snapshot { gaps: vec![Gap::TotalDiffers], ..whole };
    assert!(judged(&partial, &["jo"], &[], None).changed_underneath);
}

/// A person whom Cerby has not matched.
fn stranger(email: &str, role: &str) -> SeenMember {
    SeenMember { member: None, email: Some(email.to_owned()), ..member("", role) }
}

#[test]
fn the_own_account_is_known_in_every_spelling_and_by_the_report_alone() {
    let bot = SeenMember { email: Some("jörg@example.com".to_owned()), ..member("b1", "EDITOR") };
    for own in ["JÖRG@EXAMPLE.COM", " jo\u{308}rg@example.com", "jörg_example.com#EXT#@t.example"]
    {
        let facts = judged(&known(vec![bot.clone()]), &["b1"], &[], Some(own));
        assert!(facts.own_account, "{own}");
    }
    let nameless = SeenMember { email: None, ..bot };
    let removed = vec![reported(Some("b1"), Some("JÖRG@example.com"))];
    let own = Some("jörg@example.com");
    assert!(judged_of(&known(vec![nameless]), removed, &[], own).own_account);
    let others = known(vec![member("jo", "EDITOR")]);
    assert!(!judged(&others, &["jo"], &[], Some(" \u{200b}")).own_account);
}

#[test]
fn another_entry_of_the_last_administrator_is_no_second_administrator() {
    let known = known(vec![
        SeenMember { email: Some("jörg@example.com".to_owned()), ..member("a1", " Admin") },
        stranger("JÖRG@example.com ", "ADMIN"),
        member("kim", "EDITOR"),
    ]);
    for removed in [reported(Some("a1"), None), reported(None, Some("jo\u{308}rg@example.com"))] {
        let facts = judged_of(&known, vec![removed], &[], None);
        assert!(facts.last_administrator && !facts.changed_underneath);
        assert_eq!((facts.unexpected, facts.ambiguous), (1, 0), "one person, however often listed");
    }
}

#[test]
fn the_removed_are_found_by_what_report_and_cerby_both_tell() {
    let known = known(vec![
        SeenMember { username: Some("jo".to_owned()), ..stranger("jo@example.com", "EDITOR") },
        member("kim", "EDITOR"),
        SeenMember { email: Some("two@example.com".to_owned()), ..member("t1", "EDITOR") },
        SeenMember { email: Some("two@example.com".to_owned()), ..member("t2", "EDITOR") },
    ]);
    let asked = [intent("jo", Operation::Remove, None)];
    // The people in the report; then whether what Cerby knows differs, and how many are unexpected and ambiguous.
    let table = [
        (vec![reported(None, Some("JO@example.com"))], (false, 0, 0)),
        (vec![reported(Some("jo"), Some("jo@example.com"))], (false, 0, 0)),
        (
            vec![reported(None, Some("jo@example.com")), reported(None, Some("Jo@example.com"))],
            (false, 0, 0),
        ),
        (vec![reported(None, Some("kim@example.com"))], (false, 1, 0)),
        (vec![reported(None, Some("two@example.com"))], (false, 1, 1)),
        (vec![reported(Some("t1"), Some("two@example.com"))], (false, 1, 0)),
        (vec![reported(None, Some("lee@example.com"))], (true, 0, 0)),
        (vec![reported(Some("lee"), Some("kim@example.com"))], (true, 0, 0)),
    ];
    for (removed, expected) in table {
        let case = format!("{removed:?}");
        let facts = judged_of(&known, removed, &asked, None);
        let found = (facts.changed_underneath, facts.unexpected, facts.ambiguous);
        assert_eq!(found, expected, "{case}");
    }
}

proptest! {
    /// Reports at any times, with restarts of the daemon in between. A restart forgets nothing, because the guard reads
    /// the past from the database: what was applied counts until 24 hours after its sync ended.
    #[test]
    fn no_series_of_reports_removes_more_unexpected_members_in_24_hours_than_allowed(
        steps in prop::collection::vec((1_u32..600, 0_u32..5, 20_u64..200), 1..60),
    ) {
        const DAY: u32 = 24 * 60;
        let mut minute = 0;
        let mut applied: Vec<(u32, u32)> = Vec::new();
        for (wait, unexpected, members) in steps {
            minute += wait;
            let last_day = |applied: &[(u32, u32)]| -> u32 {
                applied.iter().filter(|(at, _)| minute - at < DAY).map(|(_, count)| count).sum()
            };
            let facts = Facts {
                removed: unexpected,
                unexpected,
                unexpected_before: last_day(&applied),
                read_of_total: Some((members, members)),
                ..facts()
            };
            if rule(&limits(), HOUR, &facts) == Ruling::Apply {
                applied.push((minute, unexpected));
                let share = u64::from(last_day(&applied)) * 10;
                prop_assert!(unexpected == 0 || share <= members + u64::from(unexpected));
            }
            prop_assert!(last_day(&applied) <= limits().max_unexpected_removals);
        }
    }
}
