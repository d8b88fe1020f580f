//! `mcp-node status`: how a running node is. Without a token, what anyone may know; with one, everything.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use shared::http_client::{FetchFault, HttpClient};
use shared::secret::Secret;
use url::Url;

use super::healthcheck::{client, local_address};
use super::{Failure, block_on, fleet, load, print};
use crate::config::NodeConfig;
use crate::identity::Identity;
use crate::status::{IssuerStatus, Load, NodeStatus};

const MAX_BYTES: usize = 256 * 1024;

#[derive(Args)]
pub(super) struct Arguments {
    /// The node to ask [default: the first listen address of the configuration]
    #[arg(long)]
    url: Option<Url>,
    /// A file with an access token (scope mcp:resources or mcp:read), to see the node's inside too
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    /// The node's id in this data folder.
    id: String,
    /// Whether the node answers.
    alive: bool,
    /// Whether it can judge tokens.
    ready: bool,
    /// What it tells everyone.
    information: Option<Value>,
    /// What it tells those with a token.
    status: Option<NodeStatus>,
    /// What could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

pub(super) fn run(file: Option<PathBuf>, arguments: &Arguments, json: bool) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    let report = block_on(ask(&config, arguments))??;
    print(json, &report, || report.lines())?;
    Ok(if report.alive && report.fault.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn ask(config: &NodeConfig, arguments: &Arguments) -> Result<Report, Failure> {
    let base = arguments.url.clone().map_or_else(|| local_address(config), Ok)?;
    let client = client(config)?;
    let id = Identity::ensure(&config.data_dir)?.id().to_owned();
    let mut report = Report {
        id,
        alive: false,
        ready: false,
        information: None,
        status: None,
        fault: None,
    };
    if let Err(fault) = fetch(&client, &base, "/healthz").await {
        report.fault = Some(format!("{base} {fault}"));
        return Ok(report);
    }
    report.alive = true;
    report.ready = fetch(&client, &base, "/readyz").await.is_ok();
    report.information = fetch(&client, &base, &format!("/mcp/node/{}/info", report.id))
        .await
        .ok();
    if let Some(path) = &arguments.token_file {
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let token = Secret::from(text.trim().to_owned());
        match inside(&client, &base, &token).await {
            Ok(status) => report.status = Some(status),
            Err(fault) => report.fault = Some(fault.0),
        }
    }
    Ok(report)
}

async fn fetch(client: &HttpClient, base: &Url, path: &str) -> Result<Value, FetchFault> {
    let url = base
        .join(path)
        .map_err(|e| FetchFault::Transport(e.to_string()))?;
    let fetched = client.fetch_json(&url, MAX_BYTES).await?;
    serde_json::from_slice(&fetched.body).map_err(|e| FetchFault::Transport(e.to_string()))
}

async fn inside(client: &HttpClient, base: &Url, token: &Secret) -> Result<NodeStatus, Failure> {
    let url = base.join("/mcp/resources/edge-hive%3A%2F%2Fstatus")?;
    let fetched = client.fetch_json_as(token, &url, MAX_BYTES).await?;
    let document: Value = serde_json::from_slice(&fetched.body)?;
    let text = document["contents"][0]["text"]
        .as_str()
        .ok_or("the node answered with something else")?;
    Ok(serde_json::from_str(text)?)
}

impl Report {
    fn lines(&self) -> String {
        let mut lines = vec![
            format!("node    {}", self.id),
            format!("alive   {}", if self.alive { "yes" } else { "no" }),
            format!(
                "ready   {}",
                if self.ready {
                    "yes"
                } else {
                    "no: no issuer's keys can be had"
                }
            ),
        ];
        if let Some(status) = &self.status {
            let Load {
                cpu_percent,
                memory_bytes,
                cores,
            } = status.load;
            lines.push(format!("uptime  {} s", status.uptime_seconds));
            lines.push(format!(
                "load    {cpu_percent} % of {cores} core(s), {} KiB",
                memory_bytes / 1024
            ));
            lines.extend(status.issuers.iter().map(|issuer| {
                let age = issuer
                    .keys_age_seconds
                    .map_or_else(|| "never fetched".to_owned(), |age| format!("{age} s old"));
                let how = match issuer.validation.as_str() {
                    "shared_secret" => "a shared secret".to_owned(),
                    "introspection" if issuer.usable => "is asked about each token".to_owned(),
                    "introspection" => "is asked about each token, and does not answer".to_owned(),
                    _ => format!("{} key(s), {age}", issuer.keys),
                };
                format!("issuer  {}: {how}{}", issuer.issuer, alone(issuer))
            }));
            lines.push(format!(
                "peers   {} known, {} heard of",
                status.peers.len(),
                status.peers_heard
            ));
            lines.extend(
                status
                    .peers
                    .iter()
                    .map(|peer| format!("        {}", fleet::line(peer))),
            );
            lines.extend(status.peers_note.iter().map(|note| format!("        {note}")));
        } else if self.alive {
            lines.push("more with --token-file".to_owned());
        }
        lines.extend(self.fault.iter().map(|fault| format!("fault   {fault}")));
        lines.join("\n")
    }
}

/// How long the node could go on without the issuer.
fn alone(issuer: &IssuerStatus) -> String {
    let keys = issuer
        .keys_left_seconds
        .map(|left| format!("; keys serve {left} s without it"));
    let revocation = issuer.revocation.as_ref().map(|known| {
        let left = known
            .left_seconds
            .map_or_else(|| "without end".to_owned(), |left| format!("{left} s without it"));
        let age = known.age_seconds.unwrap_or_default();
        format!("; {} status list(s), {age} s old, serve {left}", known.lists)
    });
    keys.unwrap_or_default() + &revocation.unwrap_or_default()
}
