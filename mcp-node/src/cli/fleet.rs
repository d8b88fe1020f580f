//! What `mcp-node discovery` and `mcp-node peers` ask a running node. Without a token of somebody's, an enrolled node gets
//! one for itself, with its own key.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::Value;
use shared::clock::now;
use shared::http_client::Exchanged;
use shared::secret::Secret;
use url::Url;

use super::healthcheck::{client, local_address};
use super::{Failure, block_on, load, print};
use crate::config::NodeConfig;
use crate::enrolment::Enrolment;
use crate::fleet::Membership;
use crate::identity::Identity;
use crate::peers::State;
use crate::status::PeerStatus;

/// A thousand nodes, with all that they say.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Subcommand)]
pub(super) enum Discovery {
    /// Announce this node to others, now
    Announce(Asked),
    /// List every node that this one has heard of
    Peers(Asked),
}

#[derive(Subcommand)]
pub(super) enum Peers {
    /// List the nodes that have proved who they are
    List(Asked),
    /// Connect to a node
    Connect {
        /// Its node id or its peer id
        peer: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Which node is asked, and as whom.
#[derive(Args)]
pub(super) struct Asked {
    /// The node to ask [default: the first listen address of the configuration]
    #[arg(long)]
    url: Option<Url>,
    /// A file with an access token [default: the node gets one for itself, with its own key]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn discovery(file: Option<PathBuf>, command: &Discovery, json: bool) -> Result<ExitCode, Failure> {
    match command {
        Discovery::Announce(asked) => {
            let answer = ask(file, asked, "fleet:announce", |_| {
                Ok("/discovery/announce".to_owned())
            })?;
            print(json, &answer, || announced(&answer))?;
        }
        Discovery::Peers(asked) => list(file, asked, json, |_| true)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn peers(file: Option<PathBuf>, command: &Peers, json: bool) -> Result<ExitCode, Failure> {
    match command {
        Peers::List(asked) => list(file, asked, json, |peer| peer.state != State::Heard)?,
        Peers::Connect { peer, asked } => {
            let answer = ask(file, asked, "fleet:connect", |base| {
                let mut url = base.join("/discovery/connect/")?;
                // One segment, whatever is in it.
                url.path_segments_mut()
                    .map_err(|()| "the address has no path")?
                    .pop_if_empty()
                    .push(peer);
                Ok(url.path().to_owned())
            })?;
            let connected: PeerStatus = serde_json::from_value(answer["peer"].clone())?;
            print(json, &connected, || line(&connected))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(
    file: Option<PathBuf>,
    asked: &Asked,
    json: bool,
    wanted: impl Fn(&PeerStatus) -> bool,
) -> Result<(), Failure> {
    let answer = ask(file, asked, "fleet:read", |_| Ok("/discovery/peers".to_owned()))?;
    let peers: Vec<PeerStatus> = serde_json::from_value(answer["peers"].clone())?;
    let peers: Vec<PeerStatus> = peers.into_iter().filter(|peer| wanted(peer)).collect();
    print(json, &peers, || match peers.is_empty() {
        true => "none".to_owned(),
        false => peers.iter().map(line).collect::<Vec<_>>().join("\n"),
    })
}

/// One line for people.
pub(super) fn line(peer: &PeerStatus) -> String {
    let state = match peer.state {
        State::Heard => "heard of",
        State::Known => "known",
        State::Connected => "connected",
    };
    let name = peer.name.as_deref().unwrap_or("-");
    let place = peer
        .resource
        .as_ref()
        .or(peer.addresses.first())
        .map_or("-", String::as_str);
    format!("{}  {state}  {name}  {place}", peer.id)
}

fn announced(answer: &Value) -> String {
    let told = [("mdns", "the local network"), ("p2p", "connected nodes")];
    let told = told.iter().filter(|(key, _)| answer[*key] == true);
    format!(
        "told {}",
        told.map(|(_, whom)| *whom).collect::<Vec<_>>().join(" and ")
    )
}

/// Asks the node; what is read is asked for, what changes something is sent.
fn ask(
    file: Option<PathBuf>,
    asked: &Asked,
    scope: &str,
    path: impl FnOnce(&Url) -> Result<String, Failure>,
) -> Result<Value, Failure> {
    let config = load(file)?;
    let base = asked.url.clone().map_or_else(|| local_address(&config), Ok)?;
    let url = base.join(&path(&base)?)?;
    let client = client(&config)?;
    block_on(async {
        let token = token(&config, asked, scope).await?;
        let answer = match scope {
            "fleet:read" => client.exchange_as(&token, &url, MAX_BYTES).await,
            _ => client.exchange_post_as(&token, &url, MAX_BYTES).await,
        };
        let answer = answer.map_err(|fault| format!("{url} {fault}"))?;
        understood(&answer)
    })?
}

async fn token(config: &NodeConfig, asked: &Asked, scope: &str) -> Result<Secret, Failure> {
    if let Some(path) = &asked.token_file {
        let text =
            std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        return Ok(Secret::from(text.trim().to_owned()));
    }
    let identity = Arc::new(Identity::ensure(&config.data_dir)?);
    let enrolment = Enrolment::load(&config.data_dir)?;
    let membership = Membership::of(identity, enrolment, config)?;
    let membership = membership
        .ok_or_else(|| format!("the node has not enrolled; write --token-file with a token ({scope})"))?;
    let issuer = membership.enrolment().issuer.clone();
    let token = membership.own_token(scope, now()).await;
    Ok(token.map_err(|fault| format!("{issuer} gives this node no token: {fault}"))?)
}

/// The document of a good answer; the sentence of any other.
fn understood(answer: &Exchanged) -> Result<Value, Failure> {
    let document = answer.json();
    if answer.status == 200 {
        return Ok(document.ok_or("the node answered with something else")?);
    }
    let text = |name: &str| document.as_ref()?[name].as_str().map(str::to_owned);
    let sentence = text("detail").or_else(|| text("error_description"));
    let sentence = sentence.unwrap_or_else(|| format!("it answered with status {}", answer.status));
    Err(match text("error") {
        Some(code) => format!("{sentence} ({code})").into(),
        None => sentence.into(),
    })
}
