//! What the program that listens may use: a tenth of a core, and a second of it at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::status::load::{processor_time_of, resident_bytes_of};

/// Processor time that may be used at once: more than the program needs to start.
const AT_ONCE: Duration = Duration::from_millis(1000);
/// So much is added in ten seconds per second of processor time: a tenth.
const SHARE: u32 = 10;

/// Processor time, saved up and spent.
#[derive(Debug)]
pub(super) struct Allowance {
    left: Duration,
    at: Instant,
}

impl Allowance {
    /// All of it.
    pub(super) fn new() -> Self {
        Self {
            left: AT_ONCE,
            at: Instant::now(),
        }
    }

    /// Takes `used` away; false when that was more than there is.
    pub(super) fn spend(&mut self, used: Duration) -> bool {
        self.refill();
        let enough = used <= self.left;
        self.left = self.left.saturating_sub(used);
        enough
    }

    /// How long it takes until all of it is there again.
    pub(super) fn until_full(&mut self) -> Duration {
        self.refill();
        AT_ONCE.saturating_sub(self.left) * SHARE
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let earned = now.duration_since(self.at) / SHARE;
        (self.left, self.at) = ((self.left + earned).min(AT_ONCE), now);
    }
}

/// What a program uses, by Linux's `/proc`; nothing where there is none.
#[derive(Debug)]
pub(super) struct Usage {
    id: Option<u32>,
    seen: Duration,
}

impl Usage {
    /// Of the program with this id.
    pub(super) fn of(id: Option<u32>) -> Self {
        Self {
            id,
            seen: Duration::ZERO,
        }
    }

    /// Processor time since the last look.
    pub(super) fn processor_time(&mut self) -> Duration {
        let now = self.id.and_then(processor_time_of).unwrap_or(self.seen);
        let used = now.saturating_sub(self.seen);
        self.seen = now;
        used
    }

    /// Memory, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.id.and_then(resident_bytes_of).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn p2p_06_a_tenth_of_a_core_and_a_second_at_once() {
        let mut allowance = Allowance::new();
        assert!(allowance.spend(AT_ONCE));
        assert!(!allowance.spend(Duration::from_millis(1)));
        assert_eq!(allowance.until_full(), Duration::from_secs(10));
        advance(Duration::from_secs(5)).await;
        assert!(allowance.spend(Duration::from_millis(500)));
        assert!(!allowance.spend(Duration::from_millis(1)));
        // However long nothing was used, no more than a second is saved up.
        advance(Duration::from_secs(1000)).await;
        assert_eq!(allowance.until_full(), Duration::ZERO);
        assert!(!allowance.spend(Duration::from_millis(1001)));
    }

    #[test]
    fn what_a_program_uses_is_seen() {
        let mut own = Usage::of(Some(std::process::id()));
        assert!(own.memory() > 100_000);
        let first = own.processor_time();
        let again = own.processor_time();
        assert!(again <= first + Duration::from_secs(60));
        let mut gone = Usage::of(None);
        assert_eq!((gone.memory(), gone.processor_time()), (0, Duration::ZERO));
    }
}
