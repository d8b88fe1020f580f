//! `GET` and `DELETE` on the endpoint: the standing stream of a session, and its end.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use rmcp::model::ProtocolVersion;
use shared::clock::now;

use super::{find, hears, knows_priming, opening};
use crate::app::Node;
use crate::gate::{Operation, Outcome};
use crate::mcp::reply::{self, Piece};
use crate::mcp::sessions::{Owner, STANDALONE};

/// The method of a request that only ends a session, for the gate.
const END: &str = "notifications/cancelled";

/// `GET`: what the server has to say that answers no request; with `Last-Event-ID`, a stream that broke goes on.
pub(crate) async fn listen(request: HttpRequest, node: web::Data<Node>) -> HttpResponse {
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.listen),
    };
    let Some(sessions) = node.sessions.clone().filter(|_| !is_modern(&request)) else {
        return not_here();
    };
    let permit = match opening::seat(&request, &node, &caller) {
        Ok(permit) => permit,
        Err(answer) => return answer,
    };
    let session = match find(&sessions, &request, &caller) {
        Ok(session) => session,
        Err(missing) => return missing.plain(),
    };
    let last = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let last = last.filter(|id| !id.is_empty());
    let may_hear = hears(&node, &caller);
    let feed = match last.map(place) {
        // What was told when nobody listened is told now.
        None => session.read(STANDALONE, None, may_hear),
        Some(Some((stream, number))) => session.read(stream, Some(number), may_hear),
        Some(None) => None,
    };
    let Some(feed) = feed else {
        // An error would make clients ask for the same again and again; an end does not.
        return reply::events(stream::empty::<Piece>(), None, None, std::future::ready(()));
    };
    let primed = last.is_none() && knows_priming(&session);
    let first = primed.then(|| reply::primed(&feed.place()));
    let cut = opening::end(node, caller, permit);
    reply::events(feed.pieces(), None, first, cut)
}

/// `DELETE`: the client is done.
pub(crate) async fn close(request: HttpRequest, node: web::Data<Node>) -> HttpResponse {
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.basic),
    };
    let Some(sessions) = node.sessions.clone().filter(|_| !is_modern(&request)) else {
        return not_here();
    };
    let operation = Operation {
        method: END,
        ..Operation::default()
    };
    match node.gate.permit(&caller, &operation, now()) {
        Ok(permit) => permit.end(Outcome::Done),
        Err(refusal) => return node.refuse(&refusal, &node.hints.basic),
    }
    match find(&sessions, &request, &caller) {
        Ok(_) => {
            let id = request.headers().get(&super::SESSION);
            let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
            sessions.close(id, &Owner::of(&caller));
            HttpResponse::NoContent().finish()
        }
        Err(missing) => missing.plain(),
    }
}

/// The newest revision has neither sessions nor streams of this kind.
fn is_modern(request: &HttpRequest) -> bool {
    let version = request.headers().get("mcp-protocol-version");
    let version = version.and_then(|value| value.to_str().ok()).map(str::trim);
    version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28.as_str())
}

fn not_here() -> HttpResponse {
    let sentence = "this address does not know the method";
    let mut answer = ::web::answer::error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", sentence);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("POST"));
    answer
}

/// Stream and number of an event's id.
fn place(id: &str) -> Option<(u64, u64)> {
    let (stream, number) = id.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}
