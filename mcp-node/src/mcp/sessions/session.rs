//! One session: what is under way in it, what it has to say, and what its client wants to hear.
#![expect(
    deprecated,
    reason = "logging left MCP with SEP-2577; the older revisions have it"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rmcp::model::{
    ClientJsonRpcMessage, InitializeRequestParams, LoggingLevel, ProtocolVersion, RequestId,
    ServerCapabilities,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Owner;
use super::feed::{Feed, MayHear};
use super::log::{Log, STANDALONE};
use crate::gate::Needs;
use crate::mcp::news::{Change, Following, Heard, News};

/// So many requests of one session are answered at once.
const MAX_FLIGHTS: usize = 64;
/// So many resources are watched for one session.
const MAX_FOLLOWED: usize = 64;
/// Their URIs have so many bytes together.
const MAX_FOLLOWED_BYTES: usize = 64 * 1024;

/// What client and server said of themselves at the beginning.
pub(in crate::mcp) struct Introduced {
    /// The client, with the revision that both agreed upon.
    pub(in crate::mcp) client: InitializeRequestParams,
    /// What the server promised.
    pub(in crate::mcp) server: ServerCapabilities,
}

/// One session.
pub(in crate::mcp) struct Session {
    owner: Owner,
    introduced: OnceLock<Introduced>,
    born: Instant,
    /// Cancelled when the session ends, and with it everything that is under way.
    pub(super) end: CancellationToken,
    pub(super) changed: watch::Sender<()>,
    state: Mutex<State>,
}

/// What changes in a session.
pub(super) struct State {
    pub(super) log: Log,
    pub(super) flights: HashMap<RequestId, Flight>,
    pub(super) questions: HashMap<i64, Question>,
    pub(super) next_question: i64,
    pub(super) readers: usize,
    /// Each with what it takes to read it.
    followed: BTreeMap<String, Arc<Needs>>,
    following: Option<Following>,
    level: Option<LoggingLevel>,
    used: Instant,
}

/// A request that is being answered.
pub(super) struct Flight {
    pub(super) inbox: mpsc::Sender<ClientJsonRpcMessage>,
    pub(super) stream: u64,
    pub(super) needs: Arc<Needs>,
    effect: Option<Effect>,
}

/// A request that begins.
pub(in crate::mcp) struct Beginning {
    /// Where its answer goes.
    pub(in crate::mcp) stream: u64,
    /// Where its handler hears of the client.
    pub(in crate::mcp) inbox: mpsc::Sender<ClientJsonRpcMessage>,
    /// What it changes.
    pub(in crate::mcp) effect: Option<Effect>,
    /// What it took, and so does hearing the answer.
    pub(in crate::mcp) needs: Needs,
}

/// A question to the client that has no answer yet.
pub(super) struct Question {
    pub(super) inbox: mpsc::Sender<ClientJsonRpcMessage>,
    /// The request in whose course it was asked.
    pub(super) request: RequestId,
    /// The id by which its handler knows it.
    pub(super) id: RequestId,
}

/// What a request changes in the session, if it succeeds.
#[derive(Clone, Debug)]
pub(in crate::mcp) enum Effect {
    /// `resources/subscribe`.
    Follow(String),
    /// `resources/unsubscribe`.
    Unfollow(String),
    /// `logging/setLevel`.
    Level(LoggingLevel),
}

/// Why a request is not begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::mcp) enum NotBegun {
    /// Another request of this id is being answered.
    IdInUse,
    /// Too many are.
    TooMany,
    /// So many resources are followed.
    TooMuchFollowed,
}

impl State {
    /// Whether there is room to follow this resource too.
    fn may_follow(&self, uri: &str) -> bool {
        let bytes: usize = self.followed.keys().map(String::len).sum();
        self.followed.contains_key(uri)
            || (self.followed.len() < MAX_FOLLOWED && bytes + uri.len() <= MAX_FOLLOWED_BYTES)
    }
}

