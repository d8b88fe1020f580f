//! Why a request is turned away, and the exact answer: status, `WWW-Authenticate` challenge, JSON body.

use std::time::Duration;

use ::web::answer;
use ::web::rates::Exceeded;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use shared::access_token::TokenFault;
use shared::dpop::ProofFault;
use shared::oauth_error::{AuthScheme, Challenge, ErrorCode};
use shared::scope::Scope;

use crate::gate::Full;

/// A request that the door or the scope table turns away.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No bearer token in the `Authorization` header.
    NoToken,
    /// More than one `Authorization` header.
    TwoCredentials,
    /// A token that failed a check.
    Token(TokenFault),
    /// The same, shown with the scheme DPoP.
    BoundToken(TokenFault),
    /// A DPoP proof that is missing or not good (RFC 9449 §7.1, §9).
    Proof(ProofFault),
    /// No more proofs can be remembered.
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// The issuer cannot be reached and there are no usable keys of it.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The token, shown in this scheme, lacks a scope; these are all that the operation needs.
    Scope(Scope, AuthScheme),
    /// A rule of the operator forbids it, whatever the scopes.
    Forbidden,
    /// The client has used up its allowance.
    TooMany(Exceeded),
    /// The client has called this tool too often.
    TooManyOfTool(Exceeded),
    /// So much of it goes on already.
    Busy {
        /// Whose share it is.
        full: Full,
        /// Of the streams; else of the calls.
        is_stream: bool,
        /// The limit.
        exceeded: Exceeded,
    },
    /// The tool is called by as many as may at the same time.
    ToolBusy(Exceeded),
    /// More bytes than this tool takes.
    TooLarge,
    /// What was decided could not be written down.
    Unaudited,
}

/// Seconds after which to try again what could not be written down.
const UNAUDITED_RETRY: u64 = 5;

const NO_TOKEN: &str = "an access token is needed; WWW-Authenticate says where to get one";
const TWO_CREDENTIALS: &str = "send exactly one Authorization header";
const UNAVAILABLE: &str = "the authorization server cannot be reached, so tokens cannot be checked now";
const PROOF: &str =
    "a DPoP proof is needed that was made for this request, just now and with the key of the token";
const NONCE: &str = "the DPoP proof needs the nonce of the header DPoP-Nonce";
const FULL: &str = "too many DPoP proofs are being remembered; try again";
const SCOPE: &str = "the token lacks a scope that this operation needs";

