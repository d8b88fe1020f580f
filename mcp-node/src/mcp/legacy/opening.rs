//! What every standing stream has in common, whichever address it was opened at: its client reads events, it takes a seat,
//! and it lasts as long as its token and the program.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::now;

use crate::app::Node;
use crate::auth::Caller;
use crate::gate::{Operation, Permit};
use crate::mcp::reply::Accepts;

/// The right to a stream for `caller`; else the answer.
pub(super) fn seat(request: &HttpRequest, node: &Node, caller: &Arc<Caller>) -> Result<Permit, HttpResponse> {
    if !matches!(
        Accepts::of(request.headers()),
        Some(Accepts::Both | Accepts::Events)
    ) {
        let sentence = "Accept must allow text/event-stream";
        return Err(::web::answer::error(
            StatusCode::NOT_ACCEPTABLE,
            "invalid_request",
            sentence,
        ));
    }
    let permit = node.gate.permit(caller, &Operation::listen(), now());
    let mut permit = permit.map_err(|refusal| node.refuse(&refusal, &node.hints.listen))?;
    permit.is_endless();
    Ok(permit)
}

/// Waits until the stream must end, and holds its seat as long.
pub(super) fn end(
    node: web::Data<Node>,
    caller: Arc<Caller>,
    permit: Permit,
) -> impl Future<Output = ()> + 'static {
    let over = node.into_inner().end_of_stream(caller, true);
    async move {
        over.await;
        drop(permit);
    }
}
