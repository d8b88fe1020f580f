//! An assertion that somebody else signed (RFC 7523 §3): whose it is, and that the issuer whom it names has signed it.
//!
//! ID-JAGs and the tokens of workloads share this step and no other: each has its own list of issuers, so that neither
//! can pass for the other (RFC 8725 §3.11).

use std::collections::HashMap;
use std::time::Duration;

use shared::access_token::Confirmation;
use shared::clock::UnixSeconds;
use shared::jwks::{KeyLookup, RemoteKeySet};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::Secret;
use shared::signed_jwt::{JwtFault, SignedJwt, Times, VerifiedJwt};

use crate::config::{Assertions, Config, TrustedIssuer};
use crate::error::Failure;

/// A longer assertion is refused before anything of it is decoded.
pub(super) const MAX_BYTES: usize = 8 * 1024;
/// Tolerated difference of clocks.
pub(super) const LEEWAY: Duration = Duration::from_secs(60);
/// The longest `jti`.
const MAX_ID: usize = 256;

/// The key sets of everyone whose assertions are believed. Nothing is fetched before the first assertion comes.
pub(crate) struct AssertionKeys {
    id_jag: HashMap<String, RemoteKeySet>,
    workload: HashMap<String, RemoteKeySet>,
}

impl AssertionKeys {
    /// Keys that were fetched `before`, from the same place in the same trust, are kept. Call it on the program's own
    /// runtime.
    pub(crate) fn new(settings: &Assertions, before: Option<(&Assertions, &Self)>) -> Self {
        let (id_jag, workloads) = (&settings.id_jag, &settings.workloads);
        Self {
            id_jag: key_sets(
                id_jag.iter().map(|known| &known.trust),
                before.map(|(then, keys)| (then.id_jag.iter().map(|known| &known.trust), &keys.id_jag)),
            ),
            workload: key_sets(
                workloads.iter().map(|known| &known.trust),
                before.map(|(then, keys)| (then.workloads.iter().map(|known| &known.trust), &keys.workload)),
            ),
        }
    }

    pub(super) fn of_id_jag(&self, trust: &TrustedIssuer) -> Option<&RemoteKeySet> {
        self.id_jag.get(&trust.issuer)
    }

    pub(super) fn of_workload(&self, trust: &TrustedIssuer) -> Option<&RemoteKeySet> {
        self.workload.get(&trust.issuer)
    }
}

type KeySets = HashMap<String, RemoteKeySet>;

fn key_sets<'t>(
    now: impl Iterator<Item = &'t TrustedIssuer>,
    before: Option<(impl Iterator<Item = &'t TrustedIssuer>, &KeySets)>,
) -> KeySets {
    let (then, kept): (Vec<_>, _) = match before {
        Some((then, kept)) => (then.collect(), Some(kept)),
        None => (Vec::new(), None),
    };
    now.map(|trust| {
        let is_known = then.iter().any(|known| trust.has_keys_of(known));
        let known = kept.filter(|_| is_known).and_then(|kept| kept.get(&trust.issuer));
        let keys = known.cloned().unwrap_or_else(|| trust.key_set());
        (trust.issuer.clone(), keys)
    })
    .collect()
}

/// The key to which an assertion is bound. What is not understood asks for a proof that nobody would check, so it is
/// refused (RFC 7800 §3).
pub(super) fn confirmation(jwt: &VerifiedJwt) -> Result<Option<Confirmation>, OAuthError> {
    let Some(claim) = jwt.claims().get("cnf") else {
        return Ok(None);
    };
    let read = Confirmation::read(claim);
    let read = read.map_err(|_| not_valid(JwtFault("cnf asks for a proof that is not understood")))?;
    Ok(Some(read))
}

/// Whether everything that an assertion is bound to was proven with the request.
pub(super) fn check_proof(
    bound: Option<&Confirmation>,
    proven: Option<&Confirmation>,
) -> Result<(), OAuthError> {
    let Some(bound) = bound else { return Ok(()) };
    let fits = |bound: &Option<String>, proven: &Option<String>| bound.is_none() || bound == proven;
    let is_shown = proven
        .is_some_and(|proven| fits(&bound.jkt, &proven.jkt) && fits(&bound.certificate, &proven.certificate));
    if is_shown {
        Ok(())
    } else {
        Err(not_valid(JwtFault("cnf names a key that was not shown")))
    }
}

