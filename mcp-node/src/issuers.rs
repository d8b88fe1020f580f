//! The authorization servers that this node trusts, each with its own keys (RFC 8725 §3.8), its own way to write tokens,
//! and perhaps the habit to be asked about them.

mod condition;
mod introspection;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::access_token::{Check, Expectation, TokenFault, UnverifiedToken, VerifiedClaims};
use shared::clock::{self, UnixSeconds};
use shared::http_client::{ClientFault, HttpClient};
use shared::jose::{Algorithm, SharedSecret, VerifyingKey};
use shared::jwks::{KeptAt, KeyLookup, KeySetSettings, RemoteKeySet};
use shared::lasting_clock::LastingClock;
use tokio::sync::watch;

pub(crate) use self::introspection::{Introspection, Said, Standing};
use crate::config::{IssuerConfig, NodeConfig, OfflinePolicy, Validation};
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
    /// What its word is worth.
    pub(crate) trust: Trust,
    /// What it says of tokens that it took back; `None` where nothing that it signs is looked at.
    revocation: Option<Revocation>,
    /// Whether its tokens must be bound to a key (RFC 9728 §2, `dpop_bound_access_tokens_required`).
    dpop_required: bool,
}

/// By what an issuer's tokens are known.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Its public keys.
    Keys(RemoteKeySet),
    /// A secret that it shares with this node alone.
    Secret(SharedSecret),
    /// Its answer.
    Introspection(Arc<Introspection>),
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Issuers {
    all: Vec<TrustedIssuer>,
    /// The place of the one that is asked about tokens that do not say whose they are.
    of_opaque_tokens: Option<usize>,
    /// By which everything ages that is known of them.
    clock: Arc<LastingClock>,
}

/// A token that passed every check, and why its issuer's word was believed.
pub(crate) struct Verified {
    pub(crate) claims: VerifiedClaims,
    /// The place of the issuer in [`Issuers`].
    pub(crate) issuer: usize,
    pub(crate) grounds: Grounds,
}

/// What a verdict rests on: as long as it stands, the token need not be checked again.
#[derive(Debug)]
pub(crate) enum Grounds {
    /// A key of the issuer, and the place where it says whether the token was revoked, if it names one.
    Key(VerifyingKey, Option<Mark>),
    /// The shared secret, which changes only with the program.
    Secret,
    /// The issuer's answer.
    Answer(Arc<Standing>),
}

