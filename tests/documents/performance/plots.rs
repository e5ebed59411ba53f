//! What the plots look like.

use std::collections::BTreeSet;

use super::{OWN, Sample};

/// Eight systems with long names in three settings, far apart.
pub(super) fn crowd() -> Sample {
    let mut sample = Sample::default();
    for shape in ["drain", "drain ordered", "pickup", "intake"] {
        for number in 0..8 {
            let long = format!("a-system-with-a-long-name {number}.10.1 <batched & tuned>");
            let system = if number == 0 { OWN } else { &long };
            for setting in ["concurrency 32", "concurrency 100", "concurrency 500"] {
                for run in 1..=3 {
                    let value = f64::from(run) * 5_f64.powi(number);
                    sample.add([shape, system, setting, "x"], run, value);
                }
            }
        }
    }
    sample
}

fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let (_, value) = element.split_once(&format!(" {name}=\"")).unwrap();
    value.split_once('"').unwrap().0
}

/// A text of a plot, as wide as a wide font makes it.
struct Drawn {
    left: f64,
    right: f64,
    y: f64,
    said: String,
}

fn texts(svg: &str) -> Vec<Drawn> {
    let texts = svg.split("<text").skip(1).map(|text| {
        let (head, rest) = text.split_once('>').unwrap();
        let said = rest.split_once("</text>").unwrap().0.trim().to_owned();
        let number = |name| attribute(head, name).parse().unwrap();
        let [x, y, size] = ["x", "y", "font-size"].map(number);
        let size: f64 = size;
        let plain = said.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        let width = size * 0.6 * plain.chars().count() as f64;
        let left = match attribute(head, "text-anchor") {
            "start" => x,
            "middle" => x - width / 2.0,
            _ => x - width,
        };
        Drawn { left, right: left + width, y, said }
    });
    texts.collect()
}

#[test]
fn no_two_texts_of_a_crowded_plot_overlap_and_none_is_cut() {
    let plots = crowd().documents().plots;
    assert_eq!(plots.len(), 4);
    for (name, svg) in plots {
        let texts = texts(&svg);
        assert!(texts.len() > 3 * 8 * 2, "{name}: {}", texts.len());
        for (index, text) in texts.iter().enumerate() {
            let Drawn { left, right, y, said } = text;
            assert!(*left >= 0.0 && *right <= 860.0, "{name}: {said} from {left} to {right}");
            for other in &texts[index + 1..] {
                let beside = *right < other.left || other.right < *left;
                assert!(beside || (y - other.y).abs() >= 13.0, "{name}: {said} on {}", other.said);
            }
        }
    }
}

#[test]
fn a_plot_is_on_white_names_everything_and_shows_our_own_in_its_color() {
    let svg = crowd().documents().plots.remove("drain.svg").unwrap();
    let background = r##"<rect x="0" y="0" width="860" height="752" opacity="1" fill="#FFFFFF""##;
    assert!(svg.contains(background), "{svg}");
    let said: BTreeSet<_> = texts(&svg).into_iter().map(|text| text.said).collect();
    let long =
        |number| format!("a-system-with-a-long-name {number}.10.1 &lt;batched &amp; tuned&gt;");
    for text in (1..8).map(long).chain(["drain", OWN, "concurrency 500"].map(str::to_owned)) {
        assert!(said.contains(&text), "{text} is not in {said:?}");
    }
    assert!(said.contains("x (bar: median, whisker: least to most)"), "{said:?}");
    assert_eq!(svg.matches("fill=\"#4C93DE\"").count(), 3);
    assert_eq!(svg.matches("fill=\"#B4BCC6\"").count(), 3 * 7);
}

/// The lengths of the bars with this color.
fn lengths(svg: &str, color: &str) -> Vec<f64> {
    let bars = svg.lines().filter(|line| line.starts_with("<rect ") && line.contains(color));
    bars.map(|line| attribute(line, "width").parse().unwrap()).collect()
}

#[test]
fn bars_are_as_long_as_their_values_or_as_the_logarithms_of_them() {
    let rows = |shape| {
        [("a 1", 10.0), ("b 1", 100.0), ("c 1", 1000.0)]
            .map(|(system, value)| (shape, system, "p50", value, "x"))
    };
    let plots = Sample::new(&[rows("drain"), rows("pickup")].concat()).documents().plots;
    let near = |a: f64, b: f64| (a - b).abs() <= 2.0;
    let linear = lengths(&plots["drain.svg"], "#B4BCC6");
    let hundredth = linear[2] / 100.0;
    assert!(near(hundredth, linear[0]) && near(hundredth * 10.0, linear[1]), "{linear:?}");
    let decades = lengths(&plots["pickup.svg"], "#B4BCC6");
    assert!(
        near(decades[0] * 2.0, decades[1]) && near(decades[0] * 3.0, decades[2]),
        "{decades:?}"
    );
}

#[test]
fn a_bar_ends_at_the_median_and_its_whisker_at_least_and_most() {
    let mut sample = Sample::default();
    for (run, value) in [(1, 1000.0), (2, 250.0), (3, 500.0)] {
        sample.add(["drain", OWN, "concurrency 32", "tasks/s"], run, value);
    }
    let svg = sample.documents().plots.remove("drain.svg").unwrap();
    let mut lines = svg.lines().skip_while(|line| !line.contains("fill=\"#4C93DE\""));
    let start: f64 = attribute(lines.next().unwrap(), "x").parse().unwrap();
    let points = attribute(lines.next().unwrap(), "points").split_whitespace();
    let whisker = points.map(|point| point.split_once(',').unwrap().0.parse::<f64>().unwrap());
    let bar = lengths(&svg, "#4C93DE")[0];
    let expected = [start + bar * 0.5, start + bar * 2.0];
    let near = whisker.clone().zip(expected).all(|(end, expected)| (end - expected).abs() <= 2.0);
    assert!(near, "{:?} is not {expected:?}", Vec::from_iter(whisker));
}

#[test]
fn a_plot_has_one_unit() {
    let rows = [("a 1", "tasks/s"), ("b 1", "MB"), ("c 1", "tasks/s")];
    let rows = rows.map(|(system, unit)| ("drain", system, "concurrency 32", 5.0, unit));
    let svg = Sample::new(&rows).documents().plots.remove("drain.svg").unwrap();
    assert_eq!(lengths(&svg, "#B4BCC6").len(), 2);
}
