//! Who waits for changed lists. A node asks once and is answered when something changed, so that a revocation is on its
//! way at once, and nobody asks in vain every second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::app::App;

/// While somebody waits, changes of other instances and of the command line are looked for this often.
const EVERY: Duration = Duration::from_millis(200);
/// So many may wait at once; whoever comes later is answered at once.
const WAITING: usize = 20_000;

type Topics = HashMap<String, watch::Sender<u64>>;

pub(super) struct News {
    /// By the tag of the resource.
    topics: Mutex<Topics>,
    seats: Arc<Semaphore>,
    /// Somebody began to wait.
    wanted: Notify,
    stopped: watch::Sender<bool>,
    is_stopped: AtomicBool,
}

/// Somebody who waits.
pub(super) struct Listener {
    changed: watch::Receiver<u64>,
    stopped: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

impl News {
    pub(super) fn new() -> Self {
        Self {
            topics: Mutex::default(),
            seats: Arc::new(Semaphore::new(WAITING)),
            wanted: Notify::new(),
            stopped: watch::Sender::new(false),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Begins to listen: whatever changes from now on ends the wait. `None` when too many wait, or the program is to
    /// stop.
    pub(super) fn listen(&self, tag: &str) -> Option<Listener> {
        if self.is_stopped.load(Ordering::Acquire) {
            return None;
        }
        let seat = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        let mut topics = lock(&self.topics);
        if topics.len() >= WAITING {
            topics.retain(|_, topic| topic.receiver_count() > 0);
        }
        let changed = topics.entry(tag.to_owned()).or_default().subscribe();
        drop(topics);
        self.wanted.notify_one();
        Some(Listener {
            changed,
            stopped: self.stopped.subscribe(),
            _seat: seat,
        })
    }

    /// Something changed in a list of the resource with this tag.
    pub(super) fn tell(&self, tag: &str) {
        let mut topics = lock(&self.topics);
        if let Some(topic) = topics.get(tag) {
            topic.send_modify(|count| *count += 1);
            if topic.receiver_count() == 0 {
                topics.remove(tag);
            }
        }
    }

    pub(super) fn tell_all(&self) {
        let mut topics = lock(&self.topics);
        topics.retain(|_, topic| topic.receiver_count() > 0);
        topics
            .values()
            .for_each(|topic| topic.send_modify(|count| *count += 1));
    }

    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.stopped.send_replace(true);
    }

    fn is_waited_for(&self) -> bool {
        self.seats.available_permits() < WAITING
    }
}

impl Listener {
    /// Waits for a change; `false` when the program is to stop.
    pub(super) async fn changed(&mut self) -> bool {
        tokio::select! {
            changed = self.changed.changed() => changed.is_ok(),
            _ = self.stopped.wait_for(|stopped| *stopped) => false,
        }
    }
}

/// Looks for changes for those who wait, until the program ends.
pub(crate) async fn follow(app: Arc<App>) {
    let news = &app.status_lists.news;
    loop {
        if news.is_waited_for() {
            // Those who wait are told by `Memory::forget`. A database that is away is the concern of their own requests.
            app.catch_up().await.ok();
            tokio::time::sleep(EVERY).await;
        } else {
            news.wanted.notified().await;
        }
    }
}

fn lock(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}
