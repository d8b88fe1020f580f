//! The gate behind the door: whether a caller may do what it asks for, now. The single place that is passed before a
//! tool runs, a resource is read or a stream opens, over MCP and over plain HTTP alike.

mod condition;
mod hierarchy;
mod operation;
mod pattern;
mod permit;
mod rules;
mod scopes;
mod seats;
mod spelling;

use std::sync::Arc;

use rmcp::model::CacheScope;
use shared::clock::{UnixSeconds, now};

pub(crate) use self::operation::Operation;
pub(crate) use self::permit::{Outcome, Permit};
use self::scopes::{Asker, Denial, describe};
pub(crate) use self::scopes::{CALL_TOOL, GET_PROMPT, LISTEN, READ_RESOURCE, ScopeTable};
use self::seats::{Full, Seats};
use crate::app::CALLERS;
use crate::auth::Caller;
use crate::error::Refusal;

/// The gate of one node.
#[derive(Debug)]
pub(crate) struct Gate {
    scopes: ScopeTable,
    streams: Arc<Seats>,
}

impl Gate {
    /// A gate that judges by `scopes`.
    pub(crate) fn new(scopes: ScopeTable) -> Self {
        Self {
            scopes,
            streams: Arc::default(),
        }
    }

    /// Whether [`Self::permit`] needs the arguments of `operation`. Reading them costs more than everything else here.
    pub(crate) fn wants_arguments(&self, operation: &Operation<'_>) -> bool {
        self.scopes.wants_arguments(operation)
    }

    /// Lets `caller` do `operation`, or says why not. What it holds is given back when the permit ends.
    pub(crate) fn permit(
        &self,
        caller: &Arc<Caller>,
        operation: &Operation<'_>,
        now: UnixSeconds,
    ) -> Result<Permit, Refusal> {
        let verdict = asking(caller, now, |asker| self.scopes.check(asker, operation));
        verdict.map_err(|denial| match denial {
            Denial::Lacks(needed) => caller.lacks(needed),
            Denial::Forbidden(rule) => {
                let client = caller.claims().client_id();
                tracing::info!(target: CALLERS, client, rule, method = operation.method, "a rule forbids what was asked for");
                Refusal::Forbidden
            }
        })?;
        let stream = if operation.method == LISTEN {
            let owner = (caller.issuer_index(), caller.claims().subject().to_owned());
            Some(self.streams.take(owner).map_err(|full| match full {
                Full::Node => Refusal::StreamsFull,
                Full::Subject => Refusal::TooManyStreams,
            })?)
        } else {
            None
        };
        Ok(Permit::new(stream))
    }

    /// Whether a list that `caller` asked for may name this tool.
    pub(crate) fn may_see_tool(&self, caller: &Caller, name: &str) -> bool {
        self.may_see(caller, &Operation::call(name, None))
    }

    /// Whether a list that `caller` asked for may name this resource or template of resources, and whether a stream may
    /// tell it that it changed.
    pub(crate) fn may_see_resource(&self, caller: &Caller, uri: &str) -> bool {
        self.may_see(caller, &Operation::read(uri))
    }

    fn may_see(&self, caller: &Caller, operation: &Operation<'_>) -> bool {
        // Without rules there is nothing to look at.
        !self.scopes.lists_differ() || asking(caller, now(), |asker| self.scopes.lists(asker, operation))
    }

    /// Who may share a list that is the same for everybody but for [`Self::may_see_tool`] and its like.
    pub(crate) fn cache_scope(&self) -> CacheScope {
        if self.scopes.lists_differ() {
            CacheScope::Private
        } else {
            CacheScope::Public
        }
    }
}

/// The answer of `table` to a caller.
fn asking<T>(caller: &Caller, now: UnixSeconds, table: impl FnOnce(&Asker<'_>) -> T) -> T {
    let claims = caller.claims();
    table(&Asker {
        scope: claims.scope(),
        describe: &|| describe(claims),
        now,
    })
}
