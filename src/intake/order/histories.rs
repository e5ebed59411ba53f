//! Random histories of one member, checked against what rule 1 and rule 2 allow. Intents arrive in any order, attempts
//! start, succeed, fail or get lost, people act, and automation succeeds elsewhere. The member's rows are a model; the
//! order is the production code.

use proptest::prelude::*;

use super::*;
use crate::member::Effects;
use Operation::{ChangeRole, Invite, Remove};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Blocked,
    Ready,
    Flying { superseded_by: Option<i64> },
    Action,
    Done,
    Dismissed,
    Superseded { by: i64 },
}

#[derive(Debug, Clone)]
struct Row {
    intent: Intent,
    place: Place,
    /// How many effects there were when its latest attempt began.
    began: usize,
    /// Automation did it elsewhere.
    elsewhere: bool,
}

#[derive(Debug, Clone)]
struct Effect {
    intent: Intent,
    began: usize,
    /// Whether it is known as the effect of its request.
    is_seen: bool,
}

impl Row {
    fn effect(&self, is_seen: bool) -> Effect {
        Effect { intent: self.intent.clone(), began: self.began, is_seen }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Arrive { operation: Operation, minute: i64 },
    SucceedElsewhere { operation: Operation, minute: i64 },
    Start,
    Work,
    Fail,
    LoseSight,
    LoseSightOfALateOne,
    Land,
    PersonDoes,
    PersonDismisses,
    PersonReturns,
}

#[derive(Debug, Default)]
struct Member {
    rows: Vec<Row>,
    /// Effects in the app, in the order in which they took place.
    effects: Vec<Effect>,
    /// Effects of lost attempts. They land at any time until the attempt has settled.
    late: Vec<Effect>,
}

impl Member {
    fn take(&mut self, step: Step) {
        match step {
            Step::Arrive { operation, minute } => self.arrive(operation, minute, false),
            Step::SucceedElsewhere { operation, minute } => self.arrive(operation, minute, true),
            Step::Start => self.start(),
            Step::Work => self.end_attempt(true),
            Step::Fail => self.end_attempt(false),
            Step::LoseSight => {
                self.lose_sight();
                self.land();
            }
            Step::LoseSightOfALateOne => self.lose_sight(),
            Step::Land => self.land(),
            Step::PersonDoes => {
                let began = self.effects.len();
                let done: Vec<_> = self
                    .at(Place::Action)
                    .map(|row| Effect { began, ..row.effect(true) })
                    .collect();
                self.effects.extend(done);
                self.move_all(Place::Action, |_| Place::Done);
                self.promote();
            }
            Step::PersonDismisses => {
                self.move_all(Place::Action, |_| Place::Dismissed);
                self.promote();
            }
            Step::PersonReturns => {
                self.move_all(Place::Action, |_| Place::Blocked);
                self.promote();
            }
        }
    }

