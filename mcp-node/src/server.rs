//! Putting a node together and serving it until the program is asked to stop.

mod network;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use ::web::frame::Frame;
use ::web::metrics::Metrics;
use ::web::rates::{AddressLimit, KeyedLimit, forget_the_idle};
use ::web::redirect::Redirect;
use ::web::server::{Listen, asked_to_stop};
use actix_web::web::Data;
use arc_swap::ArcSwap;
use rmcp::ServerHandler;
use shared::clock::now;
use shared::http_client::ClientFault;
use shared::tls::{TlsFault, TlsMode};
use shared::trace::{self, TraceFault};
use tokio_util::sync::CancellationToken;

use self::network::join_peers;
use crate::advertisement::{self, Reach};
use crate::app::{Hints, Node, routes};
use crate::approval::Approvals;
use crate::audit::AuditFault;
use crate::auth::{Bindings, Door, NonceKeyFault, nonces};
use crate::config::NodeConfig;
use crate::discovery::{Discovery, OwnFace};
use crate::enrolment::{Enrolment, EnrolmentFault};
use crate::error::Asks;
use crate::fleet::Membership;
use crate::gate::Gate;
use crate::health;
use crate::identity::{Identity, IdentityFault};
use crate::issuers::Issuers;
use crate::logs::{Logs, Ring};
use crate::mcp::news::News;
use crate::mcp::seal::{self, Seal, StateKeyFault};
use crate::mcp::sessions::Sessions;
use crate::mcp::{EdgeHive, Lasting, Transport};
use crate::metadata::Documents;
use crate::offline;
use crate::origin::Origins;
use crate::peers::Peers;
use crate::records::Records;
use crate::reload::{self, Standing};
use crate::report;
use crate::status::Observer;
use crate::upstream::Upstreams;

/// Paths below which a percent-encoded slash is part of a resource's URI.
const ENCODED_BELOW: &[&str] = &["/mcp/resources/", "/mcp/node/"];

/// How often the table of peers is swept.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(5);

