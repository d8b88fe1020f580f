//! One node: everything that lives as long as the program, and the routes that lead to it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::web::address::ClientAddress;
use ::web::answer;
use ::web::metrics::Metrics;
use ::web::rates::{AddressLimit, KeyedLimit};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use arc_swap::ArcSwap;
use rmcp::ServerHandler;
use shared::clock::now;
use shared::dpop::ProofFault;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::advertisement::{Advertisement, Fixed, Reach};
use crate::approval::Approvals;
use crate::auth::{Caller, Door, Shown};
use crate::discovery::{self, Discovery};
use crate::error::{Asks, Refusal};
use crate::fleet::Membership;
use crate::gate::{ANNOUNCE, CALL_TOOL, CONNECT, Gate, LIST_PEERS, LISTEN, READ_RESOURCE, ScopeTable};
use crate::issuers::LEEWAY;
use crate::logs::Logs;
use crate::mcp::sessions::Sessions;
use crate::mcp::{self, Lasting, Transport, legacy};
use crate::metadata::{self, Documents};
use crate::origin::{Origins, guard, open};
use crate::p2p::{NotConnected, P2p};
use crate::peers::{Peer, Peers};
use crate::records::Records;
use crate::rest;
use crate::status::{NodeStatus, Observer};
use crate::upstream::Upstreams;

/// Events of this target say who called. They are in the operator's log, and not in the one that callers can read.
pub(crate) const CALLERS: &str = "mcp_node::callers";

/// How often it is looked whether a stream may go on.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// RFC 9449 §8.1.
pub(crate) const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The state of one node.
pub(crate) struct Node {
    pub(crate) observer: Observer,
    pub(crate) door: Door,
    pub(crate) gate: Gate,
    pub(crate) hints: Hints,
    pub(crate) origins: ArcSwap<Origins>,
    pub(crate) logs: Logs,
    pub(crate) documents: Documents,
    /// What every challenge asks for.
    pub(crate) asks: Asks,
    /// The path of the resource, `/mcp` for example.
    pub(crate) resource_path: String,
    /// The largest request body, in bytes.
    pub(crate) body_limit: usize,
    /// Requests by address, before authentication.
    pub(crate) per_ip: AddressLimit,
    pub(crate) per_client: KeyedLimit,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled when the program is asked to stop.
    pub(crate) stopping: CancellationToken,
    /// Whether MCP and its plain-JSON forms are served.
    pub(crate) mcp_enabled: bool,
    /// News, and the seal on what a call remembers with its client.
    pub(crate) lasting: Lasting,
    /// Sessions of older revisions, if the operator wants them.
    pub(crate) sessions: Option<Arc<Sessions>>,
    /// The streams of 2024-11-05.
    pub(crate) pairs: Arc<Sessions>,
    /// Whether there are any.
    pub(crate) http_sse: bool,
    /// The node's enrolment, in use; `None` for a node that has not enrolled, or as another one.
    pub(crate) membership: Option<Membership>,
    /// Calls that run only with a person's yes.
    pub(crate) approvals: Arc<Approvals>,
    /// The node as a protected resource.
    pub(crate) resource: String,
    /// Other MCP servers behind this node.
    pub(crate) upstreams: Upstreams,
    /// Other nodes.
    pub(crate) peers: Peers,
    /// How they are found on the local network.
    pub(crate) discovery: Discovery,
    /// How they are spoken to, once that runs.
    pub(crate) network: OnceLock<P2p>,
    /// Where this node is reached by them.
    pub(crate) reach: Reach,
    /// What the authorization server signs of this node and of them; `None` for one that has not enrolled.
    pub(crate) records: Option<Records>,
    /// What this node says of itself, as far as that does not change.
    pub(crate) advertised: Fixed,
}

/// The scope that a caller without token is told to get, by what it asked for.
#[derive(Debug)]
pub(crate) struct Hints {
    pub(crate) basic: String,
    pub(crate) call: String,
    pub(crate) read: String,
    pub(crate) listen: String,
    pub(crate) announce: String,
    pub(crate) list_peers: String,
    pub(crate) connect: String,
}

impl Hints {
    pub(crate) fn new(scopes: &ScopeTable) -> Self {
        Self {
            basic: scopes.basic(),
            call: scopes.hint(CALL_TOOL),
            read: scopes.hint(READ_RESOURCE),
            listen: scopes.hint(LISTEN),
            announce: scopes.hint(ANNOUNCE),
            list_peers: scopes.hint(LIST_PEERS),
            connect: scopes.hint(CONNECT),
        }
    }
}

impl Node {
    /// Who sent `request`, if its token is good and its client has not asked too often.
    pub(crate) async fn admit(&self, request: &HttpRequest) -> Result<Arc<Caller>, Refusal> {
        let caller = self.door.authenticate(&Shown::from(request), now()).await.inspect_err(|refusal| {
            self.gate.turned_away(refusal);
            let client = ClientAddress::of(request).0;
            match refusal {
                Refusal::Token(fault) | Refusal::BoundToken(fault) => tracing::info!(target: CALLERS, %client, check = %fault.check, reason = fault.reason, "a token was refused"),
                Refusal::Proof(fault) => tracing::info!(target: CALLERS, %client, check = refusal.reason(), reason = %fault, "a proof was refused"),
                refusal => tracing::debug!(target: CALLERS, %client, reason = refusal.reason(), "a request was turned away"),
            }
        })?;
        self.count_against(&caller)?;
        Ok(caller)
    }

