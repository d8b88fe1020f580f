//! Slowing down whoever guesses passwords, without locking anyone out (OAuth 2.1 §7.7).
//!
//! Failures are counted by account and by address, both before the password is looked at: guesses that come at once
//! are counted at once. Past the limit each further failure doubles the wait. A browser that has signed in to this
//! account before has a count of its own, so a stranger who guesses elsewhere does not keep its owner out.
//! The counts are those of one instance: `n` instances let through `n` times as much.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use ::web::rates::{Exceeded, Rate};
use shared::clock::UnixSeconds;

/// The longest wait that a failure brings.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Counts in memory before those that say least are dropped.
const MAX_KEYS: usize = 100_000;

/// Who tries to sign in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try<'a> {
    /// As it was typed, whether there is such an account or not: an answer must not tell.
    pub(crate) username: &'a str,
    /// As rate limits count it.
    pub(crate) address: IpAddr,
    /// The mark of a browser that has signed in to this account before.
    pub(crate) known_browser: Option<&'a str>,
}

/// The counts of failed sign-ins.
pub(crate) struct Throttle {
    accounts: Counts,
    addresses: Counts,
}

impl Throttle {
    /// Counts that allow `per_account` and `per_address` failures before they slow down.
    pub(crate) fn new(per_account: Rate, per_address: Rate) -> Self {
        Self {
            accounts: Counts::new(per_account),
            addresses: Counts::new(per_address),
        }
    }

    /// Other rates from now on. What was counted stays.
    pub(crate) fn set_rates(&self, per_account: Rate, per_address: Rate) {
        for (counts, rate) in [(&self.accounts, per_account), (&self.addresses, per_address)] {
            *counts.rate.write().unwrap_or_else(PoisonError::into_inner) = rate;
        }
    }

    /// Counts one failure for who tries, or says how long to wait.
    pub(crate) fn enter(&self, who: &Try<'_>, now: UnixSeconds) -> Result<(), Exceeded> {
        if let Some(mark) = who.known_browser {
            return self.accounts.charge(("known", who.username, mark), now);
        }
        self.addresses.charge(who.address, now)?;
        self.accounts.charge(("unknown", who.username, ""), now)
    }

    /// Takes back what [`Self::enter`] counted: it was no failure. Earlier failures stay, so that nobody buys
    /// further guesses with an account of their own.
    pub(crate) fn succeed(&self, who: &Try<'_>) {
        if let Some(mark) = who.known_browser {
            return self.accounts.refund(("known", who.username, mark));
        }
        self.addresses.refund(who.address);
        self.accounts.refund(("unknown", who.username, ""));
    }
}

/// Failures by key.
struct Counts {
    rate: RwLock<Rate>,
    /// Keys are hashed with a random state, so that an entry is small whatever the key.
    hasher: RandomState,
    streaks: Mutex<HashMap<u64, Streak>>,
}

/// Failures that followed each other.
#[derive(Clone, Copy)]
struct Streak {
    failures: u32,
    /// Nothing is tried before.
    closed_until: UnixSeconds,
    last: UnixSeconds,
}

impl Counts {
    fn new(rate: Rate) -> Self {
        Self {
            rate: RwLock::new(rate),
            hasher: RandomState::new(),
            streaks: Mutex::default(),
        }
    }

