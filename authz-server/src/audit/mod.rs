//! The audit log: rare events that somebody will ask about later, each bound to the one before it by a hash
//! (docs/decisions/0015).
//!
//! [`crate::db::audit_event::append`] writes one in the transaction that does what it tells: either both happened or
//! neither. Ids only; secrets and what people typed are never in it.

mod name;
mod prune;
mod verify;

use std::net::IpAddr;

use serde_json::{Map, Value};
use shared::clock::UnixSeconds;
use shared::digest::canonical;
use shared::jose::sha256_base64url;

pub(crate) use self::name::Name;
pub(crate) use self::prune::prune;
pub(crate) use self::verify::{VerifyFault, verify, verify_part};
use crate::db::audit_event::{EventRow, Head};

/// Who did it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actor<'a> {
    /// A program, by its client id.
    Client(&'a str),
    /// A person.
    User(&'a str),
    /// Whoever has the command line.
    Operator,
    /// This server, by its configuration.
    Server,
}

impl<'a> Actor<'a> {
    fn parts(self) -> (&'static str, Option<&'a str>) {
        match self {
            Self::Client(id) => ("client", Some(id)),
            Self::User(id) => ("user", Some(id)),
            Self::Operator => ("operator", None),
            Self::Server => ("server", None),
        }
    }
}

/// What it was done to, by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Approval(&'a str),
    Client(&'a str),
    /// To register clients, by its name.
    ClientInvite(&'a str),
    /// That of this server.
    Configuration,
    /// That of this server.
    Database,
    /// Everything that came of one code or device code.
    Family(&'a str),
    Grant(&'a str),
    /// See [`crate::fleet::invite::id_of`].
    Invite(&'a str),
    /// A signing key, by its `kid`.
    Key(&'a str),
    Node(&'a str),
    Resource(&'a str),
    /// A browser that is signed in.
    Session(&'a str),
    /// An access token, by its `jti`.
    Token(&'a str),
    User(&'a str),
    /// This log.
    Log,
}

impl<'a> Target<'a> {
    fn parts(self) -> (&'static str, &'a str) {
        match self {
            Self::Approval(id) => ("approval", id),
            Self::Client(id) => ("client", id),
            Self::ClientInvite(name) => ("client_invite", name),
            Self::Family(id) => ("token_family", id),
            Self::Grant(id) => ("grant", id),
            Self::Invite(id) => ("node_invite", id),
            Self::Key(kid) => ("key", kid),
            Self::Node(id) => ("node", id),
            Self::Resource(uri) => ("resource", uri),
            Self::Session(id) => ("session", id),
            Self::Token(id) => ("access_token", id),
            Self::Configuration => ("configuration", ""),
            Self::Database => ("database", ""),
            Self::Log => ("audit_log", ""),
            Self::User(id) => ("user", id),
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Done,
    Refused,
    Approved,
    Denied,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

/// An event before it has its place in the log.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) name: Name,
    pub(crate) actor: Actor<'a>,
    /// The person for whom it was done.
    pub(crate) on_behalf_of: Option<&'a str>,
    pub(crate) target: Target<'a>,
    /// Where the request came from; `None`: this machine.
    pub(crate) source: Option<IpAddr>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<&'static str>,
    /// What only this event has. Ids and names, no secrets.
    pub(crate) details: Map<String, Value>,
}

/// Names and values for [`Event::details`].
pub(crate) fn details<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Map<String, Value> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

impl<'a> Event<'a> {
    /// What an operator did at the command line.
    pub(crate) fn of_operator(name: Name, target: Target<'a>) -> Self {
        Self {
            name,
            actor: Actor::Operator,
            on_behalf_of: None,
            target,
            source: None,
            outcome: Outcome::Done,
            reason: None,
            details: Map::new(),
        }
    }

    /// Something that works once came a second time, so the family of `(client, user, family)` ended.
    pub(crate) fn of_replay(
        name: Name,
        (client_id, user_id, family_id): (&'a str, &'a str, &'a str),
        source: Option<IpAddr>,
        reason: &'static str,
    ) -> Self {
        Self {
            name,
            actor: Actor::Client(client_id),
            on_behalf_of: Some(user_id),
            target: Target::Family(family_id),
            source,
            outcome: Outcome::Refused,
            reason: Some(reason),
            details: Map::new(),
        }
    }
}

/// The row of an event whose turn it is: `head` has its number, and the hash of the row before it.
pub(crate) fn link(event: &Event<'_>, head: &Head, now: UnixSeconds) -> EventRow {
    let ((actor_type, actor), (target_type, target)) = (event.actor.parts(), event.target.parts());
    let mut row = EventRow {
        sequence: head.sequence,
        occurred_at: now.0,
        event: event.name.as_str().to_owned(),
        actor_type: actor_type.to_owned(),
        actor: actor.map(str::to_owned),
        on_behalf_of: event.on_behalf_of.map(str::to_owned),
        target_type: target_type.to_owned(),
        target: target.to_owned(),
        source: event.source.map(|address| address.to_string()),
        outcome: event.outcome.as_str().to_owned(),
        reason: event.reason.map(str::to_owned),
        details: canonical(&Value::Object(event.details.clone())),
        previous_hash: head.hash.clone(),
        hash: String::new(),
    };
    row.hash = digest(&row);
    row
}

/// The SHA-256 of everything else in the row, in its canonical form (RFC 8785), base64url.
fn digest(row: &EventRow) -> String {
    let mut members = members(row);
    members.remove("hash");
    sha256_base64url(canonical(&Value::Object(members)).as_bytes())
}

/// A row as a line of an export.
#[cfg(test)]
pub(crate) fn line(row: &EventRow) -> String {
    canonical(&Value::Object(members(row)))
}

/// Member by member. Details that are not canonical stay text: they are not what was written, and have another hash.
pub(crate) fn members(row: &EventRow) -> Map<String, Value> {
    let EventRow {
        sequence,
        occurred_at,
        event,
        actor_type,
        actor,
        on_behalf_of,
        target_type,
        target,
        source,
        outcome,
        reason,
        details,
        previous_hash,
        hash,
    } = row;
    let parsed = serde_json::from_str(details).ok();
    let details = parsed
        .filter(|value| canonical(value) == *details)
        .unwrap_or_else(|| Value::from(details.as_str()));
    let named = [
        ("sequence", Value::from(*sequence)),
        ("occurred_at", Value::from(*occurred_at)),
        ("event", Value::from(event.as_str())),
        ("actor_type", Value::from(actor_type.as_str())),
        ("actor", Value::from(actor.as_deref())),
        ("on_behalf_of", Value::from(on_behalf_of.as_deref())),
        ("target_type", Value::from(target_type.as_str())),
        ("target", Value::from(target.as_str())),
        ("source", Value::from(source.as_deref())),
        ("outcome", Value::from(outcome.as_str())),
        ("reason", Value::from(reason.as_deref())),
        ("details", details),
        ("previous_hash", Value::from(previous_hash.as_str())),
        ("hash", Value::from(hash.as_str())),
    ];
    named
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests;
