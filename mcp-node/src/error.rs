//! Why a request is turned away, and the exact answer: status, `WWW-Authenticate` challenge, JSON body.

use std::time::Duration;

use ::web::answer;
use ::web::rates::Exceeded;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use shared::access_token::TokenFault;
use shared::oauth_error::{Challenge, ErrorCode};
use shared::scope::Scope;

/// A request that the door or the scope table turns away.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No bearer token in the `Authorization` header.
    NoToken,
    /// More than one `Authorization` header.
    TwoCredentials,
    /// A token that failed a check.
    Token(TokenFault),
    /// The issuer cannot be reached and there are no usable keys of it.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The token lacks a scope; these are all that the operation needs.
    Scope(Scope),
    /// The client has used up its allowance.
    TooMany(Exceeded),
}

const NO_TOKEN: &str = "an access token is needed; WWW-Authenticate says where to get one";
const TWO_CREDENTIALS: &str = "send exactly one Authorization header";
const UNAVAILABLE: &str = "the authorization server cannot be reached, so tokens cannot be checked now";
const SCOPE: &str = "the token lacks a scope that this operation needs";

impl Refusal {
    /// The word for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::TwoCredentials => "two_credentials",
            Self::Token(fault) => fault.check.as_str(),
            Self::Unavailable { .. } => "issuer_unavailable",
            Self::Scope(_) => "insufficient_scope",
            Self::TooMany(_) => "rate",
        }
    }

    /// The sentence for the caller's developer.
    pub(crate) fn sentence(&self) -> &'static str {
        match self {
            Self::NoToken => NO_TOKEN,
            Self::TwoCredentials => TWO_CREDENTIALS,
            Self::Token(fault) => fault.check.public_sentence(),
            Self::Unavailable { .. } => UNAVAILABLE,
            Self::Scope(_) => SCOPE,
            Self::TooMany(_) => "too many requests; wait as Retry-After says",
        }
    }

    /// The answer as OAuth JSON. `resource_metadata` is where this resource's metadata is; `hint` is the scope that
    /// the request would need.
    pub(crate) fn answer(&self, resource_metadata: &str, hint: &str) -> HttpResponse {
        match self {
            Self::NoToken => {
                self.challenging(StatusCode::UNAUTHORIZED, "unauthorized", resource_metadata, hint)
            }
            Self::Token(_) => {
                self.challenging(StatusCode::UNAUTHORIZED, "invalid_token", resource_metadata, hint)
            }
            Self::Scope(_) => self.challenging(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                resource_metadata,
                hint,
            ),
            Self::TwoCredentials => {
                answer::error(StatusCode::BAD_REQUEST, "invalid_request", self.sentence())
            }
            Self::Unavailable { retry_after } => {
                answer::unavailable(self.sentence(), retry_after.as_secs().max(1))
            }
            Self::TooMany(exceeded) => exceeded.answer(),
        }
    }

    /// The value of `WWW-Authenticate`, for the refusals that have one.
    pub(crate) fn challenge(&self, resource_metadata: &str, hint: &str) -> Option<HeaderValue> {
        let resource_metadata = Some(resource_metadata);
        let text = match self {
            Self::NoToken => Challenge {
                scope: Some(hint),
                resource_metadata,
                ..Challenge::default()
            }
            .to_string(),
            Self::Token(_) => Challenge {
                error: Some(ErrorCode::InvalidToken),
                error_description: Some(self.sentence()),
                scope: Some(hint),
                resource_metadata,
            }
            .to_string(),
            Self::Scope(needed) => Challenge {
                error: Some(ErrorCode::InsufficientScope),
                error_description: Some(self.sentence()),
                scope: Some(&needed.to_string()),
                resource_metadata,
            }
            .to_string(),
            _ => return None,
        };
        HeaderValue::from_str(&text).ok()
    }

    fn challenging(
        &self,
        status: StatusCode,
        code: &str,
        resource_metadata: &str,
        hint: &str,
    ) -> HttpResponse {
        let mut answer = answer::error(status, code, self.sentence());
        if let Some(challenge) = self.challenge(resource_metadata, hint) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use shared::access_token::Check;

    use super::*;

    fn shown(refusal: &Refusal) -> (u16, String) {
        let answer = refusal.answer("https://n/.well-known/oauth-protected-resource/mcp", "mcp:read");
        let challenge = answer
            .headers()
            .get(WWW_AUTHENTICATE)
            .map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), challenge.unwrap_or_default())
    }

    #[test]
    fn the_answers_of_the_contract() {
        let metadata = "resource_metadata=\"https://n/.well-known/oauth-protected-resource/mcp\"";
        let no_token = format!("Bearer scope=\"mcp:read\", {metadata}");
        assert_eq!(shown(&Refusal::NoToken), (401, no_token));
        let expired = Refusal::Token(TokenFault::new(Check::Times, "it expired 61 s ago"));
        let sentence = "the token has expired or is not valid yet";
        let invalid = format!(
            "Bearer error=\"invalid_token\", error_description=\"{sentence}\", scope=\"mcp:read\", {metadata}"
        );
        assert_eq!(shown(&expired), (401, invalid));
        let scope = Refusal::Scope("mcp:call ops".parse().unwrap());
        let lacking = format!(
            "Bearer error=\"insufficient_scope\", error_description=\"{SCOPE}\", scope=\"mcp:call ops\", {metadata}"
        );
        assert_eq!(shown(&scope), (403, lacking));
        assert_eq!(shown(&Refusal::TwoCredentials), (400, String::new()));
    }

    #[test]
    fn an_unreachable_issuer_is_not_the_callers_fault() {
        let answer = Refusal::Unavailable {
            retry_after: Duration::from_secs(7),
        }
        .answer("m", "s");
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers().get("retry-after").unwrap(), "7");
        assert!(!answer.headers().contains_key(WWW_AUTHENTICATE));
    }
}
