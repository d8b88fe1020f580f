//! OAuth errors: the code and the fixed sentence that the caller sees, the reason that only the log sees, and the
//! `WWW-Authenticate` challenge of a protected resource.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::dpop;

/// The error codes that we answer with, each with the clause that defines it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    /// Ours, enrolment: the node's key or id belongs to another enrolment.
    AlreadyEnrolled,
    /// RFC 6749 §4.1.2.1, RFC 8628 §3.5: the person said no, or what they said stands no more.
    AccessDenied,
    /// RFC 8628 §3.5: nobody has decided yet; ask again after the interval.
    AuthorizationPending,
    /// OpenID Connect Core §3.1.2.6: the person must be asked, and `prompt=none` forbids it.
    ConsentRequired,
    /// RFC 8628 §3.5: the device code has expired; begin again.
    ExpiredToken,
    /// RFC 6750 §3.1: the token lacks a scope that the request needs.
    InsufficientScope,
    /// RFC 9396 §5, §6: authorization details that are malformed, unknown, not allowed or more than was granted.
    InvalidAuthorizationDetails,
    /// RFC 7591 §3.2.2: a client's metadata are malformed, contradict themselves or ask for what there is not.
    InvalidClientMetadata,
    /// RFC 6749 §5.2: unknown client, no or wrong client authentication.
    InvalidClient,
    /// Ours, enrolment: the invite is unknown, used or expired.
    InvalidInvite,
    /// Ours, enrolment: the statement is not signed by the key beside it, or made for something else.
    InvalidProof,
    /// RFC 9449 §5: the DPoP proof is missing, malformed, or made for something else.
    InvalidDpopProof,
    /// RFC 6749 §5.2: the grant is invalid, expired, revoked or belongs to another client.
    InvalidGrant,
    /// RFC 7591 §3.2.2: a redirect URI cannot be registered.
    InvalidRedirectUri,
    /// RFC 6749 §5.2: a parameter is missing, repeated or malformed.
    InvalidRequest,
    /// RFC 9101 §6.3: the request object cannot be read, or its signature or claims are wrong.
    InvalidRequestObject,
    /// RFC 9101 §7, RFC 9126 §4: the reference of a request is unknown, expired or used.
    InvalidRequestUri,
    /// RFC 6749 §5.2: the scope is unknown, malformed or exceeds what is allowed.
    InvalidScope,
    /// RFC 7591 §3.2.2: the software statement is no valid JWT of an issuer that we trust.
    InvalidSoftwareStatement,
    /// RFC 8707 §2: the resource is unknown, malformed or not allowed.
    InvalidTarget,
    /// RFC 6750 §3.1: the token is expired, revoked, malformed or not for us.
    InvalidToken,
    /// OpenID Connect Core §3.1.2.6: the person must sign in, and `prompt=none` forbids it.
    LoginRequired,
    /// OpenID Connect Core §3.1.2.6: we do not read `registration`.
    RegistrationNotSupported,
    /// OpenID Connect Core §3.1.2.6: we do not fetch `request_uri`.
    RequestUriNotSupported,
    /// Ours, enrolment: the resource belongs to another node, or to no invite.
    ResourceTaken,
    /// RFC 6749 §4.1.2.1: our fault.
    ServerError,
    /// RFC 8628 §3.5: as [`Self::AuthorizationPending`], and the interval is five seconds longer from now on.
    SlowDown,
    /// RFC 6749 §4.1.2.1: overloaded, or a part that we need is away; try again.
    TemporarilyUnavailable,
    /// RFC 7591 §3.2.2: the software statement is of an issuer that we do not trust.
    UnapprovedSoftwareStatement,
    /// RFC 6749 §5.2: the client may not use this grant.
    UnauthorizedClient,
    /// RFC 6749 §5.2: we do not know this grant.
    UnsupportedGrantType,
    /// RFC 6749 §4.1.2.1: we answer with a code and nothing else.
    UnsupportedResponseType,
    /// OpenID Connect Core Error Code unmet_authentication_requirements: the person has signed in, but not in a way that
    /// the client takes.
    UnmetAuthenticationRequirements,
    /// RFC 7009 §2.2.1: we cannot revoke tokens of this type.
    UnsupportedTokenType,
    /// RFC 9449 §8: the DPoP proof needs the nonce that comes with this answer.
    UseDpopNonce,
}

