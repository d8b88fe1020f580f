//! `subscriptions/listen` of 2026-07-28, served from the board.

use rmcp::ErrorData;
use rmcp::model::SubscriptionFilter;
use rmcp::service::{SubscriptionContext, SubscriptionSendError, SubscriptionSink};

use super::{Change, Heard, News, Reader};
use crate::auth::Caller;
use crate::mcp::end::End;
use crate::mcp::resources::STATUS;

/// A moment on the board. Taken before a subscription is acknowledged, so that nothing falls between the two: a client
/// may change something the moment that it reads the acknowledgement.
#[derive(Clone)]
pub struct Mark(Reader);

impl News {
    /// This moment.
    pub fn mark(&self) -> Mark {
        Mark(self.read())
    }

    /// Tells `subscription` of every change after `since` that it accepted, until the client goes away or the stream
    /// must end (then the client is told so: MCP 2026-07-28, "Subscriptions").
    ///
    /// # Errors
    ///
    /// None yet; the signature is that of [`rmcp::ServerHandler::listen`].
    pub async fn serve(&self, subscription: &SubscriptionContext, since: Mark) -> Result<(), ErrorData> {
        let mut reader = since.0;
        let accepted = subscription.accepted();
        // Whoever serves without the node's door tells nobody apart.
        let who = Caller::of(&subscription.request_context().extensions).map(|caller| caller.who());
        let uris = accepted.resource_subscriptions.clone().unwrap_or_default();
        let _following = self.follow(&who.unwrap_or_default(), uris);
        let end = End::of(&subscription.request_context().extensions);
        loop {
            let heard = tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                () = end.reached() => return Ok(()),
                heard = reader.next() => heard,
            };
            if say(subscription.sink(), accepted, &heard).await.is_err() {
                // Nobody is there to hear why.
                return Ok(());
            }
        }
    }
}

async fn say(
    sink: &SubscriptionSink,
    accepted: &SubscriptionFilter,
    heard: &Heard,
) -> Result<(), SubscriptionSendError> {
    let every = matches!(heard, Heard::Missed { .. });
    let is = |change: &Change| every || matches!(heard, Heard::Change { change: told, .. } if told == change);
    if accepted.tools_list_changed == Some(true) && is(&Change::ToolList) {
        sink.notify_tool_list_changed().await?;
    }
    if accepted.prompts_list_changed == Some(true) && is(&Change::PromptList) {
        sink.notify_prompt_list_changed().await?;
    }
    if accepted.resources_list_changed == Some(true) && is(&Change::ResourceList) {
        sink.notify_resource_list_changed().await?;
    }
    for uri in accepted.resource_subscriptions.iter().flatten() {
        if every || heard.is_about(uri) {
            sink.notify_resource_updated(uri.clone()).await?;
        }
    }
    Ok(())
}

impl Heard {
    /// Whether it says that the content of `uri` has changed.
    pub(crate) fn is_about(&self, uri: &str) -> bool {
        match self {
            Self::Change { change, .. } => match change {
                Change::Resource(changed) => **changed == *uri,
                Change::Node | Change::Peer { .. } => uri == STATUS,
                _ => false,
            },
            Self::Missed { .. } => true,
        }
    }
}
