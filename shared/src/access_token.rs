//! The access token: a JWT of the profile RFC 9068. What the authorization server writes and what a node demands
//! stand side by side, so that neither can drift.
//!
//! A node checks in this order, and stops at the first failure: size, structure, header, type, issuer, algorithm,
//! key, signature, audience, times, claims, binding, scope, status ([`Check::ALL`]). Whether the token was revoked is asked by whoever has the list.

mod check;
mod claims;
mod confirmation;

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::check::Check;
pub use self::confirmation::{Confirmation, is_thumbprint};
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, VerifyingKey, decode_base64url};
use crate::json;
use crate::scope::Scope;
use crate::status_list::StatusReference;

/// A longer token is refused before anything of it is decoded.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// What the authorization server signs (RFC 9068 §2.2). `aud` is one registered resource, exactly as registered.
/// There is no `nbf`: clients use tokens within a second, from machines whose clocks differ.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the claims are named and defined by RFC 9068 §2.2")]
pub struct Claims<'a> {
    pub iss: &'a str,
    pub sub: &'a str,
    pub aud: &'a str,
    pub exp: UnixSeconds,
    pub iat: UnixSeconds,
    pub jti: &'a str,
    pub client_id: &'a str,
    pub scope: &'a str,
    pub client_name: &'a str,
    pub client_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<UnixSeconds>,
    /// RFC 7800 §3: the key without whose proof the token is worth nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<&'a Confirmation>,
    /// RFC 8693 §4.1: who acts for the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<&'a Value>,
    /// RFC 9396 §9.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<&'a Value>,
    /// Token Status List §6.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status<'a>>,
}

/// The claim `status`.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    /// The token's place in a list.
    pub status_list: &'a StatusReference,
}

/// Why a token is refused. `reason` names values of the token, but never the token.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{check}: {reason}")]
pub struct TokenFault {
    /// The check that failed; all before it passed.
    pub check: Check,
    /// What was found, for the log and `token explain`.
    pub reason: String,
}

impl TokenFault {
    /// A fault of `check`.
    pub fn new(check: Check, reason: impl Into<String>) -> Self {
        Self {
            check,
            reason: reason.into(),
        }
    }
}

/// What the node demands of tokens from one issuer.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The trusted issuer, byte for byte.
    pub issuer: String,
    /// This node's resource, byte for byte.
    pub audience: String,
    /// The algorithms allowed for this issuer.
    pub algorithms: Vec<Algorithm>,
    /// Tolerated difference of clocks.
    pub leeway: Duration,
    /// Whether a token for several resources is refused. Our own server issues none.
    pub single_audience: bool,
    /// Where the scope may stand besides `scope`: names of claims, strings or lists of strings.
    pub scope_claims: Vec<String>,
    /// Claims that are kept as they are, for rules of the operator.
    pub kept_claims: Vec<String>,
}

/// A token that has been taken apart. Nothing in it is true yet: use it only to choose the issuer and the key.
pub struct UnverifiedToken<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    algorithm: String,
    kid: String,
    claims: Map<String, Value>,
}

impl<'a> UnverifiedToken<'a> {
    /// Makes the checks up to [`Check::Type`].
    pub fn parse(token: &'a str) -> Result<Self, TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::new(
                Check::Size,
                format!("it has {} bytes", token.len()),
            ));
        }
        let structure = |reason: &str| TokenFault::new(Check::Structure, reason);
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(structure("it has not three parts"));
        };
        let decode = |part: &str| decode_base64url(part).filter(|bytes| !bytes.is_empty());
        let header_bytes = decode(header).ok_or_else(|| structure("the header is not base64url"))?;
        let payload = decode(payload).ok_or_else(|| structure("the claims are not base64url"))?;
        let signature = decode(signature).ok_or_else(|| structure("the signature is not base64url"))?;
        let header_members =
            json::object(&header_bytes).map_err(|e| TokenFault::new(Check::Header, e.to_string()))?;
        let (algorithm, kid) = read_header(&header_members)?;
        let claims = json::object(&payload).map_err(|e| structure(&format!("the claims: {e}")))?;
        let signed = token.len() - token.rsplit('.').next().map_or(0, str::len) - 1;
        Ok(Self {
            signing_input: &token.as_bytes()[..signed],
            signature,
            algorithm,
            kid,
            claims,
        })
    }

    /// The issuer that the token claims, to choose whose keys to ask.
    pub fn issuer(&self) -> Result<&str, TokenFault> {
        match self.claims.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(TokenFault::new(Check::Issuer, "iss is not a string")),
            None => Err(TokenFault::new(Check::Issuer, "iss is missing")),
        }
    }

    /// The algorithm that the token claims, if `expectation` allows it.
    pub fn algorithm(&self, expectation: &Expectation) -> Result<Algorithm, TokenFault> {
        let fault = || {
            TokenFault::new(
                Check::Algorithm,
                format!("alg {} is not allowed", printable(&self.algorithm)),
            )
        };
        let algorithm: Algorithm = self.algorithm.parse().map_err(|_| fault())?;
        if expectation.algorithms.contains(&algorithm) {
            Ok(algorithm)
        } else {
            Err(fault())
        }
    }

    /// The audience that the token claims, if it is a single one.
    pub fn claimed_audience(&self) -> Option<&str> {
        self.claims.get("aud").and_then(Value::as_str)
    }

    /// The name of the key that the token claims.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Makes all checks from [`Check::Issuer`] on, with the key that [`Self::kid`] names in the issuer's set.
    pub fn verify(
        self,
        key: &VerifyingKey,
        expectation: &Expectation,
        now: UnixSeconds,
    ) -> Result<VerifiedClaims, TokenFault> {
        if self.issuer()? != expectation.issuer {
            return Err(TokenFault::new(Check::Issuer, "iss is another issuer"));
        }
        let algorithm = self.algorithm(expectation)?;
        if algorithm != key.algorithm() {
            let reason = format!("alg is {algorithm} but the key is for {}", key.algorithm());
            return Err(TokenFault::new(Check::Algorithm, reason));
        }
        if key.kid() != self.kid {
            return Err(TokenFault::new(Check::Key, "kid names another key"));
        }
        if !key.verifies(self.signing_input, &self.signature) {
            return Err(TokenFault::new(Check::Signature, "the signature does not fit"));
        }
        claims::check(&self.claims, expectation, now)
    }
}

