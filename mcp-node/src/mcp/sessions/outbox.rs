//! How a handler's messages get into the session.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::{
    ClientJsonRpcMessage, InitializeRequestParams, RequestId, ServerJsonRpcMessage, ServerNotification,
    ServerResult,
};

use super::session::{Introduced, Question, Session};
use crate::mcp::exchange::Outbox;
use crate::mcp::news::News;
use crate::mcp::reply::written;

/// The way of one request's messages to a stream of the session.
#[derive(Clone)]
pub(in crate::mcp) struct SessionOutbox {
    pub(in crate::mcp) session: Arc<Session>,
    pub(in crate::mcp) news: News,
    pub(in crate::mcp) stream: u64,
    pub(in crate::mcp) request: RequestId,
    /// The client that introduces itself with this request.
    pub(in crate::mcp) introduces: Option<InitializeRequestParams>,
}

impl Outbox for SessionOutbox {
    async fn put(&self, message: ServerJsonRpcMessage) -> Option<ClientJsonRpcMessage> {
        let mut state = self.session.state();
        let Some(flight) = state.flights.get(&self.request) else {
            // Cancelled meanwhile: nobody waits for anything more of it.
            return match message {
                ServerJsonRpcMessage::Request(request) => {
                    let late = ErrorData::invalid_request("the request is over", None);
                    Some(ClientJsonRpcMessage::error(late, Some(request.id)))
                }
                _ => None,
            };
        };
        let needs = Arc::clone(&flight.needs);
        let (message, answers) = match message {
            ServerJsonRpcMessage::Request(mut request) => {
                // Handlers count their questions each for itself; a session has to tell them apart.
                let question = Question {
                    inbox: flight.inbox.clone(),
                    request: self.request.clone(),
                    id: request.id.clone(),
                };
                let number = state.next_question;
                state.next_question += 1;
                state.questions.insert(number, question);
                request.id = RequestId::Number(number);
                (ServerJsonRpcMessage::Request(request), None)
            }
            ServerJsonRpcMessage::Notification(mut told) => {
                if let ServerNotification::CancelledNotification(cancelled) = &mut told.notification {
                    // The question is no longer open.
                    let asked = cancelled.params.request_id.as_ref();
                    let number = state.questions.iter().find_map(|(number, question)| {
                        let is_it = question.request == self.request && Some(&question.id) == asked;
                        is_it.then_some(*number)
                    })?;
                    state.questions.remove(&number);
                    cancelled.params.request_id = Some(RequestId::Number(number));
                }
                (ServerJsonRpcMessage::Notification(told), None)
            }
            answer => {
                if let (ServerJsonRpcMessage::Response(response), Some(client)) = (&answer, &self.introduces)
                    && let ServerResult::InitializeResult(result) = &response.result
                {
                    let mut client = client.clone();
                    client.protocol_version = result.protocol_version.clone();
                    let server = result.capabilities.clone();
                    self.session.introduce(Introduced { client, server });
                }
                let succeeded = matches!(answer, ServerJsonRpcMessage::Response(_));
                self.session
                    .finish(&mut state, &self.request, succeeded, &self.news);
                (answer, Some(self.request.clone()))
            }
        };
        state.log.push(self.stream, written(&message), answers, &needs);
        drop(state);
        self.session.changed.send_replace(());
        None
    }
}
