//! Proofs that were shown to this node, for as long as they could be shown again (RFC 9449 §11.1).

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use shared::clock::UnixSeconds;
use shared::dpop::{LONGEST_LIFE, Proof};

/// So many are remembered, in some 40 MB: six thousand calls a second with a proof each.
const MOST: usize = 1 << 20;
/// Proofs are forgotten in heaps of so many seconds.
const HEAP_SECONDS: i64 = 45;
/// A heap is dropped when even its last proof has been remembered for [`LONGEST_LIFE`].
const HEAPS: i64 = LONGEST_LIFE
    .as_secs()
    .div_ceil(HEAP_SECONDS.unsigned_abs())
    .cast_signed()
    + 1;

/// What is known of a proof that comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    First,
    Again,
    /// Nothing more can be remembered now. To forget a proof that is still good would be to let it be used again.
    Full,
}

/// The memory of one node. Another node has its own, so a proof that both would take is good once at each.
pub(super) struct UsedProofs {
    heaps: Mutex<Heaps>,
    most: usize,
}

#[derive(Default)]
struct Heaps {
    /// The newest first; each with its number.
    heaps: VecDeque<(i64, HashSet<[u8; 16]>)>,
    count: usize,
}

impl UsedProofs {
    pub(super) fn new() -> Self {
        Self::with_room_for(MOST)
    }

    fn with_room_for(most: usize) -> Self {
        Self {
            heaps: Mutex::default(),
            most,
        }
    }

    /// Uses `proof` up. Exactly one caller is told [`Use::First`].
    pub(super) fn add(&self, proof: &Proof, now: UnixSeconds) -> Use {
        self.add_fingerprint(proof.fingerprint(), now)
    }

    fn add_fingerprint(&self, fingerprint: &[u8; 32], now: UnixSeconds) -> Use {
        // Half of a SHA-256 is still not met by chance.
        let mut known = [0; 16];
        known.copy_from_slice(&fingerprint[..16]);
        let mut heaps = self.heaps.lock().unwrap_or_else(PoisonError::into_inner);
        heaps.advance(now.0.div_euclid(HEAP_SECONDS));
        if heaps.heaps.iter().any(|(_, heap)| heap.contains(&known)) {
            return Use::Again;
        }
        if heaps.count >= self.most {
            return Use::Full;
        }
        heaps.count += 1;
        if let Some((_, newest)) = heaps.heaps.front_mut() {
            newest.insert(known);
        }
        Use::First
    }
}

impl Heaps {
    /// Begins a heap if the time has come, and drops those that are too old. A clock that goes back changes nothing.
    fn advance(&mut self, number: i64) {
        if self.heaps.front().is_none_or(|(newest, _)| *newest < number) {
            self.heaps.push_front((number, HashSet::new()));
        }
        while let Some((_, oldest)) = self.heaps.pop_back_if(|(oldest, _)| *oldest + HEAPS <= number) {
            self.count -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    #[test]
    fn dpop_21_a_proof_is_known_for_as_long_as_it_could_be_good() {
        for offset in 0..HEAP_SECONDS.unsigned_abs() {
            let proofs = UsedProofs::new();
            let start = NOW + Duration::from_secs(offset);
            assert_eq!(proofs.add_fingerprint(&[1; 32], start), Use::First);
            assert_eq!(proofs.add_fingerprint(&[1; 32], start), Use::Again);
            assert_eq!(proofs.add_fingerprint(&[2; 32], start), Use::First);
            assert_eq!(proofs.add_fingerprint(&[1; 32], start + LONGEST_LIFE), Use::Again);
            // And not forever.
            let later = start + LONGEST_LIFE + Duration::from_secs(2 * HEAP_SECONDS.unsigned_abs());
            assert_eq!(proofs.add_fingerprint(&[1; 32], later), Use::First);
        }
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let proofs = UsedProofs::new();
        assert_eq!(proofs.add_fingerprint(&[1; 32], NOW), Use::First);
        assert_eq!(
            proofs.add_fingerprint(&[1; 32], NOW - Duration::from_secs(3600)),
            Use::Again
        );
        assert_eq!(proofs.add_fingerprint(&[1; 32], NOW), Use::Again);
    }

    #[test]
    fn the_memory_is_bounded_and_refuses_rather_than_forgets() {
        let proofs = UsedProofs::with_room_for(2);
        let add = |byte, now| proofs.add_fingerprint(&[byte; 32], now);
        assert_eq!(
            (add(1, NOW), add(2, NOW), add(3, NOW)),
            (Use::First, Use::First, Use::Full)
        );
        assert_eq!(add(1, NOW), Use::Again);
        let later = NOW + LONGEST_LIFE + Duration::from_secs(2 * HEAP_SECONDS.unsigned_abs());
        assert_eq!(
            (add(3, later), add(4, later), add(5, later)),
            (Use::First, Use::First, Use::Full)
        );
    }
}
