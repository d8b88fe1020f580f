//! Nodes of the fleet, and the invites with which they enrol.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply, Stop};
use super::operation::{CURSOR, Form, Kind, LIMIT, Method, Operation, Parameter};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::db;
use crate::db::node::Which;
use crate::db::node_invite::ListedRow;
use crate::fleet;
use crate::fleet::invite::{self, Invite, InviteView, NewInvite};
use crate::fleet::node::{self, NodeFault, NodeView};

const NODES: &str = "/nodes";
const NODE: &str = "/nodes/{id}";
const INVITES: &str = "/invites";
const INVITE: &str = "/invites/{id}";
/// How long an invite can be used, unless it is said.
const INVITE_TTL: Duration = Duration::from_secs(60 * 60);
const STATES: &[&str] = &["enrolled", "active", "silent", "ended"];

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: NODES,
    name: "listNodes",
    summary: "List enrolments of nodes, the oldest first",
    noun: Noun::Nodes,
    query: &[
        LIMIT,
        CURSOR,
        Parameter {
            name: "state",
            what: "Only those whose enrolment stands; of these, those that report, or are silent; or those whose enrolment has ended",
            kind: Kind::Words(STATES),
        },
    ],
    takes: None,
    gives: (200, Some(Form::page_of::<NodeView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: NODE,
    name: "showNode",
    summary: "Show a node; of one that enrolled more than once, the enrolment that stands or ended last",
    noun: Noun::Nodes,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<NodeView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static REVOKE: Operation = Operation {
    method: Method::Delete,
    path: NODE,
    name: "revokeNode",
    summary: "Cut a node off: its client, its resource and every token for it",
    noun: Noun::Nodes,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404],
    run: revoke,
};

pub(crate) static LIST_INVITES: Operation = Operation {
    method: Method::Get,
    path: INVITES,
    name: "listInvites",
    summary: "List invites, the oldest first, until a while after their end",
    noun: Noun::Nodes,
    query: &[LIMIT, CURSOR],
    takes: None,
    gives: (200, Some(Form::page_of::<InviteView>())),
    is_conditional: false,
    refuses: &[],
    run: list_invites,
};

pub(crate) static CREATE_INVITE: Operation = Operation {
    method: Method::Post,
    path: INVITES,
    name: "createInvite",
    summary: "Make a code with which one node can enrol; it is in the answer once and never again",
    noun: Noun::Nodes,
    query: &[],
    takes: Some(Form::of::<InviteInput>()),
    gives: (201, Some(Form::of::<NewInvite>())),
    is_conditional: false,
    refuses: &[404],
    run: create_invite,
};

pub(crate) static SHOW_INVITE: Operation = Operation {
    method: Method::Get,
    path: INVITE,
    name: "showInvite",
    summary: "Show one invite, without its code",
    noun: Noun::Nodes,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<InviteView>())),
    is_conditional: false,
    refuses: &[404],
    run: show_invite,
};

pub(crate) static WITHDRAW_INVITE: Operation = Operation {
    method: Method::Delete,
    path: INVITE,
    name: "withdrawInvite",
    summary: "Take an invite back that nobody has used",
    noun: Noun::Nodes,
    query: &[],
    takes: None,
    gives: (204, None),
    is_conditional: true,
    refuses: &[404, 409],
    run: withdraw_invite,
};

/// What is said of an invite.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InviteInput {
    /// The resource that the node is to serve; one that is registered already must be named. Otherwise the node says it.
    resource: Option<String>,
    /// What the node is called; otherwise the node says it.
    name: Option<String>,
    /// The node whose place it takes, and which is cut off then.
    replaces: Option<String>,
    /// How long the code can be used, such as `10m`; `1h` unless it is said.
    #[schema(pattern = "^[0-9]{1,9}(s|m|h|d)$")]
    ttl: Option<String>,
    /// Whether the node may make invites itself, each with the yes of an administrator.
    may_invite: Option<bool>,
}

impl From<NodeFault> for Problem {
    fn from(fault: NodeFault) -> Self {
        let sentence = fault.to_string();
        match fault {
            NodeFault::Asked(_) => Self::new(Code::InvalidValue, sentence),
            NodeFault::NoSuchNode(_) | NodeFault::NoSuchInvite(_) => Self::new(Code::NotFound, sentence),
            NodeFault::InviteOver(_) => Self::new(Code::Conflict, sentence),
            NodeFault::Db(fault) => fault.into(),
            NodeFault::NoRandomness(_) => Self::internal(sentence),
        }
    }
}

