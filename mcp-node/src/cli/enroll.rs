//! `mcp-node enroll`: an invite becomes a node that can be started.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use shared::clock::now;
use shared::config::read_secret_text;
use shared::fleet::enrolment::{self, Description};
use shared::fleet::record;
use shared::http_client::HttpClient;
use shared::jose::KeySet;
use shared::secret::Secret;
use shared::uri::{Issuer, ResourceUri};
use url::Url;

use super::init::{listen_address, toml_text};
use super::{Failure, block_on, print};
use crate::config::{DEFAULT_FILE, NodeConfig};
use crate::enrolment::Enrolment;
use crate::identity::Identity;

/// The answer has a key set, which may have 64 KiB, and a record.
const MAX_BYTES: usize = 128 * 1024;
/// What a node of this version can do.
const CAPABILITIES: [&str; 1] = ["mcp"];
/// Where a new configuration keeps the node's key.
const DATA_DIR: &str = "./data";

#[derive(Args)]
pub(super) struct Arguments {
    /// The authorization server that invites
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// The code that `authz-server node invite` printed
    #[arg(long, value_name = "CODE", required_unless_present = "invite_file")]
    invite: Option<String>,
    /// A file with the code, which then appears on no command line
    #[arg(long, value_name = "FILE", conflicts_with = "invite")]
    invite_file: Option<PathBuf>,
    /// The node's own address, as clients type it and as tokens name it [default: what the configuration or the invite says]
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
    /// A name for people [default: what the configuration or the invite says]
    #[arg(long)]
    name: Option<String>,
    /// Certificate authorities to trust beside the public ones, as PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    node_id: &'a str,
    peer_id: &'a str,
    client_id: &'a str,
    resource: &'a str,
    issuer: &'a str,
    /// The configuration with which the node starts.
    config: String,
}

