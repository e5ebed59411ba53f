//! How Cerby and the apps write one person's address, and whom Cerby has not matched. The same in every run.

use icu_normalizer::DecomposingNormalizerBorrowed;
use testkit::simulator::Member;

use super::plan::Key;

/// The address of a member as Cerby has it: not in every task in the same way.
pub(super) fn told(key: &Key, task: usize) -> String {
    match task % 4 {
        0 => email(key).to_uppercase(),
        1 => decomposed(&email(key)),
        _ => email(key),
    }
}

/// A person as the app lists them.
pub(super) fn listed(key: &Key) -> Member {
    let email = email(key);
    let spelled = match number(key) % 7 {
        0 => email.to_uppercase(),
        1 => decomposed(&email),
        2 => format!("{email} "),
        3 => email.replace('@', "\u{200b}@"),
        4 => format!("{}#EXT#@tenant.example", email.replace('@', "_")),
        5 => email.replace(".example", ".EXAMPLE") + "\u{a0}",
        _ => email,
    };
    Member::new(&key.member, &spelled)
}

/// Whether the app has somebody before the first task whom Cerby has not matched.
pub(super) fn is_stranger(key: &Key) -> bool {
    number(key).is_multiple_of(5)
}

fn email(key: &Key) -> String {
    format!("j\u{f6}rg.{}@{}.example.com", key.member, key.workspace)
}

fn decomposed(text: &str) -> String {
    DecomposingNormalizerBorrowed::new_nfd().normalize(text).into_owned()
}

/// Not the same for one person in two apps.
fn number(key: &Key) -> usize {
    key.integration.bytes().chain(key.member.bytes()).map(usize::from).sum()
}