/// The node cannot start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "each carries the fault of the part that it is named after"
)]
pub enum ServeFault {
    #[error(transparent)]
    Audit(#[from] AuditFault),
    #[error(
        "[approval] is for the tools of a node; a handler of one's own asks by itself: remove the section"
    )]
    Approval,
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error(transparent)]
    Enrolment(#[from] EnrolmentFault),
    #[error(transparent)]
    Identity(#[from] IdentityFault),
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    #[error(transparent)]
    Nonces(#[from] NonceKeyFault),
    #[error(transparent)]
    Peers(#[from] PeersFault),
    #[error(transparent)]
    StateKeys(#[from] StateKeyFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error(transparent)]
    Traces(#[from] TraceFault),
}

/// The network of peers cannot be put together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PeersFault(String);

/// Serves the node's own tools and resources until SIGTERM or SIGINT.
pub async fn serve(config: NodeConfig) -> Result<(), ServeFault> {
    let began = Began::with(config, Ring::default())?;
    serve_built(began, |_| {}).await
}

/// As [`serve`], with the node's own log lines in `ring`, and discovery; `ready` is called with the addresses once they
/// are bound.
pub(crate) async fn serve_with_ring(
    config: NodeConfig,
    ring: Ring,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), ServeFault> {
    let began = Began::with(config, ring)?;
    // Only our own program can start itself as the one that listens.
    let (discovery, stopping) = (began.node.discovery.clone(), began.node.stopping.clone());
    let discovery = tokio::spawn(discovery.run(stopping));
    let ended = serve_built(began, ready).await;
    match ended {
        // It says goodbye.
        Ok(()) => drop(discovery.await),
        Err(_) => discovery.abort(),
    }
    ended
}

/// A node that is put together and not served yet.
struct Began {
    config: NodeConfig,
    node: Arc<Node>,
    standing: Option<Standing>,
}

impl Began {
    fn with(config: NodeConfig, ring: Ring) -> Result<Self, ServeFault> {
        let standing = Standing::of(&config);
        let node = build(&config, ring)?;
        Ok(Self {
            config,
            node,
            standing,
        })
    }
}

async fn serve_built(began: Began, ready: impl FnOnce(&[SocketAddr])) -> Result<(), ServeFault> {
    let handler = Arc::clone(&began.node);
    start(began, move || EdgeHive::new(Arc::clone(&handler)), true, ready).await
}

/// Serves another MCP handler behind this node's door: authentication, scopes, rates, revisions and transport are the
/// node's, and `make` gives a fresh handler for each request, which shares what is [`Lasting`]. Serves until SIGTERM or
/// SIGINT.
pub async fn run<H: ServerHandler>(
    config: NodeConfig,
    make: impl Fn(&Lasting) -> H + Send + Sync + 'static,
) -> Result<(), ServeFault> {
    if config.approval.are_named() {
        return Err(ServeFault::Approval);
    }
    let began = Began::with(config, Ring::default())?;
    let lasting = began.node.lasting.clone();
    start(began, move || make(&lasting), false, |_| {}).await
}

/// Serves the node's own tools and resources, with the program's log. With a token, **to everybody**, as if they had shown
/// it: what a call costs without the door. With `checks_signature`, to whoever shows something that the token's key has
/// signed: what a call costs with that check alone. Only where nobody else can call, and only in the benchmark.
#[cfg(feature = "open-door")]
pub async fn dangerous_serve(
    config: NodeConfig,
    everybody_shows: Option<&str>,
    checks_signature: bool,
) -> Result<(), ServeFault> {
    let refused = |reason: String| ServeFault::Listen(std::io::Error::other(reason));
    let ring = Ring::default();
    ring.start();
    let began = Began::with(config, ring)?;
    if let Some(token) = everybody_shows {
        if Listen::leaves_machine(&began.config.listen) {
            let sentence = "without its door, a node listens on loopback only";
            return Err(refused(sentence.to_owned()));
        }
        let opened = began.node.door.dangerous_open_as(token, checks_signature).await;
        opened.map_err(|refusal| refused(format!("the token is refused: {}", refusal.reason())))?;
    }
    serve_built(began, |_| {}).await
}

pub(crate) fn build(config: &NodeConfig, ring: Ring) -> Result<Arc<Node>, ServeFault> {
    let identity = Arc::new(Identity::ensure(&config.data_dir)?);
    let enrolment = Enrolment::load(&config.data_dir)?;
    let id = identity.id().to_owned();
    let name = config.name.clone().unwrap_or_else(|| id.clone());
    let metrics = Arc::new(Metrics::new("edge_hive_node"));
    let news = News::new().map_err(StateKeyFault::from)?;
    let peers = Peers::new(identity.peer_id(), news.clone());
    let reach = Reach::default();
    let membership = membership(Arc::clone(&identity), enrolment, config)?;
    let issuers = Issuers::new(config)?;
    let records = membership.as_ref().and_then(|member| {
        let asked = (member.client().clone(), member.keys(&issuers).clone());
        Records::new(member.enrolment(), asked, &config.data_dir, now())
    });
    let node = Node {
        documents: Documents::new(config, (&id, &identity.peer_id()), &name),
        observer: Observer::new(
            (id, identity.former_id().map(str::to_owned)),
            name,
            peers.clone(),
            (membership.is_some(), config.p2p.enabled),
        ),
        discovery: Discovery::new(
            config.discovery.clone(),
            own_face(&identity, membership.as_ref(), config),
            peers.clone(),
            reach.clone(),
        ),
        advertised: advertisement::Fixed::of(config, &identity),
        peers,
        network: OnceLock::new(),
        reach,
        records,
        membership,
        approvals: Arc::new(Approvals::new(config.approval.clone())),
        resource: config.resource.as_str().to_owned(),
        door: Door::new(issuers, Bindings::new(config.resource.clone(), nonces(config)?)),
        gate: Gate::new(config, &metrics)?,
        hints: Hints::new(&config.scopes),
        origins: ArcSwap::from_pointee(Origins::new(
            &config.allowed_origins,
            &config.hosts(),
            &config.cors,
        )),
        logs: Logs::new(ring, config.logs.clone()),
        asks: Asks {
            resource_metadata: config.resource.metadata_url(),
            dpop_only: config.is_dpop_only(),
        },
        resource_path: config.resource.url().path().trim_end_matches('/').to_owned(),
        body_limit: config.body_limit.0,
        per_ip: AddressLimit::new(config.per_ip),
        per_client: KeyedLimit::new(config.per_client),
        metrics,
        stopping: CancellationToken::new(),
        mcp_enabled: config.mcp_enabled,
        upstreams: Upstreams::new(&config.upstreams, &news),
        lasting: Lasting {
            news,
            seal: Arc::new(Seal::load(
                config.mcp.state_key_file.as_deref(),
                &config.data_dir,
            )?),
        },
        sessions: config
            .mcp
            .sessions
            .then(|| Arc::new(Sessions::new(config.mcp.session))),
        pairs: Arc::new(Sessions::of_pairs(config.mcp.session)),
        http_sse: config.mcp.http_sse,
    };
    let gauges = node.gate.gauges();
    gauges.add(&node.approvals);
    node.sessions.iter().for_each(|sessions| gauges.add(sessions));
    if node.http_sse {
        gauges.add(&node.pairs);
    }
    node.upstreams.show(gauges);
    Ok(Arc::new(node))
}

/// What the node tells the local network of itself.
fn own_face(identity: &Identity, membership: Option<&Membership>, config: &NodeConfig) -> OwnFace {
    OwnFace {
        node_id: identity.id().to_owned(),
        peer_id: identity.peer_id(),
        resource: config.resource.as_str().to_owned(),
        mcp_enabled: config.mcp_enabled,
        oauth2_enabled: !config.issuers.is_empty(),
        issuer: membership.map(|member| member.enrolment().issuer.as_str().to_owned()),
        has_peers: config.p2p.enabled,
        http_port: config.listen.first().map_or(0, SocketAddr::port),
    }
}

/// What the node may ask its authorization server. Tools that need a person's yes need that.
fn membership(
    identity: Arc<Identity>,
    enrolment: Option<Enrolment>,
    config: &NodeConfig,
) -> Result<Option<Membership>, ServeFault> {
    let membership = Membership::of(identity, enrolment, config)?;
    if membership.is_none() && config.approval.are_named() {
        tracing::warn!("the tools of [approval] run for nobody until the node has enrolled: mcp-node enroll");
    }
    Ok(membership)
}

/// Forgets peers of whom nobody speaks any more.
async fn sweep(peers: Peers) {
    let mut each = tokio::time::interval(SWEEP);
    loop {
        each.tick().await;
        peers.sweep();
    }
}

async fn start<H: ServerHandler>(
    began: Began,
    make: impl Fn() -> H + Send + Sync + 'static,
    plain_json: bool,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), ServeFault> {
    let Began {
        config,
        node,
        standing,
    } = began;
    let traces = config.traces.as_ref();
    let collector = traces
        .map(|traces| trace::start(traces, "mcp-node"))
        .transpose()?;
    if config.p2p.enabled {
        join_peers(&config, &node).map_err(|fault| PeersFault(fault.to_string()))?;
    }
    let tls = config.tls.prepare()?;
    if let Some(ca) = tls.as_ref().and_then(|tls| tls.local_ca.as_ref()) {
        tracing::info!(ca = %ca.display(), "clients must trust this certificate authority");
    }
    if let Some(standing) = standing {
        tokio::spawn(reload::run(Arc::clone(&node), standing, tls.clone()));
    }
    let per_address = node.per_ip.clone();
    let frame = Frame {
        hosts: config.hosts().into_iter().collect(),
        trusted_proxies: config.trusted_proxies.clone(),
        client_certificate_header: config.client_certificates.from_header,
        strict_transport: config.tls != TlsMode::Off || config.resource.url().scheme() == "https",
        encoded_below: ENCODED_BELOW,
        not_found: |_| ::web::answer::nothing(),
        metrics: Arc::clone(&node.metrics),
        local_metrics: config.metrics_listen.is_none(),
    };
    let (asking_addresses, addresses) = if config.client_certificates.are_requested {
        (config.listen, Vec::new())
    } else {
        (Vec::new(), config.listen)
    };
    let listen = Listen {
        addresses,
        asking_addresses,
        metrics_address: config.metrics_listen,
        tls,
        redirect: Redirect {
            addresses: config.redirect_listen,
            bases: vec![config.resource.url().clone()],
        },
        per_address: per_address.clone(),
        // For MCP, closing the connection means to cancel the request (2026-07-28, "Cancellation").
        cancel_on_disconnect: true,
    };
    for sessions in node.sessions.iter().chain([&node.pairs]) {
        tokio::spawn(Arc::clone(sessions).forget_the_expired());
    }
    tokio::spawn(seal::follow_file(
        Arc::clone(&node.lasting.seal),
        config.mcp.state_key_file.clone(),
    ));
    let limited = Arc::clone(&node);
    tokio::spawn(forget_the_idle(per_address, move || limited.rates()));
    if let Some(records) = node.records.clone() {
        tokio::spawn(records.keep_current(node.peers.clone(), node.stopping.clone()));
    }
    tokio::spawn(report::keep_telling(Arc::clone(&node)));
    tokio::spawn(sweep(node.peers.clone()));
    tokio::spawn(offline::keep_time(Arc::clone(node.door.issuers().clock())));
    let stopping = node.stopping.clone();
    tokio::spawn(async move {
        // Streams have no end of their own, and would hold up the stop.
        asked_to_stop().await;
        stopping.cancel();
    });
    let transport = Data::new(Transport::new(make, node.body_limit));
    node.upstreams.start();
    let node = Data::from(node);
    let (probed, served) = (node.clone(), node.clone());
    let ended = ::web::server::run(
        listen,
        frame,
        move |app| routes(app, &served, &transport, plain_json),
        move |app| {
            app.app_data(probed.clone());
            health::routes(app);
        },
        ready,
    )
    .await;
    // Behind the last answer: requests in flight were let finish.
    node.upstreams.end().await;
    if let Err(reason) = node.door.issuers().clock().keep() {
        tracing::warn!(%reason, "the time could not be kept");
    }
    ended?;
    node.gate.finish().await;
    if let Some(collector) = collector {
        collector.end().await;
    }
    Ok(())
}
