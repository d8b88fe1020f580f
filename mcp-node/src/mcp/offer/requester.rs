//! Who asks, and how they can be reached before the answer is there.

use std::sync::Arc;

use actix_web::HttpRequest;
use http::HeaderValue;
use http::request::Parts;
use rmcp::ErrorData;
use rmcp::model::{Extensions, RequestMetaObject};
use rmcp::service::{Peer, RequestContext, RoleServer};
use shared::trace::TRACEPARENT;
use tokio_util::sync::CancellationToken;

use crate::approval::Notes;
use crate::auth::Caller;

/// The caller of one request.
#[derive(Clone)]
pub(crate) struct Requester {
    /// Who it is.
    pub(crate) caller: Arc<Caller>,
    /// What the request says of itself: its progress token, its trace, the client's capabilities.
    pub(crate) meta: RequestMetaObject,
    /// Where notifications and questions go while the request is answered; `None` over plain HTTP.
    pub(crate) peer: Option<Peer<RoleServer>>,
    /// Cancelled when nobody waits for the answer any more.
    pub(crate) gone: CancellationToken,
    /// What the audit log is to know of the request.
    pub(crate) notes: Arc<Notes>,
    /// The `traceparent` under which what it asks for is asked of others (W3C Trace Context): this node's own, where
    /// traces are made, or that of whoever called.
    pub(crate) traceparent: Option<HeaderValue>,
}

impl Requester {
    /// The caller of an MCP request.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Result<Self, ErrorData> {
        // The transport puts the caller there; a request without one did not come through the door.
        let caller = Caller::of(&context.extensions)
            .cloned()
            .ok_or_else(|| ErrorData::internal_error("nobody has been admitted", None))?;
        Ok(Self {
            caller,
            meta: context.meta.clone(),
            peer: Some(context.peer.clone()),
            gone: context.ct.clone(),
            notes: notes(&context.extensions),
            traceparent: traceparent(&context.extensions),
        })
    }

    /// The caller of a plain HTTP request: its future is dropped when nobody waits any more.
    pub(crate) fn plain(caller: Arc<Caller>, notes: Arc<Notes>) -> Self {
        Self {
            caller,
            notes,
            traceparent: None,
            meta: RequestMetaObject::default(),
            peer: None,
            gone: CancellationToken::new(),
        }
    }
}

fn traceparent(extensions: &Extensions) -> Option<HeaderValue> {
    let parts = extensions.get::<Parts>()?;
    parts.headers.get(TRACEPARENT).cloned()
}

impl Requester {
    /// The same, in the trace of a plain HTTP request.
    pub(crate) fn in_trace_of(mut self, request: &HttpRequest) -> Self {
        let header = request.headers().get(TRACEPARENT);
        self.traceparent = header.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
        self
    }
}

/// Those of the permit under which a request runs.
fn notes(extensions: &Extensions) -> Arc<Notes> {
    let parts = extensions.get::<Parts>();
    let notes = parts.and_then(|parts| parts.extensions.get::<Arc<Notes>>());
    notes.map(Arc::clone).unwrap_or_default()
}
