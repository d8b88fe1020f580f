//! Who asks for an operation, and what that one may hand on.

use std::net::IpAddr;

use serde_json::Value;
use shared::scope::Scope;

use super::right;
use crate::audit::{Actor, Event, Name, Target};

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct By {
    who: Who,
    /// Where the request came from; `None`: this machine.
    source: Option<IpAddr>,
}

#[derive(Clone, Debug)]
enum Who {
    /// Whoever has the command line here has the database, and may do everything.
    Operator,
    /// This server, by its configuration.
    Server,
    /// A program in its own name.
    Client { client_id: String, scope: Scope },
    /// A person, through a program.
    User {
        user_id: String,
        client_id: String,
        scope: Scope,
    },
}

impl By {
    /// Whoever has the command line of this machine.
    pub(crate) fn operator() -> Self {
        Self {
            who: Who::Operator,
            source: None,
        }
    }

    /// This server, by its configuration.
    pub(crate) fn server() -> Self {
        Self {
            who: Who::Server,
            source: None,
        }
    }

    /// A program, for the person `user_id` if there is one.
    pub(super) fn token(client_id: &str, user_id: Option<&str>, scope: &Scope, source: IpAddr) -> Self {
        let (client_id, scope) = (client_id.to_owned(), scope.clone());
        let who = match user_id {
            Some(user_id) => Who::User {
                user_id: user_id.to_owned(),
                client_id,
                scope,
            },
            None => Who::Client { client_id, scope },
        };
        Self {
            who,
            source: Some(source),
        }
    }

    pub(super) fn is_operator(&self) -> bool {
        matches!(self.who, Who::Operator)
    }

    /// The person who asks, if it is one.
    pub(super) fn user_id(&self) -> Option<&str> {
        match &self.who {
            Who::User { user_id, .. } => Some(user_id),
            Who::Operator | Who::Server | Who::Client { .. } => None,
        }
    }

    /// Names who asks among all who can, for limits and repeated requests.
    pub(super) fn key(&self) -> [&str; 2] {
        match &self.who {
            Who::Operator | Who::Server => ["", ""],
            Who::Client { client_id, .. } => [client_id, ""],
            Who::User {
                user_id, client_id, ..
            } => [client_id, user_id],
        }
    }

    /// The first of these scopes that is one of this API and that the token does not have: to give it away, or to change
    /// whoever has it, would be to take it (ADM-09).
    pub(super) fn lacks<'s>(&self, mut scopes: impl Iterator<Item = &'s str>) -> Option<&'s str> {
        let (Who::Client { scope: own, .. } | Who::User { scope: own, .. }) = &self.who else {
            return None;
        };
        let known = right::scopes();
        scopes.find(|scope| known.iter().any(|name| name == scope) && !right::covers(own, scope))
    }

    /// What is written into the audit log when this one does `name` to `target`.
    pub(crate) fn event<'a>(&'a self, name: Name, target: Target<'a>) -> Event<'a> {
        let mut event = Event {
            source: self.source,
            actor: match &self.who {
                Who::Operator => Actor::Operator,
                Who::Server => Actor::Server,
                Who::Client { client_id, .. } => Actor::Client(client_id),
                Who::User { user_id, .. } => Actor::User(user_id),
            },
            ..Event::of_operator(name, target)
        };
        if let Who::User { client_id, .. } = &self.who {
            event
                .details
                .insert("through".to_owned(), Value::from(client_id.as_str()));
        }
        event
    }
}
