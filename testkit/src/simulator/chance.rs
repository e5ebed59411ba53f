//! Random draws that depend on names only, never on the order in which requests arrive.

use std::ops::RangeInclusive;

/// A number drawn from a seed and the names of what it is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draw(u64);

impl Draw {
    /// The same names give the same draw, on every machine and in every release.
    pub(super) fn new(seed: u64, names: &[&str]) -> Self {
        let start = mix(seed ^ 0xcbf2_9ce4_8422_2325);
        Self(mix(names.iter().fold(start, |hash, name| mix(absorb(hash, name)))))
    }

    /// An independent draw for the same names.
    pub(super) fn next(self) -> Self {
        Self(mix(self.0))
    }

    /// At least 0 and below 1.
    pub(super) fn unit(self) -> f64 {
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of the items, all equally likely.
    pub(super) fn pick<T: Copy>(self, items: &[T]) -> T {
        items[(self.0 % items.len() as u64) as usize]
    }

    /// A whole number of the range; the start of an empty one.
    pub(super) fn within(self, range: &RangeInclusive<u64>) -> u64 {
        let width = range.end().saturating_sub(*range.start()).saturating_add(1);
        range.start() + self.0 % width
    }

    /// In the form of a random UUID.
    pub(super) fn uuid(self) -> String {
        let low = self.next().0;
        let (a, b, c) = (self.0 >> 32, (self.0 >> 16) & 0xffff, self.0 & 0xfff);
        let (d, e) = ((low >> 48) & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
        format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
    }
}

fn absorb(hash: u64, name: &str) -> u64 {
    // The terminator distinguishes ("ab", "c") from ("a", "bc").
    name.bytes()
        .chain([0xff])
        .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_names_draw_the_same_and_others_differ() {
        let draw = |names: &[&str]| Draw::new(7, names);
        assert_eq!(draw(&["ab", "c"]), draw(&["ab", "c"]));
        assert_ne!(draw(&["ab", "c"]), draw(&["a", "bc"]));
        assert_ne!(Draw::new(8, &["ab"]), Draw::new(7, &["ab"]));
    }

    #[test]
    fn draws_are_spread_evenly() {
        let low = (0..10_000).filter(|n| Draw::new(1, &[&n.to_string()]).unit() < 0.1).count();
        assert!((900..1100).contains(&low), "{low} of 10000 below 0.1");
    }

    #[test]
    fn a_uuid_has_its_form() {
        let id = Draw::new(1, &["job"]).uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
    }
}
