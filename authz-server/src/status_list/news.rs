//! Who waits for changed lists. A node asks once and is answered when something changed, so that a revocation is on its
//! way at once, and nobody asks in vain every second.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::app::App;

/// While somebody waits, changes of other instances and of the command line are looked for this often.
const EVERY: Duration = Duration::from_millis(200);
/// So many may wait at once; whoever comes later is answered at once.
const WAITING: usize = 20_000;
/// So many of one address may: a stranger with many connections leaves the others their seats, and a site whose nodes share
/// an address has enough.
const OF_ONE_ADDRESS: usize = 1000;

type Topics = HashMap<String, watch::Sender<u64>>;

pub(super) struct News {
    /// By the tag of the resource.
    topics: Mutex<Topics>,
    seats: Arc<Seats>,
    /// Somebody began to wait.
    wanted: Notify,
    stopped: watch::Sender<bool>,
    is_stopped: AtomicBool,
}

/// Somebody who waits.
pub(super) struct Listener {
    changed: watch::Receiver<u64>,
    also: Option<watch::Receiver<u64>>,
    stopped: watch::Receiver<bool>,
    _seat: Seat,
}

/// Those who wait, by address ([`::web::address::ClientAddress::limit_key`]).
#[derive(Default)]
struct Seats(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    in_all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A seat, until it is dropped.
struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
}

impl News {
    pub(super) fn new() -> Self {
        Self {
            topics: Mutex::default(),
            seats: Arc::default(),
            wanted: Notify::new(),
            stopped: watch::Sender::new(false),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Begins to listen to one resource or two: whatever changes from now on ends the wait. `None` when too many wait, in all or at `address`, or
    /// the program is to stop.
    pub(super) fn listen(&self, (tag, also): (&str, Option<&str>), address: IpAddr) -> Option<Listener> {
        if self.is_stopped.load(Ordering::Acquire) {
            return None;
        }
        let seat = Seats::take(&self.seats, address)?;
        let mut topics = lock(&self.topics);
        if topics.len() >= WAITING {
            topics.retain(|_, topic| topic.receiver_count() > 0);
        }
        let mut subscribe = |tag: &str| topics.entry(tag.to_owned()).or_default().subscribe();
        let (changed, also) = (subscribe(tag), also.map(&mut subscribe));
        drop(topics);
        self.wanted.notify_one();
        Some(Listener {
            changed,
            also,
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
        lock(&self.seats.0).in_all > 0
    }
}

impl Seats {
    fn take(seats: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let mut taken = lock(&seats.0);
        let at_address = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.in_all >= WAITING || at_address >= OF_ONE_ADDRESS {
            return None;
        }
        taken.in_all += 1;
        taken.by_address.insert(address, at_address + 1);
        Some(Seat {
            seats: Arc::clone(seats),
            address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.seats.0);
        taken.in_all = taken.in_all.saturating_sub(1);
        if let Entry::Occupied(mut entry) = taken.by_address.entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Listener {
    /// Waits for a change; `false` when the program is to stop.
    pub(super) async fn changed(&mut self) -> bool {
        let also = async {
            match &mut self.also {
                Some(also) => also.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.changed.changed() => changed.is_ok(),
            changed = also => changed,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8])
    }

    #[test]
    fn one_address_takes_a_share_of_the_seats_and_gives_it_back() {
        let news = News::new();
        assert!(!news.is_waited_for());
        let mut mine: Vec<_> = (0..OF_ONE_ADDRESS)
            .map(|_| news.listen(("tag", None), address(0)).unwrap())
            .collect();
        assert!(news.listen(("tag", None), address(0)).is_none());
        let other = news.listen(("tag", None), address(1));
        assert!(other.is_some() && news.is_waited_for());
        mine.pop();
        assert!(news.listen(("tag", None), address(0)).is_some());
        drop((mine, other));
        assert!(!news.is_waited_for());
        assert!(lock(&news.seats.0).by_address.is_empty());
    }

    #[test]
    fn all_addresses_together_take_no_more_than_there_are() {
        let news = News::new();
        let seats: Vec<_> = (0..WAITING)
            .map(|n| news.listen(("tag", None), address(n / OF_ONE_ADDRESS)).unwrap())
            .collect();
        assert!(news.listen(("tag", None), address(999)).is_none());
        drop(seats);
        assert!(news.listen(("tag", None), address(999)).is_some());
    }
}
