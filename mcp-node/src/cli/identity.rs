//! `mcp-node identity`: who the node is. Never its private key.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Failure, load, print};
use crate::enrolment::Enrolment;
use crate::identity::Identity;

/// What is printed.
#[derive(Serialize)]
struct Report {
    node_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    former_id: Option<String>,
    peer_id: String,
    /// RFC 7638.
    thumbprint: String,
    /// The public key.
    jwk: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled: Option<Enrolled>,
}

#[derive(Serialize)]
struct Enrolled {
    issuer: String,
    client_id: String,
    resource: String,
}

pub(super) fn run(file: Option<PathBuf>, json: bool) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    let identity = Identity::ensure(&config.data_dir)?;
    let enrolled = Enrolment::load(&config.data_dir)?.map(|enrolment| Enrolled {
        issuer: enrolment.issuer.to_string(),
        client_id: enrolment.client_id,
        resource: enrolment.resource,
    });
    let report = Report {
        node_id: identity.id().to_owned(),
        former_id: identity.former_id().map(str::to_owned),
        peer_id: identity.peer_id(),
        thumbprint: identity.thumbprint(),
        jwk: identity.public_jwk(),
        enrolled,
    };
    print(json, &report, || report.lines())?;
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn lines(&self) -> String {
        let mut lines = vec![
            format!("node        {}", self.node_id),
            format!("peer        {}", self.peer_id),
            format!("thumbprint  {}", self.thumbprint),
        ];
        lines.extend(self.former_id.iter().map(|id| format!("formerly    {id}")));
        lines.push(match &self.enrolled {
            Some(enrolled) => format!(
                "enrolled    with {} as {}, for {}",
                enrolled.issuer, enrolled.client_id, enrolled.resource
            ),
            None => "enrolled    no; see: mcp-node enroll".to_owned(),
        });
        lines.join("\n")
    }
}
