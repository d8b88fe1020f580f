//! The public keys of clients: those that one registered (`jwks`), and those that it publishes (`jwks_uri`).
//!
//! A published set is fetched when it is first needed, and kept. Requests that come meanwhile wait for the one fetch. A
//! signature that no known key made has the set fetched once more, at most once in [`COOL_DOWN`], so that a client can
//! rotate its keys and a stranger cannot make us knock. When the address is away, the last good set serves on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_cache::sync::Cache;
use serde_json::Value;
use shared::http_client::{ClientFault, GuardedClient, HttpClient};
use shared::jose::{KeySet, MAX_SET_BYTES};
use shared::signed_jwt::{SignedJwt, VerifiedJwt};
use tokio::sync::Mutex;
use url::Url;

use super::Client;

/// Published sets kept in memory; the least used make room.
const SETS: usize = 1000;
/// So long passes between two attempts that strangers can cause.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// How long a set is fresh when its owner does not say, and the bounds of what the owner may say.
const FRESHNESS: (Duration, Duration, Duration) = (
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
);
/// How long the last good set serves when its address is away.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The keys of one client.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// What signs.
    pub(crate) set: KeySet,
    /// The certificates of the keys that came with one (`x5c`, RFC 7517 §4.7), DER.
    pub(crate) certificates: Vec<Vec<u8>>,
}

impl Keys {
    /// Reads a JWK set. A key that is not admitted for signatures may still have a certificate.
    fn parse(document: &[u8]) -> Result<Self, String> {
        let set = KeySet::parse_unnamed(document).map_err(|fault| fault.to_string())?;
        let members = shared::json::object(document).map_err(|fault| fault.to_string())?;
        let keys = members.get("keys").and_then(Value::as_array);
        let certificates = keys.into_iter().flatten().filter_map(|key| {
            let first = key.get("x5c")?.get(0)?.as_str()?;
            STANDARD.decode(first).ok()
        });
        Ok(Self {
            set,
            certificates: certificates.collect(),
        })
    }

    /// Whether another set could say more about `jwt`: none of these keys has its name, or none made it.
    fn misses(&self, jwt: &SignedJwt<'_>) -> bool {
        match jwt.kid() {
            Some(kid) => self.set.find(kid).is_none(),
            None => !self
                .set
                .candidates(None, jwt.algorithm())
                .any(|key| jwt.is_signed_by(key)),
        }
    }
}

/// What published sets are fetched with.
type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Document, String>> + Send + 'a>>;

/// Something that sets come from. Tests have one of their own.
trait Source: Send + Sync {
    fn fetch<'a>(&'a self, url: &'a Url) -> Fetching<'a>;

    /// Spans are measured on the monotonic clock, so that a jump of the wall clock floods nobody.
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A set that was fetched and not yet read.
struct Document {
    body: Vec<u8>,
    fresh_for: Duration,
}

/// The network. Plain http is for this very machine, at an address that an operator named.
struct Network {
    guarded: GuardedClient,
    plain: HttpClient,
}

impl Source for Network {
    fn fetch<'a>(&'a self, url: &'a Url) -> Fetching<'a> {
        Box::pin(async move {
            let fetched = if url.scheme() == "http" {
                let fetched = self.plain.fetch_json(url, MAX_SET_BYTES).await;
                fetched.map_err(|fault| fault.to_string())?
            } else {
                let fetched = self.guarded.fetch_json(url, MAX_SET_BYTES).await;
                fetched.map_err(|fault| fault.reason().to_owned())?
            };
            // `application/jwk-set+json` (RFC 7517 §8.5.2) is one of them.
            if !fetched.is_json() {
                return Err(format!("{url} is not JSON, by its Content-Type"));
            }
            let (least, usual, most) = FRESHNESS;
            Ok(Document {
                fresh_for: fetched.fresh_for(usual, least..=most),
                body: fetched.body,
            })
        })
    }
}

/// The keys of every client, as far as they are in memory.
pub(crate) struct ClientKeys {
    source: Box<dyn Source>,
    published: Cache<String, Arc<Published>>,
}

/// One `jwks_uri`. Clients that name the same one share it.
struct Published {
    url: Url,
    /// Held while it is fetched: whoever needs it meanwhile waits for that.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// No attempt before, after one that failed or that a stranger caused.
    again_at: Option<Instant>,
}

struct Held {
    keys: Arc<Keys>,
    fetched_at: Instant,
    fresh_until: Instant,
}

impl ClientKeys {
    /// Keys that are fetched with `guarded`.
    pub(crate) fn new(guarded: GuardedClient) -> Result<Self, ClientFault> {
        let plain = HttpClient::new(None)?;
        Ok(Self::from_source(Box::new(Network { guarded, plain })))
    }

