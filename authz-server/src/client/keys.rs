//! The public keys of clients: those that one registered (`jwks`), and those that it publishes (`jwks_uri`).
//!
//! A published set is fetched when it is first needed, and kept. Requests that come meanwhile wait for the one fetch. A
//! signature that no known key made has the set fetched once more, at most once in [`published::COOL_DOWN`], so that a client can
//! rotate its keys and a stranger cannot make us knock. When the address is away, the last good set serves on; when
//! there is none, nobody can tell whether the client is who it says, and it is told to come back.
//!
//! Strangers choose many of these addresses, so fetches are counted before they are made ([`Budget`]).

mod budget;
mod published;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::web::address::ClientAddress;
use ::web::rates::{Exceeded, KeyedLimit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_cache::sync::Cache;
use serde_json::Value;
use shared::http_client::{ClientFault, GuardFault, GuardedClient, HttpClient};
use shared::jose::{KeySet, MAX_SET_BYTES};
use shared::signed_jwt::{SignedJwt, VerifiedJwt};
use url::Url;

use self::budget::{Asker, Budget};
use self::published::Published;
use super::Client;
use crate::config::Clients;
use crate::error::Failure;

/// Published sets kept in memory; the least used make room.
const SETS: usize = 1000;
/// How long a set is fresh when its owner does not say, and the bounds of what the owner may say.
const FRESHNESS: (Duration, Duration, Duration) = (
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
);
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

/// Why there are no keys to check something with.
#[derive(Debug)]
pub(crate) enum KeysFault {
    /// The client has none, or the signature is that of none: it has proven nothing. The reason is for the log.
    Unproven(String),
    /// Whoever asks has caused as many fetches as one address may.
    Limited(Exceeded),
    /// Nobody can tell just now; asking again after the wait may do. The reason is for the log.
    Away { reason: String, wait: Duration },
}

impl KeysFault {
    /// What `client` has not proven; or we cannot tell, which is not to be held against it.
    pub(crate) fn unproven(self, client: &Client) -> Result<String, Failure> {
        match self {
            Self::Unproven(reason) => Ok(reason),
            Self::Limited(exceeded) => Err(exceeded.into()),
            // One sentence whatever the reason: whoever named the address learns nothing about our network.
            Self::Away { reason, wait } => Err(Failure::Away {
                sentence: "the keys of the client cannot be had; try again",
                reason: format!("client {}: {reason}", client.client_id),
                wait,
            }),
        }
    }
}

/// What published sets are fetched with.
type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Document, FetchFault>> + Send + 'a>>;

/// Something that sets come from. Tests have one of their own.
trait Source: Send + Sync {
    fn fetch<'a>(&'a self, url: &'a Url) -> Fetching<'a>;

    /// Spans are measured on the monotonic clock, so that a jump of the wall clock floods nobody.
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// Why a set could not be fetched.
enum FetchFault {
    /// Nothing was tried: too much is under way here.
    Busy(String),
    Failed(String),
}

impl From<GuardFault> for FetchFault {
    fn from(fault: GuardFault) -> Self {
        let reason = fault.reason().to_owned();
        if fault.is_busy() {
            Self::Busy(reason)
        } else {
            Self::Failed(reason)
        }
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
                fetched.map_err(|fault| FetchFault::Failed(fault.to_string()))?
            } else {
                self.guarded.fetch_json(url, MAX_SET_BYTES).await?
            };
            // `application/jwk-set+json` (RFC 7517 §8.5.2) is one of them.
            if !fetched.is_json() {
                let reason = format!("{url} is not JSON, by its Content-Type");
                return Err(FetchFault::Failed(reason));
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
    budget: Budget,
}

impl ClientKeys {
    /// Keys that are fetched with `guarded`, as often as `settings` allow.
    pub(crate) fn new(guarded: GuardedClient, settings: &Clients) -> Result<Self, ClientFault> {
        let plain = HttpClient::new(None)?;
        let budget = Budget::new(settings.fetches_per_address, settings.fetches_per_host);
        Ok(Self::from_source(Box::new(Network { guarded, plain }), budget))
    }

    fn from_source(source: Box<dyn Source>, budget: Budget) -> Self {
        Self {
            source,
            published: Cache::new(SETS),
            budget,
        }
    }

    /// Limits whose idle entries are to be dropped now and then.
    pub(crate) fn limits(&self) -> [KeyedLimit; 2] {
        self.budget.limits()
    }

    /// The keys of `client`, as they were known last. `from` is who asks.
    pub(crate) async fn of(&self, client: &Client, from: ClientAddress) -> Result<Arc<Keys>, KeysFault> {
        if let Some(jwks) = &client.details.jwks {
            if let Some(keys) = client.keys.get() {
                return Ok(Arc::clone(keys));
            }
            let keys = Keys::parse(jwks.to_string().as_bytes()).map_err(KeysFault::Unproven)?;
            return Ok(Arc::clone(client.keys.get_or_init(|| Arc::new(keys))));
        }
        match self.published(client)? {
            Some(published) => published.current(&*self.source, self.asker(client, from)).await,
            None => Err(KeysFault::Unproven(
                "the client has registered no keys".to_owned(),
            )),
        }
    }

    /// The keys of `client` if they may be others than `seen` by now. `from` is who asks.
    pub(crate) async fn newer(
        &self,
        client: &Client,
        seen: &Arc<Keys>,
        from: ClientAddress,
    ) -> Result<Option<Arc<Keys>>, KeysFault> {
        match self.published(client)? {
            Some(published) => {
                published
                    .newer(&*self.source, seen, self.asker(client, from))
                    .await
            }
            None => Ok(None),
        }
    }

    /// Verifies what the client signed and `from` shows.
    pub(crate) async fn verify(
        &self,
        client: &Client,
        jwt: SignedJwt<'_>,
        from: ClientAddress,
    ) -> Result<VerifiedJwt, KeysFault> {
        let mut keys = self.of(client, from).await?;
        if keys.misses(&jwt)
            && let Some(newer) = self.newer(client, &keys, from).await?
        {
            keys = newer;
        }
        jwt.verify_with(&keys.set)
            .map_err(|fault| KeysFault::Unproven(fault.to_string()))
    }

    fn asker<'a>(&'a self, client: &Client, from: ClientAddress) -> Asker<'a> {
        self.budget.asker(from, client)
    }

    fn published(&self, client: &Client) -> Result<Option<Arc<Published>>, KeysFault> {
        let Some(uri) = client
            .details
            .jwks_uri
            .as_ref()
            .filter(|_| client.details.jwks.is_none())
        else {
            return Ok(None);
        };
        if !client.is_trusted() && !uri.starts_with("https:") {
            let reason = "the client's jwks_uri is not https";
            return Err(KeysFault::Unproven(reason.to_owned()));
        }
        let made = self
            .published
            .get_or_insert_with(uri, || uri.parse().map(|url| Arc::new(Published::new(url))));
        made.map(Some)
            .map_err(|_: url::ParseError| KeysFault::Unproven("the client's jwks_uri is no URL".to_owned()))
    }
}

#[cfg(test)]
mod tests;
