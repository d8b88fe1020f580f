//! `/discovery/…`: the local fleet, for whoever has the scopes of the fleet. Refusals are RFC 9457 problem documents.

use std::sync::Arc;

use ::web::answer;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use shared::clock::now;
use shared::fleet::name;

use crate::advertisement::own;
use crate::app::Node;
use crate::auth::Caller;
use crate::error::Refusal;
use crate::gate::{ANNOUNCE, CONNECT, LIST_PEERS, Operation, Outcome, Permit};
use crate::origin::guard;
use crate::p2p::NotConnected;
use crate::status::PeerStatus;

/// The routes.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    let announce = answer::resource("/discovery/announce", "POST");
    let peers = answer::resource("/discovery/peers", "GET, HEAD");
    let connect = answer::resource("/discovery/connect/{peer}", "POST");
    config
        .service(announce.wrap(from_fn(guard)).route(web::post().to(announce_now)))
        .service(peers.wrap(from_fn(guard)).route(answer::get().to(list)))
        .service(connect.wrap(from_fn(guard)).route(web::post().to(connect_to)));
}

/// `POST /discovery/announce`: tells other nodes of this one, now. Answers with what they are told.
async fn announce_now(request: HttpRequest, node: web::Data<Node>) -> HttpResponse {
    let (_caller, permit) = match admit(&request, &node, ANNOUNCE).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refused(&node, &refusal, &node.hints.announce),
    };
    let by_mdns = node.discovery.announces();
    if by_mdns {
        node.discovery.announce();
    }
    let said = own::current(&node).await;
    let by_p2p = node.tell_peers(said.clone());
    if !by_mdns && !by_p2p {
        permit.end(Outcome::Failed);
        return problem(
            StatusCode::CONFLICT,
            "discovery_off",
            "neither [discovery] nor [p2p] is on, so there is nobody to tell",
        );
    }
    permit.end(Outcome::Done);
    not_stored(&json!({"mdns": by_mdns, "p2p": by_p2p, "advertisement": said}))
}

/// `GET /discovery/peers`: the whole table, known nodes first.
async fn list(request: HttpRequest, node: web::Data<Node>) -> HttpResponse {
    let (_caller, permit) = match admit(&request, &node, LIST_PEERS).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refused(&node, &refusal, &node.hints.list_peers),
    };
    let peers: Vec<PeerStatus> = node.peers.list().iter().map(PeerStatus::of).collect();
    permit.end(Outcome::Done);
    not_stored(&json!({ "peers": peers }))
}

/// `POST /discovery/connect/{peer_id}`: connects to a node that this one has heard of, by its peer id or its node id, and
/// answers when it has proved who it is. Where it may be is in the table: a caller names no address.
async fn connect_to(request: HttpRequest, node: web::Data<Node>, id: web::Path<String>) -> HttpResponse {
    let (_caller, permit) = match admit(&request, &node, CONNECT).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refused(&node, &refusal, &node.hints.connect),
    };
    match connected(&node, &id).await {
        Ok(peer) => {
            permit.end(Outcome::Done);
            not_stored(&json!({ "peer": peer }))
        }
        Err((status, code, sentence)) => {
            permit.end(Outcome::Failed);
            problem(status, code, sentence)
        }
    }
}

type Problem = (StatusCode, &'static str, &'static str);

async fn connected(node: &Node, id: &str) -> Result<PeerStatus, Problem> {
    if !name::is_node_id(id) && name::public_key(id).is_none() {
        let sentence = "this is neither a node id nor the peer id of an Ed25519 key";
        return Err((StatusCode::BAD_REQUEST, "invalid_peer_id", sentence));
    }
    if node.observer.is_called(id) || node.advertised.is_called(id) {
        return Err((StatusCode::CONFLICT, "own_peer_id", "this is the node itself"));
    }
    if node.peers.is_revoked(id) {
        let sentence = "the enrolment of this node has ended";
        return Err((StatusCode::CONFLICT, "peer_revoked", sentence));
    }
    let Some(peer) = node.peers.find(id) else {
        let sentence = "nobody has spoken of such a node; name it in p2p.peers, or wait until it is heard of";
        return Err((StatusCode::NOT_FOUND, "unknown_peer", sentence));
    };
    if !peer.is_connected() {
        node.connect(&peer).await.map_err(not_connected)?;
    }
    let peer = node.peers.find(id).filter(crate::peers::Peer::is_connected);
    let peer = peer.ok_or((
        StatusCode::BAD_GATEWAY,
        "peer_unreachable",
        "the node was connected and is gone again",
    ))?;
    Ok(PeerStatus::of(&peer))
}

fn not_connected(fault: NotConnected) -> Problem {
    match fault {
        NotConnected::NoAddress => (
            StatusCode::BAD_GATEWAY,
            "peer_unreachable",
            "nobody has said where the node is, or only where it may not be called",
        ),
        NotConnected::Unreachable => (
            StatusCode::BAD_GATEWAY,
            "peer_unreachable",
            "the node cannot be reached where it is said to be",
        ),
        NotConnected::NotProven => (
            StatusCode::BAD_GATEWAY,
            "peer_not_proven",
            "the node answers, and has not proved to be of this fleet",
        ),
        NotConnected::Down => (
            StatusCode::CONFLICT,
            "p2p_off",
            "the network of peers does not run: p2p.enabled is false, or the node has not enrolled",
        ),
    }
}

async fn admit(
    request: &HttpRequest,
    node: &Node,
    method: &'static str,
) -> Result<(Arc<Caller>, Permit), Refusal> {
    let caller = node.admit(request).await?;
    let permit = node.gate.permit(&caller, &Operation::plain(method), now())?;
    Ok((caller, permit))
}

/// A refusal of the door or the gate, with its challenge and its times.
fn refused(node: &Node, refusal: &Refusal, hint: &str) -> HttpResponse {
    let answer = node.refuse(refusal, hint);
    let status = answer.status();
    let body = document(status, refusal.word(), refusal.sentence());
    let mut answer = answer.set_body(body.to_string());
    answer.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    answer.map_into_boxed_body()
}

/// RFC 9457 §3.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A problem document. `code` is explained in docs/errors.md.
pub(crate) fn problem(status: StatusCode, code: &str, sentence: &str) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, PROBLEM))
        .body(document(status, code, sentence).to_string())
}

fn document(status: StatusCode, code: &str, sentence: &str) -> Value {
    json!({
        // The status says it all; `error` says the rest (RFC 9457 §4.2.1).
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": sentence,
        "error": code,
    })
}

fn not_stored(document: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(document)
}