impl From<NodeFault> for Stop {
    fn from(fault: NodeFault) -> Self {
        match fault {
            NodeFault::Db(fault) => fault.into(),
            fault => Self::Problem(fault.into()),
        }
    }
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut query = ask.query();
        let wanted = Wanted::read(&mut query)?;
        let silent_before = fleet::silent_before(ask.config, ask.now);
        let which = match query.word("state", STATES)? {
            None => Which::All,
            Some("enrolled") => Which::Living,
            Some("active") => Which::HeardSince(silent_before),
            Some("silent") => Which::NotHeardSince(silent_before),
            Some(_) => Which::Ended,
        };
        let (at, id) = &wanted.after;
        let rows = db::node::page(ask.db, which, (*at, id), wanted.rows()).await?;
        // A row that is damaged is said to be so, and not left out.
        let views: Result<Vec<_>, NodeFault> = rows
            .into_iter()
            .map(|row| node::view_with_contact(row, silent_before))
            .collect();
        let page = wanted.page(views?, |node| (node.enrolled_at, &node.client_id), |node| node);
        Ok(Answer::list(&page)?)
    })
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        let row = db::node::shown(ask.db, id).await?;
        let row = row.ok_or_else(|| NodeFault::NoSuchNode(id.to_owned()))?;
        // What it reports of itself is nothing that somebody who revokes it must have seen.
        let seen = node::view(row.node.clone())?;
        let silent_before = fleet::silent_before(ask.config, ask.now);
        Ok(Answer::one_tagged(
            &node::view_with_contact(row, silent_before)?,
            &seen,
        )?)
    })
}

fn revoke<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        let answer = ask
            .write(async |tx| {
                let row = db::node::newest_in(tx, id).await?;
                let row = row.filter(|row| row.ended_at.is_none());
                let row = row.ok_or_else(|| NodeFault::NoSuchNode(id.to_owned()))?;
                ask.check_condition(&node::view(row.clone())?)?;
                if !node::revoke_in(tx, &row, &ask.by, ask.now).await? {
                    return Err(NodeFault::NoSuchNode(id.to_owned()).into());
                }
                Ok(Answer::done())
            })
            .await?;
        tracing::info!(event = "node.revoked", node_id = id, "a node was revoked");
        Ok(answer)
    })
}

fn list_invites<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let wanted = Wanted::read(&mut ask.query())?;
        let (at, id) = &wanted.after;
        // What comes after an invite comes after every hash that begins as its id does; what is no id is a place too.
        let after = invite::hashes_of(id).map_or_else(|| id.clone().into_bytes(), |(_, end)| end);
        let rows = db::node_invite::page(ask.db, (*at, &after), wanted.rows()).await?;
        let view = |row: ListedRow| invite::view(row, ask.now);
        let views = rows.into_iter().map(view).collect();
        let page = wanted.page(
            views,
            |invite: &InviteView| (invite.created_at, &invite.invite_id),
            |invite| invite,
        );
        Ok(Answer::list(&page)?)
    })
}

fn create_invite<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let said = Invite {
            resource: body.text("resource")?,
            name: body.text("name")?,
            replaces: body.text("replaces")?,
            ttl: body.span("ttl")?.map_or(INVITE_TTL, |span| span.0),
            may_invite: body.flag("may_invite")?.unwrap_or(false),
            asked_by: None,
        };
        body.end()?;
        let prepared = invite::prepare(ask.db, ask.config.issuer.as_str(), said, ask.now).await?;
        let (made, seen) = (&prepared.shown, prepared.seen(ask.now));
        ask.write(async |tx| {
            prepared.write(tx).await?;
            let event = prepared.told_of(&ask.by);
            db::audit_event::append(tx, &event, ask.now).await?;
            Ok(Answer::made(made, &seen, (INVITES, &made.invite_id))?)
        })
        .await
    })
}

/// The invite of an id.
async fn invite_of(ask: &Ask<'_>) -> Result<ListedRow, Stop> {
    let id = ask.id()?;
    let missing = || NodeFault::NoSuchInvite(id.to_owned());
    let (first, last) = invite::hashes_of(id).ok_or_else(missing)?;
    let row = db::node_invite::between(ask.db, (&first, &last)).await?;
    Ok(row.ok_or_else(missing)?)
}

fn show_invite<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async { Ok(Answer::one(&invite::view(invite_of(ask).await?, ask.now))?) })
}

fn withdraw_invite<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        let missing = || NodeFault::NoSuchInvite(id.to_owned());
        let (first, last) = invite::hashes_of(id).ok_or_else(missing)?;
        ask.write(async |tx| {
            let row = db::node_invite::between_in(tx, (&first, &last)).await?;
            let row = row.ok_or_else(missing)?;
            ask.check_condition(&invite::view(row.clone(), ask.now))?;
            if !invite::withdraw_in(tx, &row.invite_hash, &ask.by, ask.now).await? {
                return Err(NodeFault::InviteOver(id.to_owned()).into());
            }
            Ok(Answer::done())
        })
        .await
    })
}
