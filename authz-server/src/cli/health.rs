//! `authz-server healthcheck`: exit code 0 when the server that this configuration describes is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use shared::http_client::HttpClient;
use shared::tls::TlsMode;
use url::Url;

use super::Outcome;
use super::print::Report;
use crate::config::Config;

pub(super) async fn check(config: &Config) -> Outcome {
    let address = local(config)?;
    let (client, url) = match &config.tls {
        TlsMode::Off => (HttpClient::new(None)?, probe("http", &address.to_string())?),
        TlsMode::SelfSigned { folder, .. } => beside(&folder.join("ca.pem"), "localhost", address)?,
        // The certificate is for the public name, which may lead to a balancer and from there to another instance.
        TlsMode::Files { .. } | TlsMode::Acme(_) => {
            let host = config.issuer.url().host_str().unwrap_or("localhost");
            let authorities = config.tls.own_authorities().unwrap_or_default();
            if !authorities.exists() {
                let path = authorities.display();
                return Err(format!("not ready: there is no certificate yet ({path})").into());
            }
            beside(&authorities, host, address)?
        }
    };
    match client.fetch_json(&url, 1024).await {
        Ok(_) => Ok(Report::line("ready")),
        Err(fault) => Err(format!("not ready: {url} {fault}").into()),
    }
}

/// The server on this machine under the name that its certificate has. What is in `authorities` is trusted for that: a
/// chain of the operator's own that has its authority in it vouches for itself.
fn beside(
    authorities: &Path,
    host: &str,
    address: SocketAddr,
) -> Result<(HttpClient, Url), Box<dyn std::error::Error>> {
    Ok((
        HttpClient::found_at(Some(authorities), (host, address))?,
        probe("https", &format!("{host}:{}", address.port()))?,
    ))
}

fn probe(scheme: &str, authority: &str) -> Result<Url, url::ParseError> {
    format!("{scheme}://{authority}/readyz").parse()
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
