//! Alerts, their tests, the runbook and the dashboard name what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cerby_reconciler::telemetry::metrics;
use serde_json::Value;

use super::current::{root, text};

const RULES: &str = "deploy/prometheus/rules.yml";

#[test]
fn the_page_of_metrics_is_current() {
    let current = metrics::as_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join("docs/metrics.md"), &current).unwrap();
    }
    assert!(
        text("docs/metrics.md") == current,
        "docs/metrics.md is not what src/telemetry/metrics says: run the tests once with UPDATE_DOCS=1"
    );
}

/// The names of alerts, each with the lines of its rule.
fn alerts() -> BTreeMap<String, String> {
    let rules = text(RULES);
    let rules = rules.split("- alert: ").skip(1);
    rules
        .map(|rule| {
            let (name, rest) = rule.split_once('\n').expect("a name and its rule");
            (name.to_owned(), rest.split("- record: ").next().unwrap_or_default().to_owned())
        })
        .collect()
}

#[test]
fn each_alert_has_a_section_of_the_runbook_and_says_where() {
    const PARTS: [&str; 4] = ["**What it means.**", "**Look first.**", "**Do.**", "**Do not.**"];
    let runbook = text("docs/runbook.md");
    let sections: BTreeMap<_, _> =
        runbook.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let alerts = alerts();
    let named: BTreeSet<_> = alerts.keys().map(String::as_str).collect();
    assert_eq!(named, sections.keys().copied().collect(), "alerts and sections");
    for (name, rule) in &alerts {
        let section = sections[name.as_str()];
        let places: Vec<_> = PARTS.iter().map(|part| section.find(part)).collect();
        assert!(places.iter().all(Option::is_some), "{name} lacks one of {PARTS:?}");
        assert!(places.is_sorted(), "{name} has its parts in another order");
        let link = format!("runbook: docs/runbook.md#{}\n", name.to_lowercase());
        assert!(rule.contains(&link), "{name} does not name its section");
        let severity = if rule.contains("severity: page\n") { "Page. " } else { "Ticket. " };
        assert!(section.trim_start().starts_with(severity), "{name} says another severity");
    }
}

#[test]
fn each_alert_is_tested_once_firing_and_once_silent() {
    let tests = text("deploy/prometheus/rules_test.yml");
    for name in alerts().keys() {
        let silent = format!("{{ alertname: {name}, eval_time: 7h, exp_alerts: [] }}");
        assert!(tests.contains(&silent), "{name} has no silent case");
        let firing = format!("- alertname: {name}\n");
        let case = tests.split(&firing).nth(1).unwrap_or_default();
        let case = case.split("alertname:").next().unwrap_or_default();
        assert!(case.contains("exp_alerts:\n          - exp_labels:"), "{name} never fires");
    }
}

/// The metrics that a text names, without what histograms and counters add to their names.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("reconciler_"));
    names
        .map(|name| {
            let of_histogram = ["_bucket", "_sum", "_count"];
            let ends = of_histogram.iter().find_map(|end| name.strip_suffix(end));
            ends.unwrap_or(name).to_owned()
        })
        .collect()
}

#[test]
fn rules_dashboard_and_runbook_name_metrics_that_there_are() {
    let page = text("docs/metrics.md");
    for file in [RULES, "deploy/grafana/dashboard.json", "docs/runbook.md"] {
        let named = metrics_in(&text(file));
        assert!(!named.is_empty(), "{file}");
        for name in named {
            assert!(page.contains(&format!("| `{name}` |")), "{file} names {name}");
        }
    }
}

#[test]
fn the_dashboard_has_a_title_and_a_query_in_each_panel() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap_or_default();
        assert!(!title.is_empty() && ids.insert(panel["id"].as_i64()), "{panel}");
        let is_row = panel["type"] == "row";
        let targets = panel["targets"].as_array().map_or(0, Vec::len);
        assert!(is_row || targets > 0, "{title} asks nothing");
    }
    assert!(panels.len() > 20);
}
