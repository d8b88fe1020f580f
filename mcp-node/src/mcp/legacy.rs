//! The revisions up to 2025-11-25: stateless, or with sessions where the operator wants them.
#![expect(
    deprecated,
    reason = "logging left MCP with SEP-2577; the older revisions have it"
)]

mod batch;
mod faults;
mod opening;
mod pair;
mod standing;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, Stream};
use rmcp::ServerHandler;
use rmcp::model::{
    ClientCapabilities, ClientJsonRpcMessage, ClientNotification, ClientRequest, GetMeta,
    InitializeRequestParams, JsonRpcRequest, ProtocolVersion, ServerJsonRpcMessage, ServerResult,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) use self::batch::many;
use self::faults::{NoSession, Refused, not_opened};
pub(crate) use self::pair::{send as post_message, stream as open_pair};
pub(crate) use self::standing::{close as close_session, listen as open_stream};
use super::end::End;
use super::exchange::{self, Channel, Opening};
use super::message::{INVALID_REQUEST, Kind, Message};
use super::refusal;
use super::reply::{self, Accepts, Piece, Plan};
use super::sessions::{Beginning, Effect, Introduced, MayHear, Owner, Session, SessionOutbox, Sessions};
use super::transport::{Transport, passed_on};
use super::{InSession, LAST_WORDS};
use crate::app::Node;
use crate::auth::Caller;
use crate::gate::{Needs, Outcome, Permit};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// A request that was let in, and what it takes to answer it.
pub(super) struct Arrived<H: ServerHandler> {
    pub(super) request: HttpRequest,
    pub(super) caller: Arc<Caller>,
    pub(super) node: web::Data<Node>,
    pub(super) transport: web::Data<Transport<H>>,
    pub(super) accepts: Accepts,
}

/// Answers one message of an older revision.
pub(super) async fn one<H: ServerHandler>(
    arrived: &Arrived<H>,
    message: &Message<'_>,
    permit: Permit,
    bytes: &Bytes,
) -> HttpResponse {
    let introduces_itself = message.kind() == Kind::Request && message.method() == "initialize";
    let session = match arrived.session().filter(|_| !introduces_itself) {
        Some(Ok(session)) => Some(session),
        Some(Err(missing)) => return missing.answer(message),
        None => None,
    };
    let Ok(parsed) = serde_json::from_slice::<ClientJsonRpcMessage>(bytes) else {
        let error = message.error(INVALID_REQUEST, "the message is not one of MCP");
        return refusal::json_rpc(StatusCode::BAD_REQUEST, &error);
    };
    let request = match parsed {
        ClientJsonRpcMessage::Request(request) => request,
        other => {
            permit.end(Outcome::Done);
            return match (session, message.kind()) {
                (None, Kind::Answer) => {
                    let sentence = "answers to requests of the server are not expected here";
                    let error = message.error(INVALID_REQUEST, sentence);
                    refusal::json_rpc(StatusCode::BAD_REQUEST, &error)
                }
                (session, _) => {
                    if let Some(session) = session {
                        take_note(&session, other).await;
                    }
                    HttpResponse::Accepted().finish()
                }
            };
        }
    };
    match session {
        Some(session) => arrived.in_session(&session, request, permit).await,
        None if introduces_itself && arrived.node.sessions.is_some() => {
            arrived.begin_session(request, permit).await
        }
        None => arrived.alone(request, permit).await,
    }
}

/// A notification or an answer of the client.
pub(super) async fn take_note(session: &Session, message: ClientJsonRpcMessage) {
    if let ClientJsonRpcMessage::Notification(notification) = &message {
        if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
            && let Some(request) = cancelled.params.request_id.clone()
        {
            session.cancel(&request, message);
        }
        return;
    }
    session.answered(message).await;
}

impl<H: ServerHandler> Arrived<H> {
    /// The session that the request names; `None` where there are none.
    fn session(&self) -> Option<Result<Arc<Session>, NoSession>> {
        let sessions = self.node.sessions.as_deref()?;
        Some(find(sessions, &self.request, &self.caller))
    }

    /// Without a session: the answer, and nothing is remembered.
    async fn alone(&self, request: JsonRpcRequest<ClientRequest>, permit: Permit) -> HttpResponse {
        let (channel, messages) = Channel::new();
        let end = End::default();
        self.start(request, channel, permit, end.clone());
        let plan = self.plan(None);
        reply::give(pieces(messages), plan, self.cut(end)).await
    }