impl Refusal {
    /// The word for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::TwoCredentials => "two_credentials",
            Self::Token(fault) | Self::BoundToken(fault) => fault.check.as_str(),
            Self::Proof(ProofFault::Invalid(_)) => "dpop_proof",
            Self::Proof(ProofFault::Nonce(_)) => "dpop_nonce",
            Self::Full { .. } => "dpop_proofs_full",
            Self::Unavailable { .. } => "issuer_unavailable",
            Self::Scope(..) => "insufficient_scope",
            Self::Forbidden => "access_denied",
            Self::TooMany(_) => "rate",
            Self::TooManyOfTool(_) => "tool_rate",
            Self::Busy { full, is_stream, .. } => match (full, is_stream) {
                (Full::Node, false) => "calls",
                (Full::Client, false) => "calls_per_client",
                (Full::Subject, false) => "calls_per_subject",
                (Full::Node, true) => "streams",
                (Full::Client, true) => "streams_per_client",
                (Full::Subject, true) => "streams_per_subject",
            },
            Self::ToolBusy(_) => "tool_calls",
            Self::TooLarge => "body",
            Self::Unaudited => "audit_unavailable",
        }
    }

    /// The code in a problem document.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NoToken => "unauthorized",
            _ => self.code().map_or(self.reason(), ErrorCode::as_str),
        }
    }

    /// The sentence for the caller's developer.
    pub(crate) fn sentence(&self) -> &'static str {
        match self {
            Self::NoToken => NO_TOKEN,
            Self::TwoCredentials => TWO_CREDENTIALS,
            Self::Token(fault) | Self::BoundToken(fault) => fault.check.public_sentence(),
            Self::Proof(ProofFault::Invalid(_)) => PROOF,
            Self::Proof(ProofFault::Nonce(_)) => NONCE,
            Self::Full { .. } => FULL,
            Self::Unavailable { .. } => UNAVAILABLE,
            Self::Scope(..) => SCOPE,
            Self::Forbidden => "a rule of this node forbids it",
            Self::TooMany(_) | Self::TooManyOfTool(_) => "too many requests; wait as Retry-After says",
            Self::Busy { full, is_stream, .. } => match (full, is_stream) {
                (Full::Node, false) => "the node answers as many requests as it can; try again",
                (Full::Client, false) => "this client has too many requests open; wait for one to end",
                (Full::Subject, false) => "this subject has too many requests open; wait for one to end",
                (Full::Node, true) => "too many streams are open",
                (Full::Client, true) => "this client has too many streams open; close one first",
                (Full::Subject, true) => "this subject has too many streams open; close one first",
            },
            Self::ToolBusy(_) => "this tool is called by as many as may at the same time; try again",
            Self::TooLarge => "the request body is larger than this tool takes",
            Self::Unaudited => "the audit log cannot be written, and without it nothing is done; try again",
        }
    }

    /// A fault of a token that was shown in `scheme`: the challenge names the same.
    pub(crate) fn in_scheme(self, scheme: AuthScheme) -> Self {
        match (self, scheme) {
            (Self::Token(fault), AuthScheme::Dpop) => Self::BoundToken(fault),
            (other, _) => other,
        }
    }

    /// The answer as OAuth JSON. `hint` is the scope that the request would need.
    pub(crate) fn answer(&self, asks: &Asks, hint: &str) -> HttpResponse {
        match self {
            Self::Unavailable { retry_after } | Self::Full { retry_after } => {
                answer::unavailable(self.sentence(), retry_after.as_secs().max(1))
            }
            Self::Forbidden => answer::error(
                StatusCode::FORBIDDEN,
                ErrorCode::AccessDenied.as_str(),
                self.sentence(),
            ),
            Self::Unaudited => answer::unavailable(self.sentence(), UNAUDITED_RETRY),
            Self::TooLarge => {
                answer::error(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", self.sentence())
            }
            // That the node is full is nobody's fault.
            Self::Busy {
                full: Full::Node,
                exceeded,
                ..
            } => answer::unavailable(self.sentence(), exceeded.wait().as_secs().max(1)),
            Self::TooMany(exceeded)
            | Self::TooManyOfTool(exceeded)
            | Self::Busy { exceeded, .. }
            | Self::ToolBusy(exceeded) => exceeded.answer(),
            Self::TwoCredentials => {
                answer::error(StatusCode::BAD_REQUEST, "invalid_request", self.sentence())
            }
            _ => {
                let status = match self {
                    Self::Scope(..) => StatusCode::FORBIDDEN,
                    _ => StatusCode::UNAUTHORIZED,
                };
                let code = self.code().map_or("unauthorized", ErrorCode::as_str);
                let mut answer = answer::error(status, code, self.sentence());
                if let Some(challenge) = self.challenge(asks, hint) {
                    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                }
                answer
            }
        }
    }

    /// The code in the challenge; none when nothing was shown (RFC 6750 §3.1).
    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Token(_) | Self::BoundToken(_) => Some(ErrorCode::InvalidToken),
            Self::Proof(ProofFault::Invalid(_)) => Some(ErrorCode::InvalidDpopProof),
            Self::Proof(ProofFault::Nonce(_)) => Some(ErrorCode::UseDpopNonce),
            Self::Scope(..) => Some(ErrorCode::InsufficientScope),
            _ => None,
        }
    }

    /// The value of `WWW-Authenticate`, for the refusals that have one.
    pub(crate) fn challenge(&self, asks: &Asks, hint: &str) -> Option<HeaderValue> {
        let scheme = match self {
            Self::NoToken if asks.dpop_only => AuthScheme::Dpop,
            Self::NoToken | Self::Token(_) => AuthScheme::Bearer,
            Self::BoundToken(_) | Self::Proof(_) => AuthScheme::Dpop,
            Self::Scope(_, scheme) => *scheme,
            _ => return None,
        };
        let needed = match self {
            Self::Scope(needed, _) => needed.to_string(),
            _ => hint.to_owned(),
        };
        let code = self.code();
        let challenge = Challenge {
            scheme,
            error: code,
            error_description: code.map(|_| self.sentence()),
            scope: Some(&needed),
            resource_metadata: Some(&asks.resource_metadata),
        };
        let mut text = challenge.to_string();
        // RFC 9449 §7.1: both are taken. Behind the other, because clients read the first one.
        if scheme == AuthScheme::Bearer && !matches!(self, Self::Scope(..)) {
            let offer = Challenge {
                scheme: AuthScheme::Dpop,
                ..Challenge::default()
            };
            text = format!("{text}, {offer}");
        }
        HeaderValue::from_str(&text).ok()
    }
}

