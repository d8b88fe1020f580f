//! Tokens that are being asked about right now: who asks about the same meanwhile waits for the same answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use tokio::sync::OnceCell;

use super::{Said, TokenHash};

/// So many different tokens are asked about at once. Whoever shows more made-up tokens fills this, and neither the
/// issuer's machines nor our memory.
const MOST: usize = 256;
/// So many of them are for tokens that were good before: made-up ones cannot keep their callers out.
const RESERVED: usize = 64;
/// So many good tokens are known by their hash.
const KNOWN: usize = 16_384;

pub(super) struct Flights {
    aboard: Mutex<HashMap<TokenHash, Entry>>,
    known: Cache<TokenHash, ()>,
}

struct Entry {
    answer: Arc<OnceCell<Said>>,
    aboard: usize,
}

/// A place among those who wait for one answer.
pub(super) struct Flight<'f> {
    flights: &'f Flights,
    hash: TokenHash,
    answer: Arc<OnceCell<Said>>,
}

impl Default for Flights {
    fn default() -> Self {
        Self {
            aboard: Mutex::default(),
            known: Cache::new(KNOWN),
        }
    }
}

impl Flights {
    /// This token was good just now.
    pub(super) fn know(&self, hash: TokenHash) {
        self.known.insert(hash, ());
    }

    /// This token is not good any more.
    pub(super) fn forget(&self, hash: &TokenHash) {
        self.known.remove(hash);
    }

    /// Joins whoever asks about this token, or begins; `None` when there is no more room for such a token.
    pub(super) fn board(&self, hash: TokenHash) -> Option<Flight<'_>> {
        let room = match self.known.get(&hash) {
            Some(()) => MOST,
            None => MOST - RESERVED,
        };
        let mut entries = self.lock();
        if entries.len() >= room && !entries.contains_key(&hash) {
            return None;
        }
        let entry = entries.entry(hash).or_insert_with(|| Entry {
            answer: Arc::default(),
            aboard: 0,
        });
        entry.aboard += 1;
        Some(Flight {
            flights: self,
            hash,
            answer: Arc::clone(&entry.answer),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, Entry>> {
        self.aboard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit(&self, flight: &Flight<'_>, leave: impl FnOnce(&mut Entry) -> bool) {
        let mut entries = self.lock();
        // Another flight about the same token may have begun since.
        let ours = entries
            .get_mut(&flight.hash)
            .filter(|entry| Arc::ptr_eq(&entry.answer, &flight.answer));
        if ours.is_some_and(leave) {
            entries.remove(&flight.hash);
        }
    }
}

impl Flight<'_> {
    /// The answer that `ask` brings. If whoever asks goes away meanwhile, the next one who waits asks.
    pub(super) async fn answer(self, ask: impl AsyncFnOnce() -> Said) -> Said {
        let landed = self.answer.get_or_init(async || {
            let said = ask().await;
            // Whoever comes from now on gets an answer of their own: this one must not live by being asked for.
            self.flights.edit(&self, |_| true);
            said
        });
        landed.await.clone()
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.edit(self, |entry| {
            entry.aboard -= 1;
            entry.aboard == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    fn waiting(flights: &Flights) -> usize {
        flights.lock().len()
    }

    #[tokio::test]
    async fn who_asks_meanwhile_shares_the_answer_and_nobody_after() {
        let (flights, asked, land) = (Flights::default(), AtomicUsize::new(0), Notify::new());
        let ask = || async {
            let flight = flights.board([1; 32]).unwrap();
            flight
                .answer(async || {
                    asked.fetch_add(1, Ordering::SeqCst);
                    land.notified().await;
                    Said::Inactive
                })
                .await
        };
        let all = async {
            let fly = join_all((0..100).map(|_| ask()));
            tokio::join!(fly, async { land.notify_one() }).0
        };
        assert_eq!(all.await.len(), 100);
        assert_eq!((asked.load(Ordering::SeqCst), waiting(&flights)), (1, 0));
        land.notify_one();
        ask().await;
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_question_to_the_next_and_no_trace() {
        let flights = Flights::default();
        let (first, second) = (flights.board([1; 32]).unwrap(), flights.board([1; 32]).unwrap());
        {
            let mut never = Box::pin(first.answer(async || std::future::pending().await));
            assert!(futures_util::poll!(&mut never).is_pending());
        }
        assert_eq!(waiting(&flights), 1);
        assert!(matches!(
            second.answer(async || Said::Inactive).await,
            Said::Inactive
        ));
        assert_eq!(waiting(&flights), 0);
        drop(flights.board([2; 32]));
        assert_eq!(waiting(&flights), 0);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let flights = Flights::default();
        let hash = |n: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            hash
        };
        let strange = MOST - RESERVED;
        let mut aboard: Vec<_> = (0..strange).map(|n| flights.board(hash(n)).unwrap()).collect();
        assert!(flights.board(hash(MOST)).is_none());
        // One more who asks about the same takes no room.
        assert!(flights.board(hash(0)).is_some());
        // Tokens that were good have room of their own, until they are not.
        for n in MOST..=MOST + RESERVED {
            flights.know(hash(n));
        }
        aboard.extend((MOST..MOST + RESERVED).map(|n| flights.board(hash(n)).unwrap()));
        assert!(flights.board(hash(MOST + RESERVED)).is_none());
        aboard.pop();
        flights.forget(&hash(MOST + RESERVED));
        assert!(flights.board(hash(MOST + RESERVED)).is_none());
        drop(aboard);
        assert!(flights.board(hash(2 * MOST)).is_some());
    }
}
