//! What is promised, and what is said of it.

use std::collections::BTreeMap;

use super::{FOLDER, Measured, OWN, Sample, block, documents, page, verdicts};

/// A target, the row of ours that it judges, a value that just meets it, one that just misses it, and what it is
/// held against, with what it must not be held against.
struct Case {
    row: [&'static str; 3],
    met: f64,
    missed: f64,
    beside: Vec<Measured>,
}

fn case(
    row: [&'static str; 3],
    (met, missed): (f64, f64),
    beside: impl IntoIterator<Item = Measured>,
) -> Case {
    Case { row, met, missed, beside: beside.into_iter().collect() }
}

/// Our own setting that costs nothing, and another system's, which is none of ours.
fn undisturbed(shape: &'static str, setting: &'static str, unit: &'static str) -> [Measured; 3] {
    [
        (shape, OWN, setting, 1000.0, unit),
        (shape, "a 1", setting, 77.0, unit),
        (shape, OWN, setting, 77.0, "another unit"),
    ]
}

/// A system beside ours, in the same setting and in another.
fn peer(shape: &'static str, system: &'static str, unit: &'static str) -> [Measured; 3] {
    [
        (shape, system, "same", 1000.0, unit),
        (shape, system, "another", 77.0, unit),
        (shape, "a 1", "same", 77.0, unit),
    ]
}

fn cases() -> Vec<Case> {
    let others = |shape| {
        [
            (shape, "a 1", "concurrency 100", 77.0, "tasks/s"),
            (shape, "b 1", "concurrency 100", 1000.0, "tasks/s"),
            (shape, "b 1", "concurrency 32", 5000.0, "tasks/s"),
            (shape, "b 1", "concurrency 100", 5000.0, "another unit"),
        ]
    };
    let pgbench = [
        ("limit", "pgbench", "1 client", 77.0, "tasks/s"),
        ("limit", "pgbench", "8 clients", 1000.0, "tasks/s"),
        ("limit", OWN, "concurrency 100", 5000.0, "tasks/s"),
        ("drain", "pgbench", "8 clients", 5000.0, "tasks/s"),
    ];
    let peer_pickup = [("pickup", "a 1", "p50", 0.1, "ms"), ("pickup", "a 1", "p99", 0.1, "ms")];
    let ordered = others("drain ordered").into_iter().chain(others("drain"));
    let rates = "tasks/s";
    vec![
        case(["drain", "concurrency 100", rates], (1000.0, 999.0), others("drain")),
        case(["drain ordered", "concurrency 100", rates], (2000.0, 1999.0), ordered),
        case(["limit", "concurrency 32", rates], (800.0, 799.0), pgbench),
        case(
            ["blocked member", "100,000 blocked", rates],
            (900.0, 899.0),
            undisturbed("blocked member", "nothing blocked", rates),
        ),
        case(
            ["paused integration", "1 of 50", rates],
            (900.0, 899.0),
            undisturbed("paused integration", "none paused", rates),
        ),
        case(
            ["backlog and history", "1,000,000 finished", "µs/task"],
            (1200.0, 1201.0),
            undisturbed("backlog and history", "empty", "µs/task"),
        ),
        case(
            ["intake", "batches of 100", "rows/s"],
            (1000.0, 999.0),
            undisturbed("intake", "their drain", "rows/s"),
        ),
        case(
            ["intake", "batches of 10000", "rows/s"],
            (1000.0, 999.0),
            undisturbed("intake", "their drain", "rows/s"),
        ),
        case(["pickup", "p50", "ms"], (2.99, 3.0), peer_pickup),
        case(["pickup", "p99", "ms"], (24.99, 25.0), peer_pickup),
        case(["steady load", "worst minute p99", "ms"], (99.9, 100.0), []),
        case(
            ["slow handlers", "same", rates],
            (900.0, 899.0),
            peer("slow handlers", "no database", rates),
        ),
        case(["http", "same", rates], (700.0, 699.0), peer("http", "bare client", rates)),
        case(["replicas", "4", rates], (1000.0, 999.0), undisturbed("replicas", "1", rates)),
        case(["memory", "idle", "MB"], (39.9, 40.0), []),
        case(["memory", "loaded", "MB"], (79.9, 80.0), []),
        case(["idle", "one replica", "statements/s"], (2.0, 2.01), []),
        case(["idle", "one replica", "% of a core"], (0.5, 0.51), []),
        case(["lists of operators", "views, p50", "ms"], (19.9, 20.0), []),
        case(["commands of operators", "commands, p50", "ms"], (99.9, 100.0), []),
        case(["pages of operators", "answers, p50", "ms"], (49.9, 50.0), []),
        case(["consoles", "memory, 50 open", "MB"], (119.9, 120.0), []),
        case(
            ["consoles", "50 open", rates],
            (950.0, 949.0),
            undisturbed("consoles", "none open", rates),
        ),
        case(
            ["retention", "deleting", rates],
            (900.0, 899.0),
            undisturbed("retention", "no deletion", rates),
        ),
    ]
}

impl Case {
    /// What the target says of this value.
    fn verdict(&self, value: f64) -> String {
        let [shape, setting, unit] = self.row;
        let mut rows = self.beside.clone();
        rows.push((shape, OWN, setting, value, unit));
        let page = Sample::new(&rows).documents().page;
        let verdicts = verdicts(&page, shape);
        let judged = verdicts.iter().find(|row| row[0].ends_with(setting));
        judged.unwrap_or_else(|| panic!("no {setting} in {verdicts:?}"))[5].clone()
    }
}

#[test]
fn a_target_is_met_up_to_its_edge_and_missed_beyond() {
    for case in cases() {
        assert_eq!(case.verdict(case.met), "met", "{:?} {}", case.row, case.met);
        assert_eq!(case.verdict(case.missed), "**missed**", "{:?} {}", case.row, case.missed);
    }
}

/// The shapes that have a place on the page.
fn shapes(page: &str) -> Vec<&str> {
    let markers = page.lines().filter_map(|line| line.strip_prefix("<!-- measured:"));
    markers
        .map(|name| name.strip_suffix(" -->").unwrap())
        .filter(|name| *name != "machine")
        .collect()
}

#[test]
fn a_shape_without_measurements_says_so_and_keeps_its_targets() {
    let page = documents("", &page(), FOLDER).unwrap().page;
    let mut targets = BTreeMap::new();
    for shape in shapes(&page) {
        assert!(block(&page, shape).starts_with("\nNot measured.\n"), "{shape}");
        let verdicts = verdicts(&page, shape);
        assert!(verdicts.iter().all(|row| row[5] == "not measured"), "{verdicts:?}");
        targets.insert(shape, verdicts.len());
    }
    let mut expected = BTreeMap::from_iter(shapes(&page).into_iter().map(|shape| (shape, 0)));
    for case in cases() {
        *expected.get_mut(case.row[0]).unwrap() += 1;
    }
    assert_eq!(targets, expected);
}

#[test]
fn a_verdict_names_both_sides_and_their_ratio() {
    let page = Sample::new(&[
        ("drain", OWN, "concurrency 32", 1234.0, "tasks/s"),
        ("drain", "a 1", "concurrency 32", 2000.0, "tasks/s"),
        ("pickup", OWN, "p50", 6.0, "ms"),
    ]);
    let page = page.documents().page;
    let drain = "concurrency 32, at least 1 × the best other system, 1,234 tasks/s, \
                 a 1, concurrency 32: 2,000 tasks/s, 0.617, **missed**";
    assert_eq!(verdicts(&page, "drain")[0].join(", "), drain);
    let pickup = "p50, below 3 ms, 6.00 ms, 3 ms, 2.000, **missed**";
    assert_eq!(verdicts(&page, "pickup")[0].join(", "), pickup);
}

#[test]
fn a_target_with_one_side_alone_is_not_measured() {
    let own = Sample::new(&[("drain", OWN, "concurrency 32", 5.0, "tasks/s")]).documents().page;
    assert_eq!(
        verdicts(&own, "drain")[0][2..],
        ["5.00 tasks/s", "not measured", "", "not measured"]
    );
    assert_eq!(verdicts(&own, "limit")[0][5], "not measured");
    let other = Sample::new(&[("drain", "a 1", "concurrency 32", 5.0, "tasks/s")]).documents().page;
    let alone = ["not measured", "not measured", "", "not measured"];
    assert_eq!(verdicts(&other, "drain")[0][2..], alone);
    assert_eq!(verdicts(&other, "drain").len(), 1);
    let theirs = Sample::new(&[
        ("retention", OWN, "deleting", 5.0, "tasks/s"),
        ("retention", "a 1", "no deletion", 5.0, "tasks/s"),
    ]);
    let theirs = theirs.documents().page;
    assert_eq!(verdicts(&theirs, "retention")[0][5], "not measured");
}

#[test]
fn a_setting_is_not_held_against_itself() {
    let mut rows = undisturbed("retention", "no deletion", "tasks/s").to_vec();
    rows.push(("retention", OWN, "deleting", 5.0, "tasks/s"));
    let page = Sample::new(&rows).documents().page;
    assert_eq!(verdicts(&page, "retention").len(), 1);
}