    /// Runs a request whose messages go to `channel`.
    fn start(&self, request: JsonRpcRequest<ClientRequest>, channel: Channel, permit: Permit, end: End) {
        let client = nobody(self.version_of(&request.request));
        let opening = Opening {
            request,
            client,
            parts: self.parts(end),
            stop: CancellationToken::new(),
        };
        exchange::start(
            self.transport.handler(),
            opening,
            channel,
            permit,
            exchange::inbox(),
        );
    }

    /// `initialize` where there are sessions: if it succeeds, one has begun.
    async fn begin_session(&self, request: JsonRpcRequest<ClientRequest>, permit: Permit) -> HttpResponse {
        let Some(sessions) = self.node.sessions.clone() else {
            return self.alone(request, permit).await;
        };
        let ClientRequest::InitializeRequest(introduction) = &request.request else {
            return self.alone(request, permit).await;
        };
        let mut client = introduction.params.clone();
        let (channel, mut messages) = Channel::new();
        let mut parts = self.parts(End::default());
        parts.extensions.insert(InSession);
        let opening = Opening {
            request,
            client: client.clone(),
            parts,
            stop: CancellationToken::new(),
        };
        exchange::start(
            self.transport.handler(),
            opening,
            channel,
            permit,
            exchange::inbox(),
        );
        let Some(message) = messages.recv().await else {
            return HttpResponse::NoContent().finish();
        };
        let mut id = None;
        if let ServerJsonRpcMessage::Response(response) = &message
            && let ServerResult::InitializeResult(result) = &response.result
        {
            client.protocol_version = result.protocol_version.clone();
            let introduced = Introduced {
                client,
                server: result.capabilities.clone(),
            };
            match sessions.open(Owner::of(&self.caller), Some(introduced)) {
                Ok((named, session)) => {
                    session.follow(&self.node.lasting.news);
                    id = HeaderValue::from_str(&named).ok();
                }
                Err(fault) => return not_opened(&fault),
            }
        }
        let once = stream::iter([Piece::of(&message)]);
        let mut answer = reply::give(once, self.plan(None), std::future::pending()).await;
        if let Some(id) = id {
            answer.headers_mut().insert(SESSION, id);
        }
        answer
    }

    /// A request in a session. Calls are told on a stream that can be resumed, where the client knows how.
    async fn in_session(
        &self,
        session: &Arc<Session>,
        request: JsonRpcRequest<ClientRequest>,
        permit: Permit,
    ) -> HttpResponse {
        let resumable =
            matches!(request.request, ClientRequest::CallToolRequest(_)) && knows_priming(session);
        let stream = session.open_stream();
        let end = End::default();
        if let Err(fault) = self.start_in(session, stream, request, (permit, end.clone())) {
            session.close_unused(stream);
            return fault.plain();
        }
        let may_hear = hears(&self.node, &self.caller);
        let Some(feed) = session.read(stream, Some(0), may_hear) else {
            return HttpResponse::NoContent().finish();
        };
        let place = resumable.then(|| session.place(stream));
        reply::give(feed.pieces(), self.plan(place), self.cut(end)).await
    }

    /// Runs a request whose messages go to `stream` of the session.
    fn start_in(
        &self,
        session: &Arc<Session>,
        stream: u64,
        mut request: JsonRpcRequest<ClientRequest>,
        (permit, end): (Permit, End),
    ) -> Result<(), Refused> {
        let mut client = session.client();
        let introduces = match &request.request {
            ClientRequest::InitializeRequest(introduction) => Some(introduction.params.clone()),
            _ => None,
        };
        if let Some(introduction) = &introduces {
            client = introduction.clone();
        }
        if self.accepts == Accepts::Json {
            // A question would never reach it.
            client.capabilities = ClientCapabilities::default();
        }
        let inbox = exchange::inbox();
        let beginning = Beginning {
            stream,
            inbox: inbox.0.clone(),
            effect: effect(&request.request),
            needs: Needs::new(request.request.method(), permit.rules().clone()),
        };
        session
            .begin(&request.id, beginning)
            .map_err(|fault| Refused::of(fault, &request))?;
        set_level(session, &mut request.request);
        let mut parts = self.parts(end);
        parts.extensions.insert(InSession);
        let outbox = SessionOutbox {
            session: Arc::clone(session),
            news: self.node.lasting.news.clone(),
            stream,
            request: request.id.clone(),
            introduces,
        };
        let opening = Opening {
            request,
            client,
            parts,
            stop: session.end().child_token(),
        };
        exchange::start(self.transport.handler(), opening, outbox, permit, inbox);
        Ok(())
    }

