//! Tables whose columns are as wide as they look, which is not their number of characters.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A column that is cut keeps so much.
const NARROWEST: usize = 12;

const GAP: usize = 2;

/// Heads and rows, aligned by column.
pub(in crate::operator::cli) fn table<const N: usize>(
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let heads = heads.map(str::to_owned).to_vec();
    aligned(&heads, &rows.map(Vec::from).collect::<Vec<_>>(), None, false)
}

/// The same, in so many columns of a terminal if that is possible: then long cells are cut, but for the first column,
/// which has the ids.
pub(super) fn aligned(
    heads: &[String],
    rows: &[Vec<String>],
    available: Option<usize>,
    has_colors: bool,
) -> String {
    let mut widths: Vec<_> = heads.iter().map(|head| head.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    if let Some(available) = available {
        narrow(&mut widths, available);
    }
    let head = line(heads, &widths);
    let mut text = match has_colors {
        true => format!("\u{1b}[1m{}\u{1b}[0m\n", head.trim_end()),
        false => head.trim_end().to_owned() + "\n",
    };
    for row in rows {
        text.push_str(line(row, &widths).trim_end());
        text.push('\n');
    }
    text
}

/// Takes from the widest column, again and again, until all fit or none can be narrower.
fn narrow(widths: &mut [usize], available: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > available {
        match widths.iter_mut().skip(1).max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => return,
        }
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).map(|(cell, width)| {
        let cell = cut(cell, *width);
        let padding = width.saturating_sub(cell.width());
        format!("{cell}{:padding$}", "")
    });
    cells.collect::<Vec<_>>().join(&" ".repeat(GAP))
}

fn cut(cell: &str, width: usize) -> String {
    if cell.width() <= width {
        return cell.to_owned();
    }
    let mut used = 1;
    let kept = cell.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= width
    });
    kept.collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&[&str]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn wide_characters_keep_the_columns_in_line() {
        let text = table(
            ["ID", "MEMBER", "WHY"],
            rows(&[&["7", "田中太郎", "x"], &["8", "👩‍💻 jo", "x"], &["9", "e\u{301}va", "x"]])
                .into_iter()
                .map(|row| row.try_into().unwrap()),
        );
        let places: Vec<_> = text
            .lines()
            .map(|line| line.trim_end_matches("WHY").trim_end_matches('x').width())
            .collect();
        assert_eq!(places, [14; 4], "{text}");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_longest_cells_and_no_id() {
        let id = "1".repeat(30);
        let why = "the app cannot be automated for this operation";
        let heads: Vec<_> = ["ID", "MEMBER", "WHY"].map(str::to_owned).to_vec();
        let text = aligned(&heads, &rows(&[&[&id, "田中太郎@example.com", why]]), Some(70), false);
        assert!(text.lines().all(|line| line.width() <= 70), "{text}");
        assert!(text.contains(&id) && text.contains('…'), "{text}");
        let whole = aligned(&heads, &rows(&[&[&id, "jo", why]]), None, false);
        assert!(whole.contains(why), "a file gets whole cells: {whole}");
    }
}
