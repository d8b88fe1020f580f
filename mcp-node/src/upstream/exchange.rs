//! One request to an upstream, from its first byte to its answer, on behalf of a caller of the node.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientRequest, ClientResult, CustomRequest,
    JsonObject, RequestMetaObject, ServerRequest,
};
use rmcp::service::{PeerRequestOptions, RequestHandle};
use rmcp::{ErrorData, RoleClient};
use serde_json::Value;
use shared::trace::TRACEPARENT;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::flights::{BACKLOG, Boarding};
use super::identity::TraceHeader;
use super::link::{Link, SIGN_OF_LIFE};
use super::seats::{Holder, Seat};
use super::{Said, Stage, Upstream, UpstreamFault, identity, logging};
use crate::config::IdentityForm;
use crate::mcp::offer::Requester;

/// How long a request waits for a server that is just being started again.
const COMES_BACK: Duration = Duration::from_secs(5);

/// Where the answer to a question goes.
pub(super) type Reply = oneshot::Sender<Result<ClientResult, ErrorData>>;

/// What comes next of a request.
pub(super) enum Next {
    /// Its result.
    Answer(Value),
    /// A question to whoever made it; it goes on when that is answered.
    Question(Box<ServerRequest>, Reply),
}

/// A request that the upstream has. Dropped without an answer, it is cancelled there.
pub(super) struct Exchange {
    link: Arc<Link>,
    sent: RequestHandle<RoleClient>,
    heard: mpsc::Receiver<Said>,
    is_answered: bool,
    patience: Duration,
    pub(super) limit: Instant,
    _seat: Seat,
}

impl Exchange {
    /// Sends the request.
    pub(super) async fn begin(
        upstream: &Upstream,
        method: &str,
        params: JsonObject,
        requester: &Requester,
    ) -> Result<Self, UpstreamFault> {
        let link = upstream.link().await?;
        let patience = upstream.config.call_timeout;
        let seat = timeout(patience, upstream.seats.take(Holder::of(&requester.caller))).await;
        let seat = seat
            .map_err(|_| UpstreamFault::Busy)?
            .ok_or(UpstreamFault::Away)?;
        let (said, heard) = mpsc::channel(BACKLOG);
        let mut request = CustomRequest::new(method, Some(Value::Object(params)));
        request.extensions.insert(Boarding(said));
        if upstream.config.identity == IdentityForm::Headers {
            request.extensions.insert(identity::headers(&requester.caller));
        }
        if let Some(traceparent) = &requester.traceparent {
            request.extensions.insert(TraceHeader(traceparent.clone()));
        }
        let meta = meta(upstream.config.identity, &link, requester);
        let options = PeerRequestOptions::no_options().with_meta(meta);
        let request = ClientRequest::CustomRequest(request);
        let sending = link.peer.send_cancellable_request(request, options);
        let Ok(sent) = timeout(patience, sending).await else {
            tokio::spawn(async move { link.prove_alive().await });
            return Err(UpstreamFault::Silent(patience));
        };
        let sent = sent?;
        Ok(Self {
            link,
            sent,
            heard,
            is_answered: false,
            patience,
            limit: Instant::now() + upstream.config.call_limit,
            _seat: seat,
        })
    }

    /// Waits for the answer or a question, and tells `requester` meanwhile what the server says.
    pub(super) async fn next(&mut self, requester: &Requester) -> Result<Next, UpstreamFault> {
        let next = self.wait(requester).await;
        if matches!(next, Err(UpstreamFault::Silent(_) | UpstreamFault::Ended)) {
            // It may be busy with this request only, and then it goes on living.
            let link = Arc::clone(&self.link);
            tokio::spawn(async move { link.prove_alive().await });
        }
        next
    }

