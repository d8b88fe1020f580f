//! Freshness: what an instance keeps in memory is never older than the request it answers.
//!
//! Every write of a client, resource, key or revocation also writes one numbered row into `change`, in the same
//! transaction. Before a request reads from memory it calls [`Changes::catch_up`], which reads the newest number
//! (one tiny statement) and forgets what changed since. So a revocation on one instance, or on the command line, is
//! seen by the next request on every other one, and yet the tables themselves are hardly ever read.
//!
//! The reading is shared: requests that arrive while a read is under way wait for the next one together, and that
//! one serves them all. Its cost is divided by the number of requests in flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::db::change::{self, Change};
use crate::db::{Db, DbFault};

/// Whoever keeps things in memory.
pub(crate) trait Memory: Send + Sync + 'static {
    /// Forgets what `change` is about. Quick, and no I/O.
    fn forget(&self, change: &Change);
    /// Forgets everything: changes may have been missed.
    fn forget_all(&self);
}

/// The reader of changes of one process.
pub(crate) struct Changes {
    db: Db,
    memories: Vec<Arc<dyn Memory>>,
    /// The newest change that memory reflects. Memory is filled and emptied only under this lock.
    applied: Mutex<i64>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    is_reading: bool,
}

/// A point in the order of changes, taken before something is read from the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Epoch(i64);

impl Changes {
    pub(crate) async fn new(db: Db, memories: Vec<Arc<dyn Memory>>) -> Result<Arc<Self>, DbFault> {
        let applied = Mutex::new(change::head(&db).await?);
        Ok(Arc::new(Self {
            db,
            memories,
            applied,
            queue: Mutex::default(),
        }))
    }

    /// Waits until memory reflects every change that was committed before this call.
    pub(crate) async fn catch_up(self: &Arc<Self>) -> Result<(), DbFault> {
        let (done, answer) = oneshot::channel();
        let reader_needed = {
            let mut queue = lock(&self.queue);
            queue.waiting.push(done);
            !std::mem::replace(&mut queue.is_reading, true)
        };
        if reader_needed {
            // A task of its own: the request that starts the reading may be cancelled, the others wait for it.
            tokio::spawn(Arc::clone(self).serve_queue());
        }
        match answer.await {
            Ok(result) => result.map_err(DbFault::Unavailable),
            Err(_) => Err(DbFault::Unavailable(
                "the reader of changes has stopped".to_owned(),
            )),
        }
    }

    /// The point that memory has reached.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(*lock(&self.applied))
    }

    /// Runs `keep`, which puts into memory what was read after `epoch` was taken, unless a change has come since:
    /// then what was read may be the older state, and is better read again.
    pub(crate) fn fill(&self, epoch: Epoch, keep: impl FnOnce()) {
        let applied = lock(&self.applied);
        if *applied == epoch.0 {
            keep();
        }
    }

    async fn serve_queue(self: Arc<Self>) {
        loop {
            let waiting = {
                let mut queue = lock(&self.queue);
                if queue.waiting.is_empty() {
                    queue.is_reading = false;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let result = self.read().await.map_err(|fault| fault.to_string());
            for request in waiting {
                // A request that is gone needs no answer.
                request.send(result.clone()).ok();
            }
        }
    }

    async fn read(&self) -> Result<(), DbFault> {
        let head = change::head(&self.db).await?;
        let reached = self.epoch().0;
        if head == reached {
            return Ok(());
        }
        let changes = change::since(&self.db, reached).await?;
        let mut applied = lock(&self.applied);
        let newest = changes.last().map_or(head, |change| change.sequence.max(head));
        // Fewer rows than numbers: some were cleaned away, or a backup was restored under us.
        if newest < reached || (changes.len() as i64) < newest - reached {
            self.memories.iter().for_each(|memory| memory.forget_all());
        } else {
            changes
                .iter()
                .for_each(|change| self.memories.iter().for_each(|memory| memory.forget(change)));
        }
        *applied = newest;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