/// Why a token was not accepted.
#[derive(Debug)]
pub(crate) enum NotVerified {
    /// A check failed.
    Refused(TokenFault),
    /// The issuer's keys or its answer cannot be had, so the token can be neither accepted nor refused.
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
        Self::kept_in(Store::open(&config.data_dir, clock::now()), config)
    }

    /// As [`Self::new`], for a program in whose folders nothing of ours belongs.
    pub(crate) fn in_memory(config: &NodeConfig) -> Result<Self, ClientFault> {
        Self::kept_in(Store::in_memory(clock::now()), config)
    }

    fn kept_in(store: Store, config: &NodeConfig) -> Result<Self, ClientFault> {
        let mut clients: Vec<(Option<PathBuf>, HttpClient)> = Vec::new();
        let mut all = Vec::new();
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
            let kept = store.file(issuer.issuer.as_str(), "keys").map(|file| KeptAt {
                file,
                clock: Arc::clone(&store.clock),
            });
            let trust = Trust::new(issuer, client.clone(), kept);
            all.push(TrustedIssuer {
                expectation: expectation(issuer),
                revocation: trust.revocation(issuer, client, (config.offline, &store)),
                trust,
                dpop_required: issuer.dpop_required,
            });
        }
        let of_opaque_tokens = all.iter().position(
            |issuer| matches!(&issuer.trust, Trust::Introspection(asked) if asked.takes_opaque_tokens()),
        );
        Ok(Self {
            all,
            of_opaque_tokens,
            clock: store.clock,
        })
    }

    /// Makes every check; asks the issuer for its keys if they are not there yet, or about the token if that is its way.
    pub(crate) async fn verify(&self, token: &str, now: UnixSeconds) -> Result<Verified, NotVerified> {
        let (place, unverified) = self.whose(token)?;
        let issuer = &self.all[place];
        let (claims, grounds) = issuer.judge(token, unverified, now).await?;
        Ok(Verified {
            claims,
            issuer: place,
            grounds,
        })
    }

    /// Whose token it is. One that says nothing goes to the issuer that is asked about such; one that names somebody
    /// else goes to nobody: it would teach them a token that is not theirs.
    fn whose<'t>(&self, token: &'t str) -> Result<(usize, Option<UnverifiedToken<'t>>), TokenFault> {
        let place = |issuer: &str| {
            let mut all = self.all.iter();
            let place = all.position(|known| *known.expectation.issuer == *issuer);
            place.ok_or_else(|| TokenFault::new(Check::Issuer, "iss is not an issuer that this node trusts"))
        };
        let (fault, unverified) = match UnverifiedToken::parse(token) {
            Ok(unverified) => match unverified.issuer().map(place) {
                Ok(place) => return Ok((place?, Some(unverified))),
                Err(fault) => (fault, Some(unverified)),
            },
            Err(fault) => (fault, None),
        };
        // With a wrong `iss`, a wrong header or too many bytes it is no opaque token, but a bad JWT.
        let is_opaque =
            fault.check == Check::Structure || unverified.is_some_and(|jwt| jwt.names_no_issuer());
        match self.of_opaque_tokens {
            Some(place) if is_opaque => Ok((place, None)),
            _ => Err(fault),
        }
    }

    /// Whether a token is bound to a key, where its issuer's must be.
    pub(crate) fn check_bound(&self, issuer: usize, claims: &VerifiedClaims) -> Result<(), Refusal> {
        let required = self.all.get(issuer).is_none_or(|issuer| issuer.dpop_required);
        check_bound(required, claims).map_err(Refusal::Token)
    }

    /// Whether the grounds on which a token was accepted still stand, so that it may come in again. Never waits.
    pub(crate) fn still_has(&self, issuer: usize, grounds: &Grounds, now: UnixSeconds) -> bool {
        match (grounds, self.all.get(issuer).map(|issuer| &issuer.trust)) {
            (Grounds::Key(key, mark), Some(Trust::Keys(keys))) => {
                keys.holds(key) && mark.as_ref().is_none_or(|mark| mark.stands(now))
            }
            (Grounds::Secret, Some(Trust::Secret(_))) => true,
            (Grounds::Answer(standing), Some(Trust::Introspection(_))) => standing.counts(Instant::now()),
            _ => false,
        }
    }

    /// Whether whoever came in may stay, on a stream for example: an answer that no longer counts is asked for again,
    /// meanwhile they stay. Never waits.
    pub(crate) fn may_stay(&self, issuer: usize, grounds: &Grounds, now: UnixSeconds) -> bool {
        let trusted = self.all.get(issuer);
        match (
            grounds,
            trusted.map(|issuer| (&issuer.trust, &issuer.expectation)),
        ) {
            (Grounds::Answer(standing), Some((Trust::Introspection(asked), expectation))) => {
                asked.may_stay(standing, expectation, now)
            }
            _ => self.still_has(issuer, grounds, now),
        }
    }

    /// What is known of the revocations of an issuer.
    pub(crate) fn revocation(&self, issuer: usize) -> Option<Revocation> {
        self.all.get(issuer)?.revocation.clone()
    }

    /// Changes whenever the issuer has taken tokens back, and when more is known of what it has taken back.
    pub(crate) fn revocations(&self, issuer: usize) -> Option<watch::Receiver<u64>> {
        let revocation = self.all.get(issuer)?.revocation.as_ref()?;
        Some(revocation.changes())
    }

    /// The clock by which everything ages that is known of them.
    pub(crate) fn clock(&self) -> &Arc<LastingClock> {
        &self.clock
    }

    /// Each issuer, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &TrustedIssuer> {
        self.all.iter()
    }
}