    fn at(&self, place: Place) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.place == place)
    }

    fn move_all(&mut self, from: Place, to: impl Fn(&Row) -> Place) {
        for row in &mut self.rows {
            if row.place == from {
                row.place = to(row);
            }
        }
    }

    /// A claim notices whether a later request took effect while its task was blocked.
    fn start(&mut self) {
        let effects = self.known_effects();
        let began = self.effects.len();
        for row in self.rows.iter_mut().filter(|row| row.place == Place::Ready) {
            let request = (row.intent.task, row.intent.requested_at);
            row.began = began;
            row.place = match effects.over(row.intent.operation, request) {
                Some(by) => Place::Superseded { by },
                None => Place::Flying { superseded_by: None },
            };
        }
        self.promote();
    }

    /// The latest requests that took effect, as the member's row holds them.
    fn known_effects(&self) -> Effects {
        let latest = |operation| {
            let done = self.at(Place::Done).filter(|row| row.intent.operation == operation);
            let latest = done.max_by_key(|row| age(&row.intent))?;
            Some((latest.intent.task, latest.intent.requested_at))
        };
        Effects { invite: latest(Invite), role: latest(ChangeRole) }
    }

    fn arrive(&mut self, operation: Operation, minute: i64, has_succeeded: bool) {
        let task = i64::try_from(self.rows.len()).unwrap() + 1;
        let requested_at = DateTime::from_timestamp(minute * 60, 0).unwrap();
        let intent = Intent { task, operation, requested_at, standing: Standing::Arrived };
        let began = self.effects.len();
        let place = if has_succeeded { Place::Done } else { Place::Blocked };
        let row = Row { intent, place, began, elsewhere: has_succeeded };
        // A success that is reported late took place before what came later.
        let is_latest = !self.effects.iter().any(|other| age(&other.intent) > age(&row.intent));
        if has_succeeded && is_latest {
            self.effects.push(row.effect(true));
        }
        self.rows.push(row);
        let arrived = (!has_succeeded).then_some(task);
        let intents: Vec<_> = self.rows.iter().map(|row| known(row, arrived)).collect();
        self.apply(&order(&intents));
    }

    fn apply(&mut self, order: &Order) {
        for row in &mut self.rows {
            let task = row.intent.task;
            let loses =
                |list: &[Superseded]| list.iter().find(|one| one.task == task).map(|one| one.by);
            if let Some(by) = loses(&order.closed) {
                row.place = Place::Superseded { by };
            } else if let Some(by) = loses(&order.marked) {
                row.place = Place::Flying { superseded_by: Some(by) };
            } else if let Some((_, by)) = order.ended_actions.iter().find(|(id, _)| *id == task) {
                row.place = Place::Superseded { by: *by };
            } else if order.blocked.contains(&task) {
                row.place = Place::Blocked;
            } else if order.ready == Some(task) && !matches!(row.place, Place::Flying { .. }) {
                row.place = Place::Ready;
            }
        }
        self.promote(); // an action that ended freed the turn
    }

    /// Gives the oldest waiting task its turn, unless an unfinished task is ahead, as `member::store::give_turn` does.
    fn promote(&mut self) {
        let blocked = self
            .rows
            .iter()
            .any(|row| matches!(row.place, Place::Ready | Place::Flying { .. } | Place::Action));
        let oldest = self
            .rows
            .iter_mut()
            .filter(|row| row.place == Place::Blocked)
            .min_by_key(|row| age(&row.intent));
        if let (false, Some(row)) = (blocked, oldest) {
            row.place = Place::Ready;
        }
    }

    /// Ends an attempt. Every late effect has landed by then.
    fn end_attempt(&mut self, works: bool) {
        self.land();
        for row in &mut self.rows {
            if let Place::Flying { superseded_by } = row.place {
                if works {
                    self.effects.push(row.effect(superseded_by.is_none()));
                }
                row.place = match (superseded_by, works) {
                    (Some(by), _) => Place::Superseded { by },
                    (None, true) => Place::Done,
                    (None, false) => Place::Action,
                };
            }
        }
        self.promote();
    }

    /// The answer is lost. The attempt takes effect all the same, now or later, and the task keeps its turn to read the
    /// member again.
    fn lose_sight(&mut self) {
        let flying = self.rows.iter().filter(|row| matches!(row.place, Place::Flying { .. }));
        let lost: Vec<_> = flying.map(|row| row.effect(false)).collect();
        self.late.extend(lost);
    }

    fn land(&mut self) {
        self.effects.append(&mut self.late);
    }

    /// Whether the later of two intents supersedes the older, as the rules state it.
    fn overrules(later: &Intent, older: &Intent) -> bool {
        age(later) > age(older) && (later.operation == Remove || later.operation == older.operation)
    }

    fn check(&self, before: usize) -> Result<(), TestCaseError> {
        let ahead = self
            .rows
            .iter()
            .filter(|row| matches!(row.place, Place::Ready | Place::Flying { .. } | Place::Action));
        prop_assert!(ahead.count() <= 1, "two at a time: {:?}", self.rows);
        let is_flying = self.rows.iter().any(|row| matches!(row.place, Place::Flying { .. }));
        prop_assert!(
            is_flying || self.late.is_empty(),
            "an attempt may still land: {:?}",
            self.rows
        );
        for row in &self.rows {
            if let Place::Superseded { by } = row.place {
                let winner = &self.rows[usize::try_from(by - 1).unwrap()].intent;
                prop_assert!(age(winner) > age(&row.intent), "superseded by an older intent");
            }
        }
        // No intent that counts overrules an intent that is neither finished nor in flight.
        for row in self.rows.iter().filter(|row| matches!(row.place, Place::Blocked | Place::Ready))
        {
            let overruled = self.rows.iter().any(|later| {
                let counts = later.intent.operation == Remove
                    || !matches!(later.place, Place::Dismissed | Place::Superseded { .. });
                counts && Self::overrules(&later.intent, &row.intent)
            });
            prop_assert!(!overruled, "task {} should be closed: {:?}", row.intent.task, self.rows);
        }
        // No removed member is brought back, and no member who was invited or given a role is removed by an older
        // request: no attempt begins after the opposite, requested later, was seen to take effect.
        for effect in self.effects.iter().skip(before) {
            let undone = self.effects[..effect.began].iter().find(|earlier| {
                let (later, older) = (&earlier.intent, &effect.intent);
                age(later) > age(older)
                    && (earlier.is_seen || later.operation == Remove)
                    && later.operation.overrules(older.operation, true)
            });
            prop_assert!(undone.is_none(), "task {} after {undone:?}", effect.intent.task);
        }
        Ok(())
    }

    fn is_done(&self, task: i64) -> bool {
        self.at(Place::Done).any(|row| row.intent.task == task)
    }

    /// No removal was superseded by an intent that had no effect, and no older intent acts in the app after the latest
    /// one. An attempt that was in flight while automation succeeded elsewhere may do so: removals are watched for that
    /// reason.
    fn check_end(&self) -> Result<(), TestCaseError> {
        for row in self.rows.iter().filter(|row| row.intent.operation == Remove) {
            if let Place::Superseded { by } = row.place {
                let winner = &self.rows[usize::try_from(by - 1).unwrap()];
                let stands = winner.intent.operation == Remove || winner.place == Place::Done;
                prop_assert!(stands, "{row:?} made way for {winner:?}");
            }
        }
        let counts = |row: &&Row| match row.place {
            // A person was asked to do it, and dismissed it.
            Place::Dismissed => row.intent.operation == Remove,
            Place::Superseded { by } => self.is_done(by),
            _ => true,
        };
        let latest = self.rows.iter().filter(counts).max_by_key(|row| age(&row.intent));
        let is_proven = |row: &&Row| {
            row.intent.operation == Remove && row.place == Place::Done && !row.elsewhere
        };
        if let Some(latest) = latest.filter(is_proven) {
            // An attempt of a later intent may have been lost, and a person dismissed that intent.
            let not_later = |one: &&Effect| age(&one.intent) <= age(&latest.intent);
            let last = self.effects.iter().rfind(not_later).map(|one| one.intent.operation);
            prop_assert_eq!(last, Some(Remove), "{:?} of {:?}", latest, self.rows);
        }
        Ok(())
    }

    /// Works on everything that is left until nothing can go on.
    fn finish(&mut self) {
        for _ in 0..=self.rows.len() * 2 {
            self.take(Step::Start);
            self.take(Step::Work);
            self.take(Step::PersonDoes);
        }
    }
}

