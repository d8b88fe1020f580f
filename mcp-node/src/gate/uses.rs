//! How far the limits are used, for `/metrics`. Labels are words of the program, patterns of the operator, and names of
//! tools that there are; so many of them at most.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ::web::metrics::Metrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;

use super::gauges::Gauges;
use super::permit::Outcome;
use crate::audit::Audit;

/// So many tools have a count of their own; further ones share one.
const MAX_TOOLS: usize = 256;

/// The counts of one gate.
#[derive(Debug, Default)]
pub(super) struct Uses {
    ended: Family<Ended, Counter>,
    known: Mutex<HashSet<String>>,
    by_outcome: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Ended {
    tool: String,
    outcome: &'static str,
}

impl Uses {
    /// Counts that tell of a gate as long as there is one.
    pub(super) fn of(gauges: &Gauges, audit: Option<&Arc<Audit>>, metrics: &Metrics) -> Self {
        let uses = Self::default();
        metrics.register("tool_calls", "Calls by tool and outcome", uses.ended.clone());
        metrics.collect(Watch {
            gauges: gauges.clone(),
            audit: audit.map(Arc::downgrade),
        });
        uses
    }

    pub(super) fn ended(&self, tool: String, outcome: Outcome) {
        let ended = Ended {
            tool: self.label(tool, outcome),
            outcome: outcome.as_str(),
        };
        self.ended.get_or_create(&ended).inc();
        let mut all = self.by_outcome.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(outcome.as_str()).or_default() += 1;
    }

    /// How many calls there were, by outcome.
    pub(super) fn by_outcome(&self) -> BTreeMap<&'static str, u64> {
        self.by_outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A name that a caller made up must not become a label. Only what ran is known to be there.
    fn label(&self, tool: String, outcome: Outcome) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let ran = matches!(outcome, Outcome::Done | Outcome::ToolError);
        if known.contains(&tool) || ran && known.len() < MAX_TOOLS && known.insert(tool.clone()) {
            tool
        } else {
            "other".to_owned()
        }
    }
}

/// What is read when somebody asks for the metrics.
#[derive(Debug)]
struct Watch {
    gauges: Gauges,
    audit: Option<Weak<Audit>>,
}

impl Collector for Watch {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauges = self.gauges.read();
        let limits = gauges.iter().map(|gauge| (gauge, Some(gauge.limit)));
        let used = gauges.iter().map(|gauge| (gauge, gauge.used));
        let all: [(&str, &str, Vec<_>); 2] = [
            ("limit", "How much there may be of it", limits.collect()),
            ("limit_in_use", "How much there is of it now", used.collect()),
        ];
        for (name, help, values) in all {
            let mut family =
                encoder.encode_descriptor(name, help, None, prometheus_client::metrics::MetricType::Gauge)?;
            for (gauge, value) in values {
                let Some(value) = value else { continue };
                let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                let labels = [("limit", gauge.name), ("tool", &*gauge.tool)];
                value.encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "limit_per_minute",
            "How many requests there may be in a minute",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for rate in self.gauges.rates() {
            let labels = [("by", rate.by), ("tool", &*rate.tool)];
            ConstGauge::new(rate.requests).encode(family.encode_family(&labels)?)?;
        }
        if let Some(audit) = self.audit.as_ref().and_then(Weak::upgrade) {
            let failing = ConstGauge::new(i64::from(audit.is_failing()));
            failing.encode(encoder.encode_descriptor(
                "audit_failing",
                "Whether lines of the audit log cannot be kept now",
                None,
                failing.metric_type(),
            )?)?;
            let lost = ConstCounter::new(audit.lost());
            lost.encode(encoder.encode_descriptor(
                "audit_lost_lines",
                "Lines of the audit log that were lost",
                None,
                lost.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_07_names_that_callers_make_up_are_no_labels() {
        let uses = Uses::default();
        assert_eq!(uses.label("made_up".to_owned(), Outcome::Failed), "other");
        assert_eq!(uses.label("status".to_owned(), Outcome::Done), "status");
        assert_eq!(uses.label("status".to_owned(), Outcome::Failed), "status");
        for number in 0..2 * MAX_TOOLS {
            uses.label(format!("tool {number}"), Outcome::Done);
        }
        assert_eq!(uses.known.lock().unwrap().len(), MAX_TOOLS);
        assert_eq!(uses.label("one more".to_owned(), Outcome::Done), "other");
    }
}
