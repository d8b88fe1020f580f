//! The questions that wait for a person, by what they are about. Bounded, whole and for each caller.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::clock::UnixSeconds;

use super::{Question, is_over};
use crate::fleet::Ticket;

/// So many questions wait at once.
const ROOM: usize = 1000;
/// So many of one caller.
const PER_CALLER: usize = 20;

/// There is no room for another question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<HashMap<Question, Ticket>>);

impl Desk {
    /// The question that waits about this very call.
    pub(super) fn find(&self, question: &Question, now: UnixSeconds) -> Option<Ticket> {
        let mut waiting = self.lock();
        let ticket = waiting.get(question)?;
        if is_over(ticket, now) {
            waiting.remove(question);
            return None;
        }
        Some(ticket.clone())
    }

    /// Whether another question of this caller may wait.
    pub(super) fn has_room(&self, question: &Question, now: UnixSeconds) -> Result<(), Full> {
        room(&mut self.lock(), question, now)
    }

    /// Lets a question wait; returns the one that waits: another call may have asked the same meanwhile, or others may
    /// have taken the room.
    pub(super) fn put(&self, question: Question, ticket: Ticket, now: UnixSeconds) -> Result<Ticket, Full> {
        let mut waiting = self.lock();
        if let Some(first) = waiting.get(&question) {
            return Ok(first.clone());
        }
        room(&mut waiting, &question, now)?;
        waiting.insert(question, ticket.clone());
        Ok(ticket)
    }

    /// Takes a question from the desk: `true` for exactly one caller.
    pub(super) fn take(&self, question: &Question, approval_id: &str) -> bool {
        let mut waiting = self.lock();
        let is_it = waiting
            .get(question)
            .is_some_and(|ticket| ticket.approval_id == approval_id);
        if is_it {
            waiting.remove(question);
        }
        is_it
    }

    /// How many wait, how many may, and how many of one caller.
    pub(super) fn count(&self) -> (usize, usize, usize) {
        (self.lock().len(), ROOM, PER_CALLER)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is room for `question` among those that are `waiting`.
fn room(waiting: &mut HashMap<Question, Ticket>, question: &Question, now: UnixSeconds) -> Result<(), Full> {
    if waiting.len() >= ROOM {
        waiting.retain(|_, ticket| !is_over(ticket, now));
    }
    let is_same = |other: &Question| {
        other.caller_iss == question.caller_iss
            && other.caller_sub == question.caller_sub
            && other.caller_client == question.caller_client
    };
    let of_caller = waiting
        .iter()
        .filter(|(other, ticket)| is_same(other) && !is_over(ticket, now))
        .count();
    if waiting.len() >= ROOM || of_caller >= PER_CALLER {
        return Err(Full);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

    fn question(tool: &str, caller: &str) -> Question {
        Question {
            tool: tool.to_owned(),
            arguments_sha256: "d".to_owned(),
            caller_iss: "https://as.example".to_owned(),
            caller_sub: caller.to_owned(),
            caller_client: "c".to_owned(),
            resource: "https://node.example/mcp".to_owned(),
        }
    }

    fn ticket(id: &str) -> Ticket {
        Ticket::for_tests(id, NOW + Duration::from_secs(60))
    }

    #[test]
    fn one_question_waits_once_and_is_taken_once() {
        let desk = Desk::default();
        let asked = question("t", "u");
        assert_eq!(
            desk.put(asked.clone(), ticket("first"), NOW).unwrap().approval_id,
            "first"
        );
        assert_eq!(
            desk.put(asked.clone(), ticket("second"), NOW)
                .unwrap()
                .approval_id,
            "first"
        );
        assert!(desk.find(&question("other", "u"), NOW).is_none());
        assert!(!desk.take(&asked, "second"));
        assert!(desk.take(&asked, "first") && !desk.take(&asked, "first"));
        desk.put(asked.clone(), ticket("third"), NOW).unwrap();
        assert!(desk.find(&asked, NOW + Duration::from_secs(60)).is_none());
    }

    #[test]
    fn a_caller_fills_its_own_places_only() {
        let desk = Desk::default();
        for n in 0..PER_CALLER {
            let asked = question(&n.to_string(), "u");
            assert_eq!(desk.has_room(&asked, NOW), Ok(()));
            desk.put(asked, ticket("x"), NOW).unwrap();
        }
        assert_eq!(desk.has_room(&question("more", "u"), NOW), Err(Full));
        // Who was let in before the room was gone is looked at again.
        assert!(desk.put(question("more", "u"), ticket("x"), NOW).is_err());
        assert!(desk.put(question("0", "u"), ticket("x"), NOW).is_ok());
        assert_eq!(desk.has_room(&question("more", "v"), NOW), Ok(()));
        let later = NOW + Duration::from_secs(60);
        assert_eq!(desk.has_room(&question("more", "u"), later), Ok(()));
    }
}
