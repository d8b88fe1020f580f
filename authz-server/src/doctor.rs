//! `doctor`: plays the MCP clients that people use against a deployment, from outside, and says in plain words what would
//! fail for whom.
//!
//! First everything is looked at once, as those clients look at it: the same addresses in the same order, the same
//! headers ([`seen`]). Then each client is judged by what it is known to insist on ([`clients`], [`judge`]), and what it
//! would ask of the authorization endpoint is asked there. Nothing here reads the database or the configuration: what the
//! doctor cannot see, a client cannot either.

mod clients;
mod judge;
mod play;
mod seen;

use serde::Serialize;
use shared::http_client::HttpClient;
use url::Url;

use self::seen::{SeenNode, SeenServer};

/// What is to be looked at.
#[derive(Debug)]
pub(crate) struct Patient {
    /// The issuer; where a node is named, its first `authorization_servers` says it.
    pub(crate) issuer: Url,
    /// The node's MCP endpoint.
    pub(crate) node: Option<Url>,
    /// Whether clients that register themselves do so, and are deleted again.
    pub(crate) registers: bool,
}

/// What there is to say of one client, or of all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Finding {
    /// What was seen.
    pub(crate) what: String,
    /// What to do about it; may be empty.
    pub(crate) fix: String,
}

impl Finding {
    fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// How a client would fare.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// By itself.
    Works,
    /// When it is told the id of a client that an operator has created for it.
    WithClientId,
    /// Not at all, while what is found is as it is.
    Fails,
    /// It asks from its maker's network, which does not reach this deployment.
    OutOfReach,
}

impl Verdict {
    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::WithClientId => "with a client id",
            Self::Fails => "FAILS",
            Self::OutOfReach => "out of reach",
        }
    }
}

/// One client's fate.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// Its name.
    pub(crate) client: &'static str,
    pub(crate) verdict: Verdict,
    /// Why, and what else it would meet.
    pub(crate) findings: Vec<Finding>,
}

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    pub(crate) issuer: String,
    pub(crate) node: Option<String>,
    /// What concerns every client.
    pub(crate) deployment: Vec<Finding>,
    pub(crate) clients: Vec<Diagnosis>,
}

impl Findings {
    /// Whether anything is wrong that somebody would notice.
    pub(crate) fn is_healthy(&self) -> bool {
        let fails = |client: &Diagnosis| client.verdict == Verdict::Fails;
        self.deployment.is_empty() && !self.clients.iter().any(fails)
    }
}

/// Looks at the deployment and judges each known client.
pub(crate) async fn examine(client: &HttpClient, patient: &Patient) -> Findings {
    let node = match &patient.node {
        Some(url) => Some(SeenNode::look(client, url).await),
        None => None,
    };
    let named = node.as_ref().and_then(SeenNode::first_server);
    let issuer = named.as_ref().unwrap_or(&patient.issuer);
    let server = SeenServer::look(client, issuer).await;
    let mut diagnoses = Vec::new();
    for real in clients::KNOWN {
        let seen = (&server, node.as_ref());
        diagnoses.push(match judge::out_of_reach(real, seen) {
            Some(diagnosis) => diagnosis,
            None => judge::judge(
                real,
                seen,
                play::play(client, real, seen, patient.registers).await,
            ),
        });
    }
    Findings {
        issuer: server.issuer().to_owned(),
        node: patient.node.as_ref().map(Url::to_string),
        deployment: judge::everybody(&server, node.as_ref()),
        clients: diagnoses,
    }
}