impl ErrorCode {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::AlreadyEnrolled => "already_enrolled",
            Self::InvalidInvite => "invalid_invite",
            Self::InvalidProof => "invalid_proof",
            Self::ResourceTaken => "resource_taken",
            Self::AuthorizationPending => "authorization_pending",
            Self::ConsentRequired => "consent_required",
            Self::ExpiredToken => "expired_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidClient => "invalid_client",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidSoftwareStatement => "invalid_software_statement",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidToken => "invalid_token",
            Self::LoginRequired => "login_required",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::ServerError => "server_error",
            Self::SlowDown => "slow_down",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::UnapprovedSoftwareStatement => "unapproved_software_statement",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::UseDpopNonce => "use_dpop_nonce",
        }
    }

    /// The HTTP status that goes with the code.
    pub fn status(self) -> u16 {
        match self {
            Self::InsufficientScope => 403,
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::AlreadyEnrolled | Self::ResourceTaken => 409,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal. `description` is a sentence of ours for the caller and says nothing about others' data; `reason` is for
/// the log alone.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct OAuthError {
    /// What the caller's program reads.
    pub code: ErrorCode,
    /// What the caller's developer reads (`error_description`).
    pub description: Cow<'static, str>,
    /// What the operator reads in the log. Never sent.
    pub reason: Cow<'static, str>,
}

impl OAuthError {
    /// A refusal whose reason says no more than its description.
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        let description = description.into();
        Self {
            code,
            reason: description.clone(),
            description,
        }
    }

    /// Adds what only the log may know.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = reason.into();
        self
    }
}

/// How a token is shown in `Authorization`, and asked for in `WWW-Authenticate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthScheme {
    /// RFC 6750.
    #[default]
    Bearer,
    /// RFC 9449 §7.
    Dpop,
}

impl AuthScheme {
    /// The scheme of this name; names have no case (RFC 9110 §11.1).
    pub fn named(name: &str) -> Option<Self> {
        [Self::Bearer, Self::Dpop]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// A `WWW-Authenticate` challenge (RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1). Clients read the first scheme and the
/// first occurrence of each parameter, so there is one challenge with everything in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Challenge<'a> {
    /// How the token was, or is to be, shown.
    pub scheme: AuthScheme,
    /// The code; absent when the request carried no credentials at all (RFC 6750 §3.1).
    pub error: Option<ErrorCode>,
    /// One sentence.
    pub error_description: Option<&'a str>,
    /// Every scope that this operation needs.
    pub scope: Option<&'a str>,
    /// Where the resource's metadata is.
    pub resource_metadata: Option<&'a str>,
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms = match self.scheme {
            AuthScheme::Bearer => None,
            AuthScheme::Dpop => Some(dpop::algorithms().collect::<Vec<_>>().join(" ")),
        };
        f.write_str(self.scheme.as_str())?;
        let parameters = [
            ("error", self.error.map(ErrorCode::as_str)),
            ("error_description", self.error_description),
            ("scope", self.scope),
            ("resource_metadata", self.resource_metadata),
            ("algs", algorithms.as_deref()),
        ];
        let mut separator = " ";
        for (name, value) in parameters {
            let Some(value) = value else { continue };
            write!(f, "{separator}{name}=\"")?;
            // RFC 6750 §3 allows %x20-21 / %x23-5B / %x5D-7E in these values: no quotes, no escapes.
            value
                .chars()
                .filter(|c| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~'))
                .try_for_each(|c| f.write_char(c))?;
            f.write_char('"')?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_without_credentials_names_no_error() {
        let challenge = Challenge {
            scope: Some("mcp:read"),
            resource_metadata: Some("https://h/x"),
            ..Default::default()
        };
        assert_eq!(
            challenge.to_string(),
            r#"Bearer scope="mcp:read", resource_metadata="https://h/x""#
        );
    }

    #[test]
    fn a_challenge_for_a_proof_names_its_algorithms() {
        let challenge = Challenge {
            scheme: AuthScheme::Dpop,
            error: Some(ErrorCode::UseDpopNonce),
            ..Default::default()
        };
        assert_eq!(
            challenge.to_string(),
            r#"DPoP error="use_dpop_nonce", algs="ES256 EdDSA Ed25519 ES384 PS256""#
        );
    }

    #[test]
    fn a_challenge_cannot_be_broken_out_of() {
        let challenge = Challenge {
            error: Some(ErrorCode::InvalidToken),
            error_description: Some("a\"b\\c\r\nd"),
            ..Default::default()
        };
        assert_eq!(
            challenge.to_string(),
            r#"Bearer error="invalid_token", error_description="abcd""#
        );
    }
}
