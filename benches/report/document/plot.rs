//! Bars with whiskers: one bar for each system and setting of a shape.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::number::{number, tick};
use super::row::Row;

/// The shapes that have a plot.
const SHOWN: &[(&str, Scale)] = &[
    ("drain", Scale::Linear),
    ("drain ordered", Scale::Linear),
    ("intake", Scale::Linear),
    ("pickup", Scale::Logarithmic),
    ("recovery", Scale::Logarithmic),
    ("replicas", Scale::Linear),
];

const WIDTH: u32 = 860;
const SLOT: u32 = 24;
/// For the shape's name above the bars, and the axis with its name below them.
const ABOVE: u32 = 48;
const AXIS: u32 = 56;
/// For the number behind the longest bar.
const BEHIND: u32 = 76;
/// How far an axis goes at least.
const LEAST_AXIS: f64 = 1.0;
/// Few enough for large numbers beside long names.
const TICKS: usize = 6;
const EDGE: i32 = 16;
/// Wider than the average letter of a label.
const LETTER: i32 = 8;
const GAP: i32 = 8;

const INK: RGBColor = RGBColor(0x22, 0x28, 0x30);
const GRID: RGBColor = RGBColor(0xdd, 0xe1, 0xe6);
const OWN: RGBColor = RGBColor(0x4c, 0x93, 0xde);
const OTHER: RGBColor = RGBColor(0xb4, 0xbc, 0xc6);

#[derive(Clone, Copy)]
enum Scale {
    Linear,
    Logarithmic,
}

/// What a line of the plot holds.
enum Slot<'a> {
    Heading(&'a str),
    Bar(&'a str, &'a Row),
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) fn shows(shape: &str) -> bool {
    SHOWN.iter().any(|(shown, _)| *shown == shape)
}

pub(super) fn file(shape: &str) -> String {
    format!("{}.svg", shape.replace(' ', "-"))
}

/// The plots of what was measured, by the names of their files.
pub(super) fn all(rows: &[Row]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut plots = BTreeMap::new();
    for (shape, scale) in SHOWN {
        let mut rows: Vec<_> = rows.iter().filter(|row| row.shape == *shape).collect();
        // An axis has one unit.
        let unit = rows.first().map(|row| row.unit.clone());
        rows.retain(|row| Some(&row.unit) == unit.as_ref());
        if !rows.is_empty() {
            plots.insert(file(shape), plot(&rows, *scale)?);
        }
    }
    Ok(plots)
}

fn plot(rows: &[&Row], scale: Scale) -> anyhow::Result<String> {
    let slots = slots(rows);
    let height = ABOVE + AXIS + SLOT * u32::try_from(slots.len())?;
    let most = rows.iter().map(|row| row.most()).fold(LEAST_AXIS, f64::max);
    let least = rows.iter().map(|row| row.least()).fold(most, f64::min);
    let (shape, unit) = (rows[0].shape.as_str(), &rows[0].unit);
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(shape, (EDGE, EDGE), bold(20)))?;
    match scale {
        Scale::Linear => draw(&root, 0.0..most, 0.0, unit, &slots)?,
        Scale::Logarithmic => {
            let start = 10_f64.powf(least.max(most / 1e6).log10().ceil() - 1.0);
            let unit = format!("{unit}, logarithmic");
            draw(&root, (start..most).log_scale(), start, &unit, &slots)?;
        }
    }
    root.present()?;
    drop(root);
    Ok(svg)
}

/// A heading for each setting and a bar for each system; of one system alone, a bar for each setting.
fn slots<'a>(rows: &[&'a Row]) -> Vec<Slot<'a>> {
    if rows.iter().all(|row| row.system == rows[0].system) {
        return rows.iter().map(|row| Slot::Bar(&row.setting, row)).collect();
    }
    let mut slots = Vec::new();
    for group in rows.chunk_by(|a, b| a.setting == b.setting) {
        slots.push(Slot::Heading(&group[0].setting));
        slots.extend(group.iter().map(|row| Slot::Bar(&row.system, row)));
    }
    slots
}

/// The axis starts at `start`, and so do the bars.
fn draw<X>(
    root: &Area<'_>,
    values: X,
    start: f64,
    unit: &str,
    slots: &[Slot<'_>],
) -> anyhow::Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let labels = slots.iter().filter_map(|slot| match slot {
        Slot::Heading(_) => None,
        Slot::Bar(label, _) => Some(label.chars().count()),
    });
    let longest = i32::try_from(labels.max().unwrap_or_default())?;
    let mut chart = ChartBuilder::on(root)
        .margin_top(ABOVE)
        .margin_left(2 * EDGE + LETTER * longest)
        .margin_right(BEHIND)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(values, slots.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(regular())
        .x_labels(TICKS)
        .x_label_formatter(&|value| tick(*value))
        .x_desc(format!("{unit} (bar: median, whisker: least to most)"))
        .draw()?;
    let at = |value: f64, line: f64| chart.backend_coord(&(value.max(start), line));
    for (slot, line) in slots.iter().zip(0..) {
        match slot {
            Slot::Heading(text) => heading(root, text, at(start, f64::from(line) + 0.5))?,
            Slot::Bar(label, row) => {
                bar(root, label, row, |value, part| at(value, f64::from(line) + part))?;
            }
        }
    }
    Ok(())
}

fn heading(root: &Area<'_>, text: &str, (_, y): (i32, i32)) -> anyhow::Result<()> {
    let style = bold(16).pos(Pos::new(HPos::Left, VPos::Center));
    Ok(root.draw(&Text::new(text, (EDGE, y), style))?)
}

/// `at` tells where a value is, in which part of the slot.
fn bar(
    root: &Area<'_>,
    label: &str,
    row: &Row,
    at: impl Fn(f64, f64) -> (i32, i32),
) -> anyhow::Result<()> {
    let color = if row.is_own() { OWN } else { OTHER };
    root.draw(&Rectangle::new([at(0.0, 0.15), at(row.median(), 0.85)], color.filled()))?;
    let (least, most) = (row.least(), row.most());
    let whisker = [at(least, 0.5), at(most, 0.5)];
    let ends = [least, most].map(|value| [at(value, 0.3), at(value, 0.7)]);
    for line in [whisker, ends[0], ends[1]] {
        root.draw(&PathElement::new(line, INK.stroke_width(1)))?;
    }
    let name = if row.is_own() { bold(15) } else { regular() };
    let (left, y) = at(0.0, 0.5);
    let name = name.pos(Pos::new(HPos::Right, VPos::Center));
    root.draw(&Text::new(label, (left - GAP, y), name))?;
    let value = regular().pos(Pos::new(HPos::Left, VPos::Center));
    let (right, _) = whisker[1];
    Ok(root.draw(&Text::new(number(row.median()), (right + GAP, y), value))?)
}

fn regular() -> TextStyle<'static> {
    TextStyle::from(("sans-serif", 15)).color(&INK)
}

fn bold(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size, FontStyle::Bold)).color(&INK)
}