/// Claims of a token whose signature, issuer, audience, times and form have been checked. There is no other way to
/// get one.
#[derive(Clone, Debug)]
pub struct VerifiedClaims {
    issuer: String,
    subject: String,
    client_id: String,
    token_id: String,
    scope: Scope,
    expires_at: UnixSeconds,
    issued_at: UnixSeconds,
    audience: String,
    client_name: Option<String>,
    client_type: Option<String>,
    confirmation: Option<Confirmation>,
    actor: Option<Value>,
    may_act: Option<Map<String, Value>>,
    authorization_details: Option<Value>,
    status: Option<StatusReference>,
    kept: Map<String, Value>,
}

#[expect(
    missing_docs,
    reason = "named after the claims: iss, sub, client_id, jti, scope, exp, iat, aud …"
)]
impl VerifiedClaims {
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub fn expires_at(&self) -> UnixSeconds {
        self.expires_at
    }

    pub fn issued_at(&self) -> UnixSeconds {
        self.issued_at
    }

    pub fn audience(&self) -> &str {
        &self.audience
    }

    pub fn client_name(&self) -> Option<&str> {
        self.client_name.as_deref()
    }

    pub fn client_type(&self) -> Option<&str> {
        self.client_type.as_deref()
    }

    /// The key whose proof must come with the token (`cnf`). Whoever takes the token checks that proof.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.confirmation.as_ref()
    }

    /// Who acts for the subject (`act`, RFC 8693 §4.1).
    pub fn actor(&self) -> Option<&Value> {
        self.actor.as_ref()
    }

    /// Who alone may act for the subject (`may_act`, RFC 8693 §4.4).
    pub fn may_act(&self) -> Option<&Map<String, Value>> {
        self.may_act.as_ref()
    }

    /// RFC 9396 §9.1; a list.
    pub fn authorization_details(&self) -> Option<&Value> {
        self.authorization_details.as_ref()
    }

    /// Its place in a list of its issuer that says whether it was revoked.
    pub fn status(&self) -> Option<&StatusReference> {
        self.status.as_ref()
    }

    /// Those of [`Expectation::kept_claims`] that it has.
    pub fn kept(&self) -> &Map<String, Value> {
        &self.kept
    }

    /// Whether the token is still within its time, as [`Check::Times`] demanded when it was verified.
    pub fn is_current(&self, now: UnixSeconds, leeway: Duration) -> bool {
        now < self.expires_at + leeway
    }
}

/// `alg` and `kid`, from a header that asks for nothing else of us. Key references (`jwk`, `jku`, `x5u`, `x5c`) are
/// never looked at: the key comes from the issuer's set (RFC 8725 §3.10).
fn read_header(header: &Map<String, Value>) -> Result<(String, String), TokenFault> {
    let fault = |reason: &str| TokenFault::new(Check::Header, reason);
    for forbidden in ["crit", "b64", "zip", "enc"] {
        if header.contains_key(forbidden) {
            return Err(fault(&format!(
                "it contains {forbidden}, which access tokens never have"
            )));
        }
    }
    let text = |member: &str| match header.get(member) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        Some(_) => Err(fault(&format!("{member} is not a string"))),
        None => Err(fault(&format!("{member} is missing"))),
    };
    let (algorithm, kid) = (text("alg")?, text("kid")?);
    let media_type = text("typ").map_err(|e| TokenFault::new(Check::Type, e.reason))?;
    // Media types are compared without case, and "application/" may be left out (RFC 7515 §4.1.9).
    if !["at+jwt", "application/at+jwt"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(media_type))
    {
        return Err(TokenFault::new(
            Check::Type,
            format!("typ is {}", printable(media_type)),
        ));
    }
    Ok((algorithm.to_owned(), kid.to_owned()))
}

/// At most 64 printable characters of a value that a stranger wrote.
fn printable(value: &str) -> String {
    value
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .collect()
}
