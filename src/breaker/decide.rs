//! How a breaker moves: a pure function of the breaker and of what an attempt showed.

use std::time::Duration;

use super::{Attempt, Breaker, BreakerPolicy, Cause, HealthSignal, Move, Status};

/// The move of the breaker; `None` if it stays as it is.
pub fn after(policy: &BreakerPolicy, breaker: &Breaker, attempt: &Attempt) -> Option<Move> {
    match breaker.status {
        Status::Active if breaker.since.is_some_and(|since| attempt.began < since) => None,
        Status::Active => after_attempt(policy, breaker, attempt.signal),
        Status::Probing if breaker.probe == Some(attempt.task) => {
            Some(after_probe(policy, breaker, attempt.signal))
        }
        Status::Probing | Status::Tripped | Status::LoginRejected => None,
    }
}

fn after_attempt(policy: &BreakerPolicy, breaker: &Breaker, signal: HealthSignal) -> Option<Move> {
    match signal {
        HealthSignal::Nothing | HealthSignal::Runs => None,
        HealthSignal::Answers => breaker.ramp.map(|_| Move::Raise(raised(policy, breaker.ramp))),
        HealthSignal::Works
            if breaker.failures == 0 && breaker.ramp.is_none() && breaker.trips == 0 =>
        {
            None
        }
        HealthSignal::Works => Some(Move::Forget { ramp: raised(policy, breaker.ramp) }),
        HealthSignal::Fails if breaker.failures + 1 < policy.breaker.failures => Some(Move::Count),
        HealthSignal::Fails => Some(trip_for_failures(policy, breaker)),
        HealthSignal::LimitsRate(wait) => Some(limit_rate(policy, breaker, wait)),
    }
}

fn after_probe(policy: &BreakerPolicy, breaker: &Breaker, signal: HealthSignal) -> Move {
    match signal {
        HealthSignal::Nothing => Move::NextProbe,
        // An answer, or a job that the backend accepted, shows that the backend no longer limits the rate.
        HealthSignal::Answers | HealthSignal::Runs if breaker.cause == Some(Cause::RateLimit) => {
            Move::Recover
        }
        HealthSignal::Answers => Move::NextProbe,
        HealthSignal::Runs => Move::Await(policy.longest_job),
        HealthSignal::Works => Move::Recover,
        HealthSignal::Fails => trip_for_failures(policy, breaker),
        HealthSignal::LimitsRate(wait) => limit_rate(policy, breaker, wait),
    }
}

fn raised(policy: &BreakerPolicy, ramp: Option<u32>) -> Option<u32> {
    ramp.map(|ramp| ramp + 1).filter(|ramp| *ramp < policy.breaker.ramp_end)
}

fn trip_for_failures(policy: &BreakerPolicy, breaker: &Breaker) -> Move {
    Move::Trip {
        cause: Cause::Failures,
        wait: policy.cooldown_after(breaker.trips),
        trips: breaker.trips.saturating_add(1),
    }
}

