//! Why a message of an older revision is not taken, beside what the gate says.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use rmcp::model::{ClientRequest, JsonRpcRequest};

use crate::mcp::message::{INVALID_REQUEST, Message, RpcError};
use crate::mcp::refusal;
use crate::mcp::sessions::{NotBegun, NotOpened};

/// Seconds after which a client that was too many may try again.
const TRY_AGAIN: u64 = 5;

/// Why there is no session for a request.
pub(super) enum NoSession {
    /// The header is missing.
    NotNamed,
    /// There is none of that id, or it is somebody else's.
    Unknown,
}

impl NoSession {
    fn error(&self) -> (StatusCode, RpcError) {
        let (status, code, sentence) = match self {
            Self::NotNamed => (
                StatusCode::BAD_REQUEST,
                INVALID_REQUEST,
                "the header Mcp-Session-Id is missing; begin with initialize",
            ),
            Self::Unknown => (
                StatusCode::NOT_FOUND,
                i32::from(StatusCode::NOT_FOUND.as_u16()),
                "there is no such session; begin again with initialize",
            ),
        };
        let error = RpcError {
            id: None,
            code,
            sentence: sentence.into(),
            details: None,
        };
        (status, error)
    }

    pub(super) fn answer(&self, message: &Message<'_>) -> HttpResponse {
        let (status, error) = self.error();
        refusal::json_rpc(status, &message.error(error.code, error.sentence))
    }

    pub(super) fn plain(&self) -> HttpResponse {
        let (status, error) = self.error();
        refusal::json_rpc(status, &error)
    }
}

/// A request that a session does not begin.
pub(super) struct Refused {
    fault: NotBegun,
    id: serde_json::Value,
}

impl Refused {
    pub(super) fn of(fault: NotBegun, request: &JsonRpcRequest<ClientRequest>) -> Self {
        Self {
            fault,
            id: serde_json::to_value(&request.id).unwrap_or_default(),
        }
    }

    pub(super) fn error(&self) -> RpcError {
        let (code, sentence) = match self.fault {
            NotBegun::IdInUse => (INVALID_REQUEST, "a request of this id is being answered"),
            NotBegun::TooMany => (429, "too many requests of this session are being answered"),
            NotBegun::TooMuchFollowed => (
                INVALID_REQUEST,
                "a session follows at most 64 resources, whose URIs have 65536 bytes together",
            ),
        };
        RpcError {
            id: Some(self.id.clone()),
            code,
            sentence: sentence.into(),
            details: None,
        }
    }

    pub(super) fn plain(&self) -> HttpResponse {
        let status = match self.fault {
            NotBegun::IdInUse | NotBegun::TooMuchFollowed => StatusCode::BAD_REQUEST,
            NotBegun::TooMany => StatusCode::TOO_MANY_REQUESTS,
        };
        let mut answer = refusal::json_rpc(status, &self.error());
        if self.fault == NotBegun::TooMany {
            answer.headers_mut().insert(RETRY_AFTER, TRY_AGAIN.into());
        }
        answer
    }
}

pub(super) fn not_opened(fault: &NotOpened) -> HttpResponse {
    tracing::warn!(%fault, "a session was not opened");
    ::web::answer::unavailable("too many sessions are open; try again later", TRY_AGAIN)
}
