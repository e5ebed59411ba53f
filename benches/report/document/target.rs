//! What is promised, as ratios within one file of measurements, and whether it is kept.

use super::number::{number, tick};
use super::row::Row;

/// The targets. `median / reference` has to keep the bound.
const TARGETS: &[Target] = &[
    Target::new("drain", Each, AtLeast(1.0), BestOther),
    Target::new("drain ordered", Each, AtLeast(2.0), BestOther),
    Target::new("limit", Each, AtLeast(0.8), BestOtherSetting),
    Target::new("blocked member", Each, AtLeast(0.9), Setting("nothing blocked")),
    Target::new("paused integration", Each, AtLeast(0.9), Setting("none paused")),
    Target::new("backlog and history", Each, AtMost(1.2), Setting("empty")),
    Target::new("intake", Only("batches of 100"), AtLeast(1.0), Setting("their drain")),
    Target::new("intake", Only("batches of 10000"), AtLeast(1.0), Setting("their drain")),
    Target::new("pickup", Only("p50"), Below, Value(3.0, "ms")),
    Target::new("pickup", Only("p99"), Below, Value(25.0, "ms")),
    Target::new("steady load", Only("worst minute p99"), Below, Value(100.0, "ms")),
    Target::new("slow handlers", Each, AtLeast(0.9), System("no database")),
    Target::new("http", Each, AtLeast(0.7), System("bare client")),
    Target::new("replicas", Only("4"), AtLeast(1.0), Setting("1")),
    Target::new("memory", Only("idle"), Below, Value(40.0, "MB")),
    Target::new("memory", Only("loaded"), Below, Value(80.0, "MB")),
    Target::new("idle", Each, AtMost(1.0), Value(2.0, "statements/s")),
    Target::new("idle", Each, AtMost(1.0), Value(0.5, "% of a core")),
    Target::new("lists of operators", Each, Below, Value(20.0, "ms")),
    Target::new("pages of operators", Each, Below, Value(50.0, "ms")),
    Target::new("commands of operators", Each, Below, Value(100.0, "ms")),
    Target::new("consoles", Only("50 open"), AtLeast(0.95), Setting("none open")),
    Target::new("consoles", Only("memory, 50 open"), Below, Value(120.0, "MB")),
    Target::new("retention", Each, AtLeast(0.9), Setting("no deletion")),
];

use Against::{BestOther, BestOtherSetting, Setting, System, Value};
use Bound::{AtLeast, AtMost, Below};
use Subject::{Each, Only};

struct Target {
    shape: &'static str,
    subject: Subject,
    bound: Bound,
    against: Against,
}

/// Which of our own rows are held against the target.
#[derive(Clone, Copy)]
enum Subject {
    /// Every setting of the shape.
    Each,
    /// One setting of the shape.
    Only(&'static str),
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below,
}

/// What it is compared with.
#[derive(Clone, Copy)]
enum Against {
    /// The best of the other systems in the same setting.
    BestOther,
    /// The best of the other systems in whatever setting.
    BestOtherSetting,
    /// This system in the same setting.
    System(&'static str),
    /// The same system in this setting.
    Setting(&'static str),
    /// A value with its unit.
    Value(f64, &'static str),
}

/// One line of a shape's table of targets.
pub(super) struct Verdict {
    pub(super) setting: String,
    pub(super) target: String,
    pub(super) measured: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) outcome: Option<Outcome>,
}

pub(super) struct Outcome {
    pub(super) ratio: f64,
    pub(super) met: bool,
}

/// A value to compare with, and whose it is.
struct Reference {
    value: f64,
    text: String,
}

/// What the targets of a shape come to. What they need and nobody measured has no outcome.
pub(super) fn verdicts(shape: &str, rows: &[Row]) -> Vec<Verdict> {
    let targets = TARGETS.iter().filter(|target| target.shape == shape);
    targets.flat_map(|target| target.verdicts(rows)).collect()
}

impl Target {
    const fn new(shape: &'static str, subject: Subject, bound: Bound, against: Against) -> Self {
        Self { shape, subject, bound, against }
    }

    fn verdicts(&self, rows: &[Row]) -> Vec<Verdict> {
        let verdicts: Vec<_> =
            self.subjects(rows).into_iter().map(|row| self.verdict(row, rows)).collect();
        if verdicts.is_empty() { vec![self.not_measured()] } else { verdicts }
    }

    fn subjects<'a>(&self, rows: &'a [Row]) -> Vec<&'a Row> {
        let own = rows.iter().filter(|row| row.is_own() && row.shape == self.shape);
        let own = own.filter(|row| self.against.concerns(row));
        match self.subject {
            Each => own.collect(),
            Only(setting) => own.filter(|row| row.setting == setting).collect(),
        }
    }

