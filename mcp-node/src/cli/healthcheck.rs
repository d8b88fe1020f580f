//! `mcp-node healthcheck`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use shared::http_client::HttpClient;
use shared::tls::TlsMode;
use url::Url;

use super::{Failure, block_on, load};
use crate::config::NodeConfig;

const MAX_BYTES: usize = 4096;

#[derive(Args)]
pub(super) struct Arguments {
    /// The node to ask [default: the first listen address of the configuration]
    #[arg(long)]
    url: Option<Url>,
}

pub(super) fn run(file: Option<PathBuf>, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    let base = arguments.url.clone().map_or_else(|| local_address(&config), Ok)?;
    let client = client(&config)?;
    let url = base.join("/healthz")?;
    block_on(client.fetch_json(&url, MAX_BYTES))?.map_err(|fault| format!("{url} {fault}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Where this machine reaches the node.
pub(super) fn local_address(config: &NodeConfig) -> Result<Url, Failure> {
    let address = config.listen.first().ok_or("there is no listen address")?;
    let host = match (&config.tls, address.ip()) {
        // The certificate of the operator names the resource's host, and ours names localhost.
        (TlsMode::Files { .. }, _) => return Ok(config.resource.url().clone()),
        (TlsMode::SelfSigned { .. }, _) => format!("localhost:{}", address.port()),
        (TlsMode::Off, IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())).to_string()
        }
        (TlsMode::Off, IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())).to_string()
        }
        (TlsMode::Off, _) => address.to_string(),
    };
    let scheme = if config.tls == TlsMode::Off {
        "http"
    } else {
        "https"
    };
    Ok(format!("{scheme}://{host}").parse()?)
}

/// A client that trusts the node's own certificate authority, if it has one.
pub(super) fn client(config: &NodeConfig) -> Result<HttpClient, Failure> {
    let authority = match &config.tls {
        TlsMode::SelfSigned { folder, .. } => Some(folder.join("ca.pem")),
        _ => None,
    };
    Ok(HttpClient::new(authority.as_deref())?)
}
