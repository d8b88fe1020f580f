//! One connection to an upstream, in the revision that both speak.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rmcp::RoleClient;
use rmcp::model::{ClientRequest, CustomRequest, ProtocolVersion, ServerCapabilities, ServerResult};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, PeerRequestOptions, RunningService, ServiceError,
    serve_client_with_lifecycle_and_ct,
};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::{StreamableHttpClientTransport, Transport};
use shared::http_client::HttpClient;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::flights::Flights;
use super::http::{self as door, Door};
use super::listener::Listener;
use super::program::{self, Running};
use super::relay::Relay;
use super::{CALLERS, Upstream};
use crate::config::{UpstreamTransport, header_value};

/// What requests need of a connection.
pub(super) struct Link {
    pub(super) peer: Peer<RoleClient>,
    /// Told when the server says that what it has is other now.
    pub(super) changed: Arc<Notify>,
    /// Cancelled to end the connection.
    pub(super) cut: CancellationToken,
}

impl Link {
    /// The revision in use.
    pub(super) fn revision(&self) -> Option<String> {
        self.peer
            .peer_info()
            .map(|info| info.protocol_version.as_str().to_owned())
    }

    /// What the server says that it can do.
    pub(super) fn capabilities(&self) -> ServerCapabilities {
        self.peer
            .peer_info()
            .map(|info| info.capabilities.clone())
            .unwrap_or_default()
    }

    /// Whether it speaks a revision without `initialize`, and so without `ping`.
    pub(super) fn is_modern(&self) -> bool {
        self.peer
            .peer_info()
            .is_some_and(|info| !info.protocol_version.has_initialize())
    }
}

/// A connection with what keeps it alive.
pub(super) struct Connection {
    pub(super) link: Arc<Link>,
    client: RunningService<RoleClient, Listener>,
    program: Option<Running>,
}

impl Connection {
    /// Waits until it ends by itself.
    pub(super) async fn ended(self) {
        let cut = self.link.cut.clone();
        let cut_off = async {
            cut.cancelled().await;
            sleep(CLOSES).await;
        };
        tokio::select! {
            quit = self.client.waiting() => drop(quit),
            // Closing waits for what is being written, and that for a program that reads no more: only its end ends it.
            () = cut_off => {}
        }
        if let Some(program) = self.program {
            program.end().await;
        }
    }
}

/// Connects as the configuration says. With `first`, the newest revision is tried first; without, the server is taken for one
/// that cannot bear to be asked.
pub(super) async fn connect(upstream: &Upstream, first: bool) -> Result<Connection, String> {
    let config = &upstream.config;
    let within = config.start_timeout;
    let slow = |_| format!("it did not start within {} s", within.as_secs());
    match &config.transport {
        UpstreamTransport::Program(program) => {
            let (running, stdout, stdin) = program::start(program, &config.name).map_err(|fault| {
                tracing::warn!(target: CALLERS, upstream = config.name, command = program.command, %fault, "a program cannot be started");
                "the program cannot be started".to_owned()
            })?;
            let wire = AsyncRwTransport::new(stdout, stdin).with_max_line_length(config.message_limit.0);
            let shaken = timeout(within, shake_hands(upstream, wire, first)).await;
            match shaken.map_err(slow).and_then(|shaken| shaken) {
                Ok((link, client)) => Ok(Connection {
                    link,
                    client,
                    program: Some(running),
                }),
                Err(fault) => {
                    running.end().await;
                    Err(fault)
                }
            }
        }
        UpstreamTransport::Http {
            url,
            ca_file,
            header_files,
        } => {
            let mut headers = HashMap::new();
            for (name, path) in header_files {
                let value = std::fs::read_to_string(path)
                    .map_err(|fault| fault.to_string())
                    .and_then(|text| {
                        header_value(&text).ok_or_else(|| "it holds no header's value".to_owned())
                    });
                let value = value.map_err(|fault| {
                    let file = path.display();
                    tracing::warn!(target: CALLERS, upstream = config.name, %file, fault, "a header's file is of no use");
                    format!("the file of the header {name} is of no use")
                })?;
                let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is no header"))?;
                headers.insert(name, value);
            }
            let client = HttpClient::for_streams(ca_file.as_deref()).map_err(|e| e.to_string())?;
            let settings = door::settings(url, headers, config.message_limit.0, config.concurrency);
            let door = Door {
                client,
                message_limit: config.message_limit.0,
            };
            let wire = StreamableHttpClientTransport::with_client(door, settings);
            let shaken = timeout(within, shake_hands(upstream, wire, first)).await;
            let (link, client) = shaken.map_err(slow).and_then(|shaken| shaken)?;
            Ok(Connection {
                link,
                client,
                program: None,
            })
        }
    }
}