    async fn wait(&mut self, requester: &Requester) -> Result<Next, UpstreamFault> {
        let mut deadline = Instant::now() + self.patience;
        loop {
            tokio::select! {
                // What was said before the answer is told before it.
                biased;
                Some(said) = self.heard.recv() => {
                    if let Said::Question(question, reply) = said {
                        return Ok(Next::Question(question, reply));
                    }
                    deadline = Instant::now() + self.patience;
                    tokio::select! {
                        () = tell(said, requester) => {}
                        () = requester.gone.cancelled() => return Err(UpstreamFault::Cancelled),
                    }
                }
                answer = &mut self.sent.rx => {
                    self.is_answered = true;
                    let result = answer.map_err(|_| UpstreamFault::Ended)??;
                    let value = serde_json::to_value(result);
                    return value.map(Next::Answer).map_err(|fault| UpstreamFault::Nonsense(fault.to_string()));
                }
                () = requester.gone.cancelled() => return Err(UpstreamFault::Cancelled),
                () = sleep_until(deadline.min(self.limit)) => {
                    return Err(UpstreamFault::Silent(self.patience));
                }
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if self.is_answered {
            return;
        }
        // It stays among the flights: the server may go on with it, and ask.
        let id = self.sent.id.clone();
        let link = Arc::clone(&self.link);
        runtime.spawn(async move {
            let reason = Some("nobody waits for the answer any more".to_owned());
            let cancelled = CancelledNotification::new(CancelledNotificationParam::new(Some(id), reason));
            // A connection that is gone has cancelled everything.
            let sending = link.peer.send_notification(cancelled.into());
            if timeout(SIGN_OF_LIFE, sending).await.is_err() {
                link.prove_alive().await;
            }
        });
    }
}

/// The request's `_meta`: what the caller said, but for what belongs to its own connection; and who it is.
fn meta(form: IdentityForm, link: &Link, requester: &Requester) -> RequestMetaObject {
    let mut meta = identity::passed_on(&requester.meta);
    if !link.is_modern() {
        // The revisions with `initialize` say these things once.
        meta.retain(|key, _| !key.starts_with("io.modelcontextprotocol/"));
    } else if meta.client_capabilities().is_none() {
        // The caller said it in its `initialize`, or is no MCP client.
        let known = requester.peer.as_ref().and_then(|peer| peer.peer_info());
        let capabilities = known.map(|known| known.capabilities.clone());
        meta.set_client_capabilities(capabilities.unwrap_or_default());
    }
    if let Some(Ok(traceparent)) = requester.traceparent.as_ref().map(|value| value.to_str()) {
        // MCP 2026-07-28, "_meta": its name is that of the header.
        meta.insert(TRACEPARENT.to_owned(), Value::from(traceparent));
    }
    if form == IdentityForm::Meta {
        identity::write_meta(&requester.caller, &mut meta);
    }
    meta
}

/// Tells the caller what the server said.
async fn tell(said: Said, requester: &Requester) {
    let Some(peer) = &requester.peer else { return };
    match said {
        Said::Progress(mut progress) => {
            if let Some(token) = requester.meta.get_progress_token() {
                progress.progress_token = token;
                peer.notify_progress(progress).await.ok();
            }
        }
        Said::Log(line) => {
            if logging::is_wanted(&line, &requester.meta) {
                logging::tell(peer, line).await;
            }
        }
        Said::Question(..) => {}
    }
}

impl Upstream {
    /// The connection, if there is one or comes to be one soon.
    async fn link(&self) -> Result<Arc<Link>, UpstreamFault> {
        let mut stage = self.stage.subscribe();
        // A server that has just ended may not have been seen to; the next connection is waited for.
        let up = stage.wait_for(|stage| matches!(stage, Stage::Up(link) if !link.peer.is_transport_closed()));
        let up = timeout(COMES_BACK.min(self.config.call_timeout), up).await;
        match up.as_ref().map(|up| up.as_deref()) {
            Ok(Ok(Stage::Up(link))) => Ok(Arc::clone(link)),
            _ => Err(UpstreamFault::Away),
        }
    }
}