/// An assertion of an issuer that is believed, with the claims that every one must have.
#[derive(Debug)]
pub(super) struct Assertion {
    pub(super) jwt: VerifiedJwt,
    /// `sub`.
    pub(super) subject: String,
    /// `jti`.
    pub(super) id: String,
    pub(super) expires_at: UnixSeconds,
}

/// Takes an assertion apart.
pub(super) fn parse(text: &Secret) -> Result<SignedJwt<'_>, OAuthError> {
    SignedJwt::parse(text.reveal(), MAX_BYTES).map_err(not_valid)
}

/// The one of `issuers` whose assertion it claims to be. Nobody else's keys are asked for.
pub(super) fn claimed_issuer<'i, T>(
    jwt: &SignedJwt<'_>,
    issuers: &'i [T],
    trust: impl Fn(&T) -> &TrustedIssuer,
) -> Result<&'i T, OAuthError> {
    let claimed = jwt
        .unverified("iss")
        .ok_or_else(|| not_valid(JwtFault("iss is missing")))?;
    issuers
        .iter()
        .find(|known| trust(known).issuer == claimed)
        .ok_or_else(|| {
            refusal().because(format!(
                "{} is no issuer that is believed here",
                printable(claimed)
            ))
        })
}

/// Verifies the signature with the issuer's keys, then makes the checks that every assertion needs (RFC 7523 §3,
/// rules 2 to 9). Whom it is for is the caller's to check: `is_for_us`.
pub(super) async fn verify(
    jwt: SignedJwt<'_>,
    trust: &TrustedIssuer,
    keys: Option<&RemoteKeySet>,
    longest: Option<Duration>,
    now: UnixSeconds,
) -> Result<Assertion, Failure> {
    if !trust.algorithms.contains(&jwt.algorithm()) {
        let reason = format!("{} may not sign with {}", trust.issuer, jwt.algorithm());
        return Err(refusal().because(reason).into());
    }
    let keys = keys.ok_or_else(|| Failure::Internal(format!("{} has no key set", trust.issuer)))?;
    let key = match keys.signer_of(&jwt).await {
        KeyLookup::Key(key) => key,
        KeyLookup::UnknownKid => {
            return Err(not_valid(JwtFault("its signature is not that of a key of its issuer")).into());
        }
        KeyLookup::Unavailable { .. } => {
            // Neither accepted nor refused: invalid_grant would make the client throw a good assertion away.
            let sentence = "the keys of the assertion's issuer cannot be had; try again";
            let refusal = OAuthError::new(ErrorCode::TemporarilyUnavailable, sentence);
            return Err(refusal.because(format!("no keys of {}", trust.issuer)).into());
        }
    };
    let jwt = jwt.verify(&key).map_err(not_valid)?;
    Ok(check(jwt, longest, now).map_err(not_valid)?)
}

fn check(jwt: VerifiedJwt, longest: Option<Duration>, now: UnixSeconds) -> Result<Assertion, JwtFault> {
    let times = Times {
        leeway: LEEWAY,
        longest,
        oldest: None,
    };
    let expires_at = jwt.check_times(times, now)?;
    if jwt.time("iat")?.is_none() {
        return Err(JwtFault("iat is missing"));
    }
    let text = |name, fault| {
        let value = jwt.text(name)?.ok_or(fault)?;
        let is_plain = value.len() <= MAX_ID && !value.contains(char::is_control);
        if is_plain {
            Ok(value.to_owned())
        } else {
            Err(fault)
        }
    };
    let subject = text("sub", JwtFault("sub is missing, or is no name"))?;
    let id = text("jti", JwtFault("jti is missing, or is no name"))?;
    Ok(Assertion {
        jwt,
        subject,
        id,
        expires_at,
    })
}

/// Whether an assertion is for this server and nobody else: `aud` is the issuer, with or without a slash at the end
/// (clients make it from the address of the metadata), or one of `others`; as text or as a list of just that.
pub(super) fn is_for_us(jwt: &VerifiedJwt, config: &Config, others: &[&str]) -> bool {
    let issuer = config.issuer.as_str();
    jwt.is_only_for(issuer)
        || jwt.is_only_for(&format!("{issuer}/"))
        || others.iter().any(|other| jwt.is_only_for(other))
}

/// RFC 7523 §3.1: whatever is wrong with an assertion.
pub(super) fn refusal() -> OAuthError {
    OAuthError::new(ErrorCode::InvalidGrant, "the assertion is not valid here")
}

pub(super) fn not_valid(fault: JwtFault) -> OAuthError {
    refusal().because(fault.0)
}

/// At most 64 plain characters of what a stranger calls itself.
fn printable(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}
