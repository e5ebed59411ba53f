//! Metrics with all their series: each is there from the start, at 0.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// A label, and all its values.
pub(super) type Values = (&'static str, &'static [&'static str]);

type Labels<const N: usize> = [(&'static str, &'static str); N];

pub(super) type Counters<const N: usize> = Family<Labels<N>, Counter>;
pub(super) type Histograms<const N: usize> = Family<Labels<N>, Histogram, Buckets>;
pub(super) type Seconds = Gauge<f64, AtomicU64>;

/// The upper bounds of the buckets of a histogram, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Buckets(pub(super) &'static [f64]);

impl prometheus_client::metrics::family::MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// A gauge with one label.
#[derive(Debug, Clone)]
pub(super) struct Gauges {
    label: &'static str,
    values: &'static [&'static str],
    family: Family<Labels<1>, Gauge>,
}

impl Gauges {
    /// Sets each value of the label to its count, and those without a count to 0.
    pub(super) fn set(&self, counts: &HashMap<String, i64>) {
        for value in self.values {
            let count = counts.get(*value).copied().unwrap_or(0);
            self.family.get_or_create(&[(self.label, *value)]).set(count);
        }
    }
}

/// Every combination of the values of labels.
fn combinations<const N: usize>(labels: [Values; N]) -> Vec<Labels<N>> {
    let mut all = vec![labels.map(|(name, _)| (name, ""))];
    for (at, (_, values)) in labels.into_iter().enumerate() {
        all = all
            .into_iter()
            .flat_map(|one| {
                values.iter().map(move |value| {
                    let mut one = one;
                    one[at].1 = value;
                    one
                })
            })
            .collect();
    }
    all
}

pub(super) fn counter(to: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    to.register(name, help, counter.clone());
    counter
}

pub(super) fn counters<const N: usize>(
    to: &mut Registry,
    name: &str,
    help: &str,
    labels: [Values; N],
) -> Counters<N> {
    let family = Counters::default();
    to.register(name, help, family.clone());
    combinations(labels).iter().for_each(|one| drop(family.get_or_create(one)));
    family
}

pub(super) fn histograms<const N: usize>(
    to: &mut Registry,
    name: &str,
    help: &str,
    labels: [Values; N],
    buckets: &'static [f64],
) -> Histograms<N> {
    let family = Histograms::new_with_constructor(Buckets(buckets));
    to.register_with_unit(name, help, Unit::Seconds, family.clone());
    combinations(labels).iter().for_each(|one| drop(family.get_or_create(one)));
    family
}

pub(super) fn gauge(to: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    to.register(name, help, gauge.clone());
    gauge
}

pub(super) fn seconds(to: &mut Registry, name: &str, help: &str) -> Seconds {
    let gauge = Seconds::default();
    to.register_with_unit(name, help, Unit::Seconds, gauge.clone());
    gauge
}

pub(super) fn gauges(to: &mut Registry, name: &str, help: &str, (label, values): Values) -> Gauges {
    let gauges = Gauges { label, values, family: Family::default() };
    to.register(name, help, gauges.family.clone());
    gauges.set(&HashMap::new());
    gauges
}
