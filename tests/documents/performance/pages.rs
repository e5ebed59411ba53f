//! What the page shows beside the targets.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::plots::crowd;
use super::{FOLDER, OWN, Sample, block, docs, documents, refusal};

#[test]
fn measurements_of_two_machines_are_refused() {
    let mut sample = Sample::drain(&[(1, 1.0), (2, 2.0)]);
    sample.lines[1]["machine"]["kernel"] = json!("6.2");
    assert!(block(&sample.documents().page, "machine").contains("| 6.1; 6.2 |"));
    sample.lines[1]["machine"]["cores"] = json!(4);
    assert!(sample.refusal().starts_with("measured on different machines"));
}

#[test]
fn what_has_no_place_on_the_page_is_refused() {
    let refused = Sample::new(&[("unheard of", OWN, "x", 1.0, "ms")]).refusal();
    assert_eq!(refused, "the page has no marker for unheard of");
}

#[test]
fn a_page_with_broken_markers_is_refused() {
    let open = "<!-- measured:drain -->\n";
    let close = "<!-- /measured -->\n";
    for page in [open.to_owned(), close.to_owned(), [open, open, close].concat()] {
        refusal("", &page);
    }
    let twice = [open, close, open, close].concat();
    assert!(refusal("", &twice).ends_with("comes twice"));
}

#[test]
fn only_what_is_between_the_markers_changes() {
    let page = "before\n<!-- measured:drain -->\nstale\n<!-- /measured -->\n\nafter\n";
    let filled = documents(&Sample::drain(&[(1, 5.0)]).text(), page, FOLDER).unwrap().page;
    assert!(filled.starts_with("before\n<!-- measured:drain -->\n"));
    assert!(filled.ends_with("<!-- /measured -->\n\nafter\n"));
    assert!(filled.contains("5.00") && !filled.contains("stale"));
}

#[test]
fn what_was_written_reads_as_the_same_documents() {
    let first = crowd().documents();
    let second = documents(&first.results, &first.page, FOLDER).unwrap();
    assert_eq!(first.results, second.results);
    assert_eq!(first.page, second.page);
    assert_eq!(first.plots, second.plots);
}

#[test]
fn a_plot_is_shown_on_the_page_only_where_it_was_drawn() {
    let documents = Sample::drain(&[(1, 5.0)]).documents();
    assert_eq!(Vec::from_iter(documents.plots.keys()), ["drain.svg"]);
    assert!(block(&documents.page, "drain").contains("](performance/drain.svg)"));
    assert_eq!(documents.page.matches("![").count(), 1);
}

#[test]
fn a_name_cannot_break_its_table() {
    let page = Sample::new(&[("drain", "a|b", "concurrency 32", 1.0, "tasks/s")]).documents().page;
    assert!(block(&page, "drain").contains(r"| a\|b |"));
}

#[test]
fn the_committed_pages_and_plots_show_the_committed_results() {
    for (folder, renew) in [
        (FOLDER, "make bench-report RESULTS=docs/performance/results.jsonl"),
        ("reliability", "make chaos"),
    ] {
        let (results, page) =
            (docs(&format!("{folder}/results.jsonl")), docs(&format!("{folder}.md")));
        let current = documents(&results, &page, folder).unwrap();
        assert!(current.page == page, "docs/{folder}.md shows something else: run {renew}");
        assert!(current.results == results, "docs/{folder}/results.jsonl holds more than is shown");
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(folder);
        let names = fs::read_dir(files).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let plots = names.filter(|name| name.ends_with(".svg"));
        let committed = plots.map(|name| (name.clone(), docs(&format!("{folder}/{name}"))));
        assert!(current.plots == committed.collect(), "the plots in {folder} show something else");
    }
}

#[test]
fn a_page_shows_what_its_runs_were_made_with() {
    let mut sample = Sample::drain(&[(1, 1.0), (2, 2.0)]);
    sample.lines[0]["details"] = json!({"seed": 7, "build": "release"});
    sample.lines[1]["details"] = json!({"seed": 8, "build": "release"});
    let page = "<!-- measured:settings -->\n<!-- /measured -->\n\
                <!-- measured:drain -->\n<!-- /measured -->\n";
    let page = documents(&sample.text(), page, "elsewhere").unwrap().page;
    let settings = block(&page, "settings");
    assert!(settings.contains("| build | release |\n| seed | 7; 8 |\n"), "{settings}");
    assert!(page.contains("](elsewhere/drain.svg)"), "{page}");
}
