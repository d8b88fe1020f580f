//! How many requests an upstream has at a time, and how many of them are one caller's: nobody may take all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Caller;

/// One caller gets this part of all seats, and at least one.
const PART: usize = 4;

/// Who holds something: a subject is unique together with its issuer only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    issuer: usize,
    subject: String,
}

impl Holder {
    pub(super) fn of(caller: &Caller) -> Self {
        Self {
            issuer: caller.issuer_index(),
            subject: caller.claims().subject().to_owned(),
        }
    }
}

/// The seats of one upstream.
pub(super) struct Seats {
    /// How many there are.
    pub(super) count: usize,
    all: Arc<Semaphore>,
    /// Of those only who hold a seat or wait for one.
    shares: Mutex<HashMap<Holder, Arc<Semaphore>>>,
    share: usize,
}

/// A request's seat: one of its caller's, and one of all.
pub(super) struct Seat {
    _of_caller: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Seats {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            count: concurrency,
            all: Arc::new(Semaphore::new(concurrency)),
            shares: Mutex::default(),
            share: (concurrency / PART).max(1),
        }
    }

    /// Waits for a seat. Who waits for one of its own takes none from others.
    pub(super) async fn take(&self, holder: Holder) -> Option<Seat> {
        let of_caller = self.share_of(holder).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Seat {
            _of_caller: of_caller,
            _of_all: of_all,
        })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.count.saturating_sub(self.all.available_permits())
    }

    fn share_of(&self, holder: Holder) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit holds its semaphore, and so does who waits for one.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = shares
            .entry(holder)
            .or_insert_with(|| Arc::new(Semaphore::new(self.share)));
        Arc::clone(share)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn holder(subject: &str) -> Holder {
        Holder {
            issuer: 0,
            subject: subject.to_owned(),
        }
    }

    #[test]
    fn nobody_takes_all_seats() {
        let seats = Seats::new(8);
        let take = |subject| seats.take(holder(subject)).now_or_never().flatten();
        let first = take("a").unwrap();
        let _second = take("a").unwrap();
        assert!(take("a").is_none(), "a quarter of eight");
        let _others = take("b").unwrap();
        drop(first);
        let _again = take("a").unwrap();
        let few = Seats::new(1);
        let seat = few.take(holder("a")).now_or_never().flatten();
        assert!(seat.is_some(), "at least one");
        assert!(few.take(holder("b")).now_or_never().is_none());
    }

    #[test]
    fn who_holds_nothing_is_forgotten() {
        let seats = Seats::new(8);
        for subject in ["a", "b", "c"] {
            drop(seats.take(holder(subject)).now_or_never().flatten().unwrap());
        }
        let _held = seats.take(holder("d")).now_or_never().flatten().unwrap();
        assert_eq!(seats.shares.lock().unwrap().len(), 1);
    }
}
