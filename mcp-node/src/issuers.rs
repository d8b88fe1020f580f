//! The authorization servers that this node trusts, each with its own keys (RFC 8725 §3.8).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shared::access_token::{Check, Expectation, TokenFault, UnverifiedToken, VerifiedClaims};
use shared::clock::{self, UnixSeconds};
use shared::http_client::{ClientFault, HttpClient};
use shared::jose::VerifyingKey;
use shared::jwks::{KeptAt, KeyLookup, KeySetSettings, RemoteKeySet};
use shared::lasting_clock::LastingClock;
use tokio::sync::watch;

use crate::config::{IssuerConfig, IssuerKind, NodeConfig};
use crate::error::Refusal;
use crate::offline::Store;
use crate::revocation::{Mark, Revocation, Ways};

/// How far the clocks of an issuer and this node may differ.
pub(crate) const LEEWAY: Duration = Duration::from_secs(60);

/// One trusted authorization server.
#[derive(Debug)]
pub(crate) struct TrustedIssuer {
    /// What its tokens must satisfy.
    pub(crate) expectation: Expectation,
    /// Its keys.
    pub(crate) keys: RemoteKeySet,
    /// What it says of tokens that it took back.
    pub(crate) revocation: Revocation,
    /// Whether its tokens must be bound to a key (RFC 9728 §2, `dpop_bound_access_tokens_required`).
    dpop_required: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Issuers {
    list: Vec<TrustedIssuer>,
    store: Store,
}

/// A token that passed every check, and by which issuer's key.
pub(crate) struct Verified {
    pub(crate) claims: VerifiedClaims,
    /// The place of the issuer in [`Issuers`].
    pub(crate) issuer: usize,
    pub(crate) key: VerifyingKey,
    /// Where its issuer says whether it was revoked; `None` when it names no place.
    pub(crate) mark: Option<Mark>,
}

/// Why a token was not accepted.
#[derive(Debug)]
pub(crate) enum NotVerified {
    /// A check failed.
    Refused(TokenFault),
    /// The issuer's keys cannot be had, so the token can be neither accepted nor refused.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

impl From<TokenFault> for NotVerified {
    fn from(fault: TokenFault) -> Self {
        Self::Refused(fault)
    }
}

impl Issuers {
    /// Prepares them, with what was kept of their keys and lists; fetches nothing yet.
    pub(crate) fn new(config: &NodeConfig) -> Result<Self, ClientFault> {
        let store = Store::open(&config.data_dir, clock::now());
        let mut clients: Vec<(Option<PathBuf>, HttpClient)> = Vec::new();
        let mut issuers = Vec::new();
        for issuer in &config.issuers {
            let known = clients.iter().find(|(ca_file, _)| *ca_file == issuer.ca_file);
            let client = match known {
                Some((_, client)) => client.clone(),
                None => {
                    let client = HttpClient::new(issuer.ca_file.as_deref())?;
                    clients.push((issuer.ca_file.clone(), client.clone()));
                    client
                }
            };
            let settings = KeySetSettings {
                issuer: issuer.issuer.clone(),
                jwks_uri: issuer.jwks_uri.clone(),
                algorithms: issuer.algorithms.clone(),
                max_stale: issuer.max_stale,
                kept: store.file(issuer.issuer.as_str(), "keys").map(|file| KeptAt {
                    file,
                    clock: Arc::clone(&store.clock),
                }),
            };
            let keys = RemoteKeySet::new(client.clone(), settings);
            let revocation = Revocation::new(Ways {
                issuer: issuer.issuer.as_str().to_owned(),
                client,
                keys: keys.clone(),
                policy: config.offline,
                clock: Arc::clone(&store.clock),
                file: store.file(issuer.issuer.as_str(), "lists"),
            });
            issuers.push(TrustedIssuer {
                expectation: expectation(issuer),
                keys,
                revocation,
                dpop_required: issuer.dpop_required,
            });
        }
        Ok(Self { list: issuers, store })
    }