/// Trips for as long as the backend asks. If it names no time, the cooldown doubles each time in a row.
fn limit_rate(policy: &BreakerPolicy, breaker: &Breaker, asked: Option<Duration>) -> Move {
    let cause = Cause::RateLimit;
    let Some(wait) = asked else {
        let before = if breaker.cause == Some(cause) { breaker.trips.min(16) } else { 0 };
        let longest = policy.longest_rate_limit.max(policy.rate_limit);
        let wait = policy.rate_limit.saturating_mul(1 << before).min(longest);
        return Move::Trip { cause, wait, trips: breaker.trips.saturating_add(1) };
    };
    Move::Trip { cause, wait, trips: breaker.trips }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    const TASK: i64 = 7;

    fn policy() -> BreakerPolicy {
        let settings = [
            ("DATABASE__URL", "postgres://unused"),
            ("BACKEND__BASE_URL", "https://unused"),
            ("BACKEND__API_KEY", "unused"),
        ];
        let settings =
            settings.map(|(name, value)| (format!("RECONCILER__{name}"), value.to_owned())).into();
        BreakerPolicy::new(&Config::from_sources(None, Some(settings)).unwrap())
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn breaker(status: Status) -> Breaker {
        Breaker {
            status,
            cause: None,
            since: Some(at(100)),
            failures: 0,
            trips: 0,
            ramp: None,
            probe: (status == Status::Probing).then_some(TASK),
        }
    }

    fn shows(signal: HealthSignal) -> Attempt {
        Attempt { task: TASK, began: at(200), signal }
    }

    fn wait_of(moved: Option<Move>) -> f64 {
        match moved {
            Some(Move::Trip { wait, .. }) => wait.as_secs_f64(),
            other => panic!("not tripped: {other:?}"),
        }
    }

    #[test]
    fn the_fifth_failure_in_a_row_trips_the_breaker_and_no_earlier_one() {
        for failures in 0..4 {
            let breaker = Breaker { failures, ..breaker(Status::Active) };
            assert_eq!(after(&policy(), &breaker, &shows(HealthSignal::Fails)), Some(Move::Count));
        }
        let breaker = Breaker { failures: 4, ..breaker(Status::Active) };
        let moved = after(&policy(), &breaker, &shows(HealthSignal::Fails));
        assert!((54.0..=66.0).contains(&wait_of(moved)), "{moved:?}");
    }

    #[test]
    fn a_breaker_that_trips_again_and_again_cools_down_twice_as_long_up_to_an_hour() {
        let minutes = |trips| {
            let breaker = Breaker { trips, ..breaker(Status::Probing) };
            (wait_of(after(&policy(), &breaker, &shows(HealthSignal::Fails))) / 60.0).round() as u32
        };
        for (trips, expected) in [(0, 1), (1, 2), (2, 4), (3, 8)] {
            let found = minutes(trips);
            let margin = expected / 8 + 1;
            assert!(found.abs_diff(expected) < margin + 1, "{trips}: {found} min");
        }
        assert!((54..=66).contains(&minutes(1_000_000)));
    }

    #[test]
    fn only_signs_of_the_app_count() {
        let trouble = Breaker { failures: 3, ramp: Some(2), trips: 1, ..breaker(Status::Active) };
        let table = [
            (HealthSignal::Nothing, None),
            (HealthSignal::Runs, None),
            (HealthSignal::Answers, Some(Move::Raise(Some(3)))),
            (HealthSignal::Fails, Some(Move::Count)),
            (HealthSignal::Works, Some(Move::Forget { ramp: Some(3) })),
        ];
        for (signal, expected) in table {
            assert_eq!(after(&policy(), &trouble, &shows(signal)), expected, "{signal:?}");
        }
        let healthy = breaker(Status::Active);
        assert_eq!(
            after(&policy(), &healthy, &shows(HealthSignal::Works)),
            None,
            "health writes nothing"
        );
    }

    #[test]
    fn a_rate_limit_trips_for_as_long_as_it_asks_and_is_no_failure() {
        let wait = Duration::from_secs(300);
        for status in [Status::Active, Status::Probing] {
            let breaker = Breaker { trips: 2, ..breaker(status) };
            let moved = after(&policy(), &breaker, &shows(HealthSignal::LimitsRate(Some(wait))));
            assert_eq!(moved, Some(Move::Trip { cause: Cause::RateLimit, wait, trips: 2 }));
        }
    }

    #[test]
    fn a_rate_limit_without_a_time_trips_for_twice_as_long_each_time_in_a_row() {
        let mut breaker = breaker(Status::Active);
        for expected in [300, 600, 1200, 2400, 3600, 3600] {
            let Some(Move::Trip { cause: Cause::RateLimit, wait, trips }) =
                after(&policy(), &breaker, &shows(HealthSignal::LimitsRate(None)))
            else {
                panic!("not tripped");
            };
            assert_eq!(wait, Duration::from_secs(expected));
            let (status, cause, probe) = (Status::Probing, Some(Cause::RateLimit), Some(TASK));
            breaker = Breaker { status, cause, probe, trips, ..breaker };
        }
    }

    #[test]
    fn the_probe_decides_and_nobody_else() {
        let table = [
            (HealthSignal::Works, Move::Recover),
            (HealthSignal::Nothing, Move::NextProbe),
            (HealthSignal::Answers, Move::NextProbe),
            (HealthSignal::Runs, Move::Await(policy().longest_job)),
        ];
        for (signal, expected) in table {
            let breaker = Breaker { cause: Some(Cause::Failures), ..breaker(Status::Probing) };
            assert_eq!(after(&policy(), &breaker, &shows(signal)), Some(expected), "{signal:?}");
            let other = Attempt { task: TASK + 1, ..shows(signal) };
            assert_eq!(after(&policy(), &breaker, &other), None, "{signal:?} of another");
        }
        let limited = Breaker { cause: Some(Cause::RateLimit), ..breaker(Status::Probing) };
        for signal in [HealthSignal::Runs, HealthSignal::Answers] {
            assert_eq!(
                after(&policy(), &limited, &shows(signal)),
                Some(Move::Recover),
                "{signal:?}"
            );
        }
    }

    #[test]
    fn the_ramp_gets_wider_by_one_with_each_that_works_until_it_ends() {
        let mut ramp = Some(1);
        let mut steps = 0;
        while let Some(width) = ramp {
            let breaker = Breaker { ramp, ..breaker(Status::Active) };
            let Some(Move::Forget { ramp: raised }) =
                after(&policy(), &breaker, &shows(HealthSignal::Works))
            else {
                panic!("not raised after {width}");
            };
            assert!(raised.is_none_or(|raised| raised == width + 1));
            ramp = raised;
            steps += 1;
        }
        assert_eq!(steps, 31);
    }

    #[test]
    fn answers_raise_the_ramp_until_it_ends_and_nothing_else() {
        let widest = policy().breaker.ramp_end - 1;
        let table = [
            (None, None),
            (Some(1), Some(Move::Raise(Some(2)))),
            (Some(widest), Some(Move::Raise(None))),
        ];
        for (ramp, expected) in table {
            let breaker = Breaker { ramp, failures: 2, trips: 2, ..breaker(Status::Active) };
            assert_eq!(
                after(&policy(), &breaker, &shows(HealthSignal::Answers)),
                expected,
                "{ramp:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_began_before_the_status_last_changed_moves_nothing(
            status in prop_oneof![
                Just(Status::Active), Just(Status::Tripped), Just(Status::LoginRejected)
            ],
            failures in 0_u32..10, early in 1_i64..1000,
            signal in prop_oneof![
                Just(HealthSignal::Works), Just(HealthSignal::Fails), Just(HealthSignal::LimitsRate(Some(Duration::from_secs(9))))
            ],
        ) {
            let breaker = Breaker { failures, ..breaker(status) };
            let late = Attempt { began: at(100 - early), ..shows(signal) };
            prop_assert_eq!(after(&policy(), &breaker, &late), None);
        }

        #[test]
        fn a_tripped_breaker_is_recovered_by_its_probe_alone(
            status in prop_oneof![
                Just(Status::Probing), Just(Status::Tripped), Just(Status::LoginRejected)
            ],
            task in 0_i64..20, began in 0_i64..1000,
            signal in prop_oneof![
                Just(HealthSignal::Works), Just(HealthSignal::Fails), Just(HealthSignal::Runs), Just(HealthSignal::Answers),
                Just(HealthSignal::Nothing)
            ],
        ) {
            let attempt = Attempt { task, began: at(began), signal };
            if after(&policy(), &breaker(status), &attempt) == Some(Move::Recover) {
                prop_assert_eq!((status, task, signal), (Status::Probing, TASK, HealthSignal::Works));
            }
        }
    }
}
