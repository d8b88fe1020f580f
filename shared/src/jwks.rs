//! The key set of a foreign issuer: fetched when first asked for, then kept fresh by one task of its own.
//!
//! No request waits for a refresh while a usable set exists; a thousand first requests make one fetch; an unknown
//! `kid` causes at most one more within [`COOL_DOWN`]; when the issuer is away, the last good set serves on until it
//! is older than the operator allows. Every span is measured on the monotonic clock, so that a jump of the wall clock
//! neither floods the issuer nor keeps a set for ever.

mod elsewhere;
mod held;
mod kept;
mod settings;
mod signed;
mod source;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use self::held::Held;
pub use self::kept::KeptAt;
pub use self::settings::{KeySetSettings, KeySetStatus};
pub use self::signed::{MAX_SIGNED_BYTES, OfferFault, Offered, SIGNED_TYPE, SignedKeySet};
pub use self::source::SourceFault;
use self::source::{Document, HttpSource, Source};
use crate::http_client::HttpClient;
use crate::jose::{Algorithm, VerifyingKey};

/// After an unknown `kid` made us ask the issuer again, so long passes before another one may.
pub const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long the last good set serves when the issuer is away, unless configured.
pub const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// A shorter time than this would end before the next attempt to fetch.
pub const MIN_MAX_STALE: Duration = FRESHNESS.0;
/// The bounds of what an issuer's `Cache-Control` may ask for.
const FRESHNESS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60 * 60));
/// How long a set is fresh when its issuer does not say.
const DEFAULT_FRESHNESS: Duration = Duration::from_secs(10 * 60);
/// Time for one attempt, metadata and key set together.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the first failed attempt; it doubles up to the second value.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is known of a `kid`.
#[derive(Debug)]
pub enum KeyLookup {
    /// The issuer's key of that name.
    Key(VerifyingKey),
    /// The issuer was asked and has no such key.
    UnknownKid,
    /// The issuer cannot be reached, and there is no usable set, or none with this key: the token can be neither accepted
    /// nor refused.
    Unavailable {
        /// When to try again, at least one second.
        retry_after: Duration,
    },
}

/// The cached key set of one issuer. Cheap to clone.
#[derive(Clone)]
pub struct RemoteKeySet(Arc<Inner>);

struct Inner {
    issuer: String,
    source: Box<dyn Source>,
    algorithms: Vec<Algorithm>,
    max_stale: Duration,
    kept: Option<KeptAt>,
    is_started: AtomicBool,
    /// Where the set was made, if on a runtime: a web worker is no place for a task that outlives requests.
    runtime: Option<Handle>,
    held: ArcSwapOption<Held>,
    /// Held while one set takes the place of another: what was compared is what is replaced.
    changing: Mutex<()>,
    /// The newest set that its issuer signed, whoever brought it.
    signed: ArcSwapOption<SignedKeySet>,
    /// Changes whenever an attempt begins or ends.
    attempts: watch::Sender<Attempts>,
    wanted: Arc<Notify>,
    unknown_kid: Mutex<UnknownKid>,
}

#[derive(Clone, Debug, Default)]
struct Attempts {
    in_flight: bool,
    finished: u64,
    next_at: Option<Instant>,
    fault: Option<Arc<str>>,
}

/// The latest time that an unknown `kid` made us ask again.
#[derive(Default)]
struct UnknownKid {
    again_at: Option<Instant>,
    /// The attempt that answers it.
    answered_by: u64,
}

impl RemoteKeySet {
    /// A set that will be fetched over HTTP when it is first asked for.
    pub fn new(client: HttpClient, settings: KeySetSettings) -> Self {
        let issuer = settings.issuer.as_str().to_owned();
        let source = HttpSource {
            client,
            issuer: settings.issuer,
            jwks_uri: settings.jwks_uri,
        };
        Self::build(
            issuer,
            Box::new(source),
            settings.algorithms,
            (settings.max_stale, settings.kept),
        )
    }

    fn from_source(issuer: String, source: Box<dyn Source>, max_stale: Duration) -> Self {
        Self::build(issuer, source, Vec::new(), (max_stale, None))
    }

