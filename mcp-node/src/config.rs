//! The node's configuration: `mcp-node.toml`, the environment, flags. All faults are reported at once.

mod approval;
mod audit;
mod client_certificates;
mod cors;
mod discovery;
mod issuer;
mod limits;
mod mcp;
mod offline;
mod p2p;
mod size;
mod upstream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ::web::rates::Rate;
use ::web::server::Listen;
use shared::config::{ConfigFaults, Reader, Setting, Source, environment, locate};
use shared::tls::{TlsMode, read_mode, read_redirect};
use shared::trace::TraceSettings;
use shared::uri::ResourceUri;

pub(crate) use self::approval::PROVISION_NODE;
pub use self::approval::{ApprovalRules, ApprovedBy};
pub use self::client_certificates::ClientCertificates;
pub use self::cors::Cors;
pub use self::discovery::DiscoveryConfig;
pub use self::issuer::{ClientProof, IntrospectionConfig, IssuerConfig, IssuerKind, Validation};
pub use self::limits::{CallLimits, Share, ToolLimit};
pub use self::mcp::{McpConfig, SessionLimits};
pub use self::offline::{OfflinePolicy, OnStale};
pub use self::p2p::P2pConfig;
pub(crate) use self::p2p::relay_of;
pub use self::size::ByteCount;
pub(crate) use self::upstream::header_value;
pub use self::upstream::{IdentityForm, Program, UpstreamConfig, UpstreamTransport, User};
pub use crate::audit::{AuditConfig, AuditTarget};
use crate::gate::ScopeTable;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "mcp-node.toml";

/// The short names of variables, and the keys that they set.
const SHORT_NAMES: [(&str, &str); 3] = [
    ("EDGE_HIVE_NODE_NAME", "node.name"),
    ("EDGE_HIVE_MCP_ENABLED", "server.mcp_enabled"),
    ("EDGE_HIVE_OAUTH2_ISSUER", "issuer.0.url"),
];

/// Everything an operator can set.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// A separate address for `/metrics`.
    pub metrics_listen: Option<SocketAddr>,
    /// This node as a protected resource: what tokens must name as their audience.
    pub resource: ResourceUri,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Web origins whose pages may call this node.
    pub allowed_origins: Vec<String>,
    /// Values of `Host` that are ours beside those of the listen addresses and the resource.
    pub allowed_hosts: Vec<String>,
    /// Whether DPoP proofs need a nonce of ours (RFC 9449 §9).
    pub dpop_nonces_required: bool,
    /// What those nonces are derived from, where several nodes share one address.
    pub dpop_nonce_key_file: Option<PathBuf>,
    /// Whether MCP and its plain-JSON forms are served.
    pub mcp_enabled: bool,
    /// The name for people; the node's id when not set.
    pub name: Option<String>,
    /// Where the node keeps its id.
    pub data_dir: PathBuf,
    /// Log files that may be read as resources, by name.
    pub logs: BTreeMap<String, PathBuf>,
    /// Trusted authorization servers; at least one.
    pub issuers: Vec<IssuerConfig>,
    /// Which scope each operation needs.
    pub scopes: ScopeTable,
    /// Requests per caller's address, before authentication.
    pub per_ip: Rate,
    /// Requests per client, after authentication.
    pub per_client: Rate,
    /// The largest request body.
    pub body_limit: ByteCount,
    /// How the listen addresses speak TLS.
    pub tls: TlsMode,
    /// Where plain HTTP leads to https.
    pub redirect_listen: Vec<SocketAddr>,
    /// Whether callers can show certificates, to which tokens may be bound.
    pub client_certificates: ClientCertificates,
    /// What is logged; `None`: as usual. `RUST_LOG` outweighs it.
    pub log_filter: Option<String>,
    /// Where all of this was read, if it can be read again.
    pub(crate) place: Option<Place>,
    /// What is in force and where it came from, for `config show`.
    pub settings: Vec<Setting>,
    /// How MCP is served.
    pub mcp: McpConfig,
    /// How much may go on at the same time, and for how long.
    pub limits: CallLimits,
    /// Who did what.
    pub audit: AuditConfig,
    /// Where spans go.
    pub traces: Option<TraceSettings>,
    /// How long the node goes on alone.
    pub offline: OfflinePolicy,
    /// Which tools run only with a person's yes.
    pub approval: ApprovalRules,
    /// Other MCP servers behind this node.
    pub upstreams: Vec<UpstreamConfig>,
    /// What pages of allowed origins may send and read.
    pub cors: Cors,
    /// How other nodes are found on the local network.
    pub discovery: DiscoveryConfig,
    /// The network of peers.
    pub p2p: P2pConfig,
}

