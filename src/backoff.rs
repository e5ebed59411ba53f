//! How long to wait before the next attempt. The only file that uses the `backoff` crate.

use std::time::Duration;

use ::backoff::ExponentialBackoff;
use ::backoff::backoff::Backoff as _;

use crate::config::Backoff;

/// The delay after this many attempts of the daemon, with jitter. After none it is the first delay.
pub fn delay(policy: &Backoff, attempts: u32) -> Duration {
    let mut delays = ExponentialBackoff {
        current_interval: Duration::from_secs_f64(policy.first_s),
        initial_interval: Duration::from_secs_f64(policy.first_s),
        multiplier: policy.factor,
        max_interval: Duration::from_secs_f64(policy.max_s),
        randomization_factor: policy.jitter,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut delay = Duration::ZERO;
    for _ in 0..=attempts.min(policy.attempts) {
        delay = delays.next_backoff().unwrap_or(delay);
    }
    delay
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal() -> Backoff {
        Backoff {
            first_s: 15.0,
            factor: 4.0,
            max_s: 900.0,
            attempts: 6,
            within_s: 3600,
            jitter: 0.0,
        }
    }

    #[test]
    fn delays_grow_by_the_factor_up_to_the_longest() {
        let seconds: Vec<_> =
            (0..6).map(|attempts| delay(&removal(), attempts).as_secs()).collect();
        assert_eq!(seconds, [15, 60, 240, 900, 900, 900]);
    }

    #[test]
    fn jitter_stays_within_its_part_and_varies() {
        let policy = Backoff { jitter: 0.2, ..removal() };
        let delays: Vec<_> = (0..200).map(|_| delay(&policy, 1).as_secs_f64()).collect();
        assert!(delays.iter().all(|s| (48.0..=72.0).contains(s)), "{delays:?}");
        assert!(delays.iter().any(|s| (s - delays[0]).abs() > 0.1), "no jitter at all");
    }
}
