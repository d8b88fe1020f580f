//! `authz-server healthcheck`: exit code 0 when the server that this configuration describes is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use shared::http_client::HttpClient;
use shared::tls::TlsMode;
use url::Url;

use super::Outcome;
use super::print::Report;
use crate::config::Config;

pub(super) async fn check(config: &Config) -> Outcome {
    let (client, url) = match &config.tls {
        TlsMode::Off => (HttpClient::new(None)?, probe("http", local(config)?)?),
        TlsMode::SelfSigned { folder, .. } => (
            HttpClient::new(Some(&folder.join("ca.pem")))?,
            probe("https", local(config)?)?,
        ),
        // Somebody else's certificate names the public host, so that is asked.
        TlsMode::Files { .. } => (HttpClient::new(None)?, config.issuer.url().join("/readyz")?),
    };
    match client.fetch_json(&url, 1024).await {
        Ok(_) => Ok(Report::line("ready")),
        Err(fault) => Err(format!("not ready: {url} {fault}").into()),
    }
}

fn probe(scheme: &str, address: SocketAddr) -> Result<Url, url::ParseError> {
    format!("{scheme}://{address}/readyz").parse()
}

/// The first listen address, seen from this machine.
fn local(config: &Config) -> Result<SocketAddr, &'static str> {
    let address = config.listen.first().copied().ok_or("server.listen is empty")?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, address.port()))
}