/// What every challenge asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asks {
    /// Where this resource's metadata is.
    pub(crate) resource_metadata: String,
    /// Whether no bearer token is taken.
    pub(crate) dpop_only: bool,
}

#[cfg(test)]
mod tests {
    use shared::access_token::Check;

    use super::*;

    fn asks(dpop_only: bool) -> Asks {
        Asks {
            resource_metadata: "https://n/.well-known/oauth-protected-resource/mcp".to_owned(),
            dpop_only,
        }
    }

    const OFFER: &str = "DPoP algs=\"ES256 EdDSA Ed25519 ES384 PS256\"";

    fn shown(refusal: &Refusal) -> (u16, String) {
        let answer = refusal.answer(&asks(false), "mcp:read");
        let challenge = answer
            .headers()
            .get(WWW_AUTHENTICATE)
            .map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), challenge.unwrap_or_default())
    }

    #[test]
    fn the_answers_of_the_contract() {
        let metadata = "resource_metadata=\"https://n/.well-known/oauth-protected-resource/mcp\"";
        let no_token = format!("Bearer scope=\"mcp:read\", {metadata}, {OFFER}");
        assert_eq!(shown(&Refusal::NoToken), (401, no_token));
        let expired = Refusal::Token(TokenFault::new(Check::Times, "it expired 61 s ago"));
        let sentence = "the token has expired or is not valid yet";
        let invalid = format!(
            "Bearer error=\"invalid_token\", error_description=\"{sentence}\", scope=\"mcp:read\", {metadata}, {OFFER}"
        );
        assert_eq!(shown(&expired), (401, invalid));
        let scope = Refusal::Scope("mcp:call ops".parse().unwrap(), AuthScheme::Bearer);
        let lacking = format!(
            "Bearer error=\"insufficient_scope\", error_description=\"{SCOPE}\", scope=\"mcp:call ops\", {metadata}"
        );
        assert_eq!(shown(&scope), (403, lacking));
        assert_eq!(shown(&Refusal::TwoCredentials), (400, String::new()));
    }

    #[test]
    fn a_bound_token_is_answered_in_its_own_scheme() {
        let metadata = "resource_metadata=\"https://n/.well-known/oauth-protected-resource/mcp\"";
        let algorithms = OFFER.strip_prefix("DPoP ").unwrap();
        let other_key = Refusal::Token(TokenFault::new(Check::Binding, "x")).in_scheme(AuthScheme::Dpop);
        let (status, challenge) = shown(&other_key);
        assert_eq!(status, 401);
        assert!(
            challenge.starts_with("DPoP error=\"invalid_token\""),
            "{challenge}"
        );
        assert!(
            challenge.ends_with(&format!("scope=\"mcp:read\", {metadata}, {algorithms}")),
            "{challenge}"
        );
        for (fault, code) in [
            (ProofFault::Invalid("x".into()), "invalid_dpop_proof"),
            (ProofFault::Nonce("x"), "use_dpop_nonce"),
        ] {
            let (status, challenge) = shown(&Refusal::Proof(fault));
            assert_eq!(status, 401);
            assert!(
                challenge.starts_with(&format!("DPoP error=\"{code}\"")),
                "{challenge}"
            );
        }
        let scope = Refusal::Scope("ops".parse().unwrap(), AuthScheme::Dpop);
        assert!(shown(&scope).1.starts_with("DPoP error=\"insufficient_scope\""));
        // Where nothing else is taken, nothing else is asked for.
        let only = Refusal::NoToken.challenge(&asks(true), "mcp:read").unwrap();
        let only = only.to_str().unwrap();
        assert!(
            only.starts_with("DPoP scope=") && !only.contains("Bearer"),
            "{only}"
        );
    }

    #[test]
    fn an_unreachable_issuer_is_not_the_callers_fault() {
        let answer = Refusal::Unavailable {
            retry_after: Duration::from_secs(7),
        }
        .answer(&asks(false), "s");
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers().get("retry-after").unwrap(), "7");
        assert!(!answer.headers().contains_key(WWW_AUTHENTICATE));
    }
}
