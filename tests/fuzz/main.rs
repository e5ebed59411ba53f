//! Does whatever parses bytes from outside survive bytes that are nearly right? Each input of the corpus is tried, and
//! then changed at random for some seconds. `make fuzz` looks for much longer, led by what the code covers.

mod targets;

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use targets::Target;

/// What parsers stumble over.
const TOKENS: [&[u8]; 22] = [
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\"",
    b"{}",
    b"[]",
    b"[{",
    b"}}",
    b",",
    b":",
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"\xef\xbb\xbf",
    b"9999-12-31T23:59:59Z",
    b"-262144-01-01",
    b"\r\n",
    b"\0",
    b"${}",
    b"''",
    b"\xe2\x80\xae",
];

/// A number from the environment. The same seed tries the same inputs in the same order.
fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().map_or(otherwise, |value| value.parse().expect("a number"))
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("an input")).collect()
}

/// One to eight changes of an input: a byte, a part that goes, comes twice or comes from another input, or a token.
fn changed(input: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..=bytes.len());
        let end = random.random_range(at..=bytes.len().min(at + 40));
        match random.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            3 => {
                let from = random.random_range(0..=other.len());
                let part = &other[from..other.len().min(from + 40)];
                bytes.splice(at..end, part.iter().copied());
            }
            _ => {
                let token = TOKENS[random.random_range(0..TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
    bytes
}

fn survives(name: &str, target: Target, input: &[u8]) {
    let ended = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(ended.is_ok(), "{name} does not survive: {}", input.escape_ascii());
}

fn survives_for_a_while(name: &str, target: Target) {
    let corpus = corpus(name);
    for input in &corpus {
        survives(name, target, input);
    }
    let mut random = StdRng::seed_from_u64(number("FUZZ_SEED", 1));
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 5));
    let mut tried = 0_u64;
    while Instant::now() < end {
        let [input, other] = [(); 2].map(|()| &corpus[random.random_range(0..corpus.len())]);
        survives(name, target, &changed(input, other, &mut random));
        tried += 1;
    }
    eprintln!("{name}: {tried} inputs");
    assert!(tried > 0);
}

#[test]
fn the_client_survives_every_reply_and_its_errors_tell_no_key() {
    survives_for_a_while("replies", targets::replies);
}

#[test]
fn every_row_that_comes_in_as_json_is_parsed_or_refused() {
    survives_for_a_while("inbound", targets::inbound);
}

#[test]
fn every_configuration_is_read_or_refused_without_its_secrets() {
    survives_for_a_while("configuration", targets::configuration);
}
