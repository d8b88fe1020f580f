//! Invites: what an operator gives to whoever sets up a node.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use shared::clock::UnixSeconds;
use shared::secret::{Secret, SecretKind};
use shared::uri::ResourceUri;

use super::node::NodeFault;
use crate::audit::{self, Actor, Event, Name, Target};
use crate::client::metadata::is_invisible;
use crate::db::node_invite::{self, InviteRow, ListedRow};
use crate::db::{self, Db, Tx};

/// Lets a node's client ask for invites of further nodes, each with an administrator's yes.
pub(crate) const MAY_INVITE: &str = "fleet:invite";
/// The longest life of an invite: whoever has it can join.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What is said of an invite.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invite {
    /// The resource that the node is to serve.
    pub(crate) resource: Option<String>,
    /// What the node is to be called.
    pub(crate) name: Option<String>,
    /// The id of the node whose place it takes.
    pub(crate) replaces: Option<String>,
    /// How long it can be used.
    pub(crate) ttl: Duration,
    /// Whether the node may ask for invites itself.
    pub(crate) may_invite: bool,
    /// The client of the node that asks for it; `None` for an operator.
    pub(crate) asked_by: Option<String>,
}

/// A new invite with its code, which is shown once.
#[derive(Debug, Serialize)]
pub(crate) struct NewInvite {
    /// What it is called where it is not to be used.
    pub(crate) invite_id: String,
    /// The code.
    pub(crate) invite: String,
    /// What to type where the node is to run.
    pub(crate) command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<String>,
    pub(crate) expires_at: i64,
}

/// Makes an invite for nodes of the server `issuer`.
pub(crate) async fn create(
    db: &Db,
    issuer: &str,
    invite: Invite,
    now: UnixSeconds,
) -> Result<NewInvite, NodeFault> {
    let prepared = prepare(db, issuer, invite, now).await?;
    let written = db.write(async |tx| {
        prepared.write(tx).await?;
        db::audit_event::append(tx, &prepared.told(Actor::Operator, None), now).await
    });
    written.await?;
    Ok(prepared.shown)
}

/// An invite that is not in the database yet.
pub(super) struct Prepared {
    secret: Secret,
    row: InviteRow,
    pub(super) shown: NewInvite,
}

impl Prepared {
    /// Writes it, as a part of something larger.
    pub(super) async fn write(&self, tx: &mut Tx) -> Result<(), db::DbFault> {
        node_invite::insert(tx, &self.secret.hash(), &self.row).await
    }

    /// The event of its making.
    pub(super) fn told<'a>(&'a self, actor: Actor<'a>, source: Option<IpAddr>) -> Event<'a> {
        let said = &self.shown;
        Event {
            name: Name::NodeInvited,
            actor,
            source,
            details: audit::details([
                ("name", said.name.as_deref()),
                ("resource", said.resource.as_deref()),
                ("replaces", said.replaces.as_deref()),
                ("scopes", Some(&self.row.scopes)),
            ]),
            ..Event::of_operator(Name::NodeInvited, Target::Invite(&said.invite_id))
        }
    }
}

