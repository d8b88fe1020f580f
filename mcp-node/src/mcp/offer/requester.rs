//! Who asks, and how they can be reached before the answer is there.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::RequestMetaObject;
use rmcp::service::{Peer, RequestContext, RoleServer};
use tokio_util::sync::CancellationToken;

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
        })
    }

    /// The caller of a plain HTTP request: its future is dropped when nobody waits any more.
    pub(crate) fn plain(caller: Arc<Caller>) -> Self {
        Self {
            caller,
            meta: RequestMetaObject::default(),
            peer: None,
            gone: CancellationToken::new(),
        }
    }
}
