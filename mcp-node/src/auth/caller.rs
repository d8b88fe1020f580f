//! Who is calling.

use std::sync::Arc;

use http::request::Parts;
use rmcp::model::Extensions;
use shared::access_token::VerifiedClaims;
use shared::oauth_error::AuthScheme;
use shared::scope::Scope;

use crate::error::Refusal;
use crate::issuers::{Grounds, Verified};

/// Someone whose access token passed every check. Only the door makes one.
#[derive(Debug)]
pub struct Caller {
    claims: VerifiedClaims,
    issuer: usize,
    grounds: Grounds,
}

impl Caller {
    pub(super) fn new(verified: Verified) -> Self {
        Self {
            claims: verified.claims,
            issuer: verified.issuer,
            grounds: verified.grounds,
        }
    }

    /// The caller of a tool, from rmcp's `RequestContext::extensions`.
    pub fn of(extensions: &Extensions) -> Option<&Arc<Self>> {
        extensions.get::<Parts>()?.extensions.get::<Arc<Self>>()
    }

    /// What its token says. A subject is unique only together with the issuer.
    pub fn claims(&self) -> &VerifiedClaims {
        &self.claims
    }

    /// Whose shares of what callers have in common it uses: clients of one subject share one.
    pub(crate) fn who(&self) -> String {
        who(self.claims.issuer(), self.claims.subject())
    }

    /// The refusal of an operation that needs these scopes.
    pub(crate) fn lacks(&self, needed: Scope) -> Refusal {
        let bound = self
            .claims
            .confirmation()
            .is_some_and(|bound| bound.jkt.is_some());
        Refusal::Scope(
            needed,
            if bound {
                AuthScheme::Dpop
            } else {
                AuthScheme::Bearer
            },
        )
    }

    /// The place of the issuer in the node's list.
    pub(crate) fn issuer_index(&self) -> usize {
        self.issuer
    }

    /// Whether all was known that there is to know: not so when the token names a list that could not be had.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.grounds, Grounds::Key(_, None)) || self.claims.status().is_none()
    }

    /// Why its token was believed.
    pub(super) fn grounds(&self) -> &Grounds {
        &self.grounds
    }
}

/// A subject is unique together with its issuer only. No identifier of an issuer has a space.
pub(crate) fn who(issuer: &str, subject: &str) -> String {
    format!("{issuer} {subject}")
}
