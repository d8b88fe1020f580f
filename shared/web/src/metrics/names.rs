//! Names that come from outside the program and become labels all the same: so many of them, and no more (LOG-07).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// So many names have a count of their own; further ones share one.
pub const MAX_NAMES: usize = 256;
/// The name that they share.
pub const OTHER: &str = "other";

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Named {
    name: String,
}

/// Counts by name: of the first [`MAX_NAMES`] names, and of all [`OTHER`] ones.
#[derive(Debug, Default)]
pub struct CountsByName {
    counts: Family<Named, Counter>,
    known: Mutex<HashSet<String>>,
}

impl CountsByName {
    /// What is to be registered.
    pub fn metric(&self) -> impl prometheus_client::registry::Metric {
        self.counts.clone()
    }

    /// Counts one. The caller vouches that `name` is that of something that there is.
    pub fn count(&self, name: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = known.contains(name) || known.len() < MAX_NAMES && known.insert(name.to_owned());
        drop(known);
        let name = if is_known { name } else { OTHER };
        let named = Named {
            name: name.to_owned(),
        };
        self.counts.get_or_create(&named).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_07_names_are_counted_up_to_a_bound() {
        let counts = CountsByName::default();
        for n in 0..2 * MAX_NAMES {
            counts.count(&n.to_string());
        }
        counts.count("0");
        let of = |name: &str| {
            let named = Named {
                name: name.to_owned(),
            };
            counts.counts.get_or_create(&named).get()
        };
        assert_eq!((of("0"), of("255")), (2, 1));
        assert_eq!(of(OTHER), MAX_NAMES as u64);
        assert_eq!(counts.known.lock().unwrap().len(), MAX_NAMES);
    }
}
