//! Decides whether to believe a complete list that shows that people are gone. Pure.
//!
//! A page that an app returns empty by mistake, or a list that ends after its first page and reports that as its total,
//! looks like a complete snapshot. Such lists have emptied whole directories elsewhere (awslabs/ssosync#194,
//! fleetdm/fleet#49365). Therefore a doubtful list proves presence but not absence, until a later list shows the same
//! and lookups of missing members confirm it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::report::KnownMember;
use super::verdict::{Sighting, Sightings};
use crate::backend::{Gap, Snapshot, is_round};
use crate::membership::{Operation, people};
use crate::store::elapsed;

/// If many members are missing whose removal nobody requested, and none of them can be looked up, a list is believed
/// once the doubt has lasted this long.
const BELIEVED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest number of members to look up one by one.
const MOST_ASKED: usize = 5;

/// The same limit for members whose removal was requested and who are gone. It covers all who leave at one time, except
/// in large clean-ups.
const MOST_GONE_ASKED: usize = 20;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// How many people the latest complete snapshot showed.
    pub people: Option<u64>,
    /// What made the latest snapshot incomplete.
    pub latest_gaps: Vec<Gap>,
    /// When the first snapshot after the latest complete one began.
    pub doubted_since: Option<DateTime<Utc>>,
}

/// Why a complete list is doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    pub gap: Gap,
    /// How many fewer people it shows than their requested removals explain.
    pub unexpected: u64,
}

/// Returns the doubt about a complete list, if there is one. A list is doubtful if it shows nobody, unless the latest
/// complete snapshot showed nobody either. It is also doubtful if more people are gone than requested removals explain,
/// and either the number of people shown is round or the unexplained loss exceeds `most_percent`.
pub fn doubt(
    snapshot: &Snapshot,
    sightings: &Sightings<'_>,
    past: &Past,
    known: &[KnownMember],
    most_percent: u32,
) -> Option<Doubt> {
    let now = people(&snapshot.members);
    let before = past.people.unwrap_or(0);
    let lost = before.saturating_sub(now);
    let unexpected = lost.saturating_sub(gone_as_asked(sightings, known));
    if now == 0 {
        let was_empty = past.people == Some(0);
        return (!was_empty).then_some(Doubt { gap: Gap::Empty, unexpected });
    }
    let is_large = unexpected.saturating_mul(100) > before.saturating_mul(u64::from(most_percent));
    (unexpected > 0 && (is_round(now) || is_large))
        .then_some(Doubt { gap: Gap::Shrunk, unexpected })
}

/// The members whose removal was requested and who are missing for the first time.
fn gone_as_asked(sightings: &Sightings<'_>, known: &[KnownMember]) -> u64 {
    let is_gone =
        |one: &&KnownMember| was_asked_to_go(one) && !was_gone(one) && is_missing(sightings, one);
    known.iter().filter(is_gone).count() as u64
}

fn is_missing(sightings: &Sightings<'_>, one: &KnownMember) -> bool {
    matches!(sightings.of(&one.identity), Sighting::Absent)
}

fn was_asked_to_go(one: &KnownMember) -> bool {
    one.intent.as_ref().is_some_and(|intent| intent.desired.operation == Operation::Remove)
}

fn was_there(one: &KnownMember) -> bool {
    one.observed.is_some() && !was_gone(one)
}

fn was_gone(one: &KnownMember) -> bool {
    one.observed.as_ref().is_some_and(|observed| observed.membership == "absent")
}

/// Known members who are missing from the list for the first time: those whose removal was requested, and a few others.
/// If one of them is found by id, the list does not show everybody, however many people it shows.
pub fn newly_missing<'a>(
    sightings: &Sightings<'_>,
    known: &'a [KnownMember],
) -> Vec<&'a KnownMember> {
    let is_new = |one: &&KnownMember| {
        let may_be_there = was_there(one) || one.took_effect || was_asked_to_go(one);
        may_be_there && !was_gone(one) && is_missing(sightings, one)
    };
    let (mut gone, mut lost): (Vec<_>, Vec<_>) =
        known.iter().filter(is_new).partition(|one| was_asked_to_go(one));
    gone.truncate(MOST_GONE_ASKED);
    lost.truncate(MOST_ASKED);
    lost.into_iter().chain(gone).collect()
}

