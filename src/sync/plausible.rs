//! Whether a whole list is believed when it shows that people are gone. Pure.
//!
//! An app's page that stays empty, or a list that ends after its first page with that as its total, looks like a complete
//! snapshot, and has emptied whole directories at peers (awslabs/ssosync#194, fleetdm/fleet#49365). Such a list counts for
//! presence and not for absence, until a later one shows the same and the same people are asked for one by one.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::report::store::KnownMember;
use super::verdict::{Sighting, Sightings};
use crate::backend::{Gap, Snapshot, is_round};
use crate::identity::Keys;
use crate::membership::{Operation, SeenMember};
use crate::store::elapsed;

/// Where many are missing who were not asked to go, and none of them can be asked for, a list is believed that has shown the
/// same for so long.
const BELIEVED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Members who are asked for one by one at most.
const MOST_ASKED: usize = 5;

/// The same of members who were asked to go and are gone: as many as become so at once, but for great cleanings.
const MOST_GONE_ASKED: usize = 20;

/// What earlier snapshots of the integration showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// How many people the latest complete one showed.
    pub people: Option<u64>,
    /// What made the latest one incomplete.
    pub latest_gaps: Vec<Gap>,
    /// When the first one began after the latest complete one.
    pub doubted_since: Option<DateTime<Utc>>,
}

/// Why a whole list is doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    pub gap: Gap,
    /// How many fewer it shows although nobody asked for their removal.
    pub unexpected: u64,
}

/// What makes a whole list doubtful: it shows nobody at all, or more people are gone than were asked to go, down to a round
/// number or by more than a part of them.
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

/// How many people these entries are about: whoever is listed once with an id and once without it is one.
pub fn people(members: &[SeenMember]) -> u64 {
    let keys = members.iter().map(SeenMember::keys);
    let (matched, unmatched): (Vec<_>, Vec<_>) = keys.partition(|keys| keys.id().is_some());
    let ids: HashSet<_> = matched.iter().filter_map(Keys::id).collect();
    let emails: HashSet<_> = matched.iter().filter_map(Keys::email).collect();
    let (named, nameless): (Vec<_>, Vec<_>) =
        unmatched.iter().map(Keys::email).partition(Option::is_some);
    let others: HashSet<_> =
        named.into_iter().flatten().filter(|email| !emails.contains(email)).collect();
    (ids.len() + others.len() + nameless.len()) as u64
}

/// Members who were asked to go, and whom the list does not show for the first time.
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

/// Known members whom the list does not show for the first time: who was asked to go, and a few who were not. If one of
/// them is found by id, the list does not show everybody, however many it shows.
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

/// Known members whom the list does not show, to be asked for one by one: first those whose removal nobody asked for.
pub fn to_ask_for<'a>(sightings: &Sightings<'_>, known: &'a [KnownMember]) -> Vec<&'a KnownMember> {
    let mut missing: Vec<_> = known.iter().filter(|one| is_missing(sightings, one)).collect();
    missing.sort_by_key(|one| (was_asked_to_go(one), !was_there(one)));
    missing.truncate(MOST_ASKED);
    missing
}

/// Whether a doubtful list is believed after all, once none of these was found when they were asked for one by one: the
/// snapshot before showed the same, and either no more than `few` are missing who were not asked to go, or one of those
/// was asked for, or it has been so for long enough.
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

    /// A whole list of so many members, the first of them `m0`.
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
