//! One making for everybody who asks for the same thing at once.
//!
//! What costs time to make, and is forgotten with every change of it, could be made as often as it is asked for: a change a
//! second, and a thousand who ask. Here those who come while it is being made wait for the next making together, as the
//! requests do that wait for [`crate::changes`]; so there is one at a time, whatever comes.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::Mutex;

use crate::changes::{Changes, Epoch};
use crate::error::Failure;

/// So many different things may be made at once.
const LANES: usize = 16;

/// What was made last in each lane.
pub(crate) struct Flights<V> {
    lanes: [Mutex<Option<Made<V>>>; LANES],
}

struct Made<V> {
    key: String,
    /// It reflects every change up to here.
    as_of: Epoch,
    value: V,
}

impl<V: Clone> Flights<V> {
    pub(crate) fn new() -> Self {
        Self {
            lanes: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// What `make` makes of `key`, as of the caller's last [`Changes::catch_up`], or what another made of it since then
    /// if it `is_good`.
    pub(crate) async fn join(
        &self,
        changes: &Changes,
        key: &str,
        is_good: impl Fn(&V) -> bool,
        make: impl AsyncFnOnce() -> Result<V, Failure>,
    ) -> Result<V, Failure> {
        let needed = changes.epoch();
        let mut lane = self.lanes[lane_of(key)].lock().await;
        if let Some(made) = &*lane
            && made.key == key
            && made.as_of >= needed
            && is_good(&made.value)
        {
            return Ok(made.value.clone());
        }
        // Before anything is read: what is read then is at least as new.
        let as_of = changes.epoch();
        let value = make().await?;
        *lane = Some(Made {
            key: key.to_owned(),
            as_of,
            value: value.clone(),
        });
        Ok(value)
    }
}

fn lane_of(key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % LANES as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::changes::tests::{setting, write};
    use crate::token::testing::all;

    #[tokio::test(flavor = "multi_thread")]
    async fn many_who_ask_at_once_share_and_nobody_gets_what_is_older_than_their_request() {
        let (_folder, db, _notes, changes) = setting().await;
        let flights = Flights::new();
        let made = AtomicU32::new(0);
        let ask = async |key: &str| {
            let make = async || {
                tokio::task::yield_now().await;
                Ok(made.fetch_add(1, Ordering::SeqCst))
            };
            flights.join(&changes, key, |_| true, make).await.unwrap()
        };
        let answers = all((0..50).map(|_| ask("a"))).await;
        assert_eq!(made.load(Ordering::SeqCst), 1, "{answers:?}");
        // A change came: it is made again, once.
        write(&db, "x").await;
        changes.catch_up().await.unwrap();
        let answers = all((0..50).map(|_| ask("a"))).await;
        assert!(answers.iter().all(|answer| *answer == 1), "{answers:?}");
        // Another thing, and what is not good any more.
        assert_eq!(ask("b").await, 2);
        let again = flights
            .join(&changes, "b", |_| false, async || Ok(9))
            .await
            .unwrap();
        assert_eq!(again, 9);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_fault_is_nobody_elses() {
        let (_folder, _db, _notes, changes) = setting().await;
        let flights = Flights::new();
        let failed = flights.join(
            &changes,
            "a",
            |_: &u8| true,
            async || Err(Failure::Internal("on purpose".to_owned())),
        );
        assert!(failed.await.is_err());
        let made = flights.join(&changes, "a", |_| true, async || Ok(1)).await;
        assert_eq!(made.unwrap(), 1);
    }
}