    /// Counts one more request of `caller`'s client.
    pub(crate) fn count_against(&self, caller: &Caller) -> Result<(), Refusal> {
        let allowance = self
            .per_client
            .check((caller.issuer_index(), caller.claims().client_id()));
        allowance.map_err(|exceeded| Refusal::TooMany(exceeded.named("client")))
    }

    /// Limits whose idle entries are to be dropped now and then.
    pub(crate) fn rates(&self) -> Vec<KeyedLimit> {
        let mut rates = self.gate.rates();
        rates.push(self.per_client.clone());
        rates
    }

    /// The answer to a refused request. `hint` is the scope that it would need.
    pub(crate) fn refuse(&self, refusal: &Refusal, hint: &str) -> HttpResponse {
        self.count(refusal);
        let mut answer = refusal.answer(&self.asks, hint);
        if matches!(refusal, Refusal::Proof(ProofFault::Nonce(_))) {
            self.offer_nonce(answer.headers_mut());
        }
        answer
    }

    /// The nonce for the caller's next proof (RFC 9449 §8.2, §9).
    pub(crate) fn offer_nonce(&self, headers: &mut HeaderMap) {
        if let Ok(nonce) = HeaderValue::from_str(&self.door.nonces().current(now())) {
            headers.insert(NONCE, nonce);
        }
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, refusal: &Refusal) {
        self.metrics.refused(refusal.reason());
    }

    /// Waits until a stream to `caller` must end: its token would not be taken any more, or the stream is `endless` and
    /// the program stops. A stream that has an end of its own is a request in flight, and is let finish.
    pub(crate) async fn end_of_stream(self: Arc<Self>, caller: Arc<Caller>, endless: bool) {
        let mut revocations = self.door.issuers().revocations(caller.issuer_index());
        loop {
            let now = now();
            if !self.door.still_admits(&caller, now) {
                return;
            }
            // The key may go before the token does, and a timer does not see the wall clock jump or the machine sleep.
            let left = (caller.claims().expires_at() + LEEWAY).since(now);
            let wait = left.clamp(Duration::from_secs(1), LOOK_AGAIN);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed(&mut revocations) => {}
                () = self.stopping.cancelled(), if endless => return,
            }
        }
    }

    /// Tells connected peers what the node says of itself; false where there is no network of peers.
    pub(crate) fn tell_peers(&self, said: Advertisement) -> bool {
        let network = self.network.get();
        network.inspect(|network| network.announce(said)).is_some()
    }

    /// Connects to `peer`, and waits until it has proved who it is.
    pub(crate) async fn connect(&self, peer: &Peer) -> Result<(), NotConnected> {
        match self.network.get() {
            Some(network) => network.connect(&peer.peer_id).await,
            None => Err(NotConnected::Down),
        }
    }

    /// How the node is.
    pub(crate) fn status(&self) -> NodeStatus {
        self.observer
            .observe(self.door.issuers(), self.upstreams.status())
    }
}

/// Waits until the issuer of a token has taken tokens back.
async fn changed(revocations: &mut Option<watch::Receiver<u64>>) {
    if let Some(changes) = revocations
        && changes.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// The routes of a node with the MCP handler `H`. The plain-JSON forms belong to the node's own handler.
pub(crate) fn routes<H: ServerHandler>(
    config: &mut web::ServiceConfig,
    node: &web::Data<Node>,
    transport: &web::Data<Transport<H>>,
    plain_json: bool,
) {
    config.app_data(node.clone()).app_data(transport.clone());
    let at_root = "/.well-known/oauth-protected-resource";
    let below = format!("{at_root}{}", node.resource_path);
    for path in [Some(at_root), Some(&*below).filter(|path| *path != at_root)]
        .into_iter()
        .flatten()
    {
        config.service(
            answer::resource(path, "GET, HEAD")
                .wrap(from_fn(open))
                .route(answer::get().to(metadata::resource)),
        );
    }
    let information = answer::resource("/mcp/node/{id}/info", "GET, HEAD");
    config.service(
        information
            .wrap(from_fn(open))
            .route(answer::get().to(metadata::information)),
    );
    if plain_json {
        config.configure(discovery::endpoints::routes);
    }
    if !node.mcp_enabled {
        return;
    }
    let allowed = if node.sessions.is_some() {
        "GET, POST, DELETE"
    } else {
        "POST"
    };
    let mut endpoint = answer::resource("/mcp", allowed)
        .wrap(from_fn(guard))
        .route(web::post().to(mcp::post::<H>));
    if node.sessions.is_some() {
        endpoint = endpoint
            .route(web::get().to(legacy::open_stream))
            .route(web::delete().to(legacy::close_session));
    }
    config.service(endpoint);
    if node.http_sse {
        // Below the resource too: some clients ask that the address be part of it.
        for prefix in ["", "/mcp"] {
            let stream = answer::resource(&format!("{prefix}/sse"), "GET");
            let messages = answer::resource(&format!("{prefix}/messages"), "POST");
            config
                .service(
                    stream
                        .wrap(from_fn(guard))
                        .route(web::get().to(legacy::open_pair)),
                )
                .service(
                    messages
                        .wrap(from_fn(guard))
                        .route(web::post().to(legacy::post_message::<H>)),
                );
        }
    }
    if plain_json {
        config.configure(rest::routes);
    }
}

#[cfg(test)]
mod tests;