/// A file that was named or found, or none, and the environment of the program.
#[derive(Clone, Debug)]
pub(crate) struct Place(Option<PathBuf>);

impl Place {
    /// Reads all of it again.
    pub(crate) fn read(&self) -> Result<NodeConfig, ConfigFaults> {
        NodeConfig::load(self.0.as_deref())
    }
}

impl NodeConfig {
    /// Reads `file` (or [`DEFAULT_FILE`] if that exists) and the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigFaults> {
        let environment = environment();
        let found = locate(file, DEFAULT_FILE);
        let config = Self::read(Reader::open(found.as_deref(), &environment)?, &environment)?;
        Ok(Self {
            place: Some(Place(file.map(Path::to_owned))),
            ..config
        })
    }

    /// Reads the text of a file, without the environment of the program.
    pub fn from_text(text: &str) -> Result<Self, ConfigFaults> {
        let environment = BTreeMap::new();
        Self::read(Reader::from_text(text.to_owned(), &environment)?, &environment)
    }

    /// Reads the text of a file that is not written yet, and the environment of the program.
    pub(crate) fn from_text_here(text: &str) -> Result<Self, ConfigFaults> {
        let environment = environment();
        Self::read(Reader::from_text(text.to_owned(), &environment)?, &environment)
    }

    fn read(mut reader: Reader, environment: &BTreeMap<String, String>) -> Result<Self, ConfigFaults> {
        for (name, path) in SHORT_NAMES {
            if let Some(value) = environment.get(name) {
                reader.set(path, value, Source::Environment);
            }
        }
        let config = Parts::read(&mut reader);
        let settings = reader.finish()?;
        // No fault was found, so every part is there.
        config
            .map(|config| Self { settings, ..config })
            .ok_or_else(|| ConfigFaults(Vec::new()))
    }

    /// Whether no token is taken but those that are bound to a key.
    pub(crate) fn is_dpop_only(&self) -> bool {
        self.issuers.iter().all(|issuer| issuer.dpop_required)
    }

    /// The values of `Host` that are ours, lower case, with the port unless it is the default one.
    pub fn hosts(&self) -> Vec<String> {
        let url = self.resource.url();
        let resource_host = url.host_str().map(|host| match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        });
        let mut hosts: Vec<_> = self
            .allowed_hosts
            .iter()
            .map(|host| host.to_ascii_lowercase())
            .collect();
        hosts.extend(resource_host);
        let default_port = if self.tls == TlsMode::Off { 80 } else { 443 };
        for address in &self.listen {
            let mut names = vec![match address {
                SocketAddr::V4(address) => address.ip().to_string(),
                SocketAddr::V6(address) => format!("[{}]", address.ip()),
            }];
            if address.ip().is_loopback() {
                names.push("localhost".to_owned());
            }
            // Clients may know another port, a proxy's; the commands on this machine ask where the node listens.
            names.extend(
                url.host_str()
                    .filter(|host| *host != "localhost")
                    .map(str::to_owned),
            );
            for name in names {
                hosts.push(format!("{name}:{}", address.port()));
                if address.port() == default_port {
                    hosts.push(name);
                }
            }
        }
        hosts
    }
}

/// Reading is all or nothing; a `None` has left its fault in the reader.
struct Parts;

