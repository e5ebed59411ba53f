//! Lists for a spreadsheet.

/// Some spreadsheets also take the wide forms of these signs.
const BEGINS_A_FORMULA: [char; 10] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r'];

/// A table as comma-separated values, with a line of heads if there are any. A spreadsheet would run a cell that begins like a formula, so such a cell gets an
/// apostrophe.
pub(super) fn csv<const N: usize>(
    heads: Option<[&str; N]>,
    rows: impl Iterator<Item = [String; N]>,
) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    if let Some(heads) = heads {
        lines.write_record(heads)?;
    }
    for row in rows {
        lines.write_record(row.map(|cell| match cell.starts_with(BEGINS_A_FORMULA) {
            true if cell != "-" => format!("'{cell}"),
            _ => cell,
        }))?;
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_begins_like_a_formula_in_any_width_gets_an_apostrophe() {
        for cell in ["=1+1", "+1", "-1", "@sum(1)", "\t=1", "＝1+1", "＋1", "－1", "＠sum(1)"] {
            let lines = csv(Some(["A"]), [[cell.to_owned()]].into_iter()).unwrap();
            assert_eq!(lines, format!("A\n'{cell}\n"));
        }
        for cell in ["-", "jo@example.com", "a=b"] {
            let lines = csv(Some(["A"]), [[cell.to_owned()]].into_iter()).unwrap();
            assert_eq!(lines, format!("A\n{cell}\n"));
        }
    }
}
