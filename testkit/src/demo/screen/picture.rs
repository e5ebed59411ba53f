//! The screen as a picture for the documentation.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::{Page, draw, example};

const COLUMNS: u16 = 80;
const ROWS: u16 = 24;
/// The size of a cell and the empty border around all of them, in pixels.
const CELL: (u16, u16) = (9, 19);
const BORDER: u16 = 12;
const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d7dae0";

/// The overview at 80×24 as SVG.
#[must_use]
pub fn picture() -> String {
    let mut terminal = Terminal::new(TestBackend::new(COLUMNS, ROWS)).expect("drawn in memory");
    let snapshot = example::snapshot();
    terminal
        .draw(|frame| draw(frame, Page::Overview, &snapshot, example::SOURCE))
        .expect("drawn in memory");
    svg(terminal.backend().buffer())
}

fn svg(buffer: &Buffer) -> String {
    let (width, height) = (COLUMNS * CELL.0 + 2 * BORDER, ROWS * CELL.1 + 2 * BORDER);
    let rows: String = (0..ROWS).map(|row| svg_row(buffer, row)).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"15\">\n\
         <title>The demo on a terminal</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n{rows}</svg>\n"
    )
}

/// The cells of a row in runs of one style.
fn svg_row(buffer: &Buffer, row: u16) -> String {
    let cells: Vec<(u16, &Cell)> =
        (0..COLUMNS).map(|column| (column, &buffer[(column, row)])).collect();
    let runs = cells.chunk_by(|(_, one), (_, next)| one.style() == next.style());
    runs.map(|run| svg_run(run, row)).collect()
}

fn svg_run(run: &[(u16, &Cell)], row: u16) -> String {
    let (column, cell) = run[0];
    let (mut ink, mut paper) = (color(cell.fg, FOREGROUND), color(cell.bg, BACKGROUND));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut ink, &mut paper);
    }
    let (x, y) = (BORDER + column * CELL.0, BORDER + row * CELL.1);
    let width = run.len() as u16 * CELL.0;
    let mut out = String::new();
    if paper != BACKGROUND {
        let height = CELL.1;
        out += &format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{paper}\"/>\n"
        );
    }
    let text: String = run.iter().map(|(_, cell)| cell.symbol()).collect();
    if text.trim().is_empty() {
        return out;
    }
    let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let opacity = if cell.modifier.contains(Modifier::DIM) { " opacity=\"0.6\"" } else { "" };
    // A font whose letters have another width is stretched or squeezed to the cells.
    out + &format!(
        "<text x=\"{x}\" y=\"{}\" textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" \
         fill=\"{ink}\"{weight}{opacity}>{}</text>\n",
        y + CELL.1 * 3 / 4,
        escaped(&text)
    )
}

fn color(color: Color, otherwise: &'static str) -> &'static str {
    match color {
        Color::Green => "#7ec77e",
        Color::Yellow => "#e0c06c",
        Color::Red => "#e8746c",
        Color::Cyan => "#6cc4d8",
        Color::DarkGray => "#454a54",
        _ => otherwise,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
