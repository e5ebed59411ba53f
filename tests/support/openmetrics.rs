//! A strict reader of the format OpenMetrics, as far as the product uses it.

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The samples of a page by their series: name and labels as they are written.
#[derive(Debug)]
pub(crate) struct Page(pub(crate) BTreeMap<String, f64>);

impl Page {
    /// The value of a series; a series that is not there fails the test.
    pub(crate) fn get(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no series {series}"))
    }

    pub(crate) fn has(&self, series: &str) -> bool {
        self.0.contains_key(series)
    }

    pub(crate) fn series(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// The answer to a scrape: head and body.
pub(crate) async fn request(address: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: scrape\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    Ok((head.to_owned(), body.to_owned()))
}

pub(crate) async fn scrape(address: &str) -> Page {
    let (head, body) = request(address).await.expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let media = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.to_lowercase().contains(media), "{head}");
    parse(&body)
}

struct Family<'p> {
    name: &'p str,
    kind: &'p str,
    buckets: BTreeMap<String, f64>,
}

/// Panics at everything that the format does not allow.
pub(crate) fn parse(text: &str) -> Page {
    let body = text.strip_suffix("# EOF\n").expect("the mark of the end is the last line");
    let (mut page, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let mut family = Family { name: "", kind: "", buckets: BTreeMap::new() };
    for line in body.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, meaning] => {
                assert!(!meaning.is_empty() && seen.insert(name), "{name} comes twice");
                family = Family { name, kind: "", buckets: BTreeMap::new() };
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(name, family.name, "{line}");
                assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
                family.kind = kind;
            }
            ["#", "UNIT", name, unit] => {
                assert!(name == family.name && name.ends_with(&format!("_{unit}")), "{line}");
            }
            _ => {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                sample(&mut family, series, value);
                assert!(page.insert(series.to_owned(), value).is_none(), "twice: {series}");
            }
        }
    }
    Page(page)
}

fn sample(family: &mut Family<'_>, series: &str, value: f64) {
    let name = series.split('{').next().unwrap_or_default();
    let suffix = name.strip_prefix(family.name).unwrap_or_else(|| panic!("{series} is astray"));
    let allowed: &[&str] = match family.kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        other => panic!("{series} has the type {other:?}"),
    };
    assert!(allowed.contains(&suffix), "{series} of {}", family.kind);
    assert!(family.kind == "gauge" || value >= 0.0, "{series} is {value}");
    let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
    let others: Vec<_> = labels.split(',').filter(|label| !label.starts_with("le=")).collect();
    match suffix {
        "_bucket" => {
            assert!(labels.contains("le="), "{series}");
            let before = family.buckets.insert(others.join(","), value);
            assert!(before.is_none_or(|before| before <= value), "{series} falls");
        }
        "_info" => assert_eq!(value, 1.0, "{series}"),
        _ => {}
    }
}
