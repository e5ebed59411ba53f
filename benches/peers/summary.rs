//! Medians and spread of all runs.

use super::record::Measurement;

#[derive(Default)]
pub(super) struct Summary {
    rows: Vec<Row>,
}

struct Row {
    first: Measurement,
    values: Vec<f64>,
}

impl Summary {
    pub(super) fn add(&mut self, measurement: Measurement) {
        let label = |one: &Measurement| {
            (one.shape.clone(), one.setting.clone(), one.system.clone(), one.unit.clone())
        };
        let row = self.rows.iter_mut().find(|row| label(&row.first) == label(&measurement));
        match row {
            Some(row) => row.values.push(measurement.value),
            None => self.rows.push(Row { values: vec![measurement.value], first: measurement }),
        }
    }

    pub(super) fn print(&mut self) {
        println!();
        println!(
            "{:<15}{:<17}{:<32}{:>12}{:>12}{:>12} {:<8} runs",
            "shape", "setting", "system", "median", "least", "most", "unit"
        );
        for Row { first, values } in &mut self.rows {
            values.sort_by(f64::total_cmp);
            let Measurement { shape, setting, system, unit, .. } = first;
            let (median, least, most) =
                (values[values.len() / 2], values[0], values[values.len() - 1]);
            let runs = values.len();
            println!(
                "{shape:<15}{setting:<17}{system:<32}{median:>12.2}{least:>12.2}{most:>12.2} {unit:<8} {runs}"
            );
        }
    }
}
