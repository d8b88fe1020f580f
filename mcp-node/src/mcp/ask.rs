//! Asking the client something in the middle of a call: its user, its model, or itself.
//!
//! A tool writes one text for every revision: it asks, and either has the answers or hands the [`Asked::Later`] on.
//! Up to 2025-11-25 the question goes over the stream of the call, and the call waits; that takes a session. Since
//! 2026-07-28 the call ends with the questions, and the client calls again with the answers; what the tool wants to
//! remember until then travels with the client, sealed ([`super::seal`]).

mod answers;
mod dialogue;
mod question;

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, GetPromptRequestParams, InputRequests, InputRequiredResult,
    InputResponses, JsonObject, ProtocolVersion, ReadResourceRequestParams,
};
use rmcp::service::{Peer, PeerRequestOptions, RequestContext, RoleServer, ServiceError};
use shared::clock::UnixSeconds;
use tokio_util::sync::CancellationToken;

pub use self::answers::Answers;
use self::dialogue::Carried;
pub(crate) use self::dialogue::Dialogue;
pub use self::question::Question;
use super::offer::Requester;
use super::seal::{Binding, Seal};
use crate::gate::{CALL_TOOL, GET_PROMPT, READ_RESOURCE};

/// How long a client has for its answers, unless the tool says otherwise: a person may have gone for a coffee.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What came of asking.
#[derive(Debug)]
#[non_exhaustive]
pub enum Asked {
    /// The client has answered everything.
    Answered(Answers),
    /// The client will call again: this is the result of the call for now.
    Later(InputRequiredResult),
}

/// One call, and what its client has said so far.
pub struct Ask<'c> {
    peer: Option<Peer<RoleServer>>,
    gone: CancellationToken,
    seal: &'c Seal,
    binding: Binding,
    now: UnixSeconds,
    patience: Duration,
    /// Whether the client calls again with the answers (since 2026-07-28), or is asked over the stream of the call.
    by_rounds: bool,
    capabilities: ClientCapabilities,
    answers: Answers,
    carried: Carried,
    /// Names the next round, of a call that a person has allowed.
    next: Option<Dialogue>,
}

/// What is asked about: the call, and what its client brings with it.
#[derive(Clone, Copy)]
pub struct Call<'r> {
    method: &'static str,
    name: &'r str,
    arguments: Option<&'r JsonObject>,
    responses: Option<&'r InputResponses>,
    sealed: Option<&'r str>,
}

impl<'r> From<&'r CallToolRequestParams> for Call<'r> {
    fn from(request: &'r CallToolRequestParams) -> Self {
        Self {
            method: CALL_TOOL,
            name: &request.name,
            arguments: request.arguments.as_ref(),
            responses: request.input_responses.as_ref(),
            sealed: request.request_state.as_deref(),
        }
    }
}

impl<'r> From<&'r GetPromptRequestParams> for Call<'r> {
    fn from(request: &'r GetPromptRequestParams) -> Self {
        Self {
            method: GET_PROMPT,
            name: &request.name,
            arguments: request.arguments.as_ref(),
            responses: request.input_responses.as_ref(),
            sealed: request.request_state.as_deref(),
        }
    }
}

impl<'r> From<&'r ReadResourceRequestParams> for Call<'r> {
    fn from(request: &'r ReadResourceRequestParams) -> Self {
        Self {
            method: READ_RESOURCE,
            name: &request.uri,
            arguments: None,
            responses: request.input_responses.as_ref(),
            sealed: request.request_state.as_deref(),
        }
    }
}

