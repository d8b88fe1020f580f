//! How far each limit is used, for `/metrics`: whatever is bounded says so itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ::web::rates::Rate;

/// A limit, with its number and its use.
pub(crate) struct Gauge {
    /// Its name.
    pub(crate) name: &'static str,
    /// The tools for which it holds, a pattern; empty for all.
    pub(crate) tool: String,
    pub(crate) limit: usize,
    /// `None` where it is counted for each client or subject, or is a size or a time.
    pub(crate) used: Option<usize>,
}

impl Gauge {
    /// A limit of the whole node, of which so much is used.
    pub(crate) fn of_node(name: &'static str, limit: usize, used: usize) -> Self {
        Self {
            used: Some(used),
            ..Self::of_each(name, limit)
        }
    }

    /// A limit that holds for each of many.
    pub(crate) fn of_each(name: &'static str, limit: usize) -> Self {
        Self {
            name,
            tool: String::new(),
            limit,
            used: None,
        }
    }

    /// The same for some tools only.
    pub(crate) fn for_tools(self, tool: impl Into<String>) -> Self {
        Self {
            tool: tool.into(),
            ..self
        }
    }
}

/// Something with limits.
pub(crate) trait Bounded: Send + Sync {
    /// Its limits now.
    fn gauges(&self) -> Vec<Gauge>;
}

/// So many requests a minute, by what they are counted.
#[derive(Clone)]
pub(super) struct PerMinute {
    pub(super) by: &'static str,
    /// The tools for which it holds, a pattern; empty for all.
    pub(super) tool: String,
    pub(super) requests: f64,
}

/// Everything that is bounded, as long as there is it.
#[derive(Clone, Default)]
pub(crate) struct Gauges(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    bounded: Vec<Weak<dyn Bounded>>,
    rates: Vec<PerMinute>,
}

impl Gauges {
    /// Shows these limits too.
    pub(crate) fn add<B: Bounded + 'static>(&self, bounded: &Arc<B>) {
        let bounded: Weak<dyn Bounded> = Arc::<B>::downgrade(bounded);
        self.lock().bounded.push(bounded);
    }

    /// Shows these rates, those that limit anything, in the place of what was shown.
    pub(super) fn set_rates<'r>(&self, rates: impl Iterator<Item = (&'static str, &'r str, Rate)>) {
        let shown = rates.filter_map(|(by, tool, rate)| {
            let (count, window) = rate.count_and_window()?;
            Some(PerMinute {
                by,
                tool: tool.to_owned(),
                requests: f64::from(count) * 60.0 / window.as_secs_f64(),
            })
        });
        self.lock().rates = shown.collect();
    }

    /// All limits now.
    pub(super) fn read(&self) -> Vec<Gauge> {
        let all = self.lock().bounded.clone();
        let there = all.iter().filter_map(Weak::upgrade);
        there.flat_map(|bounded| bounded.gauges()).collect()
    }

    /// All rates.
    pub(super) fn rates(&self) -> Vec<PerMinute> {
        self.lock().rates.clone()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gauges(…)")
    }
}