/// Known members who are missing from the list, to be looked up one by one: first those whose removal nobody requested.
pub fn to_ask_for<'a>(sightings: &Sightings<'_>, known: &'a [KnownMember]) -> Vec<&'a KnownMember> {
    let mut missing: Vec<_> = known.iter().filter(|one| is_missing(sightings, one)).collect();
    missing.sort_by_key(|one| (was_asked_to_go(one), !was_there(one)));
    missing.truncate(MOST_ASKED);
    missing
}

/// Whether a doubtful list is believed after all, once the lookups found none of `asked_for`. The snapshot before must
/// have shown the same gap, and somebody must have been looked up. Besides, one of these must hold: at most `few`
/// people are missing whose removal nobody requested, or one of those was looked up, or the doubt has lasted long
/// enough.
pub fn is_believed(
    doubt: &Doubt,
    past: &Past,
    asked_for: &[&KnownMember],
    few: u32,
    now: DateTime<Utc>,
) -> bool {
    let is_confirmed = past.latest_gaps == [doubt.gap] && !asked_for.is_empty();
    let tells =
        doubt.unexpected <= u64::from(few) || asked_for.iter().any(|one| !was_asked_to_go(one));
    let for_long = past.doubted_since.is_some_and(|since| elapsed(since, now) >= BELIEVED_AFTER);
    is_confirmed && (tells || for_long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::membership::{Desired, Marks, Membership, Observed, SeenMember};
    use crate::sync::report::LatestIntent;

    fn seen(id: String) -> SeenMember {
        SeenMember {
            email: Some(format!("{id}@example.com")),
            member: Some(id),
            username: None,
            entitlements: Default::default(),
            membership: Membership::Joined,
            marks: Marks::default(),
        }
    }

    /// A complete list of this many members, the first of them `m0`.
    fn list(members: usize) -> Snapshot {
        Snapshot {
            members: (0..members).map(|n| seen(format!("m{n}"))).collect(),
            ..Snapshot::default()
        }
    }

    fn known(member: &str, operation: Operation, observed: Option<&str>) -> KnownMember {
        let identity = Identity {
            member: member.to_owned(),
            email: format!("{member}@example.com"),
            username: None,
        };
        let desired = Desired {
            operation,
            member: identity.member.clone(),
            email: identity.email.clone(),
            username: None,
            entitlements: Default::default(),
        };
        KnownMember {
            identity,
            intent: Some(LatestIntent { task: 1, desired, worked_at: None }),
            took_effect: false,
            was_to_go: false,
            watch: None,
            observed: observed.map(|membership| Observed {
                membership: membership.to_owned(),
                entitlements: Vec::new(),
            }),
        }
    }

    fn after(people: Option<u64>) -> Past {
        Past { people, ..Past::default() }
    }

    #[test]
    fn whoever_is_listed_twice_is_one_of_the_people() {
        let unmatched = |email: &str| SeenMember {
            member: None,
            email: Some(email.to_owned()),
            ..seen(String::new())
        };
        let table = [
            (vec![], 0),
            (vec![seen("jo".into()), seen("kim".into())], 2),
            (vec![seen("jo".into()), seen("jo".into())], 1),
            (vec![seen("jo".into()), unmatched(" JO@example.com")], 1),
            (vec![unmatched("jo@example.com"), unmatched("Jo@example.com")], 1),
            (vec![unmatched("jo@example.com"), unmatched("kim@example.com")], 2),
        ];
        for (members, expected) in table {
            assert_eq!(people(&members), expected, "{members:?}");
        }
    }

    #[test]
    fn a_list_that_loses_people_nobody_asked_to_go_is_doubtful_by_this_table() {
        let gone = |member, observed| known(member, Operation::Remove, observed);
        let one = || vec![gone("gone", Some("joined"))];
        let table = [
            ("the first list shows nobody", None, list(0), vec![], Some((Gap::Empty, 0))),
            ("nobody is left", Some(2), list(0), one(), Some((Gap::Empty, 1))),
            ("the last one was to go", Some(1), list(0), one(), Some((Gap::Empty, 0))),
            ("nobody was there before", Some(0), list(0), vec![], None),
            ("the first list", None, list(100), vec![], None),
            ("cut to a page", Some(150), list(100), one(), Some((Gap::Shrunk, 49))),
            ("cut to a small page", Some(26), list(25), vec![], Some((Gap::Shrunk, 1))),
            ("a round number as asked", Some(101), list(100), one(), None),
            ("one less than asked", Some(102), list(99), one(), None),
            ("a tenth less", Some(99), list(89), vec![], Some((Gap::Shrunk, 10))),
            ("more than before", Some(99), list(100), one(), None),
            ("not seen before, and not now", Some(101), list(100), vec![gone("gone", None)], None),
            (
                "was gone before",
                Some(101),
                list(100),
                vec![gone("gone", Some("absent"))],
                Some((Gap::Shrunk, 1)),
            ),
            (
                "still there",
                Some(101),
                list(100),
                vec![gone("m0", Some("joined"))],
                Some((Gap::Shrunk, 1)),
            ),
        ];
        for (case, before, list, known, expected) in table {
            let found = doubt(&list, &Sightings::new(&list), &after(before), &known, 10);
            assert_eq!(found.map(|doubt| (doubt.gap, doubt.unexpected)), expected, "{case}");
        }
    }

    #[test]
    fn a_doubtful_list_is_believed_by_this_table() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let (gone, other) =
            (known("gone", Operation::Remove, None), known("other", Operation::Invite, None));
        let since = |seconds| Some(now - chrono::TimeDelta::seconds(seconds));
        let past = |gaps: &[Gap], seconds| Past {
            people: Some(150),
            latest_gaps: gaps.to_vec(),
            doubted_since: since(seconds),
        };
        let few = Doubt { gap: Gap::Shrunk, unexpected: 3 };
        let (empty, shrunk) =
            (Doubt { gap: Gap::Empty, unexpected: 0 }, Doubt { gap: Gap::Shrunk, unexpected: 49 });
        let table = [
            ("the first that shows it", empty, past(&[], 0), vec![&gone], false),
            ("another shows it too", empty, past(&[Gap::Empty], 120), vec![&gone], true),
            ("and nobody could be asked for", empty, past(&[Gap::Empty], 120), vec![], false),
            (
                "the one before lacked more",
                empty,
                past(&[Gap::TotalDiffers], 120),
                vec![&gone],
                false,
            ),
            ("a few left by themselves", few, past(&[Gap::Shrunk], 120), vec![&gone], true),
            (
                "only who was to go was asked for",
                shrunk,
                past(&[Gap::Shrunk], 120),
                vec![&gone],
                false,
            ),
            ("and that for a day", shrunk, past(&[Gap::Shrunk], 86_400), vec![&gone], true),
            ("another is not found either", shrunk, past(&[Gap::Shrunk], 120), vec![&other], true),
        ];
        for (case, doubt, past, asked_for, expected) in table {
            assert_eq!(is_believed(&doubt, &past, &asked_for, 3, now), expected, "{case}");
        }
    }

    #[test]
    fn whoever_is_missing_for_the_first_time_is_asked_for() {
        let none = Operation::Invite;
        let all = [
            known("gone", Operation::Remove, Some("joined")),
            known("gone first", Operation::Remove, None),
            known("gone before", Operation::Remove, Some("absent")),
            known("never there", none, None),
            KnownMember { took_effect: true, ..known("invited", none, None) },
            KnownMember { took_effect: true, ..known("vanished", none, Some("absent")) },
            known("lost", none, Some("joined")),
            known("m0", Operation::Remove, Some("joined")),
        ];
        let list = list(1);
        let sightings = Sightings::new(&list);
        let asked: Vec<_> = newly_missing(&sightings, &all)
            .iter()
            .map(|one| one.identity.member.as_str())
            .collect();
        assert_eq!(asked, ["invited", "lost", "gone", "gone first"]);
        let many: Vec<_> =
            (0..40).map(|n| known(&format!("gone{n}"), Operation::Remove, None)).collect();
        assert_eq!(newly_missing(&sightings, &many).len(), MOST_GONE_ASKED);
    }

    #[test]
    fn those_are_asked_for_whom_the_list_lost_and_nobody_asked_to_go_first() {
        let all = [
            known("gone", Operation::Remove, Some("joined")),
            known("never", Operation::Invite, None),
            known("lost", Operation::Invite, Some("joined")),
            known("m0", Operation::Invite, Some("joined")),
        ];
        let list = list(1);
        let asked: Vec<_> = to_ask_for(&Sightings::new(&list), &all)
            .iter()
            .map(|one| one.identity.member.as_str())
            .collect();
        assert_eq!(asked, ["lost", "never", "gone"]);
    }
}
