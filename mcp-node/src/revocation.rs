//! Whether a token was revoked, without asking anybody while a caller waits: the issuer's status lists are held here,
//! kept fresh by a task of their own (docs/decisions/0013, docs/revocation.md).
//!
//! A list is learned of from the first token that names it; that list says where the issuer names all others, and from
//! then on the node knows them ahead of need.

mod disk;
mod follow;
mod held;
mod neighbours;
mod nodes;
mod others;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use shared::access_token::{Check, TokenFault};
use shared::clock::{self, UnixSeconds};
use shared::http_client::{FetchFault, HttpClient, Question};
use shared::jwks::{KeyLookup, RemoteKeySet};
use shared::lasting_clock::{LastingClock, Moment};
use shared::status_list::{ListFault, MAX_TOKEN_BYTES, MEDIA_TYPE, StatusReference, UnverifiedList};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use url::Url;

pub(crate) use self::held::Mark;
use self::held::{HeldList, Replaced, Whence};
pub(crate) use self::neighbours::{Brought, Had, Looked, Stamp, Wanted};
use self::others::Others;
use crate::config::{OfflinePolicy, OnStale};
use crate::issuers::{LEEWAY, NotVerified};

/// Lists of one issuer that are held at most: with 64 KiB for each, 32 MB. Ours has two or three for a node.
const MAX_LISTS: usize = 512;
/// After a list could not be had, so long passes before it is asked for again because of a token.
const COOL_DOWN: Duration = Duration::from_secs(1);
/// Questions to the issuer that go on at once for neighbours.
const FOR_NEIGHBOURS: usize = 4;

/// What is known of the revocations of one issuer.
#[derive(Clone)]
pub(crate) struct Revocation(Arc<Inner>);

struct Inner {
    issuer: String,
    /// Nothing else is fetched, whatever a token says.
    prefix: String,
    client: HttpClient,
    keys: RemoteKeySet,
    policy: OfflinePolicy,
    clock: Arc<LastingClock>,
    /// By address.
    lists: Mutex<HashMap<String, Arc<HeldList>>>,
    /// Held while a list is fetched that a token waits for, with the latest failure.
    fetching: tokio::sync::Mutex<Option<Instant>>,
    /// Where the issuer names its lists.
    directory: Mutex<Option<Url>>,
    /// Those that it named the last time.
    named: Mutex<Vec<String>>,
    is_followed: AtomicBool,
    /// Where the task that follows was begun, if on a runtime: a web worker is no place for it.
    runtime: Option<Handle>,
    /// Counts what changed, for those who wait: streams, above all.
    changes: watch::Sender<u64>,
    /// Why the issuer could not be asked the last time, if it could not.
    fault: Mutex<Option<String>>,
    file: Option<PathBuf>,
    /// Something is to be written to the file.
    unwritten: Notify,
    /// Who is asked when the issuer cannot be, where there are peers.
    neighbours: OnceLock<mpsc::Sender<Wanted>>,
    for_neighbours: Semaphore,
    /// A key that a neighbour's list names is being asked for.
    is_asking_for_key: AtomicBool,
    /// Kept for neighbours.
    others: Mutex<Others>,
    /// Those that are followed for neighbours are being asked for.
    is_looking_again: AtomicBool,
    /// Lists of records that are being looked for.
    wanted: Mutex<HashSet<String>>,
}

/// What an operator wants to know.
#[derive(Clone, Debug)]
pub(crate) struct RevocationStatus {
    /// How many lists are held.
    pub(crate) lists: usize,
    /// How long ago the issuer confirmed the one that was confirmed longest ago; `None` without lists.
    pub(crate) age: Option<Duration>,
    /// How long tokens would still be judged without the issuer; `None` without lists, or when they are taken anyway.
    pub(crate) left: Option<Duration>,
    /// Why the issuer could not be asked the last time, if it could not.
    pub(crate) fault: Option<String>,
}

