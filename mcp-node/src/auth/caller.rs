//! Who is calling.

use std::sync::Arc;

use http::request::Parts;
use rmcp::model::Extensions;
use shared::access_token::VerifiedClaims;
use shared::jose::VerifyingKey;
use shared::oauth_error::AuthScheme;
use shared::scope::Scope;

use crate::error::Refusal;
use crate::issuers::Verified;
use crate::revocation::Mark;

/// Someone whose access token passed every check. Only the door makes one.
#[derive(Debug)]
pub struct Caller {
    claims: VerifiedClaims,
    issuer: usize,
    key: VerifyingKey,
    mark: Option<Mark>,
}

impl Caller {
    pub(super) fn new(verified: Verified) -> Self {
        Self {
            claims: verified.claims,
            issuer: verified.issuer,
            key: verified.key,
            mark: verified.mark,
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

    /// Where its issuer says whether the token was taken back.
    pub(super) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Whether all was known that there is to know: not so when the token names a list that could not be had.
    pub(super) fn is_settled(&self) -> bool {
        self.mark.is_some() || self.claims.status().is_none()
    }

    /// The key that signed the token.
    pub(super) fn key(&self) -> &VerifyingKey {
        &self.key
    }
}