type Shaken = (Arc<Link>, RunningService<RoleClient, Listener>);

async fn shake_hands(
    upstream: &Upstream,
    wire: impl Transport<RoleClient> + 'static,
    first: bool,
) -> Result<Shaken, String> {
    let flights = Arc::new(Flights::new(upstream.config.call_limit));
    let changed = Arc::<Notify>::default();
    let cut = CancellationToken::new();
    let listener = Listener::new(Arc::clone(&flights), Arc::clone(&changed), upstream);
    let relay = Relay::new(wire, flights, upstream.name().into());
    let lifecycle = if first {
        ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        }
    } else {
        ClientLifecycleMode::Initialize
    };
    let client = serve_client_with_lifecycle_and_ct(listener, relay, lifecycle, cut.clone());
    // Boxed: the future of a handshake is large, and this one is rare.
    let client = Box::pin(client).await.map_err(|fault| {
        tracing::warn!(target: CALLERS, upstream = upstream.name(), %fault, "an upstream server cannot be greeted");
        told(&fault)
    })?;
    let link = Link {
        peer: client.peer().clone(),
        changed,
        cut,
    };
    Ok((Arc::new(link), client))
}

/// What the status says, which callers may read: nothing of addresses and files.
fn told(fault: &ClientInitializeError) -> String {
    let sentence = match fault {
        ClientInitializeError::TransportError { .. } => "it cannot be reached",
        ClientInitializeError::ConnectionClosed(_) => "it ended before it had answered",
        ClientInitializeError::NoCompatibleProtocolVersion { .. } => {
            "it speaks no revision of MCP that this node speaks"
        }
        _ => "it does not answer as MCP says",
    };
    sentence.to_owned()
}

/// How long a server may take to show that it is there at all.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// How long a connection that is cut may take to close.
const CLOSES: Duration = Duration::from_secs(1);

impl Link {
    /// Cuts the connection unless the server answers what every server of its revision can. An error is an answer too.
    pub(super) async fn prove_alive(&self) {
        let method = if self.is_modern() {
            "server/discover"
        } else {
            "ping"
        };
        let answer = self.ask(CustomRequest::new(method, None), SIGN_OF_LIFE).await;
        if !matches!(answer, Ok(_) | Err(ServiceError::McpError(_))) {
            self.cut.cancel();
        }
    }

    /// Asks something on behalf of nobody. `within` is for all of it: a server that reads nothing takes no cancellation
    /// either.
    pub(super) async fn ask(
        &self,
        request: CustomRequest,
        within: Duration,
    ) -> Result<ServerResult, ServiceError> {
        let request = ClientRequest::CustomRequest(request);
        let answered = async {
            let options = PeerRequestOptions::with_timeout(within);
            let sent = self.peer.send_cancellable_request(request, options).await?;
            sent.await_response().await
        };
        // A little longer than the answer may take, so that the request is cancelled where that is possible.
        let all = timeout(within + CLOSES, answered).await;
        all.unwrap_or(Err(ServiceError::Timeout { timeout: within }))
    }
}