/// Why a list could not be had. Names no address that a stranger chose.
#[derive(Debug, thiserror::Error)]
enum NotHad {
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    #[error("the list is refused: {0}")]
    Refused(#[from] ListFault),
    #[error("the list's signature names no key of the issuer")]
    Key,
    #[error("the issuer's keys cannot be had")]
    NoKeys,
    #[error("the answer is no list")]
    Form,
    #[error("too many lists are held")]
    Full,
    #[error("it failed a moment ago")]
    CoolDown,
}

/// How one issuer is asked.
pub(crate) struct Ways {
    pub(crate) issuer: String,
    pub(crate) client: HttpClient,
    pub(crate) keys: RemoteKeySet,
    pub(crate) policy: OfflinePolicy,
    pub(crate) clock: Arc<LastingClock>,
    /// Where the lists are kept; `None` keeps them in memory only.
    pub(crate) file: Option<PathBuf>,
}

impl Revocation {
    /// Takes up what was kept on disk. Asks nobody before the first token that names a list, or a kept list.
    pub(crate) fn new(ways: Ways) -> Self {
        let revocation = Self(Arc::new(Inner {
            prefix: format!("{}/", ways.issuer.trim_end_matches('/')),
            issuer: ways.issuer,
            client: ways.client,
            keys: ways.keys,
            policy: ways.policy,
            clock: ways.clock,
            lists: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            directory: Mutex::default(),
            named: Mutex::default(),
            is_followed: AtomicBool::new(false),
            runtime: Handle::try_current().ok(),
            changes: watch::Sender::new(0),
            fault: Mutex::default(),
            file: ways.file,
            unwritten: Notify::new(),
            neighbours: OnceLock::new(),
            for_neighbours: Semaphore::new(FOR_NEIGHBOURS),
            is_asking_for_key: AtomicBool::new(false),
            others: Mutex::default(),
            is_looking_again: AtomicBool::new(false),
            wanted: Mutex::default(),
        }));
        disk::read(&revocation.0);
        if revocation.0.runtime.is_some() && !lock(&revocation.0.lists).is_empty() {
            revocation.follow();
        }
        revocation
    }

    /// The place that a token names, if it stands there. Fetches the list when it is not held.
    pub(crate) async fn mark(
        &self,
        reference: &StatusReference,
        now: UnixSeconds,
    ) -> Result<Option<Mark>, NotVerified> {
        let Some(mark) = self.find(reference).await? else {
            return Ok(None);
        };
        if mark.is_revoked() {
            return Err(TokenFault::new(Check::Status, "it was revoked").into());
        }
        if self.0.is_stale(&mark, now) {
            return Err(self.0.unavailable());
        }
        Ok(Some(mark))
    }

    /// Changes when something of the issuer's was revoked, and when a list is held that was not.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// How much is known, and for how long it will do.
    pub(crate) fn status(&self) -> RevocationStatus {
        let inner = &self.0;
        let now = inner.clock.now();
        let lists = lock(&inner.lists);
        let age = lists.values().map(|list| now.since(list.confirmed_at())).max();
        let left = age.map(|age| inner.policy.revocation.saturating_sub(age));
        RevocationStatus {
            lists: lists.len(),
            age,
            left: left.filter(|_| inner.policy.on_stale == OnStale::Refuse),
            fault: lock(&inner.fault).clone(),
        }
    }

    /// The mark of `reference`; `None` when nobody can say and the operator takes such tokens.
    async fn find(&self, reference: &StatusReference) -> Result<Option<Mark>, NotVerified> {
        let inner = &self.0;
        let fault = |reason: &'static str| NotVerified::from(TokenFault::new(Check::Status, reason));
        // STAT-04: a token does not choose whom the node asks.
        if !reference.uri.starts_with(&inner.prefix) {
            return Err(fault("its status list is not below its issuer"));
        }
        let held = match inner.held(&reference.uri) {
            Some(held) => Ok(held),
            None => {
                let url = reference.uri.parse::<Url>();
                let url = url.map_err(|_| fault("its status list has no address"))?;
                self.fetch_for_token(&reference.uri, &url).await
            }
        };
        match held {
            // A place beyond the end of the list says nothing good of the token (§8.3).
            Ok(held) => held
                .mark(reference.index, inner)
                .map(Some)
                .ok_or_else(|| fault("its place is not in the status list")),
            Err(reason) if inner.policy.on_stale == OnStale::Accept => {
                tracing::warn!(issuer = inner.issuer, %reason, "a token is taken though nobody can say whether it was revoked");
                Ok(None)
            }
            Err(reason) => {
                tracing::debug!(issuer = inner.issuer, %reason, "a status list cannot be had");
                Err(inner.unavailable())
            }
        }
    }

    /// Many tokens of a new list wait for one fetch.
    async fn fetch_for_token(&self, uri: &str, url: &Url) -> Result<Arc<HeldList>, NotHad> {
        let inner = &self.0;
        let mut failed_at = inner.fetching.lock().await;
        if let Some(held) = inner.held(uri) {
            return Ok(held);
        }
        if failed_at.is_some_and(|at| at.elapsed() < COOL_DOWN) {
            return Err(NotHad::CoolDown);
        }
        // One that was away a moment ago is not waited for while the neighbours have the list.
        let of_neighbours = match self.is_alone() {
            true => inner.ask_neighbours(uri).await,
            false => None,
        };
        let fetched = match of_neighbours {
            Some(held) => Ok(held),
            None => inner.fetch(uri, url, "").await,
        };
        let fetched = match fetched {
            Err(NotHad::Fetch(fault)) => inner.ask_neighbours(uri).await.ok_or(NotHad::Fetch(fault)),
            other => other,
        };
        match fetched {
            Ok(held) => {
                *failed_at = None;
                self.follow();
                inner.unwritten.notify_one();
                Ok(held)
            }
            Err(reason) => {
                *failed_at = Some(Instant::now());
                lock(&inner.fault).replace(reason.to_string());
                Err(reason)
            }
        }
    }

