//! A limit on wrong tokens, for each address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;

use crate::operator::desk::hash;

/// Addresses whose failures are remembered at a time.
const MOST_ADDRESSES: usize = 10_000;

const WINDOW: Duration = Duration::from_secs(60);

/// How long a token that was right is remembered, and how many are at a time.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);
const MOST_TOKENS: usize = 10_000;

/// How often each address failed to prove who it is lately. Many share an address: a program whose token has expired must
/// not keep out the others there. So a token that was right lately does not wait.
#[derive(Debug, Clone, Default)]
pub(in crate::operator) struct Failures {
    of: Arc<Mutex<HashMap<IpAddr, (u32, Instant)>>>,
    /// By their hashes.
    right: Arc<Mutex<HashMap<[u8; 32], Instant>>>,
    most: u32,
}

impl Failures {
    pub(in crate::operator) fn new(most: u32) -> Self {
        Self { of: Arc::default(), right: Arc::default(), most }
    }

    /// How long an address has to wait, if it failed too often.
    pub(in crate::operator) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = of.get(&address)?;
        let left = WINDOW.checked_sub(now.duration_since(*since))?;
        (*count >= self.most && !left.is_zero()).then_some(left)
    }

    /// How long somebody with this token has to wait.
    pub(in crate::operator) fn wait_with(
        &self,
        token: &str,
        address: IpAddr,
        now: Instant,
    ) -> Option<Duration> {
        let wait = self.wait(address, now)?;
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        let is_right = |at: &Instant| now.duration_since(*at) < REMEMBERED_FOR;
        (!right.get(&hash(token)).is_some_and(is_right)).then_some(wait)
    }

    /// Notes whether a token was right.
    pub(in crate::operator) fn note_token(
        &self,
        token: &str,
        is_right: bool,
        address: IpAddr,
        now: Instant,
    ) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if is_right {
            if right.len() >= MOST_TOKENS {
                right.retain(|_, at| now.duration_since(*at) < REMEMBERED_FOR);
            }
            if right.len() < MOST_TOKENS {
                right.insert(hash(token), now);
            }
        } else {
            right.remove(&hash(token));
            self.note(address, now);
        }
    }

    pub(in crate::operator) fn note(&self, address: IpAddr, now: Instant) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= MOST_ADDRESSES {
            of.retain(|_, (_, since)| now.duration_since(*since) < WINDOW);
        }
        // With so many addresses at a time, new ones are not limited. A token cannot be guessed in any case.
        if of.len() < MOST_ADDRESSES || of.contains_key(&address) {
            let entry = of.entry(address).or_insert((0, now));
            if now.duration_since(entry.1) >= WINDOW {
                *entry = (0, now);
            }
            entry.0 += 1;
        }
    }
}

/// The address of the client. Behind a proxy it is the last one that the proxy names.
pub(in crate::operator) fn client(
    is_behind_proxy: bool,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> IpAddr {
    let named = headers.get_all("x-forwarded-for").iter().next_back();
    let named = named.filter(|_| is_behind_proxy).and_then(|list| list.to_str().ok());
    let last = named.and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or_else(|| peer.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_failed_too_often_waits_until_its_minute_is_over_and_no_other_does() {
        let (failures, start) = (Failures::new(2), Instant::now());
        let [bad, good] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        failures.note(bad, start);
        assert_eq!(failures.wait(bad, start), None);
        failures.note(bad, start + Duration::from_secs(1));
        assert_eq!(
            failures.wait(bad, start + Duration::from_secs(10)),
            Some(Duration::from_secs(50))
        );
        assert_eq!(failures.wait(good, start), None);
        assert_eq!(failures.wait(bad, start + WINDOW), None);
        failures.note(bad, start + WINDOW);
        assert_eq!(failures.wait(bad, start + WINDOW), None, "a new minute");
    }

    #[test]
    fn a_token_that_was_right_lately_does_not_wait_for_a_wrong_one_at_its_address() {
        let (failures, start) = (Failures::new(1), Instant::now());
        let address = "192.0.2.1".parse().unwrap();
        failures.note_token("good", true, address, start);
        failures.note_token("expired", true, address, start);
        assert_eq!(failures.wait_with("expired", address, start), None);
        failures.note_token("expired", false, address, start);
        assert_eq!(failures.wait_with("good", address, start), None);
        for other in ["expired", "unknown"] {
            assert_eq!(failures.wait_with(other, address, start), Some(WINDOW), "{other}");
        }
        let next_day = start + REMEMBERED_FOR;
        failures.note(address, next_day);
        assert_eq!(failures.wait_with("good", address, next_day), Some(WINDOW));
    }
}
