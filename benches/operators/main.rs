//! How long people wait for their lists: with one million manual actions, 50 000 of them unfinished, of 200 apps, every
//! list, view and combination of filters takes less than 20 ms in the database, every page less than 50 ms over HTTP, and
//! every command less than 100 ms, its start included.
//!
//! Run with `cargo bench --bench operators`; OPERATORS_ACTIONS may say how many actions there are. Prints the slowest lists
//! and all that miss the promise, and appends the slowest of each group to the file of measurements.

#[path = "../bed/mod.rs"]
mod bed;
mod cards;
mod combinations;
mod commands;
mod filling;
mod lists;
mod pages;
mod person;
#[path = "../record/mod.rs"]
mod record;
mod reports;
mod times;
mod views;

use bed::Bed;
use filling::Sizes;
use person::Person;
use record::Machine;
use times::Times;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let sizes = Sizes::from_environment()?;
    let bed = Bed::start().await?;
    let machine = Machine::with_postgresql(bed.version())?;
    println!("{}", serde_json::to_string(&machine)?);
    println!("server: defaults and {:?}", bed::SERVER_SETTINGS);
    let url = filling::fill(&bed, &sizes).await?;
    let person = Person::log_in(&bed, &url).await?;
    let mut times = Times::default();
    views::measure(&person, &mut times).await?;
    combinations::measure(&person, &mut times).await?;
    lists::measure(&person, &mut times).await?;
    cards::measure(&person, &mut times).await?;
    reports::measure(&person, &mut times).await?;
    pages::measure(&person, &url, &mut times).await?;
    commands::measure(&person, &mut times)?;
    times.print();
    times.record(&machine, &sizes)?;
    bed.stop().await
}