    /// Starts the task that keeps the lists fresh, if it does not run yet.
    fn follow(&self) {
        if self.0.is_followed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.spawn(follow::follow(Arc::downgrade(&self.0)));
        self.spawn(disk::write_when_needed(Arc::downgrade(&self.0)));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.0.runtime {
            Some(runtime) => drop(runtime.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }
}

impl std::fmt::Debug for Revocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Revocation({})", self.0.issuer)
    }
}

impl Inner {
    fn held(&self, uri: &str) -> Option<Arc<HeldList>> {
        lock(&self.lists).get(uri).cloned()
    }

    /// Whether nobody can say any more that the token was not revoked.
    fn is_stale(&self, mark: &Mark, now: UnixSeconds) -> bool {
        if self.policy.on_stale == OnStale::Accept {
            return false;
        }
        mark.has_ended(now, LEEWAY) || self.clock.now().since(mark.confirmed_at()) > self.policy.revocation
    }

    fn unavailable(&self) -> NotVerified {
        NotVerified::Unavailable {
            retry_after: follow::BACK_OFF.1,
        }
    }

    /// Fetches a list and takes it up. `version` is what the directory says of it.
    async fn fetch(&self, uri: &str, url: &Url, version: &str) -> Result<Arc<HeldList>, NotHad> {
        let before = self.clock.now();
        let known = self.held(uri);
        let etag = known.as_ref().and_then(|list| list.etag());
        let question = Question {
            accept: MEDIA_TYPE,
            etag: etag.as_deref(),
            wait: Duration::ZERO,
            max_bytes: MAX_TOKEN_BYTES,
        };
        let Some(news) = self.client.fetch_news(url, question).await? else {
            let list = known.ok_or(NotHad::Form)?;
            list.describe(etag, version);
            list.confirm(before);
            return Ok(list);
        };
        if news.media_type.as_deref() != Some(MEDIA_TYPE) {
            return Err(NotHad::Form);
        }
        let token = String::from_utf8(news.body).map_err(|_| NotHad::Form)?;
        let list = self.take_up(uri, &token, Some(before)).await?;
        list.describe(news.etag, version);
        list.confirm(before);
        Ok(list)
    }

    /// Verifies a list and holds it, unless a newer one is held. The issuer gave it after `asked_at`; else it is a
    /// neighbour's, and was current when it was signed.
    async fn take_up(
        &self,
        uri: &str,
        token: &str,
        asked_at: Option<Moment>,
    ) -> Result<Arc<HeldList>, NotHad> {
        let unverified = UnverifiedList::parse(token)?;
        let key = match self.keys.key(unverified.kid().ok_or(NotHad::Key)?).await {
            KeyLookup::Key(key) => key,
            KeyLookup::UnknownKid => return Err(NotHad::Key),
            KeyLookup::Unavailable { .. } => return Err(NotHad::NoKeys),
        };
        let verified = unverified.verify(&key, (&self.issuer, uri), clock::now())?;
        if let Some(directory) = verified.aggregation_uri.as_deref() {
            self.learn_directory(directory);
        }
        let mut lists = lock(&self.lists);
        if let Some(held) = lists.get(uri).cloned() {
            drop(lists);
            let whence = asked_at.map_or(Whence::Neighbour, |_| Whence::Issuer);
            if held.replace(verified, token, whence)? == Replaced::Changed {
                self.changes.send_modify(|count| *count += 1);
            }
            return Ok(held);
        }
        if lists.len() >= MAX_LISTS {
            tracing::error!(
                issuer = self.issuer,
                "the issuer has more status lists than are held"
            );
            return Err(NotHad::Full);
        }
        let confirmed_at = asked_at.unwrap_or_else(|| self.signed_at(verified.issued_at));
        let held = Arc::new(HeldList::new(verified, token, confirmed_at));
        lists.insert(uri.to_owned(), Arc::clone(&held));
        drop(lists);
        // So that the next change of it is one, for those who tell others.
        self.changes.send_modify(|count| *count += 1);
        Ok(held)
    }

    fn learn_directory(&self, address: &str) {
        let below = address.starts_with(&self.prefix);
        if let Some(url) = address.parse::<Url>().ok().filter(|_| below) {
            lock(&self.directory).get_or_insert(url);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
