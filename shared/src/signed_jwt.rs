//! A JWT that somebody else signed: a client's assertion, a request object, another issuer's statement.
//!
//! Reading comes in two steps, as two types: [`SignedJwt`] has been taken apart, and nothing in it is true yet; a
//! [`VerifiedJwt`] carries the signature of a key that the caller chose. What the claims must say is the caller's to
//! decide, with the checks of [`VerifiedJwt`]: each is a sentence of RFC 7519 that every purpose needs.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, KeySet, VerifyingKey, decode_base64url};
use crate::json;

/// Why a JWT is refused. Names no value of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct JwtFault(pub &'static str);

const EXPIRED: JwtFault = JwtFault("it has expired");
const TOO_FAR_AHEAD: JwtFault = JwtFault("exp lies too far ahead");
const NOT_YET: JwtFault = JwtFault("it is not valid yet");
const TOO_OLD: JwtFault = JwtFault("it was issued too long ago");

impl JwtFault {
    /// Whether it is one of times: what is refused by one clock, another takes, so whoever passes it on may mean well.
    pub fn is_of_times(self) -> bool {
        [EXPIRED, TOO_FAR_AHEAD, NOT_YET, TOO_OLD].contains(&self)
    }
}

/// A JWT that has been taken apart. Use it only to choose the key.
pub struct SignedJwt<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    algorithm: Algorithm,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

/// A JWT whose signature was verified. What it says is what its signer said.
#[derive(Debug)]
pub struct VerifiedJwt {
    algorithm: Algorithm,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl<'a> SignedJwt<'a> {
    /// Takes a JWT of at most `max_bytes` apart (RFC 7515 §5.2, steps 1 to 5). Refuses what has two readings: repeated
    /// members, other spellings of base64url, headers that ask for an extension, algorithms that are no signature.
    pub fn parse(token: &'a str, max_bytes: usize) -> Result<Self, JwtFault> {
        if token.len() > max_bytes {
            return Err(JwtFault("it is too long"));
        }
        let three = JwtFault("it has not three parts");
        let (signing_input, signature) = token.rsplit_once('.').ok_or(three)?;
        let (header, payload) = signing_input.split_once('.').ok_or(three)?;
        let decode = |part: &str| decode_base64url(part).ok_or(JwtFault("a part of it is not base64url"));
        let members =
            |part: &str| json::object(&decode(part)?).map_err(|_| JwtFault("a part of it is no JSON object"));
        let header = members(header)?;
        // RFC 7515 §4.1.11: an extension that is not understood must not be passed over.
        if ["crit", "b64", "zip"]
            .iter()
            .any(|name| header.contains_key(*name))
        {
            return Err(JwtFault("its header has an extension"));
        }
        // A member of the wrong type is a fault, not absent.
        for name in ["typ", "kid"] {
            if header.get(name).is_some_and(|value| !value.is_string()) {
                return Err(JwtFault("a member of its header is no string"));
            }
        }
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(|alg| alg.parse().ok());
        Ok(Self {
            algorithm: algorithm.ok_or(JwtFault("its alg is not a signature that is verified here"))?,
            claims: members(payload)?,
            signature: decode(signature)?,
            signing_input: signing_input.as_bytes(),
            header,
        })
    }

    /// The whole header.
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The name of the key that it claims.
    pub fn kid(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// The algorithm that it claims.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `typ` is one of `types`, written without `application/`; with `or_none`, it may be missing too. Types
    /// keep JWTs of one purpose from being taken for those of another (RFC 8725 §3.11).
    pub fn has_type(&self, types: &[&str], or_none: bool) -> bool {
        has_type(&self.header, types, or_none)
    }

    /// A claim that is text, to find out whose key to ask for. It is not true yet.
    pub fn unverified(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// A time among the claims, to find out whether the JWT is worth the work. It is not true yet.
    pub fn unverified_time(&self, name: &str) -> Option<UnixSeconds> {
        self.claims.get(name).and_then(numeric_date)
    }

    /// Verifies the signature with `key`.
    pub fn verify(self, key: &VerifyingKey) -> Result<VerifiedJwt, JwtFault> {
        if !self.is_signed_by(key) {
            return Err(JwtFault("its signature is not that of the key"));
        }
        Ok(VerifiedJwt {
            algorithm: self.algorithm,
            header: self.header,
            claims: self.claims,
        })
    }

    /// Verifies the signature with the key of `set` that `kid` names; without `kid`, with each key of the same
    /// algorithm, of which few are tried ([`KeySet::candidates`]).
    pub fn verify_with(self, set: &KeySet) -> Result<VerifiedJwt, JwtFault> {
        let key = set
            .candidates(self.kid(), self.algorithm)
            .find(|key| self.is_signed_by(key))
            .ok_or(JwtFault("its signature is not that of a known key"))?;
        Ok(VerifiedJwt {
            algorithm: key.algorithm(),
            header: self.header,
            claims: self.claims,
        })
    }

    /// Whether `key`, with its only algorithm, made the signature (RFC 8725 §3.1).
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.algorithm == key.algorithm() && key.verifies(self.signing_input, &self.signature)
    }
}

impl fmt::Debug for SignedJwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedJwt({})", self.algorithm)
    }
}

