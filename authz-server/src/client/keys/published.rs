//! One published key set: what is held of it, and when it may be asked for again.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use url::Url;

use super::budget::Asker;
use super::{FetchFault, Keys, KeysFault, Source};

/// So long passes between two attempts that strangers can cause.
pub(super) const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long the last good set serves when its address is away.
pub(super) const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// When a seat of the fetcher may be free again.
const SEAT: Duration = Duration::from_secs(2);

/// One `jwks_uri`. Clients that name the same one share it.
pub(super) struct Published {
    url: Url,
    /// Apart from what happens at its address: a set that is fresh is nobody's to wait for.
    held: RwLock<Option<Held>>,
    /// Held while the set is fetched: whoever needs it meanwhile waits for that.
    attempts: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    /// None before, after one that failed or that a stranger caused.
    again_at: Option<Instant>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<Keys>,
    fetched_at: Instant,
    fresh_until: Instant,
}

impl Published {
    pub(super) fn new(url: Url) -> Self {
        Self {
            url,
            held: RwLock::default(),
            attempts: Mutex::default(),
        }
    }

    /// The set, fetched anew unless it is fresh. When it cannot be had, the last good one.
    pub(super) async fn current(
        &self,
        source: &dyn Source,
        asker: Asker<'_>,
    ) -> Result<Arc<Keys>, KeysFault> {
        let fresh = || self.held().filter(|held| source.now() < held.fresh_until);
        if let Some(held) = fresh() {
            return Ok(held.keys);
        }
        let mut attempts = self.attempts.lock().await;
        // Whoever was waited for may have brought it.
        if let Some(held) = fresh() {
            return Ok(held.keys);
        }
        let now = source.now();
        let fault = match attempts.wait(now) {
            Some(wait) => KeysFault::Away {
                reason: "the client's keys could not be fetched a moment ago".to_owned(),
                wait,
            },
            None => match self.fetch(source, &asker, &mut attempts).await {
                Ok(keys) => return Ok(keys),
                Err(fault) => fault,
            },
        };
        let usable = |held: &Held| now.saturating_duration_since(held.fetched_at) <= MAX_STALE;
        self.held().filter(usable).map(|held| held.keys).ok_or(fault)
    }

    /// Another set than the one that was `seen`, if there is one by now.
    pub(super) async fn newer(
        &self,
        source: &dyn Source,
        seen: &Arc<Keys>,
        asker: Asker<'_>,
    ) -> Result<Option<Arc<Keys>>, KeysFault> {
        let mut attempts = self.attempts.lock().await;
        let changed = || {
            let held = self.held()?;
            (!Arc::ptr_eq(&held.keys, seen)).then_some(held.keys)
        };
        if let Some(newer) = changed() {
            return Ok(Some(newer));
        }
        let now = source.now();
        if attempts.wait(now).is_some() {
            return Ok(None);
        }
        match self.fetch(source, &asker, &mut attempts).await {
            Ok(keys) => {
                // A signature that nobody made is no reason to ask again soon.
                attempts.again_at = Some(now + COOL_DOWN);
                Ok(Some(keys))
            }
            // It was asked in vain: the last set is all that there is.
            Err(_) if attempts.wait(now).is_some() => Ok(None),
            // It was not asked: nobody can tell.
            Err(fault) => Err(fault),
        }
    }

    async fn fetch(
        &self,
        source: &dyn Source,
        asker: &Asker<'_>,
        attempts: &mut Attempts,
    ) -> Result<Arc<Keys>, KeysFault> {
        asker.count(&self.url)?;
        let before = attempts.again_at;
        // For the case that whoever asked does not wait for the answer.
        attempts.again_at = Some(source.now() + COOL_DOWN);
        let fetched = source.fetch(&self.url).await;
        let now = source.now();
        let read = match fetched {
            Ok(document) => Keys::parse(&document.body).map(|keys| (keys, document.fresh_for)),
            Err(FetchFault::Failed(reason)) => Err(reason),
            Err(FetchFault::Busy(reason)) => {
                // Its address did nothing wrong.
                attempts.again_at = before;
                return Err(KeysFault::Away { reason, wait: SEAT });
            }
        };
        match read {
            Ok((keys, fresh_for)) => {
                let keys = Arc::new(keys);
                attempts.again_at = None;
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Held {
                    keys: Arc::clone(&keys),
                    fetched_at: now,
                    fresh_until: now + fresh_for,
                });
                Ok(keys)
            }
            Err(reason) => {
                tracing::warn!(url = %self.url, reason, "a client's keys could not be fetched");
                attempts.again_at = Some(now + COOL_DOWN);
                Err(KeysFault::Away {
                    reason: "the client's keys cannot be fetched".to_owned(),
                    wait: COOL_DOWN,
                })
            }
        }
    }

    fn held(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Attempts {
    /// How long there is nothing to try.
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.again_at
            .map(|again_at| again_at.saturating_duration_since(now))
            .filter(|wait| !wait.is_zero())
    }
}
