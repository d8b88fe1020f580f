//! Why an operation was not carried out, as RFC 9457 has it.

use std::fmt;

use ::web::rates::Exceeded;
use serde::Serialize;
use shared::oauth_error::{ErrorCode, OAuthError};
use utoipa::ToSchema;

use super::ask::Stop;
use crate::client::register::RegisterFault;
use crate::db::DbFault;
use crate::error::Failure;

/// The kinds of problems. Each has a section in docs/errors.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    InvalidRequest,
    InvalidValue,
    InvalidClientMetadata,
    InvalidRedirectUri,
    InvalidToken,
    InvalidDpopProof,
    UseDpopNonce,
    InsufficientScope,
    AccessDenied,
    NotFound,
    MethodNotAllowed,
    Conflict,
    InvalidConfiguration,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
    KeyReused,
    PreconditionRequired,
    TooManyRequests,
    ServerError,
    TemporarilyUnavailable,
}

impl Code {
    /// The word, the status and what the kind is.
    fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            // What the document tells of a request is broken: 400. What no schema can say: 422 (RFC 9110 §15.5.21).
            Self::InvalidRequest => ("invalid_request", 400, "The request cannot be read"),
            Self::InvalidValue => ("invalid_value", 422, "A value will not do"),
            Self::InvalidClientMetadata => (
                "invalid_client_metadata",
                422,
                "The client's metadata will not do",
            ),
            Self::InvalidRedirectUri => ("invalid_redirect_uri", 422, "A redirect URI cannot be registered"),
            Self::InvalidToken => ("invalid_token", 401, "A good access token is needed"),
            Self::InvalidDpopProof => ("invalid_dpop_proof", 401, "The DPoP proof is not valid"),
            Self::UseDpopNonce => ("use_dpop_nonce", 401, "The DPoP proof needs a nonce"),
            Self::InsufficientScope => ("insufficient_scope", 403, "The token lacks a scope"),
            Self::AccessDenied => ("access_denied", 403, "Not allowed"),
            Self::NotFound => ("not_found", 404, "There is no such thing"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "The address does not know the method"),
            Self::Conflict => ("conflict", 409, "It contradicts what is there"),
            Self::InvalidConfiguration => ("invalid_configuration", 409, "The configuration has faults"),
            Self::PreconditionFailed => ("precondition_failed", 412, "It was changed meanwhile"),
            Self::TooLarge => ("too_large", 413, "The body is too large"),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, "The body is not JSON"),
            Self::KeyReused => (
                "idempotency_key_reused",
                422,
                "The key belongs to another request",
            ),
            Self::PreconditionRequired => ("precondition_required", 428, "If-Match is needed"),
            Self::TooManyRequests => ("too_many_requests", 429, "Too many requests"),
            Self::ServerError => ("server_error", 500, "Something went wrong on our side"),
            Self::TemporarilyUnavailable => ("temporarily_unavailable", 503, "Try again later"),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        self.parts().0
    }

    pub(super) fn status(self) -> u16 {
        self.parts().1
    }
}

/// An operation that was not carried out. Nothing has happened.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(super) code: Code,
    /// For whoever asked.
    pub(super) detail: String,
    /// For the log.
    pub(super) reason: Option<String>,
    /// When to come back.
    pub(super) exceeded: Option<Exceeded>,
    /// Every fault of a file of the server's, one sentence each.
    pub(super) faults: Vec<String>,
}

/// The body of a refusal (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// Where the kind of problem is explained.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference")]
    kind: String,
    /// What kind of problem it is.
    title: &'a str,
    /// The status of the answer.
    status: u16,
    /// What was wrong with this request.
    detail: &'a str,
    /// The kind of problem, in a word.
    code: &'a str,
    /// Every fault of the configuration, one sentence each, where that is the problem.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    #[schema(value_type = Vec<String>, required = false)]
    faults: &'a [String],
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            reason: None,
            exceeded: None,
            faults: Vec::new(),
        }
    }

    /// A configuration that is not taken.
    pub(crate) fn of_configuration(faults: Vec<String>) -> Self {
        let detail = format!("nothing is changed, for: {}", faults.join("; "));
        Self {
            faults,
            ..Self::new(Code::InvalidConfiguration, detail)
        }
    }

    pub(crate) fn internal(reason: impl Into<String>) -> Self {
        Self::new(Code::ServerError, "something went wrong on our side").because(reason)
    }

    /// Adds what the log should know.
    #[must_use]
    pub(crate) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub(super) fn body(&self, errors: &str) -> ProblemBody<'_> {
        let (code, status, title) = self.code.parts();
        ProblemBody {
            kind: format!("{errors}#{code}"),
            title,
            status,
            detail: &self.detail,
            code,
            faults: &self.faults,
        }
    }
}

/// What the command line prints.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) if self.code == Code::ServerError => f.write_str(reason),
            _ => f.write_str(&self.detail),
        }
    }
}

impl std::error::Error for Problem {}

impl From<DbFault> for Problem {
    fn from(fault: DbFault) -> Self {
        match fault {
            DbFault::Unavailable(_) | DbFault::Collided => Self::new(
                Code::TemporarilyUnavailable,
                "the server cannot reach its data; try again",
            )
            .because(fault.to_string()),
            DbFault::Unexpected(_) | DbFault::Constraint(_) => Self::internal(fault.to_string()),
        }
    }
}

impl From<OAuthError> for Problem {
    fn from(error: OAuthError) -> Self {
        let code = match error.code {
            ErrorCode::InvalidToken => Code::InvalidToken,
            ErrorCode::InvalidDpopProof => Code::InvalidDpopProof,
            ErrorCode::UseDpopNonce => Code::UseDpopNonce,
            ErrorCode::InsufficientScope => Code::InsufficientScope,
            ErrorCode::AccessDenied => Code::AccessDenied,
            _ => Code::InvalidRequest,
        };
        Self::new(code, error.description.into_owned()).because(error.reason.into_owned())
    }
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        Self {
            exceeded: Some(exceeded),
            ..Self::new(
                Code::TooManyRequests,
                "too many requests; wait as Retry-After says",
            )
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error.into(),
            Failure::Limited(exceeded) => exceeded.into(),
            Failure::Db(fault) => fault.into(),
            Failure::Away { sentence, reason, .. } => {
                Self::new(Code::TemporarilyUnavailable, sentence).because(reason)
            }
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<RegisterFault> for Stop {
    fn from(fault: RegisterFault) -> Self {
        match fault {
            RegisterFault::Db(fault) => fault.into(),
            fault => Self::Problem(fault.into()),
        }
    }
}

impl From<RegisterFault> for Problem {
    fn from(fault: RegisterFault) -> Self {
        let sentence = fault.to_string();
        match fault {
            RegisterFault::Asked(_) => Self::new(Code::InvalidClientMetadata, sentence),
            RegisterFault::Metadata(fault) if fault.code == ErrorCode::InvalidRedirectUri => {
                Self::new(Code::InvalidRedirectUri, sentence)
            }
            RegisterFault::Metadata(_) => Self::new(Code::InvalidClientMetadata, sentence),
            RegisterFault::NoSuchClient(_) => Self::new(Code::NotFound, sentence),
            RegisterFault::Db(fault) => fault.into(),
            RegisterFault::Json(_) | RegisterFault::NoRandomness(_) => Self::internal(sentence),
        }
    }
}