fn known(row: &Row, arrived: Option<i64>) -> Intent {
    let standing = match row.place {
        _ if Some(row.intent.task) == arrived => Standing::Arrived,
        Place::Blocked => Standing::Blocked,
        Place::Ready => Standing::Ready,
        Place::Flying { superseded_by } => Standing::InFlight { superseded_by },
        Place::Action => Standing::Action(row.intent.task),
        Place::Done => Standing::Effective,
        Place::Dismissed | Place::Superseded { .. } => Standing::Void,
    };
    Intent { standing, ..row.intent.clone() }
}

fn any_step() -> impl Strategy<Value = Step> {
    let operation = || prop_oneof![Just(Invite), Just(Remove), Just(ChangeRole)];
    prop_oneof![
        4 => (operation(), 0_i64..12).prop_map(|(operation, minute)| Step::Arrive { operation, minute }),
        1 => (operation(), 0_i64..12)
            .prop_map(|(operation, minute)| Step::SucceedElsewhere { operation, minute }),
        3 => Just(Step::Start),
        2 => Just(Step::Work),
        2 => Just(Step::Fail),
        1 => Just(Step::LoseSight),
        1 => Just(Step::LoseSightOfALateOne),
        1 => Just(Step::Land),
        1 => Just(Step::PersonDoes),
        1 => Just(Step::PersonDismisses),
        1 => Just(Step::PersonReturns),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_history_brings_back_a_removed_member_or_lets_two_go_at_a_time(
        steps in prop::collection::vec(any_step(), 1..40)
    ) {
        let mut member = Member::default();
        for step in steps {
            let effects = member.effects.len();
            member.take(step);
            member.check(effects)?;
        }
        member.finish();
        member.check(0)?;
        member.check_end()?;
        let unfinished = member.rows.iter().filter(|row| {
            !matches!(row.place, Place::Done | Place::Dismissed | Place::Superseded { .. })
        });
        prop_assert_eq!(unfinished.count(), 0, "something waits for ever: {:?}", member.rows);
    }

    #[test]
    fn without_failures_the_latest_intents_decide_whatever_the_order_of_arrival(
        desired in prop::collection::vec((any_step(), any::<bool>()), 1..14)
    ) {
        let mut member = Member::default();
        for (step, pause) in desired {
            if let Step::Arrive { .. } = step {
                member.take(step);
            }
            if pause {
                member.take(Step::Start);
                member.take(Step::Work);
            }
        }
        member.finish();
        member.check(0)?;
        let latest = member.rows.iter().map(|row| &row.intent).max_by_key(|intent| age(intent));
        if let (Some(latest), Some(last)) = (latest, member.effects.last())
            && latest.operation == Remove
        {
            prop_assert_eq!(last.intent.operation, Remove, "{:?}", member.rows);
        }
    }
}
