//! Invites: what an operator gives to whoever sets up a node.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use shared::secret::{Secret, SecretKind};
use shared::uri::ResourceUri;
use utoipa::ToSchema;

use super::node::NodeFault;
use crate::admin::By;
use crate::audit::{self, Actor, Event, Name, Target};
use crate::client::metadata::is_invisible;
use crate::db::node_invite::{self, InviteRow, ListedRow};
use crate::db::{self, Db, Tx};

/// Lets a node's client ask for invites of further nodes, each with an administrator's yes.
pub(crate) const MAY_INVITE: &str = "fleet:invite";
/// The longest life of an invite: whoever has it can join.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// So much of its hash makes an invite's id.
const ID_BYTES: usize = 9;

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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NewInvite {
    /// What it is called where it is not to be used.
    pub(crate) invite_id: String,
    /// The code.
    pub(crate) invite: String,
    /// What to type where the node is to run.
    pub(crate) command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<String>,
    pub(crate) expires_at: i64,
}

/// An invite that is not in the database yet.
pub(crate) struct Prepared {
    secret: Secret,
    row: InviteRow,
    pub(crate) shown: NewInvite,
}

impl Prepared {
    /// Writes it, as a part of something larger.
    pub(crate) async fn write(&self, tx: &mut Tx) -> Result<(), db::DbFault> {
        node_invite::insert(tx, &self.secret.hash(), &self.row).await
    }

    /// The event of its making by a node.
    pub(super) fn told<'a>(&'a self, actor: Actor<'a>, source: Option<IpAddr>) -> Event<'a> {
        self.telling(Event {
            actor,
            source,
            ..Event::of_operator(Name::NodeInvited, Target::Invite(&self.shown.invite_id))
        })
    }

    /// The event of its making by an operator.
    pub(crate) fn told_of<'a>(&'a self, by: &'a By) -> Event<'a> {
        self.telling(by.event(Name::NodeInvited, Target::Invite(&self.shown.invite_id)))
    }

    fn telling<'a>(&'a self, mut event: Event<'a>) -> Event<'a> {
        let said = &self.shown;
        event.details.extend(audit::details([
            ("name", said.name.as_deref()),
            ("resource", said.resource.as_deref()),
            ("replaces", said.replaces.as_deref()),
            ("scopes", Some(&self.row.scopes)),
        ]));
        event
    }

    /// What is shown of it from now on.
    pub(crate) fn seen(&self, now: UnixSeconds) -> InviteView {
        let row = ListedRow {
            invite_hash: self.secret.hash().as_bytes().to_vec(),
            name: self.row.name.clone(),
            resource: self.row.resource.clone(),
            replaces: self.shown.replaces.clone(),
            scopes: self.row.scopes.clone(),
            asked_by: None,
            created_at: self.row.created_at,
            expires_at: self.row.expires_at,
            used_at: None,
            used_by: None,
        };
        view(row, now)
    }
}

/// Checks what is said of an invite for nodes of the server `issuer`.
pub(crate) async fn prepare(
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
    let start = hash.get(..ID_BYTES).unwrap_or(hash);
    format!("i_{}", URL_SAFE_NO_PAD.encode(start))
}

/// What is shown of an invite that was made before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Invite)]
pub(crate) struct InviteView {
    pub(crate) invite_id: String,
    /// `open`, `used` or `expired`.
    pub(crate) state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    /// The node whose place it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<String>,
    pub(crate) may_invite: bool,
    /// The node that asked for it; none for an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked_by: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_at: Option<i64>,
    /// The node that enrolled with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_by: Option<String>,
}

/// An invite as operators see it.
pub(crate) fn view(row: ListedRow, now: UnixSeconds) -> InviteView {
    let state = match row.used_at {
        Some(_) => "used",
        None if row.expires_at <= now.0 => "expired",
        None => "open",
    };
    InviteView {
        invite_id: id_of(&row.invite_hash),
        state: state.to_owned(),
        may_invite: row.scopes.split(' ').any(|scope| scope == MAY_INVITE),
        name: row.name,
        resource: row.resource,
        replaces: row.replaces,
        asked_by: row.asked_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        used_at: row.used_at,
        used_by: row.used_by,
    }
}

/// The first and the last hash of which [`id_of`] could make this id.
pub(crate) fn hashes_of(invite_id: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let start = URL_SAFE_NO_PAD.decode(invite_id.strip_prefix("i_")?).ok()?;
    if start.len() != ID_BYTES {
        return None;
    }
    let filled = |with: u8| {
        let mut hash = start.clone();
        hash.resize(32, with);
        hash
    };
    Some((filled(0), filled(0xff)))
}

/// Takes an invite back that nobody has used, as a part of something larger; `false` when it was used or is over.
pub(crate) async fn withdraw_in(
    tx: &mut Tx,
    invite_hash: &[u8],
    by: &By,
    now: UnixSeconds,
) -> Result<bool, db::DbFault> {
    if !node_invite::withdraw(tx, invite_hash, now).await? {
        return Ok(false);
    }
    let invite_id = id_of(invite_hash);
    let event = by.event(Name::NodeInviteWithdrawn, Target::Invite(&invite_id));
    db::audit_event::append(tx, &event, now).await?;
    Ok(true)
}
