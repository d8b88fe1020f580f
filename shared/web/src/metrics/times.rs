//! How long answers took: a histogram that is shown at `/metrics`, and can be read by the program itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The longest time of each bucket but the last, which has no end; in microseconds.
const BOUNDS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// How many answers took how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times([u64; BUCKETS]);

impl Times {
    /// How many answers there were.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds those of `others`.
    pub fn add(&mut self, others: &Self) {
        for (own, other) in self.0.iter_mut().zip(others.0) {
            *own += other;
        }
    }

    /// Those that came since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut rest = *self;
        for (own, other) in rest.0.iter_mut().zip(before.0) {
            *own = own.saturating_sub(other);
        }
        rest
    }

    /// The time within which so many of a hundred answers came, in microseconds; `None` where there was no answer. As exact as
    /// the buckets are wide: within one, times are taken to be spread evenly, and none is longer than five seconds.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let all = self.count();
        // The answer of this rank, from the fastest on.
        let rank = (all * percent).div_ceil(100).max(1);
        let mut passed = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            if passed + count >= rank && *count > 0 {
                let from = bucket.checked_sub(1).map_or(0, |before| BOUNDS[before]);
                let Some(to) = BOUNDS.get(bucket) else {
                    return Some(from);
                };
                return Some(from + (to - from) * (rank - passed) / count);
            }
            passed += count;
        }
        None
    }
}

/// A histogram of times. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    buckets: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.0.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn times(&self) -> Times {
        Times(std::array::from_fn(|at| {
            self.0.buckets[at].load(Ordering::Relaxed)
        }))
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let times = self.times();
        let ends = BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = ends.zip(times.0).collect();
        let sum = seconds(self.0.micros.load(Ordering::Relaxed));
        let exemplars: Option<&HashMap<_, _>> = None;
        encoder.encode_histogram::<NoLabelSet>(sum, times.count(), &buckets, exemplars)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn percentiles_are_those_of_the_answers_that_were_counted() {
        let histogram = Histogram::default();
        assert_eq!(histogram.times().percentile(50), None);
        for _ in 0..98 {
            histogram.observe(Duration::from_micros(700));
        }
        let before = histogram.times();
        histogram.observe(Duration::from_millis(30));
        histogram.observe(Duration::from_secs(60));
        let times = histogram.times();
        assert_eq!(times.count(), 100);
        let half = times.percentile(50).unwrap();
        assert!((500..=1_000).contains(&half), "{half}");
        assert_eq!(
            times.percentile(99),
            Some(50_000),
            "the slower of one in that bucket"
        );
        assert_eq!(
            times.percentile(100),
            Some(5_000_000),
            "there is no more to be told"
        );
        let since = times.since(&before);
        assert_eq!((since.count(), since.percentile(50)), (2, Some(50_000)));
        let mut sum = since;
        sum.add(&before);
        assert_eq!(sum, times);
    }

    /// As OpenMetrics wants it ("Histogram"): buckets count what is within them and before, and the last has all.
    #[test]
    fn it_is_shown_as_every_histogram_is() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(200));
        histogram.observe(Duration::from_secs(9));
        let mut registry = Registry::default();
        registry.register("x", "X", histogram);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE x histogram",
            "x_sum 9.0002",
            "x_count 2",
            "x_bucket{le=\"0.0001\"} 0",
            "x_bucket{le=\"0.00025\"} 1",
            "x_bucket{le=\"5.0\"} 1",
            "x_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_time_at_a_bound_is_within_it() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(100));
        assert_eq!(histogram.times().percentile(100), Some(100));
        histogram.observe(Duration::from_micros(101));
        assert_eq!(histogram.times().percentile(100), Some(250));
    }
}
