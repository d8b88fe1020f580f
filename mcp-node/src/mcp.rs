//! `POST /mcp`: MCP over Streamable HTTP, revision 2026-07-28 and the older ones.
//!
//! The corridor: admit (token, rate) → media types → body → message → era and headers → gate → rmcp, by its own transport
//! for 2026-07-28 and by `legacy` for what came before.

pub mod ask;
pub mod news;
pub mod seal;

pub(crate) mod digest;
pub(crate) mod end;
mod era;
mod exchange;
mod handler;
pub(crate) mod legacy;
mod message;
pub(crate) mod offer;
mod refusal;
mod reply;
mod resources;
pub(crate) mod sessions;
mod tools;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use ::web::answer;
use ::web::body::read as read_body;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use http::request::Parts;
use rmcp::ServerHandler;
use rmcp::model::Extensions;
use shared::clock::now;

use self::end::End;
use self::era::Era;
pub(crate) use self::handler::EdgeHive;
use self::legacy::Arrived;
use self::message::Message;
use self::news::News;
use self::reply::Accepts;
use self::seal::Seal;
pub(crate) use self::transport::Transport;
use crate::app::Node;
use crate::gate::{LISTEN, Outcome, Permit};

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

/// Marks requests of a session: their client can be asked and told something.
#[derive(Clone, Copy)]
pub(crate) struct InSession;

impl InSession {
    /// Whether a request belongs to a session, or begins one.
    pub(crate) fn holds(extensions: &Extensions) -> bool {
        let parts = extensions.get::<Parts>();
        parts.is_some_and(|parts| parts.extensions.get::<Self>().is_some())
    }
}

/// The endpoint.
pub(crate) async fn post<H: ServerHandler>(
    request: HttpRequest,
    payload: web::Payload,
    node: web::Data<Node>,
    transport: web::Data<Transport<H>>,
) -> HttpResponse {
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return refusal::not_admitted(&refusal, &node),
    };
    if let Some(refusal) = has_json(request.headers()) {
        return refusal;
    }
    let Some(accepts) = Accepts::of(request.headers()) else {
        return unreadable("Accept must allow application/json or text/event-stream");
    };
    let bytes = match read_body(&request, payload, node.body_limit).await {
        Ok(bytes) => bytes,
        Err(fault) => return fault.answer(),
    };
    let arrived = Arrived {
        request,
        caller,
        node,
        transport,
        accepts,
    };
    if bytes.trim_ascii_start().starts_with(b"[") {
        return legacy::many(&arrived, &bytes).await;
    }
    let message = match Message::parse(&bytes) {
        Ok(message) => message,
        Err(malformed) => return refusal::json_rpc(StatusCode::BAD_REQUEST, &malformed),
    };
    let era = match era::check(arrived.request.headers(), &message) {
        Ok(era) => era,
        Err(refused) => return refusal::json_rpc(refused.status, &refused.error),
    };
    let permitted = arrived
        .node
        .gate
        .permit(&arrived.caller, &message.operation(), now());
    let permit = match permitted {
        Ok(permit) => permit,
        Err(refusal) => {
            arrived.node.count(&refusal);
            return refusal::not_permitted(&refusal, &message, &arrived.node.asks);
        }
    };
    match era {
        Era::Older => legacy::one(&arrived, &message, permit, &bytes).await,
        Era::Modern if message.is_request() => modern(arrived, &message, permit, bytes.clone()).await,
        Era::Modern => {
            // Nothing is kept between requests, so there is nothing that a notification could change.
            permit.end(Outcome::Done);
            HttpResponse::Accepted().finish()
        }
    }
}

/// Answers a request of 2026-07-28. When the client goes away, it is cancelled.
async fn modern<H: ServerHandler>(
    arrived: Arrived<H>,
    message: &Message<'_>,
    mut permit: Permit,
    bytes: Bytes,
) -> HttpResponse {
    let Arrived {
        request,
        caller,
        node,
        transport,
        accepts,
    } = arrived;
    let endless = message.method() == LISTEN;
    if endless {
        permit.is_endless();
    }
    if endless && accepts == Accepts::Json {
        return unreadable("a subscription is a stream: Accept must allow text/event-stream");
    }
    let end = End::default();
    let answer = transport
        .answer(
            request.headers(),
            (Arc::clone(&caller), permit.notes()),
            end.clone(),
            bytes,
        )
        .await;
    let cut = async move {
        node.into_inner().end_of_stream(caller, endless).await;
        end.reach();
        tokio::time::sleep(LAST_WORDS).await;
    };
    transport::to_actix(answer, cut, permit, accepts).await
}

/// A refusal of every body but JSON.
fn has_json(headers: &HeaderMap) -> Option<HttpResponse> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return None;
    }
    let sentence = "the body must be application/json";
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some(answer::error(status, "invalid_request", sentence))
}

fn unreadable(sentence: &'static str) -> HttpResponse {
    answer::error(StatusCode::NOT_ACCEPTABLE, "invalid_request", sentence)
}

#[cfg(test)]
mod tests;