/// What [`VerifiedJwt::check_times`] demands.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Tolerated difference of clocks.
    pub leeway: Duration,
    /// How far `exp` may lie ahead, beyond the leeway; `None` when that does not matter.
    pub longest: Option<Duration>,
    /// How long ago `iat` may be; then it must be there. `None`: it may be missing.
    pub oldest: Option<Duration>,
}

impl VerifiedJwt {
    /// The algorithm of the key that signed it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The whole header.
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// As [`SignedJwt::has_type`].
    pub fn has_type(&self, types: &[&str], or_none: bool) -> bool {
        has_type(&self.header, types, or_none)
    }

    /// Every claim.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Every claim, for keeps.
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }

    /// A claim that is text with content. One of another type is a fault, never "absent" (CVE-2026-25537).
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, JwtFault> {
        match self.claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(JwtFault("a claim is not text with content")),
        }
    }

    /// Whether `aud` is `expected` and nobody else: the string itself, or a list of just that string.
    pub fn is_only_for(&self, expected: &str) -> bool {
        match self.claims.get("aud") {
            Some(Value::String(audience)) => audience == expected,
            Some(Value::Array(list)) => matches!(list.as_slice(), [Value::String(only)] if only == expected),
            _ => false,
        }
    }

    /// Whether `expected` is among those that `aud` names (RFC 7519 §4.1.3).
    pub fn is_for(&self, expected: &str) -> bool {
        match self.claims.get("aud") {
            Some(Value::String(audience)) => audience == expected,
            Some(Value::Array(list)) => {
                list.iter().all(Value::is_string) && list.iter().any(|audience| audience == expected)
            }
            _ => false,
        }
    }

    /// A time among the claims.
    pub fn time(&self, name: &'static str) -> Result<Option<UnixSeconds>, JwtFault> {
        match self.claims.get(name) {
            None => Ok(None),
            Some(value) => numeric_date(value)
                .map(Some)
                .ok_or(JwtFault("a time of it is no number of seconds")),
        }
    }

    /// Checks `exp`, which must be there, `nbf` and `iat` (RFC 7519 §4.1.4 to §4.1.6), and returns `exp`.
    pub fn check_times(&self, times: Times, now: UnixSeconds) -> Result<UnixSeconds, JwtFault> {
        let expires_at = self.time("exp")?.ok_or(JwtFault("exp is missing"))?;
        if now >= expires_at + times.leeway {
            return Err(EXPIRED);
        }
        if times
            .longest
            .is_some_and(|longest| expires_at > now + longest + times.leeway)
        {
            return Err(TOO_FAR_AHEAD);
        }
        let issued_at = self.time("iat")?;
        let not_before = self.time("nbf")?;
        if [issued_at, not_before]
            .into_iter()
            .flatten()
            .any(|start| start > now + times.leeway)
        {
            return Err(NOT_YET);
        }
        if let Some(oldest) = times.oldest {
            let issued_at = issued_at.ok_or(JwtFault("iat is missing"))?;
            if issued_at + oldest + times.leeway < now {
                return Err(TOO_OLD);
            }
        }
        Ok(expires_at)
    }
}

/// RFC 7515 §4.1.9: media types, compared without case, with `application/` left out or not.
fn has_type(header: &Map<String, Value>, types: &[&str], or_none: bool) -> bool {
    let Some(typ) = header.get("typ").and_then(Value::as_str) else {
        return or_none;
    };
    const PREFIX: &str = "application/";
    let bare = match typ.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
        _ => typ,
    };
    types.iter().any(|known| bare.eq_ignore_ascii_case(known))
}

/// RFC 7519 §2: a number of seconds, perhaps with a fraction. One that no clock will show is none.
pub(crate) fn numeric_date(value: &Value) -> Option<UnixSeconds> {
    const FAR: f64 = 1e11;
    let seconds = value.as_f64().filter(|seconds| (0.0..FAR).contains(seconds))?;
    Some(UnixSeconds(seconds as i64))
}

#[cfg(test)]
mod tests;
