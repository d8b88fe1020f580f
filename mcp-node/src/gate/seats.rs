//! How much of something goes on at the same time: in all, of each client, and of each subject, so that no caller takes
//! it all.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Share;

/// The seats of one node.
#[derive(Debug)]
pub(super) struct Seats {
    /// Owners are hashed with a random state, so that an entry is small whatever their names.
    hasher: RandomState,
    taken: Mutex<Taken>,
}

/// Only owners of a seat are in the table, so it is never larger than there are seats.
#[derive(Debug)]
struct Taken {
    /// How many there may be. After it has become smaller, more may be taken for a while.
    share: Share,
    all: usize,
    by_owner: HashMap<u64, usize>,
}

/// Whose a seat is. Clients and subjects are unique only together with their issuer, the place in the node's list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) issuer: usize,
    pub(super) client: &'a str,
    pub(super) subject: &'a str,
}

/// The right to one; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    owners: [u64; 2],
}

/// Why there is no seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// The node has no more.
    Node,
    /// The client has its share.
    Client,
    /// The subject has its share.
    Subject,
}

impl Seats {
    pub(super) fn new(share: Share) -> Self {
        Self {
            hasher: RandomState::new(),
            taken: Mutex::new(Taken {
                share,
                all: 0,
                by_owner: HashMap::new(),
            }),
        }
    }

    /// Another share from now on. Who has a seat keeps it.
    pub(super) fn set_share(&self, share: Share) {
        self.lock().share = share;
    }

    /// A seat for one more of `owner`.
    pub(super) fn take(self: &Arc<Self>, owner: Owner<'_>) -> Result<Seat, Full> {
        let owners = [
            self.hasher.hash_one((0_u8, owner.issuer, owner.client)),
            self.hasher.hash_one((1_u8, owner.issuer, owner.subject)),
        ];
        let mut taken = self.lock();
        let of = |taken: &Taken, owner: u64| taken.by_owner.get(&owner).copied().unwrap_or(0);
        if of(&taken, owners[1]) >= taken.share.per_subject {
            return Err(Full::Subject);
        }
        if of(&taken, owners[0]) >= taken.share.per_client {
            return Err(Full::Client);
        }
        if taken.all >= taken.share.all {
            return Err(Full::Node);
        }
        taken.all += 1;
        for owner in owners {
            *taken.by_owner.entry(owner).or_default() += 1;
        }
        Ok(Seat {
            seats: Arc::clone(self),
            owners,
        })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().all
    }

    pub(super) fn share(&self) -> Share {
        self.lock().share
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all = taken.all.saturating_sub(1);
        for owner in self.owners {
            if let Some(own) = taken.by_owner.get_mut(&owner) {
                *own -= 1;
                if *own == 0 {
                    taken.by_owner.remove(&owner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats() -> Arc<Seats> {
        Arc::new(Seats::new(Share {
            all: 6,
            per_client: 4,
            per_subject: 2,
        }))
    }

    fn owner<'a>(client: &'a str, subject: &'a str) -> Owner<'a> {
        Owner {
            issuer: 0,
            client,
            subject,
        }
    }

    #[test]
    fn one_subject_leaves_room_for_others() {
        let seats = seats();
        let mut taken: Vec<_> = (0..2).map(|_| seats.take(owner("a", "s")).unwrap()).collect();
        assert_eq!(seats.take(owner("a", "s")).unwrap_err(), Full::Subject);
        assert_eq!(seats.take(owner("b", "s")).unwrap_err(), Full::Subject);
        // Another subject, and the same name at another issuer. A client is no subject.
        drop(seats.take(owner("a", "t")).unwrap());
        drop(seats.take(owner("s", "a")).unwrap());
        let elsewhere = Owner {
            issuer: 1,
            ..owner("a", "s")
        };
        drop(seats.take(elsewhere).unwrap());
        taken.pop();
        drop(seats.take(owner("a", "s")).unwrap());
    }

    #[test]
    fn one_client_leaves_room_for_others_and_the_node_has_an_end() {
        let seats = seats();
        let subjects = ["s", "t", "u", "v"];
        let mut taken: Vec<_> = subjects
            .iter()
            .map(|subject| seats.take(owner("a", subject)).unwrap())
            .collect();
        assert_eq!(seats.take(owner("a", "w")).unwrap_err(), Full::Client);
        taken.push(seats.take(owner("b", "w")).unwrap());
        taken.push(seats.take(owner("c", "x")).unwrap());
        assert_eq!(seats.take(owner("d", "y")).unwrap_err(), Full::Node);
        assert_eq!(seats.taken(), 6);
        // A smaller share takes nobody's seat away, and lets nobody in until there are fewer.
        let share = Share {
            all: 2,
            ..seats.share()
        };
        seats.set_share(share);
        taken.truncate(3);
        assert_eq!(seats.take(owner("d", "y")).unwrap_err(), Full::Node);
        drop(taken);
        assert!(seats.lock().by_owner.is_empty() && seats.taken() == 0);
        drop(seats.take(owner("d", "y")).unwrap());
    }
}