    fn build(
        issuer: String,
        source: Box<dyn Source>,
        algorithms: Vec<Algorithm>,
        (max_stale, kept): (Duration, Option<KeptAt>),
    ) -> Self {
        let known = kept.as_ref().and_then(|kept| kept.read(&issuer, &algorithms));
        let held = known.map(Arc::new);
        Self(Arc::new(Inner {
            issuer,
            source,
            algorithms,
            max_stale,
            kept,
            is_started: AtomicBool::new(false),
            runtime: Handle::try_current().ok(),
            held: ArcSwapOption::new(held),
            changing: Mutex::default(),
            signed: ArcSwapOption::empty(),
            attempts: watch::Sender::new(Attempts::default()),
            wanted: Arc::default(),
            unknown_kid: Mutex::default(),
        }))
    }

    /// The key named `kid`. Asks the issuer when nothing is held yet, or when the held set does not know the name.
    pub async fn key(&self, kid: &str) -> KeyLookup {
        self.start();
        if self.0.usable().is_none() {
            self.first_attempt().await;
        }
        let Some(held) = self.0.usable() else {
            return KeyLookup::Unavailable {
                retry_after: self.0.retry_after(),
            };
        };
        if let Some(key) = held.set.find(kid) {
            return KeyLookup::Key(key.clone());
        }
        self.ask_again().await;
        match self.0.usable().and_then(|held| held.set.find(kid).cloned()) {
            Some(key) => KeyLookup::Key(key),
            // What the issuer has published since the set was fetched, nobody knows.
            None if self.0.attempts.borrow().fault.is_some() => KeyLookup::Unavailable {
                retry_after: self.0.retry_after(),
            },
            None => KeyLookup::UnknownKid,
        }
    }

    /// The issuer's only key for `algorithm`, for a token that names none (OpenID Connect Core §10.1). When the held set
    /// has none, or several, the issuer is not asked again: no name was ever missing.
    pub async fn only_key(&self, algorithm: Algorithm) -> KeyLookup {
        self.start();
        if self.0.usable().is_none() {
            self.first_attempt().await;
        }
        let Some(held) = self.0.usable() else {
            return KeyLookup::Unavailable {
                retry_after: self.0.retry_after(),
            };
        };
        let only = held.set.only(algorithm).cloned();
        only.map_or(KeyLookup::UnknownKid, KeyLookup::Key)
    }

    /// Whether this very key is in the set that is held now and still usable: a name that was given up and taken again
    /// by another key does not count. Never waits, never asks.
    pub fn holds(&self, key: &VerifyingKey) -> bool {
        self.0
            .usable()
            .is_some_and(|held| held.set.find(key.kid()) == Some(key))
    }

    /// The key named `kid` of the set that is held and usable. Never waits, never asks.
    pub fn known(&self, kid: &str) -> Option<VerifyingKey> {
        self.0.usable().and_then(|held| held.set.find(kid).cloned())
    }

    /// Whether tokens can be judged. Before the first fetch this makes it, and waits for its end.
    pub async fn is_ready(&self) -> bool {
        self.start();
        if self.0.usable().is_none() {
            self.first_attempt().await;
        }
        self.0.usable().is_some()
    }

    /// What an operator wants to know. Never waits, never asks.
    pub fn status(&self) -> KeySetStatus {
        let held = self.0.held.load();
        let describe = |held: &Arc<Held>| {
            held.set
                .iter()
                .map(|(kid, alg)| (kid.to_owned(), alg.as_str()))
                .collect()
        };
        KeySetStatus {
            age: held.as_ref().map(|held| held.age()),
            left: held.as_ref().map(|held| held.left(self.0.max_stale)),
            keys: held.as_ref().map(describe).unwrap_or_default(),
            usable: self.0.usable().is_some(),
            fault: self.0.attempts.borrow().fault.as_ref().map(ToString::to_string),
        }
    }

    /// Starts the task that fetches, if it does not run yet, and waits for the end of its first attempt.
    async fn first_attempt(&self) {
        self.start();
        self.attempt_number(1).await;
    }

