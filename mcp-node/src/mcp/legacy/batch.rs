//! Batches of 2025-03-26: several messages in one body. Only that revision has them. Each message is judged, limited and
//! answered by itself.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use rmcp::ServerHandler;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcRequest, ProtocolVersion};
use serde_json::Value;
use shared::clock::now;
use shared::json::JsonFault;
use shared::scope::Scope;

use super::{Arrived, hears, pieces, take_note};
use crate::error::Refusal;
use crate::gate::{Outcome, Permit};
use crate::mcp::end::End;
use crate::mcp::exchange::Channel;
use crate::mcp::message::{INVALID_REQUEST, Kind, Member, Message, PARSE_ERROR, RpcError};
use crate::mcp::refusal;
use crate::mcp::reply::{self, Piece, Plan};

/// So many messages are read in one batch.
const MAX_MESSAGES: usize = 32;

/// What becomes of the messages of a batch.
#[derive(Default)]
struct Sorted {
    requests: Vec<(JsonRpcRequest<ClientRequest>, Permit)>,
    others: Vec<ClientJsonRpcMessage>,
    errors: Vec<RpcError>,
    /// What all of those lacked that may not do what they ask for.
    lacking: Option<Refusal>,
}

/// Answers a batch.
pub(in crate::mcp) async fn many<H: ServerHandler>(arrived: &Arrived<H>, bytes: &Bytes) -> HttpResponse {
    let session = match arrived.session() {
        Some(Ok(session)) => Some(session),
        Some(Err(missing)) => return missing.plain(),
        None => None,
    };
    let speaks = session.as_ref().map(|session| session.version());
    let members = match split(arrived, bytes, speaks) {
        Ok(members) => members,
        Err(sentence) => {
            let (code, sentence) = sentence;
            let error = RpcError {
                id: None,
                code,
                sentence: sentence.into(),
                details: None,
            };
            return refusal::json_rpc(StatusCode::BAD_REQUEST, &error);
        }
    };
    let mut sorted = Sorted::default();
    for (place, member) in members.iter().enumerate() {
        sort(arrived, place, member, &mut sorted);
    }
    for other in sorted.others {
        if let Some(session) = &session {
            take_note(session, other).await;
        }
    }
    if sorted.requests.is_empty() {
        if let Some(refusal) = &sorted.lacking {
            // Nothing may be done: the client is told as for a single request what it has to get.
            arrived.node.count(refusal);
            return arrived.node.refuse(refusal, "");
        }
        if sorted.errors.is_empty() {
            return HttpResponse::Accepted().finish();
        }
    }
    let end = End::default();
    let plan = Plan {
        accepts: arrived.accepts,
        answers: sorted.requests.len() + sorted.errors.len(),
        is_batch: true,
        resumable_from: None,
    };
    let mut errors: Vec<Piece> = sorted.errors.iter().map(piece).collect();
    let Some(session) = session else {
        let (channel, messages) = Channel::new();
        for (request, permit) in sorted.requests {
            arrived.start(request, channel.clone(), permit, end.clone());
        }
        drop(channel);
        let all = stream::iter(errors).chain(pieces(messages));
        return reply::give(all, plan, arrived.cut(end)).await;
    };
    let stream = session.open_stream();
    for (request, permit) in sorted.requests {
        if let Err(refused) = arrived.start_in(&session, stream, request, (permit, end.clone())) {
            errors.push(piece(&refused.error()));
        }
    }
    // Where every request was refused, nothing will come on it.
    session.close_unused(stream);
    let may_hear = hears(&arrived.node, &arrived.caller);
    match session.read(stream, Some(0), may_hear) {
        Some(feed) => {
            let all = stream::iter(errors).chain(feed.pieces());
            reply::give(all, plan, arrived.cut(end)).await
        }
        None => reply::give(stream::iter(errors), plan, std::future::pending()).await,
    }
}

/// The messages, if this is a batch that is served.
fn split<H: ServerHandler>(
    arrived: &Arrived<H>,
    bytes: &Bytes,
    speaks: Option<ProtocolVersion>,
) -> Result<Vec<Vec<u8>>, (i32, &'static str)> {
    let header = arrived.request.headers().get("mcp-protocol-version");
    let named = header.map(|value| value.to_str().unwrap_or_default().trim());
    let batches = ProtocolVersion::V_2025_03_26;
    let of_that_revision = named.is_none_or(|named| named == batches.as_str())
        && speaks.is_none_or(|version| version == batches);
    if !of_that_revision {
        return Err((
            INVALID_REQUEST,
            "the body must be one JSON-RPC object; only 2025-03-26 has batches",
        ));
    }
    let members = match shared::json::value(bytes) {
        Ok(Value::Array(members)) => members,
        // JSON, but not what was wanted of it.
        Err(JsonFault::Syntax(fault)) if fault.is_data() => {
            return Err((INVALID_REQUEST, "a member stands twice, or has a reserved name"));
        }
        _ => return Err((PARSE_ERROR, "the body is not JSON")),
    };
    if members.is_empty() {
        return Err((INVALID_REQUEST, "the batch is empty"));
    }
    if members.len() > MAX_MESSAGES {
        return Err((INVALID_REQUEST, "a batch has at most 32 messages"));
    }
    Ok(members
        .iter()
        .map(|member| member.to_string().into_bytes())
        .collect())
}

fn sort<H: ServerHandler>(arrived: &Arrived<H>, place: usize, member: &[u8], sorted: &mut Sorted) {
    let message = match Message::parse(member) {
        Ok(message) => message,
        Err(error) => return sorted.errors.push(error),
    };
    let refused = if message.version != Member::Absent {
        Some("only 2025-03-26 has batches")
    } else if message.method() == "initialize" {
        Some("initialize stands alone, not in a batch")
    } else {
        None
    };
    if let Some(sentence) = refused {
        return sorted.errors.push(message.error(INVALID_REQUEST, sentence));
    }
    // The first message was counted with the request.
    let counted = match place {
        0 => Ok(()),
        _ => arrived.node.count_against(&arrived.caller),
    };
    let permitted = counted.and_then(|()| {
        arrived
            .node
            .gate
            .permit(&arrived.caller, &message.operation(), now())
    });
    let permit = match permitted {
        Ok(permit) => permit,
        Err(refusal) => {
            sorted
                .errors
                .push(refusal::error(&refusal, &message, &arrived.node.asks));
            sorted.lacking = Some(together(sorted.lacking.take(), refusal));
            return;
        }
    };
    match serde_json::from_slice(member) {
        Ok(ClientJsonRpcMessage::Request(request)) => sorted.requests.push((request, permit)),
        Ok(other) => {
            permit.end(Outcome::Done);
            sorted.others.push(other);
        }
        Err(_) if message.kind() == Kind::Request => {
            sorted
                .errors
                .push(message.error(INVALID_REQUEST, "the message is not one of MCP"));
        }
        Err(_) => {}
    }
}

/// What two refused messages lack.
fn together(before: Option<Refusal>, refusal: Refusal) -> Refusal {
    match (before, refusal) {
        (Some(Refusal::Scope(one, scheme)), Refusal::Scope(other, _)) => {
            let all: Scope = one.union(&other);
            Refusal::Scope(all, scheme)
        }
        (Some(before), _) => before,
        (None, refusal) => refusal,
    }
}

fn piece(error: &RpcError) -> Piece {
    Piece {
        id: None,
        json: refusal::body(error).to_string(),
        is_answer: true,
    }
}