impl Session {
    pub(super) fn new(owner: Owner, introduced: Option<Introduced>, replay: usize) -> Self {
        let now = Instant::now();
        Self {
            owner,
            introduced: introduced.map(OnceLock::from).unwrap_or_default(),
            born: now,
            end: CancellationToken::new(),
            changed: watch::Sender::new(()),
            state: Mutex::new(State {
                log: Log::new(replay),
                flights: HashMap::new(),
                questions: HashMap::new(),
                next_question: 1,
                readers: 0,
                followed: BTreeMap::new(),
                following: None,
                level: None,
                used: now,
            }),
        }
    }

    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        self.owner == *owner
    }

    pub(super) fn born(&self) -> Instant {
        self.born
    }

    pub(super) fn used(&self) -> Instant {
        self.state().used
    }

    pub(super) fn touch(&self, now: Instant) {
        self.state().used = now;
    }

    /// Whether somebody waits for something.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.state();
        state.readers > 0 || !state.flights.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.end.is_cancelled()
    }

    /// Ends the session.
    pub(in crate::mcp) fn close(&self) {
        self.end.cancel();
        self.state().following = None;
    }

    /// Cancelled when the session ends.
    pub(in crate::mcp) fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Both have introduced themselves.
    pub(super) fn introduce(&self, introduced: Introduced) {
        let _ = self.introduced.set(introduced);
    }

    /// The client as it introduced itself; as a client of the oldest revision before it has.
    pub(in crate::mcp) fn client(&self) -> InitializeRequestParams {
        self.introduced.get().map_or_else(
            || super::super::legacy::nobody(ProtocolVersion::V_2024_11_05),
            |introduced| introduced.client.clone(),
        )
    }

    /// The revision that is spoken.
    pub(in crate::mcp) fn version(&self) -> ProtocolVersion {
        self.client().protocol_version
    }

    /// The level of messages that the client wants to see, once it has said so.
    pub(in crate::mcp) fn level(&self) -> Option<LoggingLevel> {
        self.state().level
    }

    /// A stream for the answers to requests.
    pub(in crate::mcp) fn open_stream(&self) -> u64 {
        self.state().log.open()
    }

    /// Forgets a stream on which nothing was begun.
    pub(in crate::mcp) fn close_unused(&self, stream: u64) {
        self.state().log.drop_if_over(stream);
    }

    /// Begins a request.
    pub(in crate::mcp) fn begin(&self, request: &RequestId, beginning: Beginning) -> Result<(), NotBegun> {
        let Beginning {
            stream,
            inbox,
            effect,
            needs,
        } = beginning;
        let mut state = self.state();
        if state.flights.contains_key(request) {
            return Err(NotBegun::IdInUse);
        }
        if state.flights.len() >= MAX_FLIGHTS {
            return Err(NotBegun::TooMany);
        }
        if matches!(&effect, Some(Effect::Follow(uri)) if !state.may_follow(uri)) {
            return Err(NotBegun::TooMuchFollowed);
        }
        if let Some(channel) = state.log.stream(stream) {
            channel.pending.push(request.clone());
        }
        let flight = Flight {
            inbox,
            stream,
            needs: Arc::new(needs),
            effect,
        };
        state.flights.insert(request.clone(), flight);
        Ok(())
    }

    /// The client does not want the answer any more: the request's handler is told, and its stream ends.
    pub(in crate::mcp) fn cancel(&self, request: &RequestId, message: ClientJsonRpcMessage) {
        let mut state = self.state();
        if let Some(flight) = state.flights.remove(request) {
            // A handler that has not read sixteen messages will not miss this one: its stream is gone.
            let _ = flight.inbox.try_send(message);
            state.questions.retain(|_, question| question.request != *request);
            state.log.abandon(flight.stream, request);
            drop(state);
            self.changed.send_replace(());
        }
    }

    /// Brings the client's answer to whoever asked. One that comes too late is nobody's.
    pub(in crate::mcp) async fn answered(&self, message: ClientJsonRpcMessage) {
        let number = match &message {
            ClientJsonRpcMessage::Response(response) => Some(&response.id),
            ClientJsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        let Some(RequestId::Number(number)) = number else {
            return;
        };
        let Some(question) = self.state().questions.remove(number) else {
            return;
        };
        let message = match message {
            ClientJsonRpcMessage::Response(response) => {
                ClientJsonRpcMessage::response(response.result, question.id)
            }
            ClientJsonRpcMessage::Error(error) => ClientJsonRpcMessage::error(error.error, Some(question.id)),
            other => other,
        };
        let _ = question.inbox.send(message).await;
    }

    /// The request has been answered; what it changes counts if it `succeeded`.
    pub(super) fn finish(&self, state: &mut State, request: &RequestId, succeeded: bool, news: &News) {
        state.used = Instant::now();
        state.questions.retain(|_, question| question.request != *request);
        let Some(Flight { effect, needs, .. }) = state.flights.remove(request) else {
            return;
        };
        match effect.filter(|_| succeeded) {
            Some(Effect::Follow(uri)) if state.may_follow(&uri) => {
                state.followed.insert(uri, needs);
            }
            Some(Effect::Unfollow(uri)) => {
                state.followed.remove(&uri);
            }
            Some(Effect::Level(level)) => {
                state.level = Some(level);
                return;
            }
            _ => return,
        }
        let uris = state.followed.keys().cloned();
        state.following = Some(news.follow(&self.owner.who(), uris));
    }

    /// Tells the client what changes, as long as the session lasts.
    pub(in crate::mcp) fn follow(self: &Arc<Self>, news: &News) {
        let mut reader = news.read();
        let session = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    heard = reader.next() => session.hear(&heard),
                    () = session.end.cancelled() => return,
                }
            }
        });
    }

    fn hear(&self, heard: &Heard) {
        let mut state = self.state();
        let told = self.notices(&state, heard);
        if told.is_empty() {
            return;
        }
        for (notice, needs) in told {
            let json = notice.to_string();
            // One that nobody has read yet says the same.
            if !state.log.is_unread(&json) {
                state.log.push(STANDALONE, json, None, &needs);
            }
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// What `heard` is for this client, each with what it takes to hear it: nothing but what the server promised and the
    /// client asked for.
    pub(super) fn notices(&self, state: &State, heard: &Heard) -> Vec<(Value, Arc<Needs>)> {
        let Some(introduced) = self.introduced.get() else {
            return Vec::new();
        };
        let server = &introduced.server;
        let every = matches!(heard, Heard::Missed { .. });
        let is =
            |change: &Change| every || matches!(heard, Heard::Change { change: told, .. } if told == change);
        let notice = |method: &str| json!({"jsonrpc": "2.0", "method": method});
        let mut notices = Vec::new();
        let promised = server.tools.as_ref().and_then(|tools| tools.list_changed);
        if promised == Some(true) && is(&Change::ToolList) {
            notices.push((notice("notifications/tools/list_changed"), Arc::default()));
        }
        let promised = server.prompts.as_ref().and_then(|prompts| prompts.list_changed);
        if promised == Some(true) && is(&Change::PromptList) {
            notices.push((notice("notifications/prompts/list_changed"), Arc::default()));
        }
        let resources = server.resources.as_ref();
        if resources.and_then(|resources| resources.list_changed) == Some(true) && is(&Change::ResourceList) {
            notices.push((notice("notifications/resources/list_changed"), Arc::default()));
        }
        for (uri, needs) in state.followed.iter().filter(|(uri, _)| heard.is_about(uri)) {
            let mut updated = notice("notifications/resources/updated");
            updated["params"] = json!({ "uri": uri });
            notices.push((updated, Arc::clone(needs)));
        }
        notices
    }

    /// Reads `stream` from the message after this number on, or from where the last reader stopped, as far as the reader
    /// may hear what is said there. Whoever read it before does no longer.
    pub(in crate::mcp) fn read(
        self: &Arc<Self>,
        stream: u64,
        after: Option<u64>,
        may_hear: MayHear,
    ) -> Option<Feed> {
        let mut state = self.state();
        let channel = state.log.stream(stream)?;
        channel.reader += 1;
        let reader = channel.reader;
        let after = after.unwrap_or(channel.read);
        state.readers += 1;
        drop(state);
        // The one before has to notice.
        self.changed.send_replace(());
        Some(Feed::new(Arc::clone(self), (stream, after), reader, may_hear))
    }

    /// The place of the latest message in `stream`.
    pub(in crate::mcp) fn place(&self, stream: u64) -> String {
        format!("{stream}-{}", self.state().log.latest())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
