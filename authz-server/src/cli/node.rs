//! `authz-server node …`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use shared::clock::{self, UnixSeconds};
use shared::config::Span;
use shared::tls::write_private;

use super::Outcome;
use super::print::{Report, day};
use crate::config::Config;
use crate::db::Db;
use crate::fleet::invite::{self, Invite};
use crate::fleet::node;
use crate::pages;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a code with which one node can enrol, or look after those that were made
    Invite(NewInvite),
    /// List every node, also those that were revoked
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
    pub(super) async fn run(self, db: &Db, config: &Config) -> Outcome {
        let now = clock::now();
        match self {
            Self::Invite(asked) if asked.list => Report::rows(&invite::list(db, now).await?, |invite| {
                let or_any = |text: &Option<String>| text.clone().unwrap_or_else(|| "any".to_owned());
                vec![
                    invite.invite_id.clone(),
                    invite.state.to_owned(),
                    or_any(&invite.name),
                    or_any(&invite.resource),
                    format!("until {}", pages::iso(UnixSeconds(invite.expires_at))),
                ]
            }),
            Self::Invite(NewInvite {
                withdraw: Some(invite_id),
                ..
            }) => {
                invite::withdraw(db, &invite_id, now).await?;
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
                let invite = Invite {
                    resource: new.resource,
                    name: new.name,
                    replaces: new.replace,
                    ttl: new.ttl.0,
                    may_invite: new.may_invite,
                    asked_by: None,
                };
                let made = invite::create(db, config.issuer.as_str(), invite, now).await?;
                match new.output {
                    None => Report::record(&made),
                    Some(file) => write(db, &made, &file).await,
                }
            }
            Self::List => Report::rows(&node::list(db).await?, |node| {
                vec![
                    node.node_id.clone(),
                    node.state.to_owned(),
                    node.name.clone(),
                    node.resource.clone(),
                    format!("since {}", day(Some(node.enrolled_at))),
                ]
            }),
            Self::Revoke { node_id } => {
                node::revoke(db, &node_id, now).await?;
                Ok(Report::line("the node is cut off; its tokens are inactive"))
            }
        }
    }
}

/// Puts the code where nobody else reads it. One that is nowhere is no use to anybody, and is taken back.
async fn write(db: &Db, made: &invite::NewInvite, file: &Path) -> Outcome {
    if let Err(e) = write_private(file, made.invite.as_bytes(), false) {
        invite::withdraw(db, &made.invite_id, clock::now()).await?;
        return Err(format!("cannot write {}: {e}; the invite is withdrawn", file.display()).into());
    }
    Ok(Report::line(&format!(
        "the code is in {}; enrol with: mcp-node enroll --issuer ISSUER --invite-file FILE",
        file.display()
    )))
}
