//! Answers with a JSON-RPC error, for requests that do not reach rmcp.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::message::{Message, RpcError};
use crate::error::{Asks, Refusal};

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

/// What the gate refuses, with the headers that it has everywhere: a challenge that names every scope that this
/// operation needs (RFC 6750 §3.1), or when to come back.
///
/// MCP leaves codes outside of JSON-RPC's range to applications; ours is the HTTP status.
pub(super) fn not_permitted(refusal: &Refusal, message: &Message<'_>, asks: &Asks) -> HttpResponse {
    let plain = refusal.answer(asks, "");
    let mut error = message.error(i32::from(plain.status().as_u16()), refusal.sentence());
    error.details = Some(match refusal {
        Refusal::Scope(needed, _) => json!({"error": "insufficient_scope", "scope": needed}),
        other => json!({ "error": other.reason() }),
    });
    let mut answer = json_rpc(plain.status(), &error);
    for (name, value) in plain.headers().iter().filter(|(name, _)| *name != CONTENT_TYPE) {
        answer.headers_mut().append(name.clone(), value.clone());
    }
    answer
}
