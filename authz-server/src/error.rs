//! The one place that turns a failure into an answer, and logs it, once.

use std::time::Duration;

use ::web::address::ClientAddress;
use ::web::answer::{self, ErrorBody};
use ::web::body::BodyFault;
use ::web::rates::Exceeded;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::NoRandomness;

use crate::app::App;
use crate::db::DbFault;
use crate::dpop;
use crate::pages::{self, Failed, Lang, Page, Reason, Texts};

/// Why an endpoint did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The body was too large, too slow or broken.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// A rate limit.
    #[error("too many requests")]
    Limited(Exceeded),
    /// What a person meets on the way, with a page of its own.
    #[error("{0:?}")]
    Shown(Trouble),
    /// A form that was not made for this browser, or an interaction that is not its own.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The caller's request cannot be granted.
    #[error(transparent)]
    Refused(#[from] OAuthError),
    /// Somebody else's part of it cannot be had just now, so that nothing was decided. The reason is for the log.
    #[error("{reason}")]
    Away {
        sentence: &'static str,
        reason: String,
        wait: Duration,
    },
    /// Our own trouble. The text is for the log.
    #[error("{0}")]
    Internal(String),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbFault),
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        Self::Limited(exceeded)
    }
}

impl From<NoRandomness> for Failure {
    fn from(fault: NoRandomness) -> Self {
        Self::Internal(fault.to_string())
    }
}

/// What people can run into. Each has its page; the log line is the same for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// The client that sent them is unknown or revoked.
    Client,
    /// Its request would send them to an address that is not registered.
    Redirect,
    /// What they had begun is over.
    Expired,
    /// What they had begun was decided before.
    Decided,
    /// A one-time link is unknown, used or too old.
    Link,
    /// Signing in elsewhere did not work.
    Upstream,
    /// The other place where they signed in is none where one may, any more.
    OtherProvider,
    /// Nobody here belongs to the account elsewhere.
    NoAccount,
    /// No call waits there for this person's answer.
    Approval,
}

impl Trouble {
    fn reason(self, texts: &'static Texts) -> &'static Reason {
        match self {
            Self::Client => &texts.failed_client,
            Self::Redirect => &texts.failed_redirect,
            Self::Expired => &texts.failed_expired,
            Self::Decided => &texts.failed_decided,
            Self::Link => &texts.failed_link,
            Self::Upstream => &texts.failed_upstream,
            Self::OtherProvider => &texts.failed_other_provider,
            Self::NoAccount => &texts.failed_no_account,
            Self::Approval => &texts.failed_approval,
        }
    }
}

/// Answers `failure`. Secrets are in none of its texts.
pub(crate) fn answer(app: &App, request: &HttpRequest, failure: Failure) -> HttpResponse {
    let client = ClientAddress::of(request).0;
    let path = request.path();
    match failure {
        Failure::Body(fault) => fault.answer(),
        Failure::Limited(exceeded) => {
            app.metrics.refused("rate_limit");
            tracing::info!(%client, path, "refused: too many requests");
            exceeded.answer()
        }
        Failure::Forbidden(reason) => {
            app.metrics.refused("forbidden");
            tracing::info!(%client, path, reason, "refused: forbidden");
            answer::error(
                StatusCode::FORBIDDEN,
                "access_denied",
                "this request does not come from a page that this server showed to this browser",
            )
        }
        Failure::Shown(trouble) => {
            app.metrics.refused(ErrorCode::InvalidRequest.as_str());
            tracing::info!(%client, path, reason = ?trouble, "refused");
            answer::error(
                StatusCode::BAD_REQUEST,
                ErrorCode::InvalidRequest.as_str(),
                "this address cannot be used in that way, or no longer",
            )
        }
        Failure::Refused(refusal) => {
            app.metrics.refused(refusal.code.as_str());
            tracing::info!(%client, path, error = %refusal.code, reason = %refusal.reason, "refused");
            refused(app, request, &refusal)
        }
        Failure::Away {
            sentence,
            reason,
            wait,
        } => {
            app.metrics.refused(ErrorCode::TemporarilyUnavailable.as_str());
            tracing::info!(%client, path, reason, "refused: not available");
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            answer::unavailable(sentence, seconds.max(1))
        }
        Failure::Db(DbFault::Unexpected(reason) | DbFault::Constraint(reason))
        | Failure::Internal(reason) => {
            tracing::error!(%client, path, reason, "failed");
            answer::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "something went wrong on our side",
            )
        }
        Failure::Db(fault @ (DbFault::Unavailable(_) | DbFault::Collided)) => {
            tracing::error!(%client, path, reason = %fault, "not available");
            answer::unavailable("the server cannot reach its data; try again", 2)
        }
    }
}

/// Answers `failure` to a person: the same log line, status and headers, but a page. It repeats nothing of the
/// request and leads nowhere (RFC 9700 §4.11).
pub(crate) fn page(app: &App, request: &HttpRequest, failure: Failure) -> HttpResponse {
    let header = request.headers().get(ACCEPT_LANGUAGE);
    let lang = Lang::choose(None, header.and_then(|value| value.to_str().ok()));
    let texts = lang.texts();
    let (reason, code) = match &failure {
        Failure::Shown(trouble) => (trouble.reason(texts), ErrorCode::InvalidRequest.as_str()),
        Failure::Forbidden(_) => (&texts.failed_form, ErrorCode::AccessDenied.as_str()),
        Failure::Limited(_) => (&texts.failed_too_many, "too_many_requests"),
        Failure::Refused(refusal) => (&texts.failed_request, refusal.code.as_str()),
        Failure::Body(_) => (&texts.failed_request, ErrorCode::InvalidRequest.as_str()),
        Failure::Away { .. } | Failure::Db(DbFault::Unavailable(_) | DbFault::Collided) => {
            (&texts.failed_busy, ErrorCode::TemporarilyUnavailable.as_str())
        }
        Failure::Db(_) | Failure::Internal(_) => (&texts.failed_internal, ErrorCode::ServerError.as_str()),
    };
    let template = Failed {
        page: Page {
            lang,
            base: app.config.issuer.path(),
            csrf: "",
        },
        reason,
        code,
    };
    let plain = answer(app, request, failure);
    let mut shown = pages::render(&template, plain.status(), &[]);
    if let Some(seconds) = plain.headers().get(RETRY_AFTER) {
        shown.headers_mut().insert(RETRY_AFTER, seconds.clone());
    }
    shown
}

fn refused(app: &App, request: &HttpRequest, refusal: &OAuthError) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let uri = format!("{}#{}", app.config.issuer.endpoint("/docs/errors"), refusal.code);
    let body = ErrorBody {
        error: refusal.code.as_str(),
        error_description: &refusal.description,
        error_uri: Some(&uri),
    };
    let mut answer = answer::error_with(status, &body);
    if refusal.code == ErrorCode::TemporarilyUnavailable {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    // RFC 6749 §5.2: with the scheme that the client used.
    if refusal.code == ErrorCode::InvalidClient && request.headers().contains_key(AUTHORIZATION) {
        let challenge = HeaderValue::from_static("Basic realm=\"token endpoint\", charset=\"UTF-8\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if refusal.code == ErrorCode::UseDpopNonce {
        dpop::offer_nonce(app, answer.headers_mut());
    }
    answer
}
