//! Random histories of one member: intents arrive in any order, attempts start, work, fail, are lost sight of, people
//! act; against what rule 1 and rule 2 allow. The member's rows are a model; the order is the real one.

use proptest::prelude::*;

use super::*;
use Operation::{ChangeRole, Invite, Remove};

/// Where a task of the model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Head,
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
}

/// What happens next; numbers choose among what is possible.
#[derive(Debug, Clone, Copy)]
enum Step {
    Arrive { operation: Operation, minute: i64 },
    Start,
    Work,
    Fail,
    LoseSight,
    PersonDoes,
    PersonDismisses,
    PersonReturns,
}

#[derive(Debug, Default)]
struct Member {
    rows: Vec<Row>,
    /// Effects in the app: the intent behind each, in the order in which they took place.
    effects: Vec<Intent>,
}

impl Member {
    fn take(&mut self, step: Step) {
        match step {
            Step::Arrive { operation, minute } => self.arrive(operation, minute),
            Step::Start => self.move_all(Place::Head, |_| Place::Flying { superseded_by: None }),
            Step::Work => self.end_attempt(true),
            Step::Fail => self.end_attempt(false),
            Step::LoseSight => self.lose_sight(),
            Step::PersonDoes => {
                let done: Vec<_> = self.at(Place::Action).map(|row| row.intent.clone()).collect();
                self.effects.extend(done);
                self.move_all(Place::Action, |_| Place::Done);
                self.promote();
            }
            Step::PersonDismisses => {
                self.move_all(Place::Action, |_| Place::Dismissed);
                self.promote();
            }
            Step::PersonReturns => {
                self.move_all(Place::Action, |_| Place::Waiting);
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

    fn arrive(&mut self, operation: Operation, minute: i64) {
        let task = i64::try_from(self.rows.len()).unwrap() + 1;
        let requested_at = DateTime::from_timestamp(minute * 60, 0).unwrap();
        let intent = Intent { task, operation, requested_at, standing: Standing::Arrived };
        self.rows.push(Row { intent, place: Place::Waiting });
        let intents: Vec<_> = self.rows.iter().map(|row| known(row, task)).collect();
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
            } else if order.waiting.contains(&task) {
                row.place = Place::Waiting;
            } else if order.head == Some(task) && !matches!(row.place, Place::Flying { .. }) {
                row.place = Place::Head;
            }
        }
        self.promote(); // an action that ended gave the turn away by itself
    }

    /// The oldest waiting task gets its turn, unless something unfinished is ahead, as `member::store::give_turn` does.
    fn promote(&mut self) {
        let blocked = self
            .rows
            .iter()
            .any(|row| matches!(row.place, Place::Head | Place::Flying { .. } | Place::Action));
        let oldest = self
            .rows
            .iter_mut()
            .filter(|row| row.place == Place::Waiting)
            .min_by_key(|row| age(&row.intent));
        if let (false, Some(row)) = (blocked, oldest) {
            row.place = Place::Head;
        }
    }

    fn end_attempt(&mut self, works: bool) {
        for row in &mut self.rows {
            if let Place::Flying { superseded_by } = row.place {
                if works {
                    self.effects.push(row.intent.clone());
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

    /// The answer was lost; the attempt took effect all the same, and the task keeps its turn to look again.
    fn lose_sight(&mut self) {
        let flying = self.rows.iter().filter(|row| matches!(row.place, Place::Flying { .. }));
        let lost: Vec<_> = flying.map(|row| row.intent.clone()).collect();
        self.effects.extend(lost);
    }

    /// Two intents of which the later makes the older pointless, in the words of the rules.
    fn overrules(later: &Intent, older: &Intent) -> bool {
        age(later) > age(older) && (later.operation == Remove || later.operation == older.operation)
    }

    fn check(&self, before: usize) -> Result<(), TestCaseError> {
        let ahead = self
            .rows
            .iter()
            .filter(|row| matches!(row.place, Place::Head | Place::Flying { .. } | Place::Action));
        prop_assert!(ahead.count() <= 1, "two at a time: {:?}", self.rows);
        for row in &self.rows {
            if let Place::Superseded { by } = row.place {
                let winner = &self.rows[usize::try_from(by - 1).unwrap()].intent;
                prop_assert!(age(winner) > age(&row.intent), "superseded by an older intent");
            }
        }
        // What is not finished and not in flight was overruled by nothing that still counts.
        for row in self.rows.iter().filter(|row| matches!(row.place, Place::Waiting | Place::Head))
        {
            let overruled = self.rows.iter().any(|later| {
                let counts = later.intent.operation == Remove
                    || !matches!(later.place, Place::Dismissed | Place::Superseded { .. });
                counts && Self::overrules(&later.intent, &row.intent)
            });
            prop_assert!(!overruled, "task {} should be closed: {:?}", row.intent.task, self.rows);
        }
        // No removed member is brought back: nothing older takes effect after a removal did.
        for (at, effect) in self.effects.iter().enumerate().skip(before) {
            let undone = self.effects[..at]
                .iter()
                .find(|earlier| earlier.operation == Remove && age(earlier) > age(effect));
            prop_assert!(undone.is_none(), "task {} after {undone:?}", effect.task);
        }
        Ok(())
    }

    /// Works on everything that is left until nobody can go on.
    fn finish(&mut self) {
        for _ in 0..=self.rows.len() * 2 {
            self.take(Step::Start);
            self.take(Step::Work);
            self.take(Step::PersonDoes);
        }
    }
}

fn known(row: &Row, arrived: i64) -> Intent {
    let standing = match row.place {
        _ if row.intent.task == arrived => Standing::Arrived,
        Place::Waiting => Standing::Waiting,
        Place::Head => Standing::Head,
        Place::Flying { superseded_by } => Standing::InFlight { superseded_by },
        Place::Action => Standing::Action(row.intent.task),
        Place::Done => Standing::Effective,
        Place::Dismissed | Place::Superseded { .. } => Standing::Void,
    };
    Intent { standing, ..row.intent.clone() }
}

fn any_step() -> impl Strategy<Value = Step> {
    let operation = prop_oneof![Just(Invite), Just(Remove), Just(ChangeRole)];
    prop_oneof![
        4 => (operation, 0_i64..12).prop_map(|(operation, minute)| Step::Arrive { operation, minute }),
        3 => Just(Step::Start),
        2 => Just(Step::Work),
        2 => Just(Step::Fail),
        1 => Just(Step::LoseSight),
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
        let unfinished = member.rows.iter().filter(|row| {
            !matches!(row.place, Place::Done | Place::Dismissed | Place::Superseded { .. })
        });
        prop_assert_eq!(unfinished.count(), 0, "something waits for ever: {:?}", member.rows);
    }

    #[test]
    fn without_failures_the_latest_intents_decide_whatever_the_order_of_arrival(
        wanted in prop::collection::vec((any_step(), any::<bool>()), 1..14)
    ) {
        let mut member = Member::default();
        for (step, pause) in wanted {
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
            prop_assert_eq!(last.operation, Remove, "{:?}", member.rows);
        }
    }
}
