//! The figures of a run in which troubles come one by one, as measurements for `docs/reliability.md`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testkit::simulator::Author;

use crate::checks::words::compared;
use crate::checks::{Violation, broken};
use crate::measurements::{Machine, Measurement, line};
use crate::record::Record;
use crate::run::Run;
use crate::settings::{CONFIGURATION, text};
use crate::summary::listed;
use crate::world::World;

const SYSTEM: &str = "cerby-reconciler";

/// What is known of the machine before a run.
pub(super) struct Surroundings {
    machine: Machine,
    /// Of the last minute: what else the machine has to do.
    load: String,
}

impl Surroundings {
    pub(super) async fn look(world: &World) -> anyhow::Result<Self> {
        let version: String =
            sqlx::query_scalar("show server_version").fetch_one(&world.owner).await?;
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        Ok(Self { machine: Machine::with_postgresql(&version)?, load })
    }
}

/// Appends the figures of a whole run to the file that the environment names, if it names one.
pub(super) fn write(run: &Run, record: &Record, found: &[Violation]) -> anyhow::Result<()> {
    let (Some(file), Some(surroundings)) = (text("SOAK_FIGURES"), &run.surroundings) else {
        return Ok(());
    };
    let mut lines = fs::read_to_string(&file).unwrap_or_default();
    let all = recoveries(run).into_iter().chain(rules(run, record, found, &surroundings.load));
    for mut measurement in all {
        measurement.run = 1 + earlier(&lines, &measurement)?;
        lines += &format!("{}\n", line(&surroundings.machine, &measurement)?);
    }
    fs::create_dir_all(Path::new(&file).with_file_name(""))?;
    Ok(fs::write(file, lines)?)
}

/// How many lines there are of the same thing. Those of runs of other seeds count too.
fn earlier(lines: &str, measurement: &Measurement) -> anyhow::Result<u32> {
    let Measurement { shape, setting, unit, .. } = measurement;
    let mut count = 0;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line)?;
        count += u32::from(
            line["shape"] == **shape && line["setting"] == **setting && line["unit"] == **unit,
        );
    }
    Ok(count)
}

fn details(run: &Run, load: &str) -> Value {
    let settings = &run.settings;
    let not_run = run.recoveries.not_run();
    json!({
        "seed": settings.seed,
        "length": format!("{} s, and until all has ended", settings.seconds),
        "replicas": settings.replicas(),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "load of the machine in the minute before": load,
        "not run": if not_run.is_empty() { "nothing".to_owned() } else { not_run.join(", ") },
        "configuration": listed(&CONFIGURATION.iter().copied().collect()),
    })
}

fn recoveries(run: &Run) -> Vec<Measurement> {
    let details = json!({ "seed": run.settings.seed });
    let of = |(trouble, times): (&'static str, Vec<f64>)| {
        let one = |value| measurement(("recovery", trouble), value, "s".to_owned(), &details);
        times.into_iter().map(one).collect::<Vec<_>>()
    };
    run.recoveries.by_trouble().into_iter().flat_map(of).collect()
}

fn rules(run: &Run, record: &Record, found: &[Violation], load: &str) -> Vec<Measurement> {
    let details = details(run, load);
    let broken = broken(found);
    let words = compared(record, &run.world.plan.members);
    let said = [words.verified, words.not_needed, words.removed];
    let automatic = record.effects.iter().filter(|one| one.author == Author::Automation).count();
    let (all, false_ones) = said
        .iter()
        .fold((0, 0), |(all, false_ones), count| (all + count.all, false_ones + count.false_ones));
    [
        ("tasks lost", broken.lost, format!("of {} tasks", run.world.plan.tasks())),
        ("doubled effects", broken.doubled, format!("of {automatic} effects of automation")),
        ("forbidden effects", broken.forbidden, format!("of {} effects", record.effects.len())),
        ("false verdicts", false_ones, format!("of {all} verdicts and successes")),
    ]
    .map(|(what, count, of)| measurement(("rules", what), count as f64, of, &details))
    .into()
}

fn measurement(
    (shape, setting): (&str, &str),
    value: f64,
    unit: String,
    details: &Value,
) -> Measurement {
    Measurement {
        shape: shape.to_owned(),
        system: SYSTEM.to_owned(),
        setting: setting.to_owned(),
        run: 1,
        unit,
        value,
        details: details.clone(),
    }
}