    fn from_source(source: Box<dyn Source>) -> Self {
        Self {
            source,
            published: Cache::new(SETS),
        }
    }

    /// The keys of `client`, as they were known last. The error is for the log.
    pub(crate) async fn of(&self, client: &Client) -> Result<Arc<Keys>, String> {
        if let Some(jwks) = &client.details.jwks {
            if let Some(keys) = client.keys.get() {
                return Ok(Arc::clone(keys));
            }
            let keys = Arc::new(Keys::parse(jwks.to_string().as_bytes())?);
            return Ok(Arc::clone(client.keys.get_or_init(|| keys)));
        }
        match self.published(client)? {
            Some(published) => published.current(&*self.source).await,
            None => Err("the client has registered no keys".to_owned()),
        }
    }

    /// The keys of `client` if they may be others than `seen` by now.
    pub(crate) async fn newer(&self, client: &Client, seen: &Arc<Keys>) -> Option<Arc<Keys>> {
        let published = self.published(client).ok().flatten()?;
        published.newer(&*self.source, seen).await
    }

    /// Verifies what the client signed.
    pub(crate) async fn verify(&self, client: &Client, jwt: SignedJwt<'_>) -> Result<VerifiedJwt, String> {
        let mut keys = self.of(client).await?;
        if keys.misses(&jwt)
            && let Some(newer) = self.newer(client, &keys).await
        {
            keys = newer;
        }
        jwt.verify_with(&keys.set).map_err(|fault| fault.to_string())
    }

    fn published(&self, client: &Client) -> Result<Option<Arc<Published>>, String> {
        let Some(uri) = client
            .details
            .jwks_uri
            .as_ref()
            .filter(|_| client.details.jwks.is_none())
        else {
            return Ok(None);
        };
        if !client.is_trusted() && !uri.starts_with("https:") {
            return Err("the client's jwks_uri is not https".to_owned());
        }
        let made = self.published.get_or_insert_with(uri, || {
            uri.parse().map(|url| {
                let state = Mutex::default();
                Arc::new(Published { url, state })
            })
        });
        made.map(Some)
            .map_err(|_: url::ParseError| "the client's jwks_uri is no URL".to_owned())
    }
}

impl Published {
    async fn current(&self, source: &dyn Source) -> Result<Arc<Keys>, String> {
        let mut state = self.state.lock().await;
        let now = source.now();
        if let Some(held) = state.held.as_ref().filter(|held| now < held.fresh_until) {
            return Ok(Arc::clone(&held.keys));
        }
        let fault = match state.may_ask(now) {
            true => self.fetch(source, &mut state).await.err(),
            false => None,
        };
        let usable = state.held.as_ref();
        let usable = usable.filter(|held| now.saturating_duration_since(held.fetched_at) <= MAX_STALE);
        usable.map(|held| Arc::clone(&held.keys)).ok_or_else(|| {
            fault.unwrap_or_else(|| "the client's keys could not be fetched a moment ago".to_owned())
        })
    }

    async fn newer(&self, source: &dyn Source, seen: &Arc<Keys>) -> Option<Arc<Keys>> {
        let mut state = self.state.lock().await;
        let changed = |state: &State| {
            let held = state.held.as_ref()?;
            (!Arc::ptr_eq(&held.keys, seen)).then(|| Arc::clone(&held.keys))
        };
        if let Some(newer) = changed(&state) {
            return Some(newer);
        }
        let now = source.now();
        if !state.may_ask(now) {
            return None;
        }
        // Whatever comes of it: a signature that nobody made is no reason to ask again soon.
        state.again_at = Some(now + COOL_DOWN);
        self.fetch(source, &mut state).await.ok()?;
        changed(&state)
    }

    async fn fetch(&self, source: &dyn Source, state: &mut State) -> Result<(), String> {
        let fetched = source.fetch(&self.url).await;
        let now = source.now();
        let read = fetched.and_then(|document| Ok((Keys::parse(&document.body)?, document.fresh_for)));
        match read {
            Ok((keys, fresh_for)) => {
                state.held = Some(Held {
                    keys: Arc::new(keys),
                    fetched_at: now,
                    fresh_until: now + fresh_for,
                });
                Ok(())
            }
            Err(reason) => {
                tracing::warn!(url = %self.url, reason, "a client's keys could not be fetched");
                state.again_at = Some(now + COOL_DOWN);
                Err("the client's keys cannot be fetched".to_owned())
            }
        }
    }
}

impl State {
    fn may_ask(&self, now: Instant) -> bool {
        self.again_at.is_none_or(|again_at| now >= again_at)
    }
}

#[cfg(test)]
mod tests;
