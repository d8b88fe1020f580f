//! How many streams are open: in all, and for each subject, so that no caller takes them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// So many streams are open at once; further ones are told to come back.
const MAX_STREAMS: usize = 256;
/// So many of them are one subject's.
const MAX_STREAMS_PER_SUBJECT: usize = 16;

/// Whose a stream is: the issuer's place in the node's list, and the subject.
type Owner = (usize, String);

/// The open streams of one node.
#[derive(Debug, Default)]
pub(crate) struct Seats(Mutex<HashMap<Owner, usize>>);

/// The right to one stream; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    owner: Owner,
}

/// Why there is no seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// The node has no more.
    Node,
    /// The subject has had its share.
    Subject,
}

impl Seats {
    /// A seat for one more stream of `owner`.
    pub(super) fn take(self: &Arc<Self>, owner: Owner) -> Result<Seat, Full> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open
            .get(&owner)
            .is_some_and(|own| *own >= MAX_STREAMS_PER_SUBJECT)
        {
            return Err(Full::Subject);
        }
        if open.values().sum::<usize>() >= MAX_STREAMS {
            return Err(Full::Node);
        }
        *open.entry(owner.clone()).or_default() += 1;
        Ok(Seat {
            seats: Arc::clone(self),
            owner,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.owner) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(number: usize) -> Owner {
        (0, format!("subject {number}"))
    }

    #[test]
    fn one_subject_leaves_room_for_others() {
        let seats = Arc::new(Seats::default());
        let mut taken: Vec<_> = (0..MAX_STREAMS_PER_SUBJECT)
            .map(|_| seats.take(owner(0)).unwrap())
            .collect();
        assert_eq!(seats.take(owner(0)).unwrap_err(), Full::Subject);
        // Another subject, and the same name at another issuer.
        drop(seats.take(owner(1)).unwrap());
        drop(seats.take((1, "subject 0".to_owned())).unwrap());
        taken.pop();
        drop(seats.take(owner(0)).unwrap());
    }

    #[test]
    fn the_node_has_an_end_too_and_forgets_who_left() {
        let seats = Arc::new(Seats::default());
        let taken: Vec<_> = (0..MAX_STREAMS)
            .map(|number| seats.take(owner(number)).unwrap())
            .collect();
        assert_eq!(seats.take(owner(MAX_STREAMS)).unwrap_err(), Full::Node);
        drop(taken);
        assert!(seats.0.lock().unwrap().is_empty());
        drop(seats.take(owner(MAX_STREAMS)).unwrap());
    }
}
