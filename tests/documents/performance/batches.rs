//! Which lines count, and which are refused.

use serde_json::{Value, json};

use super::{OWN, Sample, page, refusal, values};

fn only_row(sample: &Sample) -> String {
    let rows = values(&sample.documents().page, "drain");
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].join(" ")
}

#[test]
fn a_row_shows_the_median_and_the_spread_of_its_runs() {
    let odd = Sample::drain(&[(1, 9000.0), (2, 1100.0), (3, 1234.4)]);
    let even = Sample::drain(&[(1, 4.0), (2, 1.0), (3, 2.0), (4, 0.5)]);
    let own = "concurrency 32 **cerby-reconciler**";
    assert_eq!(only_row(&odd), format!("{own} 1,234 1,100 to 9,000 tasks/s 3 0 %"));
    assert_eq!(only_row(&even), format!("{own} 1.50 0.500 to 4.00 tasks/s 4 0 %"));
}

#[test]
fn a_row_shows_how_much_neighbours_took_in_its_worst_run_if_all_of_them_counted() {
    let mut sample = Sample::drain(&[(1, 1.0), (2, 2.0), (3, 3.0)]);
    sample.lines[1]["stolen"] = json!(34.6);
    assert!(only_row(&sample).ends_with("tasks/s 3 35 %"), "{}", only_row(&sample));
    sample.lines[2].as_object_mut().unwrap().remove("stolen");
    assert!(only_row(&sample).ends_with("tasks/s 3 "), "{}", only_row(&sample));
}

#[test]
fn a_new_run_1_puts_all_earlier_runs_aside() {
    let sample = Sample::drain(&[(1, 1.0), (2, 2.0), (3, 3.0), (1, 70.0), (2, 50.0)]);
    assert!(
        only_row(&sample).ends_with("60.0 50.0 to 70.0 tasks/s 2 0 %"),
        "{}",
        only_row(&sample)
    );
    let kept = sample.documents().results;
    assert_eq!(kept, Sample { lines: sample.lines[3..].to_vec() }.text());
}

#[test]
fn a_batch_is_told_by_time_and_not_by_the_order_of_the_lines() {
    let mut sample = Sample::drain(&[(1, 1.0), (2, 2.0), (1, 70.0), (2, 50.0)]);
    let before = sample.documents();
    sample.lines.reverse();
    assert_eq!(sample.documents().page, before.page);
    assert_eq!(sample.documents().results, before.results);
}

#[test]
fn runs_that_take_turns_stay_apart() {
    let mut sample = Sample::default();
    for run in 1..=3 {
        for (system, unit) in [(OWN, "tasks/s"), ("other 1.0", "tasks/s"), (OWN, "MB")] {
            sample.add(["drain", system, "concurrency 32", unit], run, f64::from(run));
        }
    }
    let rows = values(&sample.documents().page, "drain");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row[2] == "2.00" && row[5] == "3"), "{rows:?}");
}

#[test]
fn rows_come_in_the_order_of_their_numbers_and_our_own_first() {
    let rows = ["concurrency 500", "concurrency 32", "concurrency 100"]
        .into_iter()
        .flat_map(|setting| ["a 1", OWN].map(|system| ("drain", system, setting, 1.0, "tasks/s")));
    let page = Sample::new(&Vec::from_iter(rows)).documents().page;
    let shown: Vec<_> = values(&page, "drain").into_iter().map(|row| row[..2].join(" ")).collect();
    let expected = ["32", "100", "500"].map(|number| {
        ["**cerby-reconciler**", "a 1"].map(|system| format!("concurrency {number} {system}"))
    });
    assert_eq!(shown, expected.concat());
}

type Spoil = fn(&mut Value);

#[test]
fn a_broken_line_is_refused_with_its_number_and_the_reason() {
    let cases: [(Spoil, &str); 10] = [
        (|line| line["value"] = Value::Null, "line 2: invalid type: null, expected f64"),
        (|line| line["value"] = json!(-1), "line 2: value is below zero"),
        (|line| line["stolen"] = json!(101), "line 2: stolen is no percentage"),
        (|line| line["run"] = json!(0), "line 2: runs count from 1"),
        (|line| line["host"] = json!("h"), "line 2: unknown field `host`"),
        (|line| line["machine"]["host"] = json!("h"), "line 2: unknown field `host`"),
        (|line| line["at"] = json!("yesterday"), "line 2: "),
        (|line| line["unit"] = json!(""), "line 2: unit is empty"),
        (|line| line["system"] = json!("a\nb"), "line 2: system is empty or holds control"),
        (|line| line.as_object_mut().unwrap().clear(), "line 2: missing field `at`"),
    ];
    for (spoil, reason) in cases {
        let mut sample = Sample::drain(&[(1, 1.0), (2, 2.0), (3, 3.0)]);
        spoil(&mut sample.lines[1]);
        assert!(sample.refusal().starts_with(reason), "{} is not {reason}", sample.refusal());
    }
    let cut = Sample::drain(&[(1, 1.0)]).text() + "{\"at\": \"2026";
    let refused = refusal(&cut, &page());
    assert!(refused.starts_with("line 2: EOF while parsing"), "{refused}");
}

#[test]
fn details_that_name_a_place_on_the_machine_are_refused() {
    for detail in ["in /tmp/x", "postgres://me@here/db", "/etc/hosts"] {
        let mut sample = Sample::drain(&[(1, 1.0)]);
        sample.lines[0]["details"] = json!({"settings": [{"note": detail}]});
        let refused = sample.refusal();
        assert!(refused.starts_with("line 1: details name a place"), "{detail}: {refused}");
    }
    let mut sample = Sample::drain(&[(1, 1.0)]);
    sample.lines[0]["details"] = json!({"wal": "3 kB/task", "durable": true, "tasks": 200_000});
    assert!(sample.documents().results.contains("200000"));
}

#[test]
fn a_batch_with_a_run_twice_or_without_its_first_is_refused() {
    let twice = Sample::drain(&[(1, 1.0), (2, 2.0), (2, 3.0)]).refusal();
    assert_eq!(twice, "line 3: run 2 of drain, cerby-reconciler, concurrency 32 follows run 2");
    let headless = Sample::drain(&[(2, 1.0), (3, 2.0)]).refusal();
    assert_eq!(
        headless,
        "line 1: run 2 of drain, cerby-reconciler, concurrency 32 follows no run 1"
    );
}