    fn verdict(&self, row: &Row, rows: &[Row]) -> Verdict {
        let reference = self.reference(row, rows);
        let outcome = reference.as_ref().map(|reference| {
            let ratio = row.median() / reference.value;
            Outcome { ratio, met: self.bound.is_kept(ratio) }
        });
        Verdict {
            setting: row.setting.clone(),
            measured: Some(with_unit(row)),
            reference: reference.map(|reference| reference.text),
            outcome,
            ..self.not_measured()
        }
    }

    fn not_measured(&self) -> Verdict {
        let setting = match self.subject {
            Each => "every setting".to_owned(),
            Only(setting) => setting.to_owned(),
        };
        Verdict { setting, target: self.words(), measured: None, reference: None, outcome: None }
    }

    fn reference(&self, row: &Row, rows: &[Row]) -> Option<Reference> {
        let mut alike =
            rows.iter().filter(|other| other.shape == self.shape && other.unit == row.unit);
        let same_setting = |other: &&Row| other.setting == row.setting;
        let is_other = |other: &&Row| !other.is_own();
        let found = match self.against {
            Value(value, unit) => {
                return Some(Reference { value, text: format!("{} {unit}", tick(value)) });
            }
            BestOther => self.bound.best_of(alike.filter(same_setting).filter(is_other)),
            BestOtherSetting => self.bound.best_of(alike.filter(is_other)),
            System(system) => alike.filter(same_setting).find(|other| other.system == system),
            Setting(setting) => {
                alike.find(|other| other.system == row.system && other.setting == setting)
            }
        }?;
        let text = format!("{}, {}: {}", found.system, found.setting, with_unit(found));
        Some(Reference { value: found.median(), text })
    }
}

fn with_unit(row: &Row) -> String {
    format!("{} {}", number(row.median()), row.unit)
}

impl Bound {
    fn is_kept(self, ratio: f64) -> bool {
        match self {
            AtLeast(factor) => ratio >= factor,
            AtMost(factor) => ratio <= factor,
            Below => ratio < 1.0,
        }
    }

    /// The row that is hardest to compare with.
    fn best_of<'a>(self, rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
        let by_median = |a: &&Row, b: &&Row| a.median().total_cmp(&b.median());
        match self {
            AtLeast(_) => rows.max_by(by_median),
            AtMost(_) | Below => rows.min_by(by_median),
        }
    }

    fn words(self) -> &'static str {
        match self {
            AtLeast(_) => "at least",
            AtMost(_) => "at most",
            Below => "below",
        }
    }

    fn factor(self) -> f64 {
        match self {
            AtLeast(factor) | AtMost(factor) => factor,
            Below => 1.0,
        }
    }
}

impl Against {
    /// Whether a row of the target's shape can be compared with it at all.
    fn concerns(self, row: &Row) -> bool {
        match self {
            Setting(setting) => row.setting != setting,
            Value(_, unit) => row.unit == unit,
            BestOther | BestOtherSetting | System(_) => true,
        }
    }
}

impl Target {
    fn words(&self) -> String {
        let bound = self.bound.words();
        let reference = match self.against {
            Value(value, unit) => return format!("{bound} {} {unit}", tick(value)),
            BestOther => "the best other system".to_owned(),
            BestOtherSetting => "the best of the others".to_owned(),
            System(name) | Setting(name) => name.to_owned(),
        };
        format!("{bound} {} × {reference}", tick(self.bound.factor()))
    }
}