    /// Starts the task that fetches, if it does not run yet.
    fn start(&self) {
        if self.0.is_started.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = keep_fresh(Arc::downgrade(&self.0));
        match &self.0.runtime {
            Some(runtime) => drop(runtime.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }

    /// Has the issuer asked once more, unless it was within the cool-down. All who ask meanwhile share the answer.
    async fn ask_again(&self) {
        let awaited = {
            let mut unknown = self.0.unknown_kid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if unknown.again_at.is_none_or(|again_at| now >= again_at) {
                unknown.again_at = Some(now + COOL_DOWN);
                let attempts = self.0.attempts.borrow();
                // One that has begun already may have been answered before the new key was published.
                unknown.answered_by = attempts.finished + if attempts.in_flight { 2 } else { 1 };
                self.0.wanted.notify_one();
            }
            unknown.answered_by
        };
        self.attempt_number(awaited).await;
    }

    async fn attempt_number(&self, awaited: u64) {
        let mut attempts = self.0.attempts.subscribe();
        let end = attempts.wait_for(|attempts| attempts.finished >= awaited);
        if timeout(2 * ATTEMPT_TIMEOUT, end).await.is_err() {
            tracing::warn!(issuer = self.0.issuer, "an attempt to fetch keys does not end");
        }
    }
}

impl fmt::Debug for RemoteKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteKeySet({})", self.0.issuer)
    }
}

impl Inner {
    fn usable(&self) -> Option<Arc<Held>> {
        let is_usable = |held: &Arc<Held>| held.is_usable(self.max_stale);
        self.held.load_full().filter(is_usable)
    }

    fn retry_after(&self) -> Duration {
        let next_at = self.attempts.borrow().next_at;
        let pause = next_at.map_or(BACK_OFF.0, |at| at.saturating_duration_since(Instant::now()));
        pause.max(Duration::from_secs(1))
    }

    /// Makes one attempt and returns how long the result is fresh; `Err` when there is none.
    async fn attempt(&self) -> Result<Duration, SourceFault> {
        let document = timeout(ATTEMPT_TIMEOUT, self.source.fetch())
            .await
            .map_err(|_| SourceFault::Slow)??;
        let Document { body, max_age } = document;
        self.take_up_fetched(body)?;
        // A set that must not serve for long is asked for as often: else no token could be judged between two attempts.
        let longest = FRESHNESS.1.min(self.max_stale).max(FRESHNESS.0);
        Ok(max_age.unwrap_or(DEFAULT_FRESHNESS).clamp(FRESHNESS.0, longest))
    }
}

/// Fetches now, and again shortly before the set is no longer fresh, after a failure, or when someone wants it.
/// Ends with the last owner of the set.
async fn keep_fresh(set: Weak<Inner>) {
    let mut back_off = BACK_OFF.0;
    while let Some(inner) = set.upgrade() {
        inner.attempts.send_modify(|attempts| attempts.in_flight = true);
        // A task of its own, so that a panic in it is one failed attempt and not the end of all.
        let attempt = tokio::spawn({
            let inner = Arc::clone(&inner);
            async move { inner.attempt().await }
        });
        let (pause, fault) = match attempt.await.unwrap_or(Err(SourceFault::Panic)) {
            Ok(freshness) => {
                back_off = BACK_OFF.0;
                (freshness * 4 / 5, None)
            }
            Err(fault) => {
                tracing::warn!(issuer = inner.issuer, %fault, "the issuer's keys could not be fetched");
                let pause = back_off;
                back_off = (back_off * 2).min(BACK_OFF.1);
                (pause, Some(Arc::from(fault.to_string())))
            }
        };
        let next_at = Instant::now() + pause;
        inner.attempts.send_modify(|attempts| {
            attempts.in_flight = false;
            attempts.finished += 1;
            attempts.next_at = Some(next_at);
            attempts.fault = fault;
        });
        let wanted = Arc::clone(&inner.wanted);
        drop(inner);
        tokio::select! {
            () = sleep_until(next_at) => {}
            () = wanted.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests;
