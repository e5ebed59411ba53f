use proptest::prelude::*;

use super::*;
use Operation::{ChangeRole, Invite, Remove};

const FLYING: Standing = Standing::InFlight { superseded_by: None };

/// An intent that was requested in the minute `task`.
fn intent(task: i64, operation: Operation, standing: Standing) -> Intent {
    let requested_at = DateTime::from_timestamp(task * 60, 0).expect("a time of this century");
    Intent { task, operation, requested_at, standing }
}

fn new(task: i64, operation: Operation) -> Intent {
    intent(task, operation, Standing::Arrived)
}

#[test]
fn a_single_new_task_gets_its_turn() {
    let order = order(&[new(1, Invite)]);
    assert_eq!(order, Order { ready: Some(1), ..Order::default() });
}

#[test]
fn a_later_removal_supersedes_everything_older_whatever_the_order_of_arrival() {
    let operations = [Invite, ChangeRole, Remove];
    for tasks in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let intents: Vec<_> = tasks
            .iter()
            .map(|task| new(*task, operations[usize::try_from(task - 1).unwrap()]))
            .collect();
        let order = order(&intents);
        assert_eq!(order.ready, Some(3));
        let mut closed = order.closed;
        closed.sort_by_key(|loser| loser.task);
        assert_eq!(closed, [Superseded { task: 1, by: 3 }, Superseded { task: 2, by: 3 }]);
    }
}

#[test]
fn a_later_invite_waits_behind_an_unfinished_removal() {
    let order = order(&[intent(1, Remove, Standing::Ready), new(2, Invite)]);
    assert_eq!(order, Order { ready: Some(1), blocked: vec![2], ..Order::default() });
}

#[test]
fn a_change_of_role_waits_behind_an_unfinished_invite() {
    let order = order(&[intent(1, Invite, Standing::Ready), new(2, ChangeRole)]);
    assert_eq!(order, Order { ready: Some(1), blocked: vec![2], ..Order::default() });
}

#[test]
fn a_task_in_flight_keeps_its_turn_until_it_settles_and_is_only_marked() {
    let order = order(&[intent(1, Invite, FLYING), new(2, Remove)]);
    let marked = vec![Superseded { task: 1, by: 2 }];
    assert_eq!(order, Order { ready: Some(1), blocked: vec![2], marked, ..Order::default() });
}

#[test]
fn an_open_manual_action_holds_the_turn_until_a_removal_ends_it() {
    let held = order(&[intent(1, Invite, Standing::Action(7)), new(2, ChangeRole)]);
    assert_eq!(held, Order { blocked: vec![2], ..Order::default() });
    let ended = order(&[intent(1, Invite, Standing::Action(7)), new(2, Remove)]);
    assert_eq!(ended, Order { ready: Some(2), ended_actions: vec![(7, 2)], ..Order::default() });
}

#[test]
fn an_older_invite_that_arrives_after_a_removal_took_effect_is_closed() {
    let order = order(&[intent(2, Remove, Standing::Effective), new(1, Invite)]);
    assert_eq!(order.closed, [Superseded { task: 1, by: 2 }]);
    assert_eq!(order.ready, None);
}

#[test]
fn an_older_removal_that_arrives_after_a_rehire_took_effect_is_closed() {
    for later in [Invite, ChangeRole] {
        let order = order(&[intent(2, later, Standing::Effective), new(1, Remove)]);
        assert_eq!(order.closed, [Superseded { task: 1, by: 2 }], "{later}");
    }
}

#[test]
fn an_older_request_is_not_closed_by_what_nobody_has_done_yet() {
    for (later, older) in [(Invite, Remove), (ChangeRole, Remove), (Invite, ChangeRole)] {
        let behind_an_attempt = order(&[intent(2, later, FLYING), new(1, older)]);
        let expected = Order { ready: Some(2), blocked: vec![1], ..Order::default() };
        assert_eq!(behind_an_attempt, expected, "{later} over {older}");
        let behind_a_person = order(&[intent(2, later, Standing::Action(9)), new(1, older)]);
        let expected = Order { blocked: vec![1], ..Order::default() };
        assert_eq!(behind_a_person, expected, "{later} over {older}");
    }
}

#[test]
fn an_older_removal_that_arrives_before_the_rehire_was_tried_goes_first() {
    let order = order(&[intent(2, Invite, Standing::Ready), new(1, Remove)]);
    assert_eq!(order, Order { ready: Some(1), blocked: vec![2], ..Order::default() });
}

#[test]
fn a_dismissed_removal_still_keeps_out_what_is_older_and_a_dismissed_invite_nothing() {
    let removal = order(&[intent(2, Remove, Standing::Void), new(1, Invite)]);
    assert_eq!(removal.closed, [Superseded { task: 1, by: 2 }]);
    let invite = order(&[intent(2, Invite, Standing::Void), new(1, Invite)]);
    assert_eq!(invite.ready, Some(1));
}

fn any_intents() -> impl Strategy<Value = Vec<Intent>> {
    let operation = prop_oneof![Just(Invite), Just(Remove), Just(ChangeRole)];
    let standing = prop_oneof![
        Just(Standing::Arrived),
        Just(Standing::Blocked),
        Just(Standing::Effective),
        Just(Standing::Void),
        Just(Standing::Ready),
        Just(FLYING),
        (1_i64..99).prop_map(Standing::Action),
    ];
    prop::collection::vec((operation, standing), 1..8).prop_map(|list| {
        list.into_iter()
            .zip(1..)
            .map(|((operation, standing), task)| intent(task, operation, standing))
            .collect()
    })
}

proptest! {
    #[test]
    fn nobody_whose_removal_was_asked_for_is_brought_back_by_an_older_intent(intents in any_intents()) {
        let order = order(&intents);
        for one in &intents {
            let lives = order.blocked.contains(&one.task) || order.ready == Some(one.task);
            let removed_later = intents.iter().any(|later| {
                later.task > one.task && later.operation == Remove
            });
            prop_assert!(!(lives && removed_later) || one.standing == FLYING, "{} lives in {order:?}", one.task);
        }
    }

    #[test]
    fn every_unfinished_intent_ends_in_exactly_one_place(intents in any_intents()) {
        let order = order(&intents);
        for one in &intents {
            let places = order.blocked.iter().filter(|task| **task == one.task).count()
                + order.closed.iter().filter(|loser| loser.task == one.task).count()
                + usize::from(order.ready == Some(one.task));
            let expected = match one.standing {
                Standing::Effective | Standing::Void | Standing::Action(_) => 0,
                // In production only one request can be in flight. Of several, the last is the head.
                Standing::InFlight { .. } => continue,
                Standing::Arrived | Standing::Blocked | Standing::Ready => 1,
            };
            prop_assert_eq!(places, expected, "task {} in {:?}", one.task, order);
        }
    }
}
