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

/// Where this machine reaches the node, under a name that its certificate has.
pub(super) fn local_address(config: &NodeConfig) -> Result<Url, Failure> {
    let address = listen_address(config)?;
    let (scheme, authority) = match &config.tls {
        TlsMode::Off => ("http", address.to_string()),
        _ => (
            "https",
            format!("{}:{}", certificate_host(config), address.port()),
        ),
    };
    Ok(format!("{scheme}://{authority}").parse()?)
}

/// A client that finds the node's own name on this machine, and trusts the node's own certificate authority: the one that
/// it made, or what is in the operator's chain.
pub(super) fn client(config: &NodeConfig) -> Result<HttpClient, Failure> {
    let Some(authorities) = config.tls.own_authorities() else {
        return Ok(HttpClient::new(None)?);
    };
    if !authorities.exists() {
        return Err(format!("there is no certificate yet ({})", authorities.display()).into());
    }
    let place = (certificate_host(config), listen_address(config)?);
    Ok(HttpClient::found_at(Some(&authorities), place)?)
}

/// The certificate of the operator names the resource's host, and ours names localhost too.
fn certificate_host(config: &NodeConfig) -> &str {
    match &config.tls {
        TlsMode::Files { .. } | TlsMode::Acme(_) => config.resource.url().host_str().unwrap_or("localhost"),
        _ => "localhost",
    }
}

/// The first listen address, seen from this machine.
fn listen_address(config: &NodeConfig) -> Result<SocketAddr, Failure> {
    let address = config.listen.first().ok_or("there is no listen address")?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, address.port()))
}
