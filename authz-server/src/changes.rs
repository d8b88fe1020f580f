//! Freshness: what an instance keeps in memory is never older than the request it answers.
//!
//! Every write of a client, resource, key or revocation also writes one numbered row into `change`, in the same
//! transaction. Before a request reads from memory it calls [`Changes::catch_up`], which reads the newest number
//! (one tiny statement) and forgets what changed since. So a revocation on one instance, or on the command line, is
//! seen by the next request on every other one, and yet the tables themselves are hardly ever read.
//!
//! The reading is shared: requests that arrive while a read is under way wait for the next one together, and that
//! one serves them all. Its cost is divided by the number of requests in flight.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::db::change::{self, Change};
use crate::db::{Db, DbFault};

/// A read that takes longer has lost its database. A request waits for two at most: one under way and its own.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// What memory reflects. It is filled and emptied only under this lock.
    applied: Mutex<Applied>,
    queue: Mutex<Queue>,
}

/// Up to where memory has got.
struct Applied {
    epoch: Epoch,
    /// The changes that led there, oldest first, without a gap.
    recent: VecDeque<Change>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    is_reading: bool,
}

/// A point in the order of changes, taken before something is read from the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Epoch {
    /// How often everything was forgotten: changes were missed, and numbers may have begun anew.
    resets: u64,
    /// The newest change.
    sequence: i64,
}

/// So many of the newest changes are known by what they were about.
const RECENT: usize = 1024;

