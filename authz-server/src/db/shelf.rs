//! Connections between two pieces of work.
//!
//! sqlx's pool asks a connection that comes back whether it still lives: one journey to the database for every
//! statement. A [`Lease`] knows better, since it closes every connection whose work did not come to its end. So what
//! was just used waits here for its next work, for a few seconds, and goes back to the pool only then: the pool tests
//! it, and replaces it when it has grown old.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Database;
use sqlx::pool::PoolConnection;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::WAIT;
use super::point::Point;
use super::{DbFault, Lease, deadline};

/// For how long a connection stays away from the pool.
const STAY: Duration = Duration::from_secs(10);

/// As many places as the pool has connections.
#[derive(Debug)]
pub(super) struct Shelf<D: Database> {
    waiting: Mutex<Vec<Lent<D>>>,
    places: Arc<Semaphore>,
    all: u32,
    home: Handle,
    #[cfg(test)]
    pub(super) points: super::point::Points,
}

/// A connection that the pool has given out.
#[derive(Debug)]
pub(super) struct Lent<D: Database> {
    connection: PoolConnection<D>,
    since: Instant,
    /// In the middle of some work: dropped now, it is closed.
    is_at_work: bool,
}

impl<D: Database> Lent<D> {
    pub(super) fn connection(&mut self) -> &mut D::Connection {
        &mut self.connection
    }
}

impl<D: Database> Drop for Lent<D> {
    fn drop(&mut self) {
        if self.is_at_work {
            self.connection.close_on_drop();
        }
    }
}

impl<D: Database> Shelf<D> {
    /// Call it in the program's own runtime.
    pub(super) fn new(places: u32) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            places: Arc::new(Semaphore::new(places as usize)),
            all: places,
            home: Handle::current(),
            #[cfg(test)]
            points: super::point::Points::default(),
        })
    }

    /// The connection that was used last, or what the pool's `acquire` gives.
    pub(super) async fn lend(
        self: &Arc<Self>,
        acquire: impl Future<Output = Result<PoolConnection<D>, sqlx::Error>>,
    ) -> Result<Lease<D>, DbFault> {
        let place = self.place().await?;
        let waiting = self.waiting().pop();
        let lent = match waiting {
            Some(mut lent) => {
                lent.is_at_work = true;
                lent
            }
            None => Lent {
                connection: deadline(acquire).await?,
                since: Instant::now(),
                is_at_work: true,
            },
        };
        Ok(Lease::new(lent, Arc::clone(self), place))
    }

    /// How many connections are at work, and how many there may be.
    pub(super) fn uses(&self) -> (i64, i64) {
        let free = i64::try_from(self.places.available_permits()).unwrap_or(i64::MAX);
        (i64::from(self.all).saturating_sub(free), i64::from(self.all))
    }

    /// Of the next statement on any of the connections.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "points exist in tests only"))]
    pub(super) fn point(&self) -> Point {
        #[cfg(test)]
        return self.points.next();
        #[cfg(not(test))]
        Point
    }

    /// Takes a connection whose work came to its end.
    pub(super) fn take_back(&self, mut lent: Lent<D>) {
        lent.is_at_work = false;
        if lent.since.elapsed() < STAY {
            self.waiting().push(lent);
        }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, DbFault> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        match tokio::time::timeout(WAIT, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(DbFault::Unavailable("every connection is in use".to_owned())),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Lent<D>>> {
        // No code under this lock can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Database> Drop for Shelf<D> {
    fn drop(&mut self) {
        // The pool tests each in a task, and whoever drops the last of us may have no runtime for tasks.
        let _entered = self.home.enter();
        self.waiting().clear();
    }
}