    /// Makes every check of [`Check::ALL`]; asks the issuer for its keys if they are not there yet.
    pub(crate) async fn verify(&self, token: &str, now: UnixSeconds) -> Result<Verified, NotVerified> {
        let unverified = UnverifiedToken::parse(token)?;
        let named = unverified.issuer()?;
        let index = self
            .list
            .iter()
            .position(|issuer| issuer.expectation.issuer == named);
        let Some(index) = index else {
            return Err(TokenFault::new(Check::Issuer, "iss is not an issuer that this node trusts").into());
        };
        let issuer = &self.list[index];
        unverified.algorithm(&issuer.expectation)?;
        let key = match issuer.keys.key(unverified.kid()).await {
            KeyLookup::Key(key) => key,
            KeyLookup::UnknownKid => {
                return Err(TokenFault::new(Check::Key, "kid names no key of the issuer").into());
            }
            KeyLookup::Unavailable { retry_after } => return Err(NotVerified::Unavailable { retry_after }),
        };
        let claims = unverified.verify(&key, &issuer.expectation, now)?;
        // Last, and only for a token that is good in every other respect (STAT-11).
        let mark = match claims.status() {
            Some(reference) => issuer.revocation.mark(reference, now).await?,
            None => None,
        };
        Ok(Verified {
            claims,
            issuer: index,
            key,
            mark,
        })
    }

    /// Whether a token is bound to a key, where its issuer's must be.
    pub(crate) fn check_bound(&self, issuer: usize, claims: &VerifiedClaims) -> Result<(), Refusal> {
        let required = self.list.get(issuer).is_none_or(|issuer| issuer.dpop_required);
        check_bound(required, claims).map_err(Refusal::Token)
    }

    /// Whether the key by which a token was accepted is still its issuer's.
    pub(crate) fn still_has(&self, issuer: usize, key: &VerifyingKey) -> bool {
        self.list.get(issuer).is_some_and(|issuer| issuer.keys.holds(key))
    }

    /// Whether the issuer has not taken a token back, as far as is known now. Never waits.
    pub(crate) fn stands(&self, issuer: usize, mark: &Mark, now: UnixSeconds) -> bool {
        self.list
            .get(issuer)
            .is_some_and(|issuer| issuer.revocation.stands(mark, now))
    }

    /// Changes whenever the issuer has taken tokens back.
    pub(crate) fn revocations(&self, issuer: usize) -> Option<watch::Receiver<u64>> {
        self.list.get(issuer).map(|issuer| issuer.revocation.changes())
    }

    /// The clock by which everything ages that is known of them.
    pub(crate) fn clock(&self) -> &Arc<LastingClock> {
        &self.store.clock
    }

    /// Each issuer, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &TrustedIssuer> {
        self.list.iter()
    }
}

/// Whether a token is bound to a key, where that is `required`.
pub(crate) fn check_bound(required: bool, claims: &VerifiedClaims) -> Result<(), TokenFault> {
    let bound = claims.confirmation().is_some_and(|bound| bound.jkt.is_some());
    if bound || !required {
        return Ok(());
    }
    let reason = "the token is bound to no key, and this issuer's must be";
    Err(TokenFault::new(Check::Binding, reason))
}

/// What the tokens of a configured issuer must satisfy.
pub(crate) fn expectation(issuer: &IssuerConfig) -> Expectation {
    let scope_claims = issuer
        .scope_claim
        .iter()
        .cloned()
        .chain(["scopes".to_owned(), "scp".to_owned()])
        .collect();
    Expectation {
        issuer: issuer.issuer.as_str().to_owned(),
        audience: issuer.audience.clone(),
        algorithms: issuer.algorithms.clone(),
        leeway: LEEWAY,
        single_audience: issuer.kind == IssuerKind::EdgeHive,
        scope_claims,
        kept_claims: issuer.kept_claims.clone(),
    }
}
