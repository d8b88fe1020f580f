//! Calls that run with a person's yes and have asked their caller something: the yes is for the whole call, so the caller
//! comes back without another. The state that it carries names the dialogue, and each round has a name of its own, which is
//! good once: a round that is brought again is not the call that the person allowed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::clock::UnixSeconds;

use super::{Approved, Question};
use crate::mcp::ask::Dialogue;

/// So many are open at once.
const ROOM: usize = 1000;
/// So many of one caller; with one more, its oldest ends.
const PER_CALLER: usize = 20;
/// How long one goes on after the call began to run.
pub(super) const LASTS: Duration = Duration::from_secs(15 * 60);

/// The yes that a call has, as long as it goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Running {
    /// Whose yes.
    pub(crate) yes: Approved,
    /// When its dialogue is over.
    pub(super) until: UnixSeconds,
}

/// Those that wait for their callers.
#[derive(Debug, Default)]
pub(super) struct Dialogues(Mutex<HashMap<Dialogue, (Question, Running)>>);

impl Dialogues {
    /// Lets the next round of a call wait under this name. Where there is no room, its caller has to begin again.
    pub(super) fn put(&self, name: Dialogue, question: Question, running: Running, now: UnixSeconds) {
        let mut open = self.lock();
        open.retain(|_, (_, running)| running.until > now);
        let own = open
            .iter()
            .filter(|(_, (other, _))| is_same_caller(other, &question));
        if own.clone().count() >= PER_CALLER {
            let oldest = own.min_by_key(|(_, (_, running))| running.until);
            if let Some(oldest) = oldest.map(|(name, _)| *name) {
                open.remove(&oldest);
            }
        }
        if open.len() < ROOM {
            open.insert(name, (question, running));
        } else {
            tracing::warn!("too many approved calls wait for their callers; one of them ends");
        }
    }

    /// The yes of the round of this name, for exactly one who brings it, and for the same call only.
    pub(super) fn take(&self, name: Dialogue, question: &Question, now: UnixSeconds) -> Option<Running> {
        let mut open = self.lock();
        open.get(&name).filter(|(asked, _)| asked == question)?;
        let (_, running) = open.remove(&name)?;
        Some(running).filter(|running| running.until > now)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Dialogue, (Question, Running)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same_caller(one: &Question, other: &Question) -> bool {
    one.caller_iss == other.caller_iss
        && one.caller_sub == other.caller_sub
        && one.caller_client == other.caller_client
}

#[cfg(test)]
mod tests {
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

    fn running(until: UnixSeconds) -> Running {
        Running {
            yes: Approved {
                id: "a".to_owned(),
                approver: "u_ada".to_owned(),
            },
            until,
        }
    }

    #[test]
    fn a_round_is_brought_once_and_for_its_call_only() {
        let (open, name) = (Dialogues::default(), Dialogue::for_tests(1));
        let (asked, until) = (question("t", "u"), NOW + LASTS);
        open.put(name, asked.clone(), running(until), NOW);
        let others = [question("other", "u"), question("t", "v")];
        assert!(others.iter().all(|other| open.take(name, other, NOW).is_none()));
        assert!(open.take(Dialogue::for_tests(2), &asked, NOW).is_none());
        assert_eq!(open.take(name, &asked, NOW), Some(running(until)));
        assert!(open.take(name, &asked, NOW).is_none());
        open.put(name, asked.clone(), running(until), NOW);
        assert!(open.take(name, &asked, until).is_none());
    }

    #[test]
    fn one_caller_ends_its_own_dialogues_only() {
        let open = Dialogues::default();
        let later = |n: usize| NOW + Duration::from_secs(60 + n as u64);
        open.put(
            Dialogue::for_tests(999),
            question("t", "v"),
            running(later(0)),
            NOW,
        );
        for n in 0..=PER_CALLER {
            open.put(Dialogue::for_tests(n), question("t", "u"), running(later(n)), NOW);
        }
        let take = |n: usize, caller: &str| open.take(Dialogue::for_tests(n), &question("t", caller), NOW);
        assert!(take(0, "u").is_none(), "the oldest");
        assert!(take(1, "u").is_some() && take(PER_CALLER, "u").is_some());
        assert!(take(999, "v").is_some());
        let crowd = |n: usize| {
            open.put(
                Dialogue::for_tests(10_000 + n),
                question("t", &n.to_string()),
                running(later(0)),
                NOW,
            )
        };
        (0..2 * ROOM).for_each(crowd);
        assert_eq!(open.lock().len(), ROOM);
        // What is over makes room.
        open.put(
            Dialogue::for_tests(7),
            question("t", "w"),
            running(later(99)),
            later(50),
        );
        assert_eq!(open.lock().len(), 1);
    }
}
