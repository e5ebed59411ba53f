//! The page that a scrape gets, and the page of the documentation, which is made of it.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::encoding::text::{encode_eof, encode_registry};

use super::METRICS;

/// The media type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics in the format OpenMetrics, with or without what was read from the database.
pub fn encode(with_database: bool) -> String {
    let mut page = String::new();
    let registries = [(&METRICS.process, true), (&METRICS.database, with_database)];
    for (registry, _) in registries.into_iter().filter(|(_, is_shown)| *is_shown) {
        // Writing to a string does not fail.
        let _ = encode_registry(&mut page, registry);
    }
    let _ = encode_eof(&mut page);
    page
}

#[derive(Default)]
struct Metric<'p> {
    meaning: &'p str,
    kind: &'p str,
    /// The values of each label.
    labels: BTreeMap<&'p str, BTreeSet<&'p str>>,
    /// The upper bounds of the buckets, in order.
    buckets: Vec<&'p str>,
}

/// The list of metrics as Markdown, which is the content of `docs/metrics.md`.
pub fn as_markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\nGenerated from `src/telemetry/metrics`; do not edit by hand.\n\n\
         `GET /metrics` on the address of the probes, `http.listen`, answers in the format OpenMetrics. Every series of \
         a replica is there from the start, at 0; those of all replicas together are there after the first reading. No label names a \
         workspace, an integration or a member.\n",
    );
    let parts = [
        (
            "Of one replica",
            "A restart sets counters and histograms to 0. Sum them over the replicas.",
            &METRICS.process,
        ),
        (
            "Of all replicas together",
            "Read from the database, at most every 15 s. Each replica says the same: take the maximum over the replicas, \
             never the sum.",
            &METRICS.database,
        ),
    ];
    for (title, note, registry) in parts {
        let mut text = String::new();
        let _ = encode_registry(&mut text, registry);
        page.push_str(&format!(
            "\n## {title}\n\n{note}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        ));
        for (name, metric) in metrics(&text) {
            page.push_str(&row(name, &metric));
        }
    }
    page
}

fn metrics(text: &str) -> BTreeMap<&str, Metric<'_>> {
    let mut metrics: BTreeMap<&str, Metric<'_>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, meaning] => {
                current = name;
                metrics.entry(name).or_default().meaning = meaning;
            }
            ["#", "TYPE", name, kind] => metrics.entry(name).or_default().kind = kind,
            ["#", ..] => {}
            _ => metrics.entry(current).or_default().read_sample(line),
        }
    }
    metrics
}

impl<'p> Metric<'p> {
    fn read_sample(&mut self, line: &'p str) {
        let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        for (name, value) in labels.iter().flat_map(|(labels, _)| pairs(labels)) {
            match name {
                "le" if !self.buckets.contains(&value) => self.buckets.push(value),
                "le" => {}
                _ => drop(self.labels.entry(name).or_default().insert(value)),
            }
        }
    }
}

fn pairs(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name, value.trim_matches('"')))
}

fn row(name: &str, metric: &Metric<'_>) -> String {
    let suffix = match metric.kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    let label = |(name, values): (&&str, &BTreeSet<&str>)| {
        let values: Vec<_> = values.iter().copied().collect();
        match metric.kind {
            "info" => format!("`{name}`"),
            _ => format!("`{name}`: {}", values.join(", ")),
        }
    };
    let mut labels: Vec<_> = metric.labels.iter().map(label).collect();
    if !metric.buckets.is_empty() {
        labels.push(format!("`le`: {}", metric.buckets.join(", ")));
    }
    let (kind, labels, meaning) = (metric.kind, labels.join("; "), metric.meaning);
    format!("| `{name}{suffix}` | {kind} | {labels} | {meaning} |\n")
}
