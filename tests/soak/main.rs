//! A random run of several replicas in which everything goes wrong but the rules.
//!
//! Without more it is short. `make soak` makes it long: `SOAK_SECONDS` is how long, `SOAK_SEED` is what the plan is
//! drawn from. The plan (intents, fates, troubles) comes from the seed; how the processes interleave does not.

#![expect(clippy::unwrap_used, reason = "a run that cannot be set up has failed")]

mod arrivals;
mod chaos;
mod checks;
mod flood;
mod model;
mod names;
mod person;
mod plan;
mod record;
mod replicas;
mod run;
mod samples;
mod settings;
mod summary;
mod tally;
mod trail;
mod world;

#[path = "../support/mod.rs"]
mod support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_rule_breaks_while_everything_else_does() {
    run::run(&settings::Settings::from_env()).await;
}
