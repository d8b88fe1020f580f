//! The access token: a JWT of the profile RFC 9068. What the authorization server writes and what a node demands
//! stand side by side, so that neither can drift.
//!
//! A node checks in this order, and stops at the first failure: size, structure, header, issuer, type, algorithm,
//! key, signature, audience, times, claims, binding, scope ([`Check::ALL`]). Other authorization servers write their
//! tokens otherwise: a [`Shape`] says how, and is as exact. About a token that only its issuer can read, the issuer is
//! asked ([`Introspected`]).

mod check;
mod claims;
mod confirmation;
mod introspected;
mod marks;
mod shape;
mod texts;
mod unverified;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::check::Check;
pub use self::claims::ClaimPath;
pub use self::confirmation::{Confirmation, is_thumbprint};
pub use self::introspected::{AnswerFault, Introspected};
pub use self::shape::{EntraVersion, Shape, TokenTypes};
use self::texts::Texts;
pub use self::unverified::UnverifiedToken;
use crate::clock::UnixSeconds;
use crate::jose::Algorithm;
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
    pub issuer: Arc<str>,
    /// This node's resource, byte for byte.
    pub audience: Arc<str>,
    /// The algorithms allowed for this issuer; none for one that shares a secret with us.
    pub algorithms: Vec<Algorithm>,
    /// Tolerated difference of clocks.
    pub leeway: Duration,
    /// How this issuer writes its tokens.
    pub shape: Shape,
    /// The clients whose tokens are taken; any client's, if none is named.
    pub clients: Vec<String>,
    /// Where the scope may stand besides the usual place: text, or a list of texts.
    pub scope_claim: Option<ClaimPath>,
    /// What is put before each scope of a token, so that it reads as clients ask for it.
    pub scope_prefix: Option<String>,
    /// Claims that are kept as they are, for rules of the operator.
    pub kept_claims: Vec<String>,
}

/// Claims of a token whose signature, issuer, audience, times and form have been checked, or of which its issuer said
/// just now what it is. There is no other way to get one.
///
/// Thousands are remembered, so what most tokens have in common is shared, and what few have takes no room in the others.
#[derive(Clone, Debug)]
pub struct VerifiedClaims {
    issuer: Arc<str>,
    texts: Texts,
    scope: Scope,
    expires_at: UnixSeconds,
    issued_at: UnixSeconds,
    audience: Arc<str>,
    status: Option<Box<StatusReference>>,
    rare: Option<Box<Rare>>,
}

/// What few tokens have.
#[derive(Clone, PartialEq, Debug, Default)]
struct Rare {
    confirmation: Option<Confirmation>,
    actor: Option<Value>,
    may_act: Option<Map<String, Value>>,
    authorization_details: Option<Value>,
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
        self.texts.subject()
    }

    pub fn client_id(&self) -> &str {
        self.texts.client_id()
    }

    /// `jti` or `uti`; where the issuer gives none, the hash of what it signed.
    pub fn token_id(&self) -> &str {
        self.texts.token_id()
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
        self.texts.client_name()
    }

    pub fn client_type(&self) -> Option<&str> {
        self.texts.client_type()
    }

    /// The key whose proof must come with the token (`cnf`). Whoever takes the token checks that proof.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.rare.as_ref()?.confirmation.as_ref()
    }

    /// Who acts for the subject (`act`, RFC 8693 §4.1).
    pub fn actor(&self) -> Option<&Value> {
        self.rare.as_ref()?.actor.as_ref()
    }

    /// Who alone may act for the subject (`may_act`, RFC 8693 §4.4).
    pub fn may_act(&self) -> Option<&Map<String, Value>> {
        self.rare.as_ref()?.may_act.as_ref()
    }

    /// RFC 9396 §9.1; a list.
    pub fn authorization_details(&self) -> Option<&Value> {
        self.rare.as_ref()?.authorization_details.as_ref()
    }

    /// Its place in a list of its issuer that says whether it was revoked.
    pub fn status(&self) -> Option<&StatusReference> {
        self.status.as_deref()
    }

    /// The same without that place, for whoever has found it and keeps it elsewhere.
    #[must_use]
    pub fn without_status(self) -> Self {
        Self { status: None, ..self }
    }

    /// Those of [`Expectation::kept_claims`] that it has.
    pub fn kept(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.rare.iter().flat_map(|rare| &rare.kept)
    }

    /// Whether the token is still within its time, as [`Check::Times`] demanded when it was verified.
    pub fn is_current(&self, now: UnixSeconds, leeway: Duration) -> bool {
        now < self.expires_at + leeway
    }
}

/// At most 64 printable characters of a value that a stranger wrote.
fn printable(value: &str) -> String {
    value
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .collect()
}
