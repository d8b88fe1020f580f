//! Answers with a JSON-RPC error, for requests that do not reach rmcp.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use serde_json::{Map, Value, json};

use super::message::{Message, RpcError};
use crate::error::{Asks, Refusal};

/// MCP leaves codes outside of JSON-RPC's range to applications; ours is the HTTP status.
const INSUFFICIENT_SCOPE: i32 = 403;

/// `error` with this HTTP status.
pub(super) fn json_rpc(status: StatusCode, error: &RpcError) -> HttpResponse {
    let mut body = Map::new();
    body.insert("jsonrpc".to_owned(), json!("2.0"));
    // MCP's schema knows no null id: an error about an unknown request has none.
    if let Some(id) = &error.id {
        body.insert("id".to_owned(), id.clone());
    }
    let mut inner = Map::new();
    inner.insert("code".to_owned(), json!(error.code));
    inner.insert("message".to_owned(), json!(error.sentence));
    if let Some(details) = &error.details {
        inner.insert("data".to_owned(), details.clone());
    }
    body.insert("error".to_owned(), Value::Object(inner));
    HttpResponse::build(status).json(body)
}

/// 403 with the challenge that names every scope that this operation needs (RFC 6750 §3.1).
pub(super) fn insufficient_scope(refusal: &Refusal, message: &Message<'_>, asks: &Asks) -> HttpResponse {
    let mut error = message.error(INSUFFICIENT_SCOPE, refusal.sentence());
    if let Refusal::Scope(needed, _) = refusal {
        error.details = Some(json!({"error": "insufficient_scope", "scope": needed}));
    }
    let mut answer = json_rpc(StatusCode::FORBIDDEN, &error);
    if let Some(challenge) = refusal.challenge(asks, "") {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    answer
}
