//! Trying again what the database did not do because of others: serialization failures (40001) and deadlocks (40P01).
//!
//! The only place that does so, for single statements and for transactions alike. On Postgres they are rare, since
//! transactions take their locks in one order (docs/architecture.md); databases that spread over several machines answer so
//! whenever they are busy (docs/instances.md).

use std::time::Duration;

use shared::secret::random_bytes;

use super::DbFault;

/// How often something is tried before whoever asks is told to come back.
const ATTEMPTS: u32 = 6;
/// The longest pause before the second try; it doubles with each.
const PAUSE: Duration = Duration::from_millis(4);

/// How often something was tried.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);

impl Tries {
    /// What became of it; `None` when it is to be tried again, after a pause of its own length so that those who collided
    /// do not do so again.
    pub(crate) async fn judge<T>(&mut self, done: Result<T, DbFault>) -> Option<Result<T, DbFault>> {
        if !matches!(done, Err(DbFault::Collided)) {
            return Some(done);
        }
        self.0 += 1;
        if self.0 >= ATTEMPTS {
            let reason = "the transaction collided with others too often".to_owned();
            return Some(Err(DbFault::Unavailable(reason)));
        }
        let longest = PAUSE * (1 << (self.0 - 1));
        // Without randomness the longest pause will do.
        let [part] = random_bytes::<1>().unwrap_or([u8::MAX]);
        tokio::time::sleep(longest * u32::from(part) / u32::from(u8::MAX)).await;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_collided_is_tried_again_and_not_for_ever() {
        let mut tries = Tries::default();
        for _ in 1..ATTEMPTS {
            assert!(tries.judge(Err::<(), _>(DbFault::Collided)).await.is_none());
        }
        let last = tries.judge(Err::<(), _>(DbFault::Collided)).await;
        assert!(matches!(last, Some(Err(DbFault::Unavailable(_)))));
        let other = DbFault::Constraint(String::new());
        let judged = Tries::default().judge(Err::<(), _>(other)).await;
        assert!(matches!(judged, Some(Err(DbFault::Constraint(_)))));
        assert!(matches!(Tries::default().judge(Ok(1)).await, Some(Ok(1))));
    }
}
