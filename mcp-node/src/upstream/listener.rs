//! What an upstream says of its own accord: that what it has is other now, and questions to whoever called.

use std::sync::Arc;

use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientResult, ErrorCode, Implementation, ProtocolVersion,
    ServerNotification, ServerRequest,
};
use rmcp::service::{InboundStreamOrigin, NotificationContext, RequestContext, Service};
use rmcp::{ErrorData, RoleClient};
use serde_json::json;
use tokio::sync::{Notify, oneshot};

use super::Upstream;
use super::flights::{Flights, Said};
use super::names::Names;
use crate::mcp::news::{Change, News};

/// The node as a client.
pub(super) struct Listener {
    flights: Arc<Flights>,
    changed: Arc<Notify>,
    news: News,
    names: Names,
}

impl Listener {
    pub(super) fn new(flights: Arc<Flights>, changed: Arc<Notify>, upstream: &Upstream) -> Self {
        Self {
            flights,
            changed,
            news: upstream.news.clone(),
            names: upstream.names.clone(),
        }
    }

    /// Asks whoever made the request that the question belongs to.
    async fn ask(
        &self,
        question: ServerRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        let whom = match context.extensions.get::<InboundStreamOrigin>() {
            Some(InboundStreamOrigin::OutboundRequest(id)) => self.flights.by_id(id),
            Some(InboundStreamOrigin::Unassociated) => None,
            None => self.flights.only(),
        };
        let whom = whom.ok_or_else(|| {
            let sentence = "the question belongs to no call, or to one of several";
            ErrorData::invalid_params(sentence, None)
        })?;
        let (answer, answered) = oneshot::channel();
        whom.send(Said::Question(Box::new(question), answer))
            .await
            .map_err(|_| nobody())?;
        tokio::select! {
            answer = answered => answer.map_err(|_| nobody())?,
            () = context.ct.cancelled() => Err(nobody()),
        }
    }
}

/// The error for a question that nobody answers.
pub(super) fn nobody() -> ErrorData {
    let sentence = "the caller of this node cannot be asked, or does not wait any more";
    ErrorData::new(ErrorCode::INVALID_REQUEST, sentence, None)
}

impl Service<RoleClient> for Listener {
    async fn handle_request(
        &self,
        request: ServerRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        match request {
            ServerRequest::PingRequest(_) => Ok(ClientResult::empty(())),
            ServerRequest::CustomRequest(custom) => {
                Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, custom.method, None))
            }
            question => self.ask(question, context).await,
        }
    }

    async fn handle_notification(
        &self,
        notification: ServerNotification,
        _context: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        match notification {
            ServerNotification::ToolListChangedNotification(_)
            | ServerNotification::PromptListChangedNotification(_)
            | ServerNotification::ResourceListChangedNotification(_) => self.changed.notify_one(),
            ServerNotification::ResourceUpdatedNotification(updated)
                if !self.names.is_anothers_uri(&updated.params.uri) =>
            {
                let uri = self.names.offered_uri(&updated.params.uri);
                self.news.tell(Change::Resource(uri.into()));
            }
            _ => tracing::debug!("a notification of an upstream server concerns nobody"),
        }
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        let implementation = Implementation::new("edge-hive-node", env!("CARGO_PKG_VERSION"));
        // Whether the caller of the moment can be asked is found out when a question comes. That its roots are other now,
        // no caller can tell: a connection has many.
        let asks = json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}});
        let capabilities: ClientCapabilities = serde_json::from_value(asks).unwrap_or_default();
        // What `initialize` asks for; the newest revision has none.
        ClientConfig::new(capabilities, implementation)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}
