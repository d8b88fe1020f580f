//! Whom to call next, of all that were heard of.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use super::peer::{Peer, Source};
use super::table::Table;

/// The pause after the first attempt to reach a node; it doubles up to the second value.
const PAUSE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Which nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    /// Those that the operator named.
    Operators,
    /// Others that were not heard of on the local network.
    Far,
    /// All that the operator has not named.
    Others,
}

impl Whom {
    fn includes(self, row: &Peer) -> bool {
        let is_of = |source| row.heard.contains_key(&source);
        match self {
            Self::Operators => is_of(Source::Configuration),
            Self::Far => !is_of(Source::Configuration) && !is_of(Source::Mdns),
            Self::Others => !is_of(Source::Configuration),
        }
    }
}

impl Table {
    /// At most so many nodes that may be tried now: first those that the issuer or their own record speaks for, since anybody
    /// can make names up; then those that failed least often, and of these each node tries others.
    pub(super) fn next_to_dial(
        &mut self,
        whom: Whom,
        at_most: usize,
    ) -> Vec<(String, Vec<(Source, String)>)> {
        if at_most == 0 {
            return Vec::new();
        }
        let now = Instant::now();
        let mut ready: Vec<&mut Peer> = self
            .rows
            .values_mut()
            .filter(|row| !row.is_connected && row.not_before <= now && whom.includes(row))
            .filter(|row| !row.addresses().is_empty())
            .collect();
        let is_made_up = |row: &Peer| row.record.is_none() && !row.heard.contains_key(&Source::Directory);
        ready.sort_by_key(|row| (is_made_up(row), row.failures, row.turn));
        let chosen = ready.into_iter().take(at_most);
        chosen
            .map(|row| {
                row.not_before = now + pause(row.failures + 1);
                (row.peer_id.to_string(), row.sourced_addresses())
            })
            .collect()
    }
}

/// How many nodes are connected that were not heard of on the local network.
pub(super) fn connected_far<'p>(rows: impl Iterator<Item = &'p Peer>) -> usize {
    rows.filter(|row| row.is_connected && !row.heard.contains_key(&Source::Mdns))
        .count()
}

/// When a node has its turn among those that `own` may try. Each node has an order of its own, so that a fleet becomes a web,
/// and not a star around those of whom everybody heard first.
pub(super) fn turn_of(own: &str, peer_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (own, peer_id).hash(&mut hasher);
    hasher.finish()
}

pub(super) fn pause(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(10));
    (PAUSE.0 * doubled).min(PAUSE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_an_order_of_its_own() {
        let names: Vec<String> = (0..20).map(|n| format!("peer-{n}")).collect();
        let first_of = |own: &String| {
            names
                .iter()
                .filter(|name| *name != own)
                .min_by_key(|name| turn_of(own, name))
        };
        let firsts: std::collections::HashSet<_> = names.iter().map(first_of).collect();
        assert!(firsts.len() > 8, "{firsts:?}");
        assert_eq!(turn_of("a", "b"), turn_of("a", "b"));
    }
}
