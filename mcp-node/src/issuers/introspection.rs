//! Asking an issuer about a token (RFC 7662). Equal tokens that come at once are asked about once; a refusal is
//! remembered for a moment; and when the issuer does not answer, nobody is refused and nobody waits: they are told when
//! to come back.

mod endpoint;
mod flights;
mod outage;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use ring::digest::{SHA256, digest};
use shared::access_token::{Confirmation, Expectation, Introspected, VerifiedClaims};
use shared::clock::{self, UnixSeconds};
use shared::http_client::HttpClient;
use shared::jose::sha256_base64url;
use shared::scope::Scope;
use shared::secret::Secret;
use shared::uri::Issuer;

use self::endpoint::Endpoint;
use self::flights::Flights;
use self::outage::Outage;
use crate::config::IntrospectionConfig;

/// How long a refusal counts. A token that was refused does not become good, but one that was issued a moment ago may not
/// be known yet on every machine of the issuer.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// So many refusals are remembered.
const REMEMBERED_REFUSALS: usize = 4096;
/// When to come back when too many tokens are being asked about, or one of them got no answer.
const SOON: Duration = Duration::from_secs(1);

/// Nobody's token.
const PROBE: &str = "edge-hive-probe";

/// The SHA-256 of a token.
type TokenHash = [u8; 32];

/// What the issuer said of a token.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// It is active, and this is what it is.
    Active(Arc<Introspected>),
    /// It is not active.
    Inactive,
    /// Nothing that could be understood.
    Nothing {
        /// When to try again, at least one second.
        retry_after: Duration,
        /// What happened instead, for the operator.
        fault: Arc<str>,
    },
}

/// One issuer that is asked.
pub(crate) struct Introspection {
    issuer: Issuer,
    config: Arc<IntrospectionConfig>,
    endpoint: Endpoint,
    /// Until when a token counts as refused.
    refused: Cache<TokenHash, Instant>,
    flights: Flights,
    outage: Outage,
}

/// An answer about a token, and until when it counts.
pub(crate) struct Standing {
    token: Secret,
    given_at: Instant,
    /// Milliseconds from then on.
    counts_for: AtomicU64,
    /// Whether it is being asked for again.
    is_renewed: AtomicBool,
    ended: AtomicBool,
    was: Was,
}

/// What was said of a token at first. Whoever stays goes on with it, so a later answer must still say as much.
struct Was {
    subject: String,
    client: String,
    scope: Scope,
    bound: Option<Confirmation>,
}

impl Introspection {
    pub(crate) fn new(client: HttpClient, issuer: Issuer, config: Arc<IntrospectionConfig>) -> Self {
        Self {
            endpoint: Endpoint::new(client, issuer.clone(), Arc::clone(&config)),
            issuer,
            config,
            refused: Cache::new(REMEMBERED_REFUSALS),
            flights: Flights::default(),
            outage: Outage::default(),
        }
    }

    /// Whether tokens that do not say whose they are go here.
    pub(crate) fn takes_opaque_tokens(&self) -> bool {
        self.config.opaque_tokens
    }

    /// How long a good answer counts.
    pub(crate) fn ttl(&self) -> Duration {
        self.config.ttl
    }

    /// Asks about `token`; all who ask meanwhile about the same share the answer.
    pub(crate) async fn ask(&self, token: &str, now: UnixSeconds) -> Said {
        let hash = hash_of(token);
        if let Some(until) = self.refused.get(&hash) {
            if Instant::now() < until {
                return Said::Inactive;
            }
            self.refused.remove(&hash);
        }
        let Some(flight) = self.flights.board(hash) else {
            return nothing(SOON, "too many tokens are being asked about");
        };
        flight
            .answer(async || {
                let said = self.ask_now(token, now).await;
                match said {
                    Said::Active(_) => self.flights.know(hash),
                    Said::Inactive => {
                        self.flights.forget(&hash);
                        self.refused.insert(hash, Instant::now() + REFUSED_FOR);
                    }
                    Said::Nothing { .. } => {}
                }
                said
            })
            .await
    }

    async fn ask_now(&self, token: &str, now: UnixSeconds) -> Said {
        if let Some((retry_after, fault)) = self.outage.lasts() {
            return Said::Nothing { retry_after, fault };
        }
        match self.endpoint.ask(token, now).await {
            Ok(answer) => {
                self.outage.is_over();
                answer.map_or(Said::Inactive, |answer| Said::Active(Arc::new(answer)))
            }
            Err(fault) => {
                tracing::warn!(issuer = self.issuer.as_str(), %fault, "the issuer could not be asked about a token");
                let pause = if fault.is_about_this_token() {
                    SOON
                } else {
                    self.outage.goes_on(fault.to_string().into())
                };
                nothing(pause, &fault.to_string())
            }
        }
    }

