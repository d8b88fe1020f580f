//! Sessions of the revisions up to 2025-11-25: what a server remembers of a client between its requests, so that it can
//! ask the client something and tell it what changed.
//!
//! A session is no authentication: every request shows its own token, and the session is found only by those whose it
//! is. To everybody else it does not exist (MCP, "Session hijacking").

mod feed;
mod log;
mod outbox;
mod session;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::secret::{NoRandomness, random_bytes};
use tokio::time::Instant;

pub(super) use self::feed::MayHear;
pub(super) use self::log::STANDALONE;
pub(super) use self::outbox::SessionOutbox;
pub(super) use self::session::{Beginning, Effect, Introduced, NotBegun, Session};
use crate::auth::{Caller, who};
use crate::config::SessionLimits;
use crate::gate::{Bounded, Gauge};

/// Whose a session is. Another subject, another client and another issuer are somebody else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    issuer: String,
    subject: String,
    client: String,
}

impl Owner {
    pub(super) fn of(caller: &Caller) -> Self {
        let claims = caller.claims();
        Self {
            issuer: claims.issuer().to_owned(),
            subject: claims.subject().to_owned(),
            client: claims.client_id().to_owned(),
        }
    }

    /// Whose shares it uses, as [`Caller::who`].
    pub(super) fn who(&self) -> String {
        who(&self.issuer, &self.subject)
    }
}

/// A session could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    /// The node has as many as it may.
    #[error("too many sessions are open")]
    Full,
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The open sessions of one node.
pub(crate) struct Sessions {
    /// In `/metrics`: all of them, and those of one caller.
    called: [&'static str; 2],
    limits: SessionLimits,
    open: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    /// None yet.
    pub(crate) fn new(limits: SessionLimits) -> Self {
        Self {
            called: ["sessions", "sessions_per_caller"],
            limits,
            open: Mutex::default(),
        }
    }

    /// None yet of those that are a stream of 2024-11-05 each.
    pub(crate) fn of_pairs(limits: SessionLimits) -> Self {
        Self {
            called: ["pairs", "pairs_per_caller"],
            ..Self::new(limits)
        }
    }

    /// Opens a session for `owner`, with an id that nobody can guess. An owner that has its share loses the one that it
    /// has not used for the longest time; a node that is full opens none.
    pub(super) fn open(
        &self,
        owner: Owner,
        introduced: Option<Introduced>,
    ) -> Result<(String, Arc<Session>), NotOpened> {
        let id = URL_SAFE_NO_PAD.encode(random_bytes::<32>()?);
        let now = Instant::now();
        let mut open = self.lock();
        self.drop_expired(&mut open, now);
        let own = open.iter().filter(|(_, session)| session.is_of(&owner));
        if own.clone().count() >= self.limits.per_caller {
            let oldest = own.min_by_key(|(_, session)| session.used());
            if let Some(session) = oldest.map(|(id, _)| id.clone()).and_then(|id| open.remove(&id)) {
                session.close();
            }
        }
        if open.len() >= self.limits.in_all {
            return Err(NotOpened::Full);
        }
        let session = Arc::new(Session::new(owner, introduced, self.limits.replay.0));
        open.insert(id.clone(), Arc::clone(&session));
        Ok((id, session))
    }

    /// The session of this id, if it is `owner`'s and has not expired.
    pub(super) fn find(&self, id: &str, owner: &Owner) -> Option<Arc<Session>> {
        let now = Instant::now();
        let mut open = self.lock();
        let session = open
            .get(id)
            .filter(|session| session.is_of(owner) && !session.is_closed())?;
        if self.has_expired(session, now) {
            if let Some(session) = open.remove(id) {
                session.close();
            }
            return None;
        }
        session.touch(now);
        Some(Arc::clone(session))
    }

    /// Ends the session of this id, if it is `owner`'s.
    pub(super) fn close(&self, id: &str, owner: &Owner) -> bool {
        let mut open = self.lock();
        if !open.get(id).is_some_and(|session| session.is_of(owner)) {
            return false;
        }
        if let Some(session) = open.remove(id) {
            session.close();
        }
        true
    }

    /// Ends sessions whose time is over, now and every so often.
    pub(crate) async fn forget_the_expired(self: Arc<Self>) {
        let every = (self.limits.idle / 4).clamp(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            tokio::time::sleep(every).await;
            self.drop_expired(&mut self.lock(), Instant::now());
        }
    }

    fn drop_expired(&self, open: &mut HashMap<String, Arc<Session>>, now: Instant) {
        open.retain(|_, session| {
            let stays = !session.is_closed() && !self.has_expired(session, now);
            if !stays {
                session.close();
            }
            stays
        });
    }

    fn has_expired(&self, session: &Session, now: Instant) -> bool {
        now.duration_since(session.born()) >= self.limits.lasts
            || (!session.is_busy() && now.duration_since(session.used()) >= self.limits.idle)
    }

    /// How many there are now.
    fn count(&self) -> usize {
        self.lock()
            .values()
            .filter(|session| !session.is_closed())
            .count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bounded for Sessions {
    fn gauges(&self) -> Vec<Gauge> {
        let SessionLimits {
            per_caller, in_all, ..
        } = self.limits;
        vec![
            Gauge::of_node(self.called[0], in_all, self.count()),
            Gauge::of_each(self.called[1], per_caller),
        ]
    }
}

#[cfg(test)]
mod tests;
