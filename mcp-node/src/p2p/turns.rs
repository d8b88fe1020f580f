//! So much work at once, and of that so much for each: one peer that asks for more leaves the others their turns.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What is worked on at once.
pub(super) struct Turns<K> {
    all: Arc<Semaphore>,
    of: HashMap<K, Arc<Semaphore>>,
    of_each: usize,
}

/// One piece of work; over when it is dropped.
pub(super) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_its_own: OwnedSemaphorePermit,
}

impl<K: Eq + Hash> Turns<K> {
    pub(super) fn new(all: usize, of_each: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            of: HashMap::new(),
            of_each,
        }
    }

    /// A turn for `key`; `None` when it has all that it may have, or there is none left.
    pub(super) fn take(&mut self, key: K) -> Option<Turn> {
        let of_each = self.of_each;
        // Whoever has no turn needs no place, so there are no more places than turns.
        self.of.retain(|_, turns| turns.available_permits() < of_each);
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let turns = self.of.entry(key);
        let turns = turns.or_insert_with(|| Arc::new(Semaphore::new(of_each)));
        Some(Turn {
            _of_all: of_all,
            _of_its_own: Arc::clone(turns).try_acquire_owned().ok()?,
        })
    }
}

/// How often something may be done: so many times at once, and then in every interval once.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) at_once: u32,
    pub(super) interval: Duration,
}

/// What was done lately, for all and for each.
pub(super) struct Budget<K> {
    all: (Pace, Instant),
    of_each: Pace,
    /// When each will have its full pace again.
    of: HashMap<K, Instant>,
}

impl<K: Eq + Hash> Budget<K> {
    pub(super) fn new(all: Pace, of_each: Pace) -> Self {
        Self {
            all: (all, Instant::now()),
            of_each,
            of: HashMap::new(),
        }
    }

    /// Whether `key` may do it now; it counts as done then.
    pub(super) fn spend(&mut self, key: K) -> bool {
        let now = Instant::now();
        self.of.retain(|_, full_at| *full_at > now);
        let full_at = self.of.get(&key).copied().unwrap_or(now);
        let Some(of_each) = self.of_each.next(full_at, now) else {
            return false;
        };
        let Some(of_all) = self.all.0.next(self.all.1, now) else {
            return false;
        };
        self.of.insert(key, of_each);
        self.all.1 = of_all;
        true
    }
}

impl Pace {
    /// When it will be full again if it is done once more now; `None` when it may not be.
    fn next(self, full_at: Instant, now: Instant) -> Option<Instant> {
        let full_at = full_at.max(now) + self.interval;
        (full_at <= now + self.interval * self.at_once).then_some(full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leaves_the_others_their_turns() {
        let mut turns = Turns::new(5, 2);
        let greedy: Vec<Turn> = (0..9).filter_map(|_| turns.take("a")).collect();
        assert_eq!(greedy.len(), 2);
        let others: Vec<Turn> = ["b", "b", "c", "c"]
            .into_iter()
            .filter_map(|key| turns.take(key))
            .collect();
        assert_eq!(others.len(), 3, "five in all");
        drop(greedy);
        assert!(turns.take("a").is_some() && turns.of.len() <= 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_comes_back_with_time() {
        let second = Duration::from_secs(1);
        let pace = |at_once| Pace {
            at_once,
            interval: second,
        };
        let mut budget = Budget::new(pace(5), pace(2));
        let spent = |budget: &mut Budget<&str>, key| (0..9).filter(|_| budget.spend(key)).count();
        assert_eq!(spent(&mut budget, "a"), 2);
        assert_eq!(spent(&mut budget, "b"), 2);
        assert_eq!(spent(&mut budget, "c"), 1, "five in all");
        tokio::time::advance(second).await;
        assert_eq!(spent(&mut budget, "a"), 1);
        tokio::time::advance(9 * second).await;
        assert_eq!(spent(&mut budget, "a"), 2);
        assert_eq!(budget.of.len(), 1);
    }
}
