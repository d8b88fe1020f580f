//! `authz-server doctor`: what real MCP clients would meet.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use shared::http_client::{HttpClient, NOT_TO_BE_ASKED, may_be_asked};
use url::Url;

use super::Outcome;
use super::print::Report;
use crate::config::Config;
use crate::doctor::{Finding, Findings, Patient, examine};

/// Play the MCP clients that people use against what is running, and say what would fail for whom
#[derive(Args)]
pub(super) struct Doctor {
    /// A node's MCP endpoint, as clients are given it; may be repeated [default: the server alone]
    #[arg(value_name = "URL")]
    nodes: Vec<Url>,
    /// The server, when it is not the one of the configuration and no node names it
    #[arg(long, value_name = "URL")]
    issuer: Option<Url>,
    /// Certificate authorities to trust besides the public ones: a PEM file
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Register as clients do that register themselves, and delete that again
    #[arg(long)]
    register: bool,
}

impl Doctor {
    pub(super) async fn run(self, config: &Config) -> Outcome {
        let own_authority = config.tls.authority().filter(|file| file.exists());
        let client = HttpClient::new(self.ca_file.or(own_authority).as_deref())?;
        let issuer = self.issuer.unwrap_or_else(|| config.issuer.url().clone());
        let nodes: Vec<Option<Url>> = if self.nodes.is_empty() {
            vec![None]
        } else {
            self.nodes.into_iter().map(Some).collect()
        };
        if let Some(url) = nodes
            .iter()
            .flatten()
            .chain([&issuer])
            .find(|url| !may_be_asked(url))
        {
            return Err(format!("{url} cannot be looked at: {NOT_TO_BE_ASKED}").into());
        }
        let mut all = Vec::new();
        for node in nodes {
            let patient = Patient {
                issuer: issuer.clone(),
                node,
                registers: self.register,
            };
            all.push(examine(&client, &patient).await);
        }
        let text = all.iter().map(in_words).collect::<Vec<_>>().join("\n");
        let is_healthy = all.iter().all(Findings::is_healthy);
        Ok(Report::told(serde_json::to_value(&all)?, text).failed_unless(is_healthy))
    }
}

/// For people: a line for each client, and below it what is to be said.
fn in_words(findings: &Findings) -> String {
    let mut text = format!("server  {}\n", findings.issuer);
    if let Some(node) = &findings.node {
        text.push_str(&format!("node    {node}\n"));
    }
    text.push('\n');
    tell(&mut text, &findings.deployment);
    let width = findings
        .clients
        .iter()
        .map(|client| client.client.len())
        .max()
        .unwrap_or(0);
    for client in &findings.clients {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<width$}  {}", client.client, client.verdict.as_str());
        tell(&mut text, &client.findings);
    }
    text
}

fn tell(text: &mut String, findings: &[Finding]) {
    for finding in findings {
        text.push_str(&format!("  - {}\n", finding.what));
        if !finding.fix.is_empty() {
            text.push_str(&format!("    {}\n", finding.fix));
        }
    }
}