impl<'c> Ask<'c> {
    /// Asks the client of a request that rmcp brought.
    ///
    /// # Errors
    ///
    /// "Invalid params" when the client brings a state that was not sealed for this call.
    pub fn new<'r>(
        context: &RequestContext<RoleServer>,
        call: impl Into<Call<'r>>,
        seal: &'c Seal,
    ) -> Result<Self, ErrorData> {
        Self::by(&Requester::of(context)?, call, seal)
    }

    /// Asks `requester`; errors as in [`Ask::new`]. A caller over plain HTTP can be asked nothing.
    pub(crate) fn by<'r>(
        requester: &Requester,
        call: impl Into<Call<'r>>,
        seal: &'c Seal,
    ) -> Result<Self, ErrorData> {
        let call = call.into();
        let binding = Binding::new(&requester.caller, call.method, call.name, call.arguments);
        let now = shared::clock::now();
        let known = requester.peer.as_ref().and_then(Peer::peer_info);
        let named = requester.meta.protocol_version();
        let version = named.or_else(|| known.as_ref().map(|known| known.protocol_version.clone()));
        let by_rounds = version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        let declared = requester.meta.client_capabilities();
        let capabilities = declared.or_else(|| known.map(|known| known.capabilities.clone()));
        // An older client has no business with either, and is asked over its stream.
        let (responses, sealed) = match by_rounds {
            true => (call.responses, call.sealed),
            false => (None, None),
        };
        let opened = sealed
            .map(|sealed| seal.open(&binding, sealed, now))
            .transpose()?;
        let carried = opened
            .as_deref()
            .map(Carried::read)
            .transpose()?
            .unwrap_or_default();
        Ok(Self {
            peer: requester.peer.clone(),
            gone: requester.gone.clone(),
            seal,
            binding,
            now,
            patience: PATIENCE,
            by_rounds,
            capabilities: capabilities.unwrap_or_default(),
            answers: Answers::given(responses),
            carried,
            next: None,
        })
    }

    /// Gives the client this long instead of [`PATIENCE`].
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Whether the client has said that it can be asked this. One that has not must not be.
    pub fn may_ask(&self, question: &Question) -> bool {
        question.suits(&self.capabilities)
    }

    /// Whether a client of this revision comes back with its answers, rather than giving them while the call waits.
    pub fn is_by_rounds(&self) -> bool {
        self.by_rounds
    }

    /// What this call has kept with the client in an earlier round.
    pub fn kept(&self) -> Option<&[u8]> {
        self.carried.kept.as_deref()
    }

    /// The round of a dialogue that its client comes back to, of a call that a person has allowed.
    pub(crate) fn dialogue(&self) -> Option<Dialogue> {
        self.carried.dialogue
    }

    /// Gives the next round this name.
    pub(crate) fn followed_by(mut self, next: Dialogue) -> Self {
        self.next = Some(next);
        self
    }

    /// What the client has answered in this round. Whoever asks with a state looks at [`Ask::kept`] first: a client may
    /// send answers that nobody has asked for.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Asks all of `questions`, each under its key, unless the client has already answered them in this round. `keep` is
    /// what [`Ask::kept`] gives in the next round.
    ///
    /// # Errors
    ///
    /// "Missing required client capability" for a question that the client cannot be asked; an internal error when it
    /// does not answer in time, or answers with an error.
    pub async fn ask(
        &self,
        questions: impl IntoIterator<Item = (String, Question)>,
        keep: Option<&[u8]>,
    ) -> Result<Asked, ErrorData> {
        let questions: Vec<_> = questions.into_iter().collect();
        for (_, question) in &questions {
            if !self.may_ask(question) {
                let needed = question.needed();
                return Err(ErrorData::missing_required_client_capability(needed));
            }
        }
        if self.by_rounds {
            if questions.iter().all(|(key, _)| self.answers.get(key).is_some()) {
                return Ok(Asked::Answered(self.answers.clone()));
            }
            return self.later(questions, keep).map(Asked::Later);
        }
        let mut answers = InputResponses::new();
        for (key, question) in questions {
            answers.insert(key, self.over_the_stream(question).await?);
        }
        Ok(Asked::Answered(Answers::given(Some(&answers))))
    }

    /// The result that asks `questions`, whatever has been answered before.
    ///
    /// # Errors
    ///
    /// An internal error when the operating system gives no randomness.
    pub fn later(
        &self,
        questions: impl IntoIterator<Item = (String, Question)>,
        keep: Option<&[u8]>,
    ) -> Result<InputRequiredResult, ErrorData> {
        let requests: InputRequests = questions
            .into_iter()
            .map(|(key, question)| (key, question.into_input()))
            .collect();
        let sealed = Carried::written(self.next, keep)
            .map(|carried| self.seal.close(&self.binding, &carried, self.now, self.patience))
            .transpose()
            .map_err(|fault| ErrorData::internal_error(fault.to_string(), None))?;
        Ok(InputRequiredResult::new(
            Some(requests).filter(|requests| !requests.is_empty()),
            sealed,
        ))
    }

    async fn over_the_stream(&self, question: Question) -> Result<serde_json::Value, ErrorData> {
        let options = PeerRequestOptions::with_timeout(self.patience);
        let Some(peer) = &self.peer else {
            return Err(ErrorData::internal_error("nobody can be asked", None));
        };
        let sent = peer
            .send_request_with_option(question.into_request(), options)
            .await;
        let answer = match sent {
            Ok(waiting) => tokio::select! {
                answer = waiting.await_response() => answer,
                () = self.gone.cancelled() => Err(ServiceError::TransportClosed),
            },
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(result) => serde_json::to_value(result)
                .map_err(|_| ErrorData::internal_error("the client's answer cannot be read", None)),
            Err(ServiceError::McpError(error)) => {
                let details = serde_json::json!({ "code": error.code, "message": error.message });
                Err(ErrorData::internal_error(
                    "the client did not answer the question",
                    Some(details),
                ))
            }
            Err(fault) => {
                tracing::info!(%fault, "a question got no answer");
                let sentence = match fault {
                    ServiceError::Timeout { .. } => "the client did not answer the question in time",
                    _ => "the client cannot be asked any more",
                };
                Err(ErrorData::internal_error(sentence, None))
            }
        }
    }
}
