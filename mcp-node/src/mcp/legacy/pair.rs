//! The transport of 2024-11-05: one address for the stream of everything that the server says, and one to which the client
//! posts its messages. Off unless the operator switches it on.
//!
//! The client learns the second address from the first event. The handle in it is no authentication: every message
//! shows its token, and the handle means something only to those whose it is.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use rmcp::ServerHandler;
use rmcp::model::ClientJsonRpcMessage;
use shared::clock::now;

use super::faults::{NoSession, not_opened};
use super::{Arrived, hears, opening, take_note};
use crate::app::Node;
use crate::gate::Outcome;
use crate::mcp::end::End;
use crate::mcp::message::{INVALID_REQUEST, Member, Message};
use crate::mcp::reply::{self, Accepts};
use crate::mcp::sessions::{Owner, STANDALONE};
use crate::mcp::transport::Transport;
use crate::mcp::{has_json, read_body, refusal};

/// `GET …/sse`: opens the stream, and with it a session that ends when the stream does.
pub(crate) async fn stream(request: HttpRequest, node: web::Data<Node>) -> HttpResponse {
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.listen),
    };
    let permit = match opening::seat(&request, &node, &caller) {
        Ok(permit) => permit,
        Err(answer) => return answer,
    };
    let (id, session) = match node.pairs.open(Owner::of(&caller), None) {
        Ok(opened) => opened,
        Err(fault) => return not_opened(&fault),
    };
    session.follow(&node.lasting.news);
    let Some(feed) = session.read(STANDALONE, None, hears(&node, &caller)) else {
        return HttpResponse::NoContent().finish();
    };
    let beside = request.path().trim_end_matches("sse");
    let first = format!("event: endpoint\ndata: {beside}messages?session={id}\n\n");
    let cut = opening::end(node, caller, permit);
    reply::events(feed.ending_the_session().pieces(), None, Some(first), cut)
}

/// `POST …/messages?session=…`: one message; what answers it comes on the stream.
pub(crate) async fn send<H: ServerHandler>(
    request: HttpRequest,
    payload: web::Payload,
    node: web::Data<Node>,
    transport: web::Data<Transport<H>>,
) -> HttpResponse {
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.basic),
    };
    if let Some(refusal) = has_json(request.headers()) {
        return refusal;
    }
    let bytes = match read_body(&request, payload, node.body_limit).await {
        Ok(bytes) => bytes,
        Err(fault) => return fault.answer(),
    };
    let message = match Message::parse(&bytes) {
        Ok(message) => message,
        Err(malformed) => return refusal::json_rpc(StatusCode::BAD_REQUEST, &malformed),
    };
    if message.version != Member::Absent {
        let error = message.error(INVALID_REQUEST, "that revision does not use this transport");
        return refusal::json_rpc(StatusCode::BAD_REQUEST, &error);
    }
    let permit = match node.gate.permit(&caller, &message.operation(), now()) {
        Ok(permit) => permit,
        Err(refusal) => {
            node.count(&refusal);
            return refusal::not_permitted(&refusal, &message, &node.asks);
        }
    };
    let id = url::form_urlencoded::parse(request.query_string().as_bytes())
        .find_map(|(name, value)| (name == "session").then(|| value.into_owned()));
    let found = id.and_then(|id| node.pairs.find(&id, &Owner::of(&caller)));
    let Some(session) = found else {
        return NoSession::Unknown.answer(&message);
    };
    let arrived = Arrived {
        request: request.clone(),
        caller,
        node,
        transport,
        accepts: Accepts::Both,
    };
    match serde_json::from_slice(&bytes) {
        Ok(ClientJsonRpcMessage::Request(request)) => {
            let started = arrived.start_in(&session, STANDALONE, request, (permit, End::default()));
            if let Err(refused) = started {
                return refused.plain();
            }
        }
        Ok(other) => {
            permit.end(Outcome::Done);
            take_note(&session, other).await;
        }
        Err(_) => {
            let error = message.error(INVALID_REQUEST, "the message is not one of MCP");
            return refusal::json_rpc(StatusCode::BAD_REQUEST, &error);
        }
    }
    HttpResponse::Accepted().body("Accepted")
}
