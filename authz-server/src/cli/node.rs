//! `authz-server node …`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use shared::clock::UnixSeconds;
use shared::config::Span;
use shared::tls::write_private;

use super::Outcome;
use super::place::{Place, of, saying};
use super::print::{Report, day};
use crate::admin::nodes;
use crate::fleet::invite::{self, InviteView};
use crate::fleet::node::NodeView;
use crate::pages;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a code with which one node can enrol, or look after those that were made
    Invite(NewInvite),
    /// List every node, also those that were revoked, with the time of its last report
    List,
    /// Cut a node off: its client, its resource and every token for it
    Revoke {
        /// The node's id
        #[arg(value_name = "NODE")]
        node_id: String,
    },
}

#[derive(Args)]
pub(super) struct NewInvite {
    /// The resource that the node is to serve; one that is registered already must be named here [default: what the node says]
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// How long the code can be used
    #[arg(long, default_value = "1h", value_name = "TIME")]
    ttl: Span,
    /// What the node is called [default: what the node says]
    #[arg(long)]
    name: Option<String>,
    /// The node whose place it takes, for example because its disk is lost; that one is cut off
    #[arg(long, value_name = "NODE")]
    replace: Option<String>,
    /// Write the code to this file, which only its owner can read, instead of printing it; make no invite if the file is there
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Let the node make invites itself, each with the yes of an administrator
    #[arg(long)]
    may_invite: bool,
    /// List the invites instead of making one, also those that were used or are over
    #[arg(long, conflicts_with_all = MAKING)]
    list: bool,
    /// Take an invite back that nobody has used, by its id
    #[arg(long, value_name = "INVITE_ID", conflicts_with = "list", conflicts_with_all = MAKING)]
    withdraw: Option<String>,
}

/// What is said of a new invite.
const MAKING: [&str; 6] = ["resource", "ttl", "name", "replace", "output", "may_invite"];

impl Command {
    pub(super) async fn run(self, place: &Place) -> Outcome {
        match self {
            Self::Invite(asked) if asked.list => {
                let list: Vec<InviteView> = place.all(&nodes::LIST_INVITES, &[]).await?;
                Report::rows(&list, |invite| {
                    let or_any = |text: &Option<String>| text.clone().unwrap_or_else(|| "any".to_owned());
                    vec![
                        invite.invite_id.clone(),
                        invite.state.clone(),
                        or_any(&invite.name),
                        or_any(&invite.resource),
                        format!("until {}", pages::iso(UnixSeconds(invite.expires_at))),
                    ]
                })
            }
            Self::Invite(NewInvite {
                withdraw: Some(invite_id),
                ..
            }) => {
                place.ask(&nodes::WITHDRAW_INVITE, of(&invite_id)).await?;
                Ok(Report::line("the invite is withdrawn; nobody can enrol with it"))
            }
            // What is to be started again and again, a container for example, makes one invite all the same.
            Self::Invite(NewInvite {
                output: Some(file), ..
            }) if file.exists() => {
                let text = format!("{} is there already; no invite was made", file.display());
                Ok(Report::line(&text))
            }
            Self::Invite(new) => {
                let output = new.output.clone();
                let body = new.said();
                let made: invite::NewInvite = place.get(&nodes::CREATE_INVITE, saying(body)).await?;
                match output {
                    None => Report::record(&made),
                    Some(file) => write(place, &made, &file).await,
                }
            }
            Self::List => {
                let list: Vec<NodeView> = place.all(&nodes::LIST, &[]).await?;
                Report::rows(&list, |node| {
                    vec![
                        node.node_id.clone(),
                        node.state.clone(),
                        node.name.clone(),
                        node.resource.clone(),
                        format!("since {}", day(Some(node.enrolled_at))),
                        match node.last_contact_at {
                            None => "never heard of".to_owned(),
                            Some(at) => format!("heard of {}", pages::iso(UnixSeconds(at))),
                        },
                    ]
                })
            }
            Self::Revoke { node_id } => {
                place.ask(&nodes::REVOKE, of(&node_id)).await?;
                Ok(Report::line("the node is cut off; its tokens are inactive"))
            }
        }
    }
}

impl NewInvite {
    fn said(self) -> Map<String, Value> {
        let named = [
            ("resource", self.resource.map(Value::from)),
            ("name", self.name.map(Value::from)),
            ("replaces", self.replace.map(Value::from)),
            ("ttl", Some(format!("{}s", self.ttl.0.as_secs()).into())),
            ("may_invite", Some(self.may_invite.into())),
        ];
        named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Puts the code where nobody else reads it. One that is nowhere is no use to anybody, and is taken back.
async fn write(place: &Place, made: &invite::NewInvite, file: &Path) -> Outcome {
    if let Err(e) = write_private(file, made.invite.as_bytes(), false) {
        place.ask(&nodes::WITHDRAW_INVITE, of(&made.invite_id)).await?;
        return Err(format!("cannot write {}: {e}; the invite is withdrawn", file.display()).into());
    }
    Ok(Report::line(&format!(
        "the code is in {}; enrol with: mcp-node enroll --issuer ISSUER --invite-file FILE",
        file.display()
    )))
}
