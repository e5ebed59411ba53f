//! A random run of several replicas in which everything goes wrong but the rules.
//!
//! Trouble comes one by one at first, and how soon work goes on after each is measured. Then it comes together. As one of
//! the tests it is short: `make chaos` makes it long. `make soak` deals all trouble together to more replicas.
//! `SOAK_SECONDS` is how long, `SOAK_SEED` is what the plan is drawn from, `SOAK_TROUBLES` is `one-by-one` or `together`,
//! and `SOAK_FIGURES` is the file for the measurements.
//! The plan (intents, fates, troubles) comes from the seed; how the processes interleave does not.

#![expect(clippy::unwrap_used, reason = "a run that cannot be set up has failed")]

mod arrivals;
mod chaos;
mod checks;
mod figures;
mod flood;
mod model;
mod names;
mod person;
mod plan;
mod record;
mod recovery;
mod replica_clock;
mod replicas;
mod run;
mod samples;
mod settings;
mod summary;
mod tally;
mod trail;
mod world;

#[expect(dead_code, reason = "the benchmarks use the rest of it")]
#[path = "../../benches/record/mod.rs"]
mod measurements;
#[path = "../support/mod.rs"]
mod support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_rule_breaks_while_everything_else_does() {
    run::run(&settings::Settings::from_env()).await;
}
