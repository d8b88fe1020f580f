//! One request of an older revision, from its handler's first word to the answer. It runs by itself: up to 2025-11-25 a
//! connection that breaks is no cancellation, `notifications/cancelled` is.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use http::request::Parts;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, GetExtensions, InitializeRequestParams,
    JsonRpcRequest, ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::{RoleServer, serve_directly_with_ct};
use rmcp::transport::Transport;
use rmcp::{ErrorData, ServerHandler};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::gate::{Outcome, Permit, TIMED_OUT};

/// So many messages wait between the connection and a handler.
const WAITING: usize = 16;

/// Where messages of a handler go on their way to its client.
pub(super) trait Outbox: Clone + Send + Sync + 'static {
    /// Takes a message. What is given back goes to the handler: the answer to a question that nobody can be asked.
    fn put(&self, message: ServerJsonRpcMessage)
    -> impl Future<Output = Option<ClientJsonRpcMessage>> + Send;
}

/// What an exchange begins with.
pub(super) struct Opening {
    /// The request.
    pub(super) request: JsonRpcRequest<ClientRequest>,
    /// What the client said when it introduced itself, with the revision that is spoken.
    pub(super) client: InitializeRequestParams,
    /// Caller, headers, and what else the handler may look at.
    pub(super) parts: Parts,
    /// Ends the exchange without an answer.
    pub(super) stop: CancellationToken,
}

/// The way to a handler for messages of its client.
pub(super) type Inbox = (
    mpsc::Sender<ClientJsonRpcMessage>,
    mpsc::Receiver<ClientJsonRpcMessage>,
);

/// A new [`Inbox`].
pub(super) fn inbox() -> Inbox {
    mpsc::channel(WAITING)
}

/// Begins an exchange. What is sent into the inbox reaches the handler. The permit is held to the end.
pub(super) fn start<H: ServerHandler>(
    handler: H,
    mut opening: Opening,
    outbox: impl Outbox,
    permit: Permit,
    (sender, inbox): Inbox,
) {
    opening.request.request.extensions_mut().insert(opening.parts);
    let outcome = Arc::new(OnceLock::new());
    let wire = Wire {
        first: Some(ClientJsonRpcMessage::Request(opening.request)),
        sender,
        inbox,
        outbox,
        over: CancellationToken::new(),
        outcome: Arc::clone(&outcome),
    };
    let running = serve_directly_with_ct(handler, wire, Some(opening.client), opening.stop);
    tokio::spawn(async move {
        if let Err(fault) = running.waiting().await {
            tracing::error!(%fault, "an exchange broke");
        }
        if let Some(outcome) = outcome.get() {
            permit.end(*outcome);
        }
    });
}

/// rmcp's connection to the client of one exchange.
struct Wire<O> {
    first: Option<ClientJsonRpcMessage>,
    sender: mpsc::Sender<ClientJsonRpcMessage>,
    inbox: mpsc::Receiver<ClientJsonRpcMessage>,
    outbox: O,
    /// The answer was given, or is not wanted any more.
    over: CancellationToken,
    outcome: Arc<OnceLock<Outcome>>,
}

impl<O: Outbox> Transport<RoleServer> for Wire<O> {
    type Error = Infallible;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        let (outbox, sender, over) = (self.outbox.clone(), self.sender.clone(), self.over.clone());
        let outcome = outcome(&message);
        if let Some(outcome) = outcome {
            let _ = self.outcome.set(outcome);
        }
        async move {
            if let Some(answer) = outbox.put(message).await {
                let _ = sender.send(answer).await;
            }
            if outcome.is_some() {
                over.cancel();
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let message = tokio::select! {
            message = self.inbox.recv() => message,
            () = self.over.cancelled() => None,
        };
        if let Some(ClientJsonRpcMessage::Notification(notification)) = &message
            && matches!(
                notification.notification,
                ClientNotification::CancelledNotification(_)
            )
        {
            // rmcp drops the answer, so nothing else would end the exchange.
            self.over.cancel();
        }
        message
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// How the exchange ended, if `message` ends it.
fn outcome(message: &ServerJsonRpcMessage) -> Option<Outcome> {
    match message {
        ServerJsonRpcMessage::Response(response) => Some(match &response.result {
            ServerResult::CallToolResult(result) if result.is_error == Some(true) => Outcome::ToolError,
            _ => Outcome::Done,
        }),
        ServerJsonRpcMessage::Error(error) if error.error.code.0 == TIMED_OUT => Some(Outcome::TimedOut),
        ServerJsonRpcMessage::Error(_) => Some(Outcome::Failed),
        _ => None,
    }
}

/// The connection of a request without a session: its client cannot be asked anything.
#[derive(Clone)]
pub(super) struct Channel(pub(super) mpsc::Sender<ServerJsonRpcMessage>);

impl Channel {
    /// A connection, and where its messages come out.
    pub(super) fn new() -> (Self, mpsc::Receiver<ServerJsonRpcMessage>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }
}

impl Outbox for Channel {
    async fn put(&self, message: ServerJsonRpcMessage) -> Option<ClientJsonRpcMessage> {
        if let ServerJsonRpcMessage::Request(question) = message {
            let nobody = ErrorData::invalid_request("without a session the client cannot be asked", None);
            return Some(ClientJsonRpcMessage::error(nobody, Some(question.id)));
        }
        // The client may be gone; the handler goes on.
        let _ = self.0.send(message).await;
        None
    }
}