impl TrustedIssuer {
    async fn judge(
        &self,
        token: &str,
        unverified: Option<UnverifiedToken<'_>>,
        now: UnixSeconds,
    ) -> Result<(VerifiedClaims, Grounds), NotVerified> {
        let expectation = &self.expectation;
        if let Some(unverified) = &unverified {
            unverified.check_type(expectation)?;
        }
        match (&self.trust, unverified) {
            (Trust::Introspection(asked), _) => match asked.ask(token, now).await {
                Said::Active(answer) => {
                    let claims =
                        answer.verify(expectation, now, asked.ttl(), || introspection::name_of(token))?;
                    let standing = asked.standing(token, &claims, now);
                    Ok((claims, Grounds::Answer(Arc::new(standing))))
                }
                Said::Inactive => {
                    Err(TokenFault::new(Check::Active, "the issuer says that it is not active").into())
                }
                Said::Nothing { retry_after, .. } => Err(NotVerified::Unavailable { retry_after }),
            },
            (_, None) => Err(TokenFault::new(Check::Structure, "it is no JWT").into()),
            (Trust::Secret(secret), Some(unverified)) => {
                let claims = unverified.verify_with_secret(secret, expectation, now)?;
                Ok((claims, Grounds::Secret))
            }
            (Trust::Keys(keys), Some(unverified)) => {
                let algorithm = unverified.algorithm(expectation)?;
                let lookup = match unverified.named_key(expectation)? {
                    Some(kid) => keys.key(kid).await,
                    None => keys.only_key(algorithm).await,
                };
                match lookup {
                    KeyLookup::Key(key) => {
                        let claims = unverified.verify(&key, expectation, now)?;
                        // Last, and only for a token that is good in every other respect (STAT-11).
                        let mark = match (claims.status(), &self.revocation) {
                            (Some(place), Some(revocation)) => revocation.mark(place, now).await?,
                            _ => None,
                        };
                        let claims = match &mark {
                            Some(_) => claims.without_status(),
                            None => claims,
                        };
                        Ok((claims, Grounds::Key(key, mark)))
                    }
                    KeyLookup::UnknownKid => {
                        Err(TokenFault::new(Check::Key, "kid names no key of the issuer").into())
                    }
                    KeyLookup::Unavailable { retry_after } => Err(NotVerified::Unavailable { retry_after }),
                }
            }
        }
    }
}

impl Trust {
    /// The word in the status.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Keys(_) => "keys",
            Self::Secret(_) => "shared_secret",
            Self::Introspection(_) => "introspection",
        }
    }

    /// What is known of a configured issuer; nothing is fetched yet.
    pub(crate) fn new(issuer: &IssuerConfig, client: HttpClient, kept: Option<KeptAt>) -> Self {
        match &issuer.validation {
            Validation::Keys(algorithms) => Self::Keys(RemoteKeySet::new(
                client,
                KeySetSettings {
                    issuer: issuer.issuer.clone(),
                    jwks_uri: issuer.jwks_uri.clone(),
                    algorithms: algorithms.clone(),
                    max_stale: issuer.max_stale,
                    kept,
                },
            )),
            Validation::Secret(secret) => Self::Secret(secret.clone()),
            Validation::Introspection(asked) => {
                let asked = Introspection::new(client, issuer.issuer.clone(), Arc::clone(asked));
                Self::Introspection(Arc::new(asked))
            }
        }
    }
}

impl Trust {
    /// Where its status lists are held: nobody reads them who does not know its keys.
    fn revocation(
        &self,
        issuer: &IssuerConfig,
        client: HttpClient,
        (policy, store): (OfflinePolicy, &Store),
    ) -> Option<Revocation> {
        let Self::Keys(keys) = self else {
            return None;
        };
        let name = issuer.issuer.as_str();
        Some(Revocation::new(Ways {
            issuer: name.to_owned(),
            client,
            keys: keys.clone(),
            policy,
            clock: Arc::clone(&store.clock),
            file: store.file(name, "lists"),
        }))
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
    let algorithms: Vec<Algorithm> = match &issuer.validation {
        Validation::Keys(algorithms) => algorithms.clone(),
        Validation::Secret(_) | Validation::Introspection(_) => Vec::new(),
    };
    Expectation {
        issuer: issuer.issuer.as_str().into(),
        audience: issuer.audience.as_str().into(),
        algorithms,
        leeway: LEEWAY,
        shape: issuer.shape.clone(),
        clients: issuer.clients.clone(),
        scope_claim: issuer.scope_claim.clone(),
        scope_prefix: issuer.scope_prefix.clone(),
        kept_claims: issuer.kept_claims.clone(),
    }
}