    fn rate(&self) -> Rate {
        *self.rate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn charge(&self, key: impl Hash, now: UnixSeconds) -> Result<(), Exceeded> {
        let rate = self.rate();
        let Some((allowed, window)) = rate.count_and_window() else {
            return Ok(());
        };
        let is_over = |streak: &Streak| now >= streak.closed_until.max(streak.last) + window;
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        if streaks.len() >= MAX_KEYS {
            streaks.retain(|_, streak| !is_over(streak));
        }
        if streaks.len() >= MAX_KEYS {
            // Somebody spreads over very many names and addresses: what is kept is where the limit was reached.
            streaks.retain(|_, streak| streak.failures >= allowed);
        }
        let fresh = Streak {
            failures: 0,
            closed_until: now,
            last: now,
        };
        let streak = streaks.entry(self.hasher.hash_one(key)).or_insert(fresh);
        if is_over(streak) {
            *streak = fresh;
        }
        if now < streak.closed_until {
            return Err(Exceeded::new(streak.closed_until.since(now), rate));
        }
        streak.failures = streak.failures.saturating_add(1);
        streak.last = now;
        if streak.failures >= allowed {
            let doublings = (streak.failures - allowed).min(16);
            let wait = (window / allowed).max(Duration::from_secs(1)) * (1 << doublings);
            streak.closed_until = now + wait.min(MAX_WAIT);
        }
        Ok(())
    }

    fn refund(&self, key: impl Hash) {
        let Some((allowed, _)) = self.rate().count_and_window() else {
            return;
        };
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streak) = streaks.get_mut(&self.hasher.hash_one(key)) {
            streak.failures = streak.failures.saturating_sub(1);
            if streak.failures < allowed {
                streak.closed_until = streak.last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn throttle() -> Throttle {
        Throttle::new("10/min".parse().unwrap(), "30/min".parse().unwrap())
    }

    fn stranger<'a>(username: &'a str, address: &str) -> Try<'a> {
        Try {
            username,
            address: address.parse().unwrap(),
            known_browser: None,
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn another_rate_for_addresses_counts_from_the_next_guess_on() {
        let throttle = throttle();
        let guess = |name: &str| throttle.enter(&stranger(name, "192.0.2.1"), NOW);
        for name in ["a", "b", "c"] {
            assert!(guess(name).is_ok());
        }
        throttle.set_rates("10/min".parse().unwrap(), "3/min".parse().unwrap());
        assert!(guess("d").is_ok());
        assert!(guess("e").is_err());
        assert!(throttle.enter(&stranger("e", "192.0.2.2"), NOW).is_ok());
        throttle.set_rates("10/min".parse().unwrap(), "off".parse().unwrap());
        assert!(guess("e").is_ok());
    }

    #[test]
    fn the_eleventh_guess_waits_and_each_further_one_waits_longer() {
        let throttle = throttle();
        let who = stranger("ada", "192.0.2.1");
        for _ in 0..10 {
            assert!(throttle.enter(&who, NOW).is_ok());
        }
        // From wherever it comes.
        assert!(throttle.enter(&stranger("ada", "192.0.2.2"), NOW).is_err());
        let mut at = NOW;
        for wait in [6, 12, 24, 48, 96] {
            assert!(throttle.enter(&who, at + seconds(wait - 1)).is_err(), "{wait}");
            at = at + seconds(wait);
            assert!(throttle.enter(&who, at).is_ok(), "{wait}");
        }
        // The wait is bounded, and a quiet minute after it ends the streak.
        assert!(throttle.enter(&who, at + MAX_WAIT).is_ok());
        let quiet = at + MAX_WAIT + MAX_WAIT + seconds(60);
        for _ in 0..10 {
            assert!(throttle.enter(&who, quiet).is_ok());
        }
        assert!(throttle.enter(&who, quiet).is_err());
    }

    #[test]
    fn spraying_over_accounts_is_counted_by_address() {
        let throttle = throttle();
        let names: Vec<String> = (0..1000).map(|n| format!("user{n}")).collect();
        let passed = names
            .iter()
            .filter(|name| throttle.enter(&stranger(name, "192.0.2.1"), NOW).is_ok());
        assert_eq!(passed.count(), 30);
        assert!(throttle.enter(&stranger("user999", "192.0.2.2"), NOW).is_ok());
    }

    #[test]
    fn a_known_browser_is_not_kept_out_by_strangers() {
        let throttle = throttle();
        let known = Try {
            known_browser: Some("mark"),
            ..stranger("ada", "192.0.2.1")
        };
        while throttle.enter(&stranger("ada", "192.0.2.1"), NOW).is_ok() {}
        assert!(throttle.enter(&known, NOW).is_ok());
        throttle.succeed(&known);
        // It cannot guess without end either.
        let passed = (0..30).filter(|_| throttle.enter(&known, NOW).is_ok()).count();
        assert_eq!(passed, 10);
    }

    #[test]
    fn success_costs_nothing_and_forgives_nothing() {
        let throttle = throttle();
        let who = stranger("ada", "192.0.2.1");
        for _ in 0..50 {
            assert!(throttle.enter(&who, NOW).is_ok());
            throttle.succeed(&who);
        }
        for _ in 0..9 {
            assert!(throttle.enter(&who, NOW).is_ok());
        }
        assert!(throttle.enter(&who, NOW).is_ok());
        throttle.succeed(&who);
        assert!(throttle.enter(&who, NOW).is_ok());
        assert!(throttle.enter(&who, NOW).is_err());
    }

    #[test]
    fn the_counts_are_bounded() {
        let counts = Counts::new("10/min".parse().unwrap());
        for n in 0..MAX_KEYS + 10 {
            assert!(counts.charge(n, NOW).is_ok());
        }
        assert!(counts.streaks.lock().unwrap().len() <= MAX_KEYS);
    }
}
