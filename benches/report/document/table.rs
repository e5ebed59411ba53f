//! A shape's tables.

use super::number::number;
use super::row::Row;
use super::target::{Verdict, verdicts};

const NOT_MEASURED: &str = "not measured";

/// What was measured of a shape, and what its targets come to.
pub(super) fn of(shape: &str, rows: &[Row]) -> String {
    let measured: Vec<_> = rows.iter().filter(|row| row.shape == shape).collect();
    let mut text =
        if measured.is_empty() { "Not measured.\n".to_owned() } else { values(&measured) };
    let verdicts = verdicts(shape, rows);
    if !verdicts.is_empty() {
        text +=
            "\n| setting | target | measured | against | ratio | |\n|---|---|---|---|--:|---|\n";
        text.extend(verdicts.iter().map(verdict));
    }
    text
}

fn values(rows: &[&Row]) -> String {
    let mut text = "| setting | system | median | min to max | unit | runs | stolen |\n".to_owned();
    text += "|---|---|--:|--:|---|--:|--:|\n";
    for row in rows {
        let spread = format!("{} to {}", number(row.least()), number(row.most()));
        let system = if row.is_own() { format!("**{}**", row.system) } else { row.system.clone() };
        let (median, runs) = (number(row.median()), row.runs.len().to_string());
        let stolen = row.stolen().map_or(String::new(), |stolen| format!("{stolen:.0} %"));
        text += &line([&row.setting, &system, &median, &spread, &row.unit, &runs, &stolen]);
    }
    text
}

fn verdict(verdict: &Verdict) -> String {
    let or_not = |text: &Option<String>| text.clone().unwrap_or_else(|| NOT_MEASURED.to_owned());
    let (ratio, word) = match &verdict.outcome {
        Some(outcome) => {
            (format!("{:.3}", outcome.ratio), if outcome.met { "met" } else { "**missed**" })
        }
        None => (String::new(), NOT_MEASURED),
    };
    let Verdict { setting, target, measured, reference, .. } = verdict;
    line([setting, target, &or_not(measured), &or_not(reference), &ratio, word])
}

/// One line of a table, whatever its cells hold.
pub(super) fn line<const N: usize>(cells: [&str; N]) -> String {
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