    /// What the answer about a token is worth: at most its time to live, and not beyond the token's own.
    pub(crate) fn standing(&self, token: &str, claims: &VerifiedClaims, now: UnixSeconds) -> Standing {
        let left = claims.expires_at().since(now);
        Standing {
            token: token.to_owned().into(),
            given_at: Instant::now(),
            counts_for: AtomicU64::new(milliseconds(self.config.ttl.min(left))),
            is_renewed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            was: Was::of(claims),
        }
    }

    /// Whether who came in may stay. An answer that no longer counts is asked for again, on a task of its own; the new one
    /// is checked like the first.
    pub(crate) fn may_stay(
        self: &Arc<Self>,
        standing: &Arc<Standing>,
        expectation: &Expectation,
        now: UnixSeconds,
    ) -> bool {
        if standing.ended.load(Ordering::Acquire) {
            return false;
        }
        if !standing.counts(Instant::now()) && !standing.is_renewed.swap(true, Ordering::AcqRel) {
            let (asked, standing) = (Arc::clone(self), Arc::clone(standing));
            let expectation = expectation.clone();
            tokio::spawn(async move {
                let token = standing.token.reveal();
                let ttl = asked.config.ttl;
                let good_for = match asked.ask(token, now).await {
                    Said::Active(answer) => {
                        let verified = answer.verify(&expectation, now, ttl, || name_of(token)).ok();
                        let same = verified.filter(|claims| standing.was.is_still(claims));
                        same.map(|claims| ttl.min(claims.expires_at().since(now)))
                    }
                    // Without an answer nobody knows; whoever comes anew is told when to come back.
                    Said::Inactive | Said::Nothing { .. } => None,
                };
                match good_for {
                    Some(time) => standing.renew(Instant::now(), time),
                    None => standing.ended.store(true, Ordering::Release),
                }
                standing.is_renewed.store(false, Ordering::Release);
            });
        }
        true
    }

    /// Whether it can be asked: its endpoint is known, and it answered the last time. After an outage it is asked about no
    /// token at all, else a node that gets no requests while it is not ready would never be ready again.
    pub(crate) async fn is_ready(&self) -> bool {
        if self.fault().is_some() {
            let said = self.ask_now(PROBE, clock::now()).await;
            return !matches!(said, Said::Nothing { .. });
        }
        match self.endpoint.address().await {
            Ok(_) => true,
            Err(fault) => {
                self.outage.goes_on(fault.to_string().into());
                false
            }
        }
    }

    /// Why it could not be asked the last time, if it could not.
    pub(crate) fn fault(&self) -> Option<String> {
        self.outage.fault().map(|fault| fault.to_string())
    }
}

impl Standing {
    /// Whether the answer still counts.
    pub(crate) fn counts(&self, now: Instant) -> bool {
        milliseconds(now.duration_since(self.given_at)) < self.counts_for.load(Ordering::Acquire)
    }

    fn renew(&self, now: Instant, ttl: Duration) {
        let until = milliseconds(now.duration_since(self.given_at) + ttl);
        self.counts_for.store(until, Ordering::Release);
    }
}

impl Was {
    fn of(claims: &VerifiedClaims) -> Self {
        Self {
            subject: claims.subject().to_owned(),
            client: claims.client_id().to_owned(),
            scope: claims.scope().clone(),
            bound: claims.confirmation().cloned(),
        }
    }

    /// The same caller, bound to the same key, who may do no less.
    fn is_still(&self, claims: &VerifiedClaims) -> bool {
        self.subject == claims.subject()
            && self.client == claims.client_id()
            && self.scope.is_subset(claims.scope())
            && self.bound.as_ref() == claims.confirmation()
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Introspection({})", self.issuer.as_str())
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing(…)")
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The name of a token that has none.
pub(super) fn name_of(token: &str) -> String {
    sha256_base64url(token.as_bytes())
}

fn hash_of(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

fn nothing(retry_after: Duration, fault: &str) -> Said {
    Said::Nothing {
        retry_after: retry_after.max(SOON),
        fault: Arc::from(fault),
    }
}

#[cfg(test)]
mod tests;