impl Changes {
    pub(crate) async fn new(db: Db, memories: Vec<Arc<dyn Memory>>) -> Result<Arc<Self>, DbFault> {
        let applied = Applied {
            epoch: Epoch {
                resets: 0,
                sequence: change::head(&db).await?,
            },
            recent: VecDeque::new(),
        };
        Ok(Arc::new(Self {
            db,
            memories,
            applied: Mutex::new(applied),
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
            let turn = ReadersTurn {
                changes: Arc::clone(self),
                is_over: false,
            };
            tokio::spawn(turn.serve_queue());
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
        lock(&self.applied).epoch
    }

    /// Runs `keep`, which puts into memory what was read after `epoch` was taken, unless a change that `concerns` it has
    /// come since: then what was read may be the older state, and is better read again. Changes of everything else keep
    /// nothing from being remembered, or a trickle of them would have all read again and again.
    pub(crate) fn fill(&self, epoch: Epoch, concerns: impl Fn(&Change) -> bool, keep: impl FnOnce()) {
        let applied = lock(&self.applied);
        let since: Vec<_> = applied
            .recent
            .iter()
            .filter(|change| change.sequence > epoch.sequence)
            .collect();
        if applied.epoch.resets == epoch.resets
            && applied.epoch.sequence - epoch.sequence == since.len() as i64
            && !since.into_iter().any(concerns)
        {
            keep();
        }
    }

    async fn read(&self) -> Result<(), DbFault> {
        let head = change::head(&self.db).await?;
        let reached = self.epoch().sequence;
        if head == reached {
            return Ok(());
        }
        let changes = change::since(&self.db, reached).await?;
        let mut applied = lock(&self.applied);
        let newest = changes.last().map_or(head, |change| change.sequence.max(head));
        // Fewer rows than numbers: some were cleaned away, or a backup was restored under us.
        if newest < reached || (changes.len() as i64) < newest - reached {
            self.memories.iter().for_each(|memory| memory.forget_all());
            applied.recent.clear();
            applied.epoch.resets += 1;
        } else {
            changes
                .iter()
                .for_each(|change| self.memories.iter().for_each(|memory| memory.forget(change)));
            applied.recent.extend(changes);
            let too_many = applied.recent.len().saturating_sub(RECENT);
            applied.recent.drain(..too_many);
        }
        applied.epoch.sequence = newest;
        Ok(())
    }
}

/// Held by the reader. When it ends in the middle (its thread stops, or it panics), those who wait are told, and the
/// next request starts another one.
struct ReadersTurn {
    changes: Arc<Changes>,
    is_over: bool,
}

impl ReadersTurn {
    async fn serve_queue(mut self) {
        loop {
            let waiting = {
                let mut queue = lock(&self.changes.queue);
                if queue.waiting.is_empty() {
                    queue.is_reading = false;
                    self.is_over = true;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let result = match tokio::time::timeout(PATIENCE, self.changes.read()).await {
                Ok(Err(DbFault::Unavailable(reason))) => Err(reason),
                Ok(result) => result.map_err(|fault| fault.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            };
            for request in waiting {
                // A request that is gone needs no answer.
                request.send(result.clone()).ok();
            }
        }
    }
}

impl Drop for ReadersTurn {
    fn drop(&mut self) {
        if !self.is_over {
            let mut queue = lock(&self.changes.queue);
            queue.is_reading = false;
            queue.waiting.clear();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use shared::clock::UnixSeconds;

    use super::*;
    use crate::db::change::Noun;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    /// Notes what it is told to forget.
    #[derive(Default)]
    pub(crate) struct Notes(Mutex<Vec<String>>);

    impl Notes {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut lock(&self.0))
        }
    }

    impl Memory for Notes {
        fn forget(&self, change: &Change) {
            lock(&self.0).push(change.subject.clone());
        }

        fn forget_all(&self) {
            lock(&self.0).push("*".to_owned());
        }
    }

    pub(crate) async fn write(db: &Db, subject: &str) {
        let written = db.write(async |tx| {
            change::record(tx, Noun::Client, subject, NOW);
            Ok(())
        });
        written.await.unwrap();
    }

    pub(crate) async fn setting() -> (tempfile::TempDir, Db, Arc<Notes>, Arc<Changes>) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/test.db", folder.path().display());
        let db = Db::open(&url, &"https://as.example".parse().unwrap(), NOW)
            .await
            .unwrap();
        let notes = Arc::new(Notes::default());
        let memory: Arc<dyn Memory> = notes.clone();
        let changes = Changes::new(db.clone(), vec![memory]).await.unwrap();
        (folder, db, notes, changes)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_committed_before_the_call_is_known_after_it() {
        let (_folder, db, notes, changes) = setting().await;
        changes.catch_up().await.unwrap();
        assert!(notes.take().is_empty());
        write(&db, "a").await;
        write(&db, "b").await;
        changes.catch_up().await.unwrap();
        assert_eq!(notes.take(), ["a", "b"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_value_read_before_a_change_is_not_kept_after_it() {
        let (_folder, db, _notes, changes) = setting().await;
        let mut kept = Vec::new();
        let before = changes.epoch();
        let is_a = |change: &Change| change.is_about(Noun::Client, "a");
        changes.fill(before, is_a, || kept.push("fresh"));
        write(&db, "a").await;
        changes.catch_up().await.unwrap();
        changes.fill(before, is_a, || kept.push("stale"));
        changes.fill(changes.epoch(), is_a, || kept.push("fresh again"));
        assert_eq!(kept, ["fresh", "fresh again"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn changes_of_other_things_keep_nothing_out_of_memory() {
        let (_folder, db, _notes, changes) = setting().await;
        let is_a = |change: &Change| change.is_about(Noun::Client, "a");
        let (before, mut kept) = (changes.epoch(), Vec::new());
        for other in ["b", "c"] {
            write(&db, other).await;
            changes.catch_up().await.unwrap();
        }
        changes.fill(before, is_a, || kept.push("a"));
        changes.fill(
            before,
            |change| change.is_of(&[Noun::Client]),
            || kept.push("all clients"),
        );
        changes.fill(before, |change| change.is_of(&[Noun::Key]), || kept.push("keys"));
        // What everything of its kind is about is about each.
        write(&db, change::MANY).await;
        changes.catch_up().await.unwrap();
        changes.fill(before, is_a, || kept.push("a again"));
        assert_eq!(kept, ["a", "keys"]);
        // Whatever was missed may have been about anything.
        let before = changes.epoch();
        write(&db, "d").await;
        change::forget(&db, NOW + Duration::from_secs(1)).await.unwrap();
        changes.catch_up().await.unwrap();
        changes.fill(before, is_a, || kept.push("unknown"));
        assert!(before < changes.epoch());
        assert_eq!(kept.len(), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_lies_too_far_back_is_not_kept() {
        let (_folder, db, _notes, changes) = setting().await;
        let (before, mut kept) = (changes.epoch(), 0);
        for _ in 0..2 {
            let many = db.write(async |tx| {
                for n in 0..600 {
                    change::record(tx, Noun::Client, &n.to_string(), NOW);
                }
                Ok(())
            });
            many.await.unwrap();
            changes.catch_up().await.unwrap();
            changes.fill(before, |_| false, || kept += 1);
        }
        assert_eq!(kept, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn missed_changes_empty_the_memory() {
        let (_folder, db, notes, changes) = setting().await;
        write(&db, "a").await;
        change::forget(&db, NOW + Duration::from_secs(1)).await.unwrap();
        changes.catch_up().await.unwrap();
        assert_eq!(notes.take(), ["*"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_ends_in_the_middle_leaves_nobody_waiting() {
        let (_folder, _db, _notes, changes) = setting().await;
        let (done, answer) = oneshot::channel();
        *lock(&changes.queue) = Queue {
            waiting: vec![done],
            is_reading: true,
        };
        let turn = ReadersTurn {
            changes: Arc::clone(&changes),
            is_over: false,
        };
        // Never polled, as on a runtime that is shutting down.
        drop(turn.serve_queue());
        assert!(answer.await.is_err());
        changes.catch_up().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_requests_wait_together_and_a_cancelled_one_holds_nobody_up() {
        let (_folder, db, notes, changes) = setting().await;
        write(&db, "a").await;
        drop(tokio::time::timeout(std::time::Duration::ZERO, changes.catch_up()).await);
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let changes = Arc::clone(&changes);
                tokio::spawn(async move { changes.catch_up().await })
            })
            .collect();
        for request in waiting {
            request.await.unwrap().unwrap();
        }
        assert_eq!(notes.take(), ["a"]);
    }
}