pub(super) fn run(file: Option<PathBuf>, arguments: &Arguments, json: bool) -> Result<ExitCode, Failure> {
    let path = file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let issuer: Issuer = arguments
        .issuer
        .parse()
        .map_err(|fault| format!("--issuer {}: {fault}", arguments.issuer))?;
    let invite = match (&arguments.invite, &arguments.invite_file) {
        (_, Some(file)) => read_secret_text(file)?,
        (Some(code), None) => Secret::from(code.clone()),
        (None, None) => return Err("the invite is missing".into()),
    };
    let place = Place::find(&path, &issuer, arguments)?;
    let identity = Identity::ensure(&place.data_dir)?;
    let applicant = Applicant {
        issuer: &issuer,
        ca_file: arguments.ca_file.as_deref(),
        invite: &invite,
        resource: place.resource.clone(),
        name: place.name.clone(),
    };
    let enrolment = block_on(applicant.ask(&identity))??;
    // First what cannot be had again.
    enrolment.store(&place.data_dir)?;
    place.write(&path, &enrolment, arguments)?;
    let report = Report {
        node_id: &enrolment.node_id,
        peer_id: &enrolment.peer_id,
        client_id: &enrolment.client_id,
        resource: &enrolment.resource,
        issuer: enrolment.issuer.as_str(),
        config: path.display().to_string(),
    };
    print(json, &report, || {
        format!(
            "enrolled {} ({}) for {}\nstart the node with: mcp-node serve --config {}",
            report.node_id, enrolment.name, report.resource, report.config
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Enrols the node that `config` describes with the server that it names first, unless it has enrolled already.
pub(super) fn ensure(config: &NodeConfig, invite_file: &Path) -> Result<(), Failure> {
    if Enrolment::load(&config.data_dir)?.is_some() {
        return Ok(());
    }
    let issuer = config.issuers.first().ok_or("no [[issuer]] to enrol with")?;
    let invite = read_secret_text(invite_file)?;
    let applicant = Applicant {
        issuer: &issuer.issuer,
        ca_file: issuer.ca_file.as_deref(),
        invite: &invite,
        resource: Some(config.resource.as_str().to_owned()),
        name: config.name.clone(),
    };
    let enrolment = block_on(applicant.ask(&Identity::ensure(&config.data_dir)?))??;
    Ok(enrolment.store(&config.data_dir)?)
}

/// The configuration that there is, or that there will be.
struct Place {
    /// What will stand in the file, if it is there already and lacks the issuer.
    new_text: Option<String>,
    is_new: bool,
    data_dir: PathBuf,
    /// What the configuration says; a new one takes what the server answers.
    resource: Option<String>,
    name: Option<String>,
}

impl Place {
    fn find(path: &Path, issuer: &Issuer, arguments: &Arguments) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Self::new(arguments),
            Err(e) => return Err(format!("cannot read {}: {e}", path.display()).into()),
        };
        let known = NodeConfig::from_text_here(&text);
        let trusts = |config: &NodeConfig| config.issuers.iter().any(|known| known.issuer == *issuer);
        let (config, new_text) = match known {
            Ok(config) if trusts(&config) => (config, None),
            _ => {
                // A table at the end belongs to nothing before it.
                let more = issuer_table(issuer, arguments);
                let text = format!("{}\n\n# Added by `mcp-node enroll`.\n{more}", text.trim_end());
                let faults = |fault| format!("{} cannot be used: {fault}", path.display());
                (NodeConfig::from_text_here(&text).map_err(faults)?, Some(text))
            }
        };
        let resource = config.resource.as_str();
        if arguments.resource.as_ref().is_some_and(|asked| asked != resource) {
            let shown = path.display();
            return Err(format!(
                "{shown} says server.resource = {resource:?}; leave --resource out, or change the file"
            )
            .into());
        }
        Ok(Self {
            new_text,
            is_new: false,
            resource: Some(resource.to_owned()),
            name: arguments.name.clone().or(config.name),
            data_dir: config.data_dir,
        })
    }

    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        if let Some(resource) = &arguments.resource {
            let parsed = resource.parse::<ResourceUri>();
            parsed.map_err(|fault| format!("--resource {resource}: {fault}"))?;
        }
        Ok(Self {
            new_text: None,
            is_new: true,
            data_dir: PathBuf::from(DATA_DIR),
            resource: arguments.resource.clone(),
            name: arguments.name.clone(),
        })
    }

    fn write(&self, path: &Path, enrolment: &Enrolment, arguments: &Arguments) -> Result<(), Failure> {
        let written = match &self.new_text {
            Some(text) => std::fs::write(path, text),
            None if self.is_new => std::fs::write(path, compose(enrolment, arguments)?),
            None => Ok(()),
        };
        written.map_err(|e| {
            let shown = path.display();
            format!(
                "the node has enrolled, but {shown} cannot be written ({e}): add {:?} to it",
                issuer_table(&enrolment.issuer, arguments)
            )
        })?;
        Ok(())
    }
}

/// A new configuration file, which is known to be good.
fn compose(enrolment: &Enrolment, arguments: &Arguments) -> Result<String, Failure> {
    let url: Url = enrolment.resource.parse()?;
    let text = format!(
        "# The configuration of one Edge Hive node. `mcp-node config show` prints every key that is in force.\n\n\
         [server]\nlisten = [{}]\n# What clients type, and what their tokens must name as audience.\nresource = {}\n\n\
         [node]\nname = {}\ndata_dir = {}\n\n{}",
        toml_text(&listen_address(&url)),
        toml_text(&enrolment.resource),
        toml_text(&enrolment.name),
        toml_text(DATA_DIR),
        issuer_table(&enrolment.issuer, arguments),
    );
    NodeConfig::from_text(&text)?;
    Ok(text)
}

fn issuer_table(issuer: &Issuer, arguments: &Arguments) -> String {
    let mut table = format!("[[issuer]]\nurl = {}\n", toml_text(issuer.as_str()));
    if let Some(file) = &arguments.ca_file {
        table.push_str(&format!("ca_file = {}\n", toml_text(&file.display().to_string())));
    }
    table
}

/// A node that wants to become a member.
struct Applicant<'a> {
    issuer: &'a Issuer,
    /// Certificate authorities of the server beside the public ones.
    ca_file: Option<&'a Path>,
    invite: &'a Secret,
    /// What it says of itself; the invite says the rest.
    resource: Option<String>,
    name: Option<String>,
}