/// Checks what is said of an invite.
pub(super) async fn prepare(
    db: &Db,
    issuer: &str,
    invite: Invite,
    now: UnixSeconds,
) -> Result<Prepared, NodeFault> {
    let asked = |text: String| NodeFault::Asked(text);
    if invite.ttl.is_zero() || invite.ttl > LONGEST {
        return Err(asked("an invite can be used for 1s to 30d".to_owned()));
    }
    // As for a client, which takes its name from here.
    let is_name = |name: &String| {
        name.len() <= 100
            && name.chars().any(char::is_alphanumeric)
            && !name.chars().any(is_invisible)
            && name.trim() == name
    };
    if !invite.name.as_ref().is_none_or(is_name) {
        let sentence = "the name must have 1 to 100 bytes, something to read, no space around it, and no invisible or \
                        direction-changing characters";
        return Err(asked(sentence.to_owned()));
    }
    let replaced = match &invite.replaces {
        Some(node_id) => {
            let node = db::node::newest(db, node_id).await?;
            Some(node.ok_or_else(|| NodeFault::NoSuchNode(node_id.clone()))?)
        }
        None => None,
    };
    if let Some(resource) = &invite.resource {
        let parsed = resource.parse::<ResourceUri>();
        parsed.map_err(|fault| asked(format!("the resource {resource}: {fault}")))?;
    }
    // A node that takes another's place serves what that one served, unless the operator says otherwise.
    let resource = invite
        .resource
        .or_else(|| replaced.as_ref().map(|node| node.resource.clone()));
    let name = invite
        .name
        .or_else(|| replaced.as_ref().map(|node| node.name.clone()));
    let secret = Secret::generate(SecretKind::Invite)?;
    let row = InviteRow {
        name: name.clone(),
        resource: resource.clone(),
        replaces: replaced.map(|node| node.client_id),
        scopes: if invite.may_invite { MAY_INVITE } else { "" }.to_owned(),
        asked_by: invite.asked_by,
        created_at: now.0,
        expires_at: (now + invite.ttl).0,
    };
    let shown = NewInvite {
        invite_id: id_of(secret.hash().as_bytes()),
        command: format!("mcp-node enroll --issuer {issuer} --invite {}", secret.reveal()),
        invite: secret.reveal().to_owned(),
        resource,
        name,
        replaces: invite.replaces,
        expires_at: row.expires_at,
    };
    Ok(Prepared { secret, row, shown })
}

/// What an invite is called in lists and in the audit log. It follows from the hash that is kept of the code and tells
/// nothing of the code.
pub(crate) fn id_of(hash: &[u8]) -> String {
    let start = hash.get(..9).unwrap_or(hash);
    format!("i_{}", URL_SAFE_NO_PAD.encode(start))
}

/// What is shown of an invite that was made before.
#[derive(Debug, Serialize)]
pub(crate) struct InviteView {
    pub(crate) invite_id: String,
    /// `open`, `used` or `expired`.
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    /// The node whose place it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<String>,
    pub(crate) may_invite: bool,
    /// The node that asked for it; none for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked_by: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) used_at: Option<i64>,
    /// The node that enrolled with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) used_by: Option<String>,
}

/// Every invite that is remembered, oldest first: until a while after its end.
pub(crate) async fn list(db: &Db, now: UnixSeconds) -> Result<Vec<InviteView>, NodeFault> {
    let rows = node_invite::list(db).await?;
    let view = |row: ListedRow| InviteView {
        invite_id: id_of(&row.invite_hash),
        state: match row.used_at {
            Some(_) => "used",
            None if row.expires_at <= now.0 => "expired",
            None => "open",
        },
        may_invite: row.scopes.split(' ').any(|scope| scope == MAY_INVITE),
        name: row.name,
        resource: row.resource,
        replaces: row.replaces,
        asked_by: row.asked_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        used_at: row.used_at,
        used_by: row.used_by,
    };
    Ok(rows.into_iter().map(view).collect())
}

/// Takes an invite back that nobody has used.
pub(crate) async fn withdraw(db: &Db, invite_id: &str, now: UnixSeconds) -> Result<(), NodeFault> {
    let rows = node_invite::list(db).await?;
    let row = rows.into_iter().find(|row| id_of(&row.invite_hash) == invite_id);
    let row = row.ok_or_else(|| NodeFault::NoSuchInvite(invite_id.to_owned()))?;
    let withdrawn = db.write(async |tx| {
        if !node_invite::withdraw(tx, &row.invite_hash, now).await? {
            return Ok(false);
        }
        let event = Event::of_operator(Name::NodeInviteWithdrawn, Target::Invite(invite_id));
        db::audit_event::append(tx, &event, now).await?;
        Ok(true)
    });
    if withdrawn.await? {
        return Ok(());
    }
    Err(NodeFault::InviteOver(invite_id.to_owned()))
}
