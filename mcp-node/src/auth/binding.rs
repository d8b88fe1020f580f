//! What must be shown beside a token that is bound to a key (RFC 9449 §7, RFC 8705 §3). A token that was verified once
//! is remembered; its proof is looked at on every request.

use std::time::Duration;

use ::web::client_certificate;
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use shared::access_token::{Check, TokenFault};
use shared::clock::UnixSeconds;
use shared::dpop::{Expected, Nonces, Proof, ProofFault, Target};
use shared::oauth_error::AuthScheme;
use shared::tls::ClientCertificate;
use shared::uri::ResourceUri;

use super::caller::Caller;
use super::credentials::Credentials;
use super::used_proofs::{Use, UsedProofs};
use crate::error::Refusal;

/// RFC 9449 §4.1.
const PROOF: HeaderName = HeaderName::from_static("dpop");
/// When to come back while no more proofs can be remembered: by then, some have been forgotten.
const FULL_FOR: Duration = Duration::from_secs(45);

/// A request, as far as it says who sends it.
#[derive(Clone)]
pub(crate) struct Shown<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) method: &'a str,
    /// As it came: escapes are as the sender wrote them.
    pub(crate) path: &'a str,
    /// Of the connection, or passed on by a proxy that the operator named.
    pub(crate) certificate: Option<ClientCertificate>,
}

impl<'a> From<&'a HttpRequest> for Shown<'a> {
    fn from(request: &'a HttpRequest) -> Self {
        Self {
            headers: request.headers(),
            method: request.method().as_str(),
            path: request.uri().path(),
            certificate: client_certificate::of(request),
        }
    }
}

impl<'a> Shown<'a> {
    /// As a program without the node's frame sees it: a certificate is one of the connection.
    pub(crate) fn of_connection(request: &'a HttpRequest) -> Self {
        let certificate = request.conn_data::<ClientCertificate>().cloned();
        Self {
            certificate,
            ..Self::from(request)
        }
    }
}

/// Everything by which one node judges proofs.
pub(crate) struct Bindings {
    resource: ResourceUri,
    nonces: Nonces,
    used: UsedProofs,
}

impl Bindings {
    /// For the node that is `resource`.
    pub(crate) fn new(resource: ResourceUri, nonces: Nonces) -> Self {
        Self {
            resource,
            nonces,
            used: UsedProofs::new(),
        }
    }

    /// The nonces that it gives out.
    pub(crate) fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// Whether `caller` shows possession of what its token is bound to, in the scheme that goes with it.
    pub(super) fn check(
        &self,
        shown: &Shown<'_>,
        credentials: &Credentials<'_>,
        caller: &Caller,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        let bound = caller.claims().confirmation();
        let fault = |reason: &str| Err(Refusal::Token(TokenFault::new(Check::Binding, reason)));
        // RFC 8705 §3: in addition to whatever else it is bound to.
        if let Some(certificate) = bound.and_then(|bound| bound.certificate.as_deref()) {
            match &shown.certificate {
                None => return fault("the token is bound to a certificate, and none was shown"),
                Some(shown) if shown.thumbprint() != certificate => {
                    return fault("the token is bound to another certificate");
                }
                Some(_) => {}
            }
        }
        match (credentials.scheme, bound.and_then(|bound| bound.jkt.as_deref())) {
            (AuthScheme::Bearer, None) => Ok(()),
            // RFC 9449 §7.2: or a thief could leave the proof out.
            (AuthScheme::Bearer, Some(_)) => fault("the token is bound to a key and came as a bearer token"),
            (AuthScheme::Dpop, None) => fault("the token is bound to no key and came with the scheme DPoP"),
            (AuthScheme::Dpop, Some(key)) => self.check_proof(shown, credentials.token, key, now),
        }
    }

    fn check_proof(
        &self,
        shown: &Shown<'_>,
        token: &str,
        key: &str,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        let expected = Expected {
            method: shown.method,
            target: &self.target(shown.path),
            access_token: Some(token),
            nonces: &self.nonces,
        };
        let headers = shown.headers.get_all(PROOF).map(HeaderValue::as_bytes);
        let missing = || ProofFault::Invalid("the DPoP header is missing".into());
        let proof = Proof::of_request(headers, &expected, now)
            .and_then(|proof| proof.ok_or_else(missing))
            .map_err(Refusal::Proof)?;
        if proof.key() != key {
            let reason = "the proof is made with another key than the token's";
            return Err(Refusal::Token(TokenFault::new(Check::Binding, reason)));
        }
        // Last of all: only a proof that holds in every other respect takes up room.
        match self.used.add(&proof, now) {
            Use::First => Ok(()),
            Use::Again => {
                let reason = "the proof was used before";
                Err(Refusal::Proof(ProofFault::Invalid(reason.into())))
            }
            Use::Full => Err(Refusal::Full {
                retry_after: FULL_FOR,
            }),
        }
    }

    /// A request's address as its sender sees it: at the configured resource, whatever `Host` says. Behind a proxy that
    /// leads `/mcp` to us from another path, the sender's path is the resource's.
    fn target(&self, path: &str) -> Target {
        let url = self.resource.url();
        match path.strip_prefix("/mcp") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let resource_path = url.path().trim_end_matches('/');
                Target::at(url, &format!("{resource_path}{rest}"))
            }
            _ => Target::at(url, path),
        }
    }
}

#[cfg(test)]
mod tests;
