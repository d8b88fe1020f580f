//! `POST /mcp`: MCP over Streamable HTTP, revision 2026-07-28 and, statelessly, the older ones.
//!
//! The corridor: admit (token, rate) → media types → body → message → era and headers → scope → rmcp.

pub mod ask;
pub mod news;
pub mod seal;

pub(crate) mod digest;
pub(crate) mod end;
mod era;
mod handler;
mod message;
pub(crate) mod offer;
mod refusal;
mod resources;
mod tools;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use ::web::{answer, body};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use rmcp::ServerHandler;
use shared::clock::now;

use self::end::End;
pub(crate) use self::handler::EdgeHive;
use self::message::Message;
use self::news::News;
use self::seal::Seal;
pub(crate) use self::transport::Transport;
use crate::app::Node;
use crate::gate::{LISTEN, Outcome};

/// What outlives a request, for the handlers of all of them.
#[derive(Clone)]
pub struct Lasting {
    /// Where changes are told, and where streams hear of them.
    pub news: News,
    /// What keeps the state of a call from being read or forged while its client carries it.
    pub seal: Arc<Seal>,
}

/// How long a stream that must end has for saying so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The endpoint.
pub(crate) async fn post<H: ServerHandler>(
    request: HttpRequest,
    payload: web::Payload,
    node: web::Data<Node>,
    transport: web::Data<Transport<H>>,
) -> HttpResponse {
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.basic),
    };
    if let Some(refusal) = unacceptable(request.headers()) {
        return refusal;
    }
    let bytes = match body::read(&request, payload, node.body_limit).await {
        Ok(bytes) => bytes,
        Err(fault) => return fault.answer(),
    };
    let message = match Message::parse(&bytes) {
        Ok(message) => message,
        Err(malformed) => return refusal::json_rpc(StatusCode::BAD_REQUEST, &malformed),
    };
    if let Err(refused) = era::check(request.headers(), &message) {
        return refusal::json_rpc(refused.status, &refused.error);
    }
    let mut operation = message.operation();
    let arguments = node
        .gate
        .wants_arguments(&operation)
        .then(|| Message::arguments(&bytes));
    operation.arguments = arguments.as_ref().and_then(Option::as_ref);
    let permit = match node.gate.permit(&caller, &operation, now()) {
        Ok(permit) => permit,
        Err(refusal) => {
            node.count(&refusal);
            return refusal::not_permitted(&refusal, &message, &node.asks);
        }
    };
    if message.is_notification() {
        // Nothing is kept between requests, so there is nothing that a notification could change.
        permit.end(Outcome::Done);
        return HttpResponse::Accepted().finish();
    }
    let endless = message.method() == LISTEN;
    let end = End::default();
    let answer = transport
        .answer(request.headers(), Arc::clone(&caller), end.clone(), bytes.clone())
        .await;
    let cut = async move {
        node.into_inner().end_of_stream(caller, endless).await;
        end.reach();
        tokio::time::sleep(LAST_WORDS).await;
    };
    transport::to_actix(answer, cut, permit).await
}

/// Every answer is JSON, unless the handler streams. A client that cannot read both is told so before it asks.
fn unacceptable(headers: &HeaderMap) -> Option<HttpResponse> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let sentence = "the body must be application/json";
        return Some(answer::error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request",
            sentence,
        ));
    }
    if !transport::accepts_json_and_events(headers) {
        let sentence = "Accept must allow application/json and text/event-stream";
        return Some(answer::error(
            StatusCode::NOT_ACCEPTABLE,
            "invalid_request",
            sentence,
        ));
    }
    None
}

#[cfg(test)]
mod tests;