    fn plan(&self, resumable_from: Option<String>) -> Plan {
        Plan {
            accepts: self.accepts,
            answers: 1,
            is_batch: false,
            resumable_from,
        }
    }

    /// What a handler may look at.
    fn parts(&self, end: End) -> http::request::Parts {
        let mut parts = http::Request::new(()).into_parts().0;
        passed_on(self.request.headers(), &mut parts.headers);
        parts.extensions.insert(Arc::clone(&self.caller));
        parts.extensions.insert(end);
        parts
    }

    /// When a stream that answers this request is cut.
    fn cut(&self, end: End) -> impl Future<Output = ()> + 'static {
        let over = Arc::clone(&self.node).end_of_stream(Arc::clone(&self.caller), false);
        async move {
            over.await;
            end.reach();
            tokio::time::sleep(LAST_WORDS).await;
        }
    }

    /// The revision of a request without a session: `initialize` names it, others say it in the header, and who says
    /// nothing means 2025-03-26 (MCP 2025-11-25, "Protocol version header").
    fn version_of(&self, request: &ClientRequest) -> ProtocolVersion {
        if let ClientRequest::InitializeRequest(introduction) = request {
            return introduction.params.protocol_version.clone();
        }
        let header = self.request.headers().get("mcp-protocol-version");
        let named = header.and_then(|value| value.to_str().ok()).map(str::trim);
        let mut known = ProtocolVersion::KNOWN_VERSIONS.iter();
        known
            .find(|version| named == Some(version.as_str()))
            .cloned()
            .unwrap_or(ProtocolVersion::V_2025_03_26)
    }
}

/// The session that `request` names.
fn find(sessions: &Sessions, request: &HttpRequest, caller: &Caller) -> Result<Arc<Session>, NoSession> {
    let id = request.headers().get(&SESSION).ok_or(NoSession::NotNamed)?;
    let id = id.to_str().map_err(|_| NoSession::Unknown)?;
    sessions.find(id, &Owner::of(caller)).ok_or(NoSession::Unknown)
}

/// What `caller` may hear of a session: other tokens of the same owner may have been able to do more.
fn hears(node: &web::Data<Node>, caller: &Arc<Caller>) -> MayHear {
    let (node, caller) = (node.clone(), Arc::clone(caller));
    Box::new(move |needs| node.gate.may_hear(&caller, needs))
}

/// Whether the client of this session knows events without content.
fn knows_priming(session: &Session) -> bool {
    session.version() >= ProtocolVersion::V_2025_11_25
}

/// A client of which nothing is known but the revision that it speaks.
pub(super) fn nobody(version: ProtocolVersion) -> InitializeRequestParams {
    let mut client = InitializeRequestParams::default();
    client.protocol_version = version;
    client
}

/// The messages of an exchange without a session.
fn pieces(messages: mpsc::Receiver<ServerJsonRpcMessage>) -> impl Stream<Item = Piece> {
    stream::unfold(messages, |mut messages| async move {
        let message = messages.recv().await?;
        Some((Piece::of(&message), messages))
    })
}

fn effect(request: &ClientRequest) -> Option<Effect> {
    match request {
        ClientRequest::SubscribeRequest(request) => Some(Effect::Follow(request.params.uri.clone())),
        ClientRequest::UnsubscribeRequest(request) => Some(Effect::Unfollow(request.params.uri.clone())),
        ClientRequest::SetLevelRequest(request) => Some(Effect::Level(request.params.level)),
        _ => None,
    }
}

/// The session's level of messages, where requests of 2026-07-28 have theirs: handlers look at one place.
fn set_level(session: &Session, request: &mut ClientRequest) {
    if let Some(level) = session.level() {
        request.get_meta_mut().set_log_level(level);
    }
}

#[cfg(test)]
mod tests;