impl Parts {
    fn read(reader: &mut Reader) -> Option<NodeConfig> {
        let mut server = reader.section("server");
        let listen: Vec<SocketAddr> = server.list("listen", "127.0.0.1:8080");
        if listen.is_empty() {
            server.fault("listen", "name at least one address, 127.0.0.1:8080 for example");
        }
        let metrics_listen = server.optional("metrics_listen");
        let resource: Option<ResourceUri> = server.value("resource", "http://localhost:8080/mcp");
        let trusted_proxies: Vec<ipnet::IpNet> = server.list("trusted_proxies", "");
        let allowed_origins: Vec<String> = server.list("allowed_origins", "");
        for origin in allowed_origins.iter().filter(|origin| !is_origin(origin)) {
            let reason =
                format!("{origin:?}: an origin is written like https://app.example or http://localhost:3000");
            server.fault("allowed_origins", reason);
        }
        let allowed_hosts: Vec<String> = server.list("allowed_hosts", "");
        for host in allowed_hosts.iter().filter(|host| !is_host(host)) {
            let reason = format!(
                "{host:?}: a host is written like node.example or 127.0.0.1:8080; there are no patterns"
            );
            server.fault("allowed_hosts", reason);
        }
        let mcp_enabled = server.value("mcp_enabled", "true");
        let dpop_nonce = server.value::<String>("dpop_nonce", "off");
        if dpop_nonce
            .as_deref()
            .is_some_and(|nonce| !matches!(nonce, "off" | "required"))
        {
            server.fault("dpop_nonce", "write \"off\" or \"required\"");
        }
        let dpop_nonce_key_file = server.optional("dpop_nonce_key_file");

        let mut node = reader.section("node");
        let name = node.optional("name");
        let data_dir: Option<PathBuf> = node.value("data_dir", "./data");
        let logs: BTreeMap<_, _> = node
            .map("logs")
            .into_iter()
            .map(|(name, path)| (name, PathBuf::from(path)))
            .collect();
        for name in logs.keys().filter(|name| !crate::logs::is_name(name)) {
            node.fault(
                "logs",
                format!("{name:?}: a log's name has letters, digits, - and _ only, and is not \"node\""),
            );
        }

        let offline = OfflinePolicy::read(reader);
        let mut issuers = issuer::read_all(reader, resource.as_ref(), offline.keys);
        let scopes = ScopeTable::read(reader);
        for issuer in &mut issuers {
            issuer.kept_claims.extend(scopes.claims());
        }

        let upstreams = upstream::read_all(reader);
        let mut limits = reader.section("limits");
        let (per_ip, per_client) = (
            limits.value("per_ip", "600/min"),
            limits.value("per_client", "100/min"),
        );
        let body_limit = limits.value("body", "1MiB");

        let call_limits = CallLimits::read(reader);
        let audit = audit::read(reader);
        let traces = TraceSettings::read(reader);
        let cors = Cors::read(reader);
        let mut log = reader.section("log");
        let log_filter: Option<String> = log.optional("filter");
        if let Some(Err(reason)) = log_filter.as_deref().map(shared::telemetry::check_filter) {
            log.fault("filter", reason);
        }

        let names = certificate_names(resource.as_ref(), &listen);
        let tls = read_mode(reader, data_dir.as_deref().unwrap_or(Path::new(".")), names);
        let redirect_listen = read_redirect(reader, &tls);
        if tls == TlsMode::Off && Listen::leaves_machine(&listen) {
            let reason = "tokens must not cross a network in clear: set [tls] mode, or listen on 127.0.0.1 behind a proxy";
            reader.fault("server.listen", reason);
        }
        let mcp = McpConfig::read(reader);
        let approval = ApprovalRules::read(reader);
        let p2p = P2pConfig::read(reader);
        let has_peers = p2p.as_ref().is_some_and(|p2p| p2p.enabled);
        let discovery = DiscoveryConfig::read(reader, has_peers);
        let client_certificates = ClientCertificates::read(reader, &tls, !trusted_proxies.is_empty());
        Some(NodeConfig {
            listen,
            metrics_listen,
            resource: resource?,
            trusted_proxies,
            allowed_origins,
            allowed_hosts,
            dpop_nonces_required: dpop_nonce.as_deref() == Some("required"),
            dpop_nonce_key_file,
            mcp_enabled: mcp_enabled?,
            name,
            data_dir: data_dir?,
            logs,
            issuers,
            scopes,
            per_ip: per_ip?,
            per_client: per_client?,
            body_limit: body_limit?,
            tls,
            redirect_listen,
            client_certificates,
            log_filter,
            place: None,
            settings: Vec::new(),
            mcp: mcp?,
            limits: call_limits?,
            audit,
            traces,
            offline,
            approval,
            upstreams,
            cors,
            discovery: discovery?,
            p2p: p2p?,
        })
    }
}

/// `scheme://host[:port]` and nothing more, as browsers write it (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    let parsed = text.parse::<url::Url>().ok();
    parsed.is_some_and(|url| url.origin().ascii_serialization() == text)
}

/// `host[:port]` and nothing more, as in `Host` (RFC 9110 §7.2). An empty one would let every request without a name in.
fn is_host(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    !text.is_empty() && text.bytes().all(is_plain) && format!("http://{text}/").parse::<url::Url>().is_ok()
}

/// What a self-signed certificate is made for: the resource's host and the listen addresses.
fn certificate_names(resource: Option<&ResourceUri>, listen: &[SocketAddr]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    if let Some(host) = resource.and_then(|resource| resource.url().host_str()) {
        names.push(host.trim_matches(['[', ']']).to_owned());
    }
    let listened = listen
        .iter()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_unspecified());
    names.extend(listened.map(|ip| ip.to_string()));
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
