//! Answers with a JSON-RPC error, for requests that do not reach rmcp.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::message::{Message, RpcError};
use crate::app::Node;
use crate::error::{Asks, Refusal};

/// `error` with this HTTP status.
pub(super) fn json_rpc(status: StatusCode, error: &RpcError) -> HttpResponse {
    HttpResponse::build(status).json(body(error))
}

/// `error` as a message.
pub(super) fn body(error: &RpcError) -> Value {
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
    Value::Object(body)
}

/// What the gate refuses, with the headers that it has everywhere: a challenge that names every scope that this
/// operation needs (RFC 6750 §3.1), or when to come back.
///
/// MCP leaves codes outside of JSON-RPC's range to applications; ours is the HTTP status.
pub(super) fn not_permitted(refusal: &Refusal, message: &Message<'_>, asks: &Asks) -> HttpResponse {
    with_headers(refusal.answer(asks, ""), refusal, |code| {
        message.error(code, refusal.sentence())
    })
}

/// What the door refuses, before the message is read. Limits have the form of MCP, without an id; everything else is an
/// answer about the token, whose form is OAuth's.
pub(super) fn not_admitted(refusal: &Refusal, node: &Node) -> HttpResponse {
    let plain = node.refuse(refusal, &node.hints.basic);
    if !matches!(refusal, Refusal::TooMany(_)) {
        return plain;
    }
    with_headers(plain, refusal, |code| RpcError {
        id: None,
        code,
        sentence: refusal.sentence().into(),
        details: None,
    })
}

fn with_headers(plain: HttpResponse, refusal: &Refusal, error: impl FnOnce(i32) -> RpcError) -> HttpResponse {
    let error = detailed(error(i32::from(plain.status().as_u16())), refusal);
    let mut answer = json_rpc(plain.status(), &error);
    for (name, value) in plain.headers().iter().filter(|(name, _)| *name != CONTENT_TYPE) {
        answer.headers_mut().append(name.clone(), value.clone());
    }
    answer
}

/// The same for one message of several, which have one status together.
pub(super) fn error(refusal: &Refusal, message: &Message<'_>, asks: &Asks) -> RpcError {
    let status = refusal.answer(asks, "").status();
    let error = message.error(i32::from(status.as_u16()), refusal.sentence());
    detailed(error, refusal)
}

fn detailed(mut error: RpcError, refusal: &Refusal) -> RpcError {
    error.details = Some(match refusal {
        Refusal::Scope(needed, _) => json!({"error": "insufficient_scope", "scope": needed}),
        other => json!({ "error": other.reason() }),
    });
    error
}
