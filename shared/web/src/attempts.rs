//! A limit on wrong attempts only: whoever is right is not counted, but whoever has been wrong too often is not let try.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use shared::clock::UnixSeconds;

use crate::rates::{Exceeded, Rate};

/// More keys than this are not remembered before those that count no more are dropped.
const TIDY_AT: usize = 10_000;

/// Wrong attempts by key. Cheap to clone.
#[derive(Clone)]
pub struct Attempts {
    rate: Rate,
    /// Keys are hashed with a random state, so that an entry is small whatever the key.
    hasher: RandomState,
    counted: Arc<Mutex<HashMap<u64, Counted>>>,
}

#[derive(Clone, Copy)]
struct Counted {
    wrong: u32,
    since: UnixSeconds,
}

impl Attempts {
    /// Allows as many wrong attempts as `rate` says, in a window that the first of them opens.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            hasher: RandomState::new(),
            counted: Arc::default(),
        }
    }

    /// Counts one attempt of `key` before its outcome is known, so that parallel ones cannot pass together. If it
    /// turns out right, take it back with [`Self::was_right`].
    pub fn begin(&self, key: impl Hash, now: UnixSeconds) -> Result<(), Exceeded> {
        let Some((allowed, window)) = self.rate.count_and_window() else {
            return Ok(());
        };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() >= TIDY_AT {
            counted.retain(|_, entry| now.since(entry.since) < window);
        }
        match counted.entry(self.hasher.hash_one(key)) {
            Entry::Occupied(mut entry) if now.since(entry.get().since) < window => {
                let entry = entry.get_mut();
                if entry.wrong >= allowed {
                    let wait = window.saturating_sub(now.since(entry.since));
                    return Err(Exceeded::new(wait, self.rate));
                }
                entry.wrong += 1;
            }
            entry => {
                entry.insert_entry(Counted { wrong: 1, since: now });
            }
        }
        Ok(())
    }

    /// Takes one attempt of `key` back.
    pub fn was_right(&self, key: impl Hash) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = counted.get_mut(&self.hasher.hash_one(key)) {
            entry.wrong = entry.wrong.saturating_sub(1);
        }
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempts({})", self.rate)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    #[test]
    fn wrong_attempts_run_out_and_right_ones_do_not() {
        let attempts = Attempts::new("2/h".parse().unwrap());
        for _ in 0..10 {
            assert!(attempts.begin("a", NOW).is_ok());
            attempts.was_right("a");
        }
        assert!(attempts.begin("a", NOW).is_ok() && attempts.begin("a", NOW).is_ok());
        assert_eq!(attempts.begin("a", NOW).unwrap_err().answer().status(), 429);
        assert!(attempts.begin("b", NOW).is_ok());
    }

    #[test]
    fn the_window_ends() {
        let attempts = Attempts::new("1/min".parse().unwrap());
        assert!(attempts.begin("a", NOW).is_ok());
        assert!(attempts.begin("a", NOW + Duration::from_secs(59)).is_err());
        assert!(attempts.begin("a", NOW + Duration::from_secs(60)).is_ok());
        assert!(attempts.begin("a", NOW + Duration::from_secs(61)).is_err());
    }

    #[test]
    fn no_limit_is_none() {
        let attempts = Attempts::new(Rate::unlimited());
        assert!((0..100).all(|_| attempts.begin("a", NOW).is_ok()));
    }
}
