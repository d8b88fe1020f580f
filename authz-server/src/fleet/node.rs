//! Nodes as operators see them: listed, and cut off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::clock::UnixSeconds;
use shared::fleet::name;
use shared::fleet::record::{Confirmation, NodeRecord};
use shared::fleet::report::Report;
use shared::jose::{Algorithm, VerifyingKey};
use shared::secret::NoRandomness;
use utoipa::ToSchema;

use super::invite::id_of;
use crate::admin::By;
use crate::audit::{Name, Target};
use crate::db::change::Noun;
use crate::db::node::{NodeRow, ShownRow};
use crate::db::{self, DbFault, Tx};

/// A node could not be invited or changed. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeFault {
    /// The command asks for what cannot be.
    #[error("{0}")]
    Asked(String),
    /// There is no such node.
    #[error("there is no node {0}; see: authz-server node list")]
    NoSuchNode(String),
    /// There is no such invite.
    #[error("there is no invite {0}; see: authz-server node invite --list")]
    NoSuchInvite(String),
    /// There is nothing left to withdraw.
    #[error(
        "the invite {0} was used or is over; a node that enrolled is cut off with: authz-server node revoke"
    )]
    InviteOver(String),
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// What is shown of an enrolment.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Node)]
pub(crate) struct NodeView {
    pub(crate) node_id: String,
    pub(crate) peer_id: String,
    pub(crate) name: String,
    pub(crate) resource: String,
    pub(crate) client_id: String,
    pub(crate) capabilities: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) enrolled_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<i64>,
    /// `enrolled` before its first report, `active`, `silent`, `revoked` or `replaced`.
    pub(crate) state: String,
    /// When its last report came; absent before the first one, and after its end, as all that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_contact_at: Option<i64>,
    /// The address from which that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_contact_from: Option<String>,
    /// For how long its program had been running then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub(crate) uptime_seconds: Option<i64>,
    /// Where it believes to be reached by other nodes, as multiaddrs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) addresses: Option<Vec<String>>,
    /// The ids of nodes to which it is connected, as it says; 128 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sees: Option<Vec<String>>,
    /// Calls of its tools since it started, by how they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<BTreeMap<String, i64>>,
}

/// Cuts a node off: its client, what was granted at its resource, every token for it, its record, and the unused invites
/// that it asked for or that are for its place. Its resource is forgotten, so that nobody gets a token for it, unless
/// an operator has given the resource to another client.
/// `false` when it has ended already.
pub(crate) async fn revoke_in(
    tx: &mut Tx,
    node: &NodeRow,
    by: &By,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    // In turn with enrolments: one with an invite of this node comes before all of this, or after.
    let turn = db::change::take_turn(tx).await?;
    db::change::record_at(tx, turn, (Noun::Client, &node.client_id), now).await?;
    if !db::node::revoke(tx, &node.client_id, now).await? {
        return Ok(false);
    }
    let invites = db::node_invite::withdraw_of(tx, &node.client_id).await?;
    // A resource that names the client lets go of it first.
    let is_forgotten = db::resource::delete_of(tx, (&node.resource, &node.client_id), now).await?;
    db::client::revoke_in(tx, &node.client_id, now).await?;
    for invite in invites.iter().map(|hash| id_of(hash)) {
        let event = by.event(Name::NodeInviteWithdrawn, Target::Invite(&invite));
        db::audit_event::append(tx, &event, now).await?;
    }
    if is_forgotten {
        let event = by.event(Name::ResourceDeleted, Target::Resource(&node.resource));
        db::audit_event::append(tx, &event, now).await?;
    }
    let event = by.event(Name::NodeRevoked, Target::Node(&node.node_id));
    db::audit_event::append(tx, &event, now).await?;
    Ok(true)
}

/// What the server says of a node to everybody.
pub(super) fn record(row: NodeRow) -> Result<NodeRecord, DbFault> {
    let damaged = || DbFault::Unexpected(format!("node {}: jwk is damaged", row.client_id));
    let jwk: Map<String, Value> = serde_json::from_str(&row.jwk).map_err(|_| damaged())?;
    let key = VerifyingKey::from_public_jwk(&jwk, Algorithm::EdDSA).map_err(|_| damaged())?;
    let public = key.ed25519().ok_or_else(damaged)?;
    Ok(NodeRecord {
        peer_id: name::peer_id(public),
        capabilities: words(&row.capabilities),
        enrolled_at: UnixSeconds(row.enrolled_at),
        cnf: Confirmation { jwk },
        node_id: row.node_id,
        name: row.name,
        resource: row.resource,
        status: None,
    })
}

/// An enrolment as operators see it, with what the node said last.
pub(crate) fn view_with_contact(row: ShownRow, silent_before: UnixSeconds) -> Result<NodeView, NodeFault> {
    let mut view = view(row.node)?;
    let (Some(heard_at), Some(text), None) = (row.heard_at, row.report, view.ended_at) else {
        return Ok(view);
    };
    let damaged = |_| DbFault::Unexpected(format!("node_contact {}: report is damaged", view.client_id));
    let report = Report::read(&text).map_err(damaged)?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let is_silent = heard_at < silent_before.0;
    view.state = if is_silent { "silent" } else { "active" }.to_owned();
    view.version = Some(report.version);
    view.last_contact_at = Some(heard_at);
    view.last_contact_from = row.source;
    view.uptime_seconds = Some(number(report.uptime_seconds));
    view.addresses = Some(report.addresses);
    view.sees = Some(report.sees);
    view.calls = Some(
        report
            .calls
            .into_iter()
            .map(|(word, count)| (word, number(count)))
            .collect(),
    );
    Ok(view)
}

/// An enrolment as operators see it, without what the node says of itself: what somebody has seen who changes it.
pub(crate) fn view(row: NodeRow) -> Result<NodeView, NodeFault> {
    let (client_id, version, ended_at) = (row.client_id.clone(), row.version.clone(), row.ended_at);
    let state = match (ended_at, row.ended_by.as_deref()) {
        (None, _) => "enrolled",
        (Some(_), Some("replaced")) => "replaced",
        (Some(_), _) => "revoked",
    };
    let record = record(row)?;
    Ok(NodeView {
        node_id: record.node_id,
        peer_id: record.peer_id,
        name: record.name,
        resource: record.resource,
        client_id,
        capabilities: record.capabilities,
        version,
        enrolled_at: record.enrolled_at.0,
        ended_at,
        state: state.to_owned(),
        last_contact_at: None,
        last_contact_from: None,
        uptime_seconds: None,
        addresses: None,
        sees: None,
        calls: None,
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}
