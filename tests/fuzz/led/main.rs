//! One target of `targets.rs`, named by `FUZZ_TARGET`, fed by libFuzzer, which keeps what reaches new code.

#![no_main]

#[path = "../targets.rs"]
mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    match std::env::var("FUZZ_TARGET").as_deref() {
        Ok("replies") => targets::replies,
        Ok("inbound") => targets::inbound,
        Ok("configuration") => targets::configuration,
        other => panic!("FUZZ_TARGET = {other:?}: must be replies, inbound or configuration"),
    }
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET(input));