impl Applicant<'_> {
    /// Enrols, and believes the answer only as far as its own signature goes.
    async fn ask(self, identity: &Identity) -> Result<Enrolment, Failure> {
        let issuer = self.issuer;
        let invite = Secret::from(self.invite.reveal().trim().to_owned());
        let description = Description {
            resource: self.resource,
            name: self.name,
            capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        };
        let now = now();
        let proof = enrolment::sign(identity.key(), (issuer.as_str(), &invite), &description, now)?;
        let request = json!({"invite": invite.reveal(), "jwk": identity.public_jwk(), "proof": proof});
        let url: Url = issuer.endpoint("/fleet/enroll").parse()?;
        let client = HttpClient::new(self.ca_file)?;
        let answer = client.exchange_json(&url, &request, MAX_BYTES).await;
        let answer = answer.map_err(|fault| format!("{url}: {fault}"))?;
        let body = answer.json().filter(|_| answer.status == 201);
        let body =
            body.ok_or_else(|| format!("{issuer} does not enrol this node: {}", answer.complaint()))?;
        let strange = |why: &str| format!("{issuer} answered strangely: {why}");
        let enrolment: Enrolment = serde_json::from_value(body).map_err(|e| strange(&e.to_string()))?;
        let keys =
            KeySet::parse(enrolment.jwks.to_string().as_bytes()).map_err(|e| strange(&e.to_string()))?;
        let signed = record::verify_record(&enrolment.record, (issuer.as_str(), &keys), now);
        let signed = signed.map_err(|fault| strange(&format!("the record: {fault}")))?;
        let signed = signed.record;
        let is_ours = signed.cnf.jwk.get("x") == identity.public_jwk().get("x");
        if enrolment.issuer != *issuer || !is_ours || signed.resource != enrolment.resource {
            return Err(strange("the record is another node's").into());
        }
        Ok(enrolment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        Arguments {
            issuer: "https://as.example".to_owned(),
            invite: Some("ehi_x".to_owned()),
            invite_file: None,
            resource: None,
            name: None,
            ca_file: None,
        }
    }

    fn enrolment(resource: &str) -> Enrolment {
        Enrolment {
            issuer: "https://as.example".parse().unwrap(),
            node_id: "swift-fox-0dd9b9".to_owned(),
            peer_id: "p".to_owned(),
            client_id: "c_x".to_owned(),
            resource: resource.to_owned(),
            name: "north \"1\"".to_owned(),
            scope: "fleet:read".to_owned(),
            record: "r".to_owned(),
            jwks: json!(null),
            directory_uri: "d".to_owned(),
        }
    }

    #[test]
    fn a_new_file_works() {
        let text = compose(&enrolment("http://localhost:8085/mcp"), &arguments()).unwrap();
        let config = NodeConfig::from_text(&text).unwrap();
        assert_eq!(config.listen, ["127.0.0.1:8085".parse().unwrap()]);
        assert_eq!(config.issuers[0].issuer.as_str(), "https://as.example");
        assert_eq!(config.name.as_deref(), Some("north \"1\""));
    }

    #[test]
    fn a_file_that_is_there_gets_the_issuer_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let before = "[server]\nresource = \"http://localhost:8086/mcp\"\n[limits]\nper_client = \"7/min\"\n";
        std::fs::write(&path, before).unwrap();
        let issuer: Issuer = "https://as.example".parse().unwrap();
        let place = Place::find(&path, &issuer, &arguments()).unwrap();
        assert_eq!(place.resource.as_deref(), Some("http://localhost:8086/mcp"));
        place
            .write(&path, &enrolment("http://localhost:8086/mcp"), &arguments())
            .unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(before), "{text}");
        let config = NodeConfig::from_text(&text).unwrap();
        assert_eq!(config.issuers.len(), 1);
        // A second time it is there.
        assert!(
            Place::find(&path, &issuer, &arguments())
                .unwrap()
                .new_text
                .is_none()
        );
        let other = Arguments {
            resource: Some("http://localhost:1/mcp".to_owned()),
            ..arguments()
        };
        let refused = Place::find(&path, &issuer, &other).err().unwrap().0;
        assert!(refused.contains("server.resource"), "{refused}");
        std::fs::write(&path, "[server]\nlisten = 7\n").unwrap();
        assert!(Place::find(&path, &issuer, &arguments()).is_err());
    }
}
