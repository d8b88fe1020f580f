//! Request bodies: bounded in size and in time. actix has no deadline of its own for a body that trickles in.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;

use crate::answer;

/// Time for a whole body.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Why a body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyFault {
    /// More bytes than this endpoint takes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// Not all of it came within [`DEADLINE`].
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection broke, or its framing is wrong.
    #[error("the body is broken")]
    Broken,
}

impl BodyFault {
    /// 413, 408 or 400. The connection is closed: what is left of the body is not a request.
    pub fn answer(self) -> HttpResponse {
        let (status, sentence) = match self {
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "the request body did not arrive in time",
            ),
            Self::Broken => (StatusCode::BAD_REQUEST, "the request body is broken"),
        };
        let mut answer = answer::error(status, "invalid_request", sentence);
        answer
            .head_mut()
            .set_connection_type(actix_web::http::ConnectionType::Close);
        answer
    }
}

/// Reads the body, at most `limit` bytes within [`DEADLINE`].
pub async fn read(request: &HttpRequest, payload: web::Payload, limit: usize) -> Result<Bytes, BodyFault> {
    if declared_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(BodyFault::TooLarge(limit));
    }
    match tokio::time::timeout(DEADLINE, collect(payload, limit)).await {
        Ok(body) => body,
        Err(_) => Err(BodyFault::TooSlow),
    }
}

async fn collect(mut payload: web::Payload, limit: usize) -> Result<Bytes, BodyFault> {
    let Some(first) = payload.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|_| BodyFault::Broken)?;
    if first.len() > limit {
        return Err(BodyFault::TooLarge(limit));
    }
    // Most bodies come in one piece, which is then not copied.
    let Some(second) = payload.next().await else {
        return Ok(first);
    };
    let mut body = BytesMut::from(first.as_ref());
    let mut next = Some(second);
    while let Some(chunk) = next {
        let chunk = chunk.map_err(|_| BodyFault::Broken)?;
        if body.len() + chunk.len() > limit {
            return Err(BodyFault::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
        next = payload.next().await;
    }
    Ok(body.freeze())
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
