//! The gate behind the door: whether a caller may do what it asks for, now. The single place that is passed before a
//! tool runs, a resource is read or a stream opens, over MCP and over plain HTTP alike.

mod operation;
mod permit;
mod scopes;
mod seats;

use std::sync::Arc;

use rmcp::model::CacheScope;
use shared::clock::UnixSeconds;

pub(crate) use self::operation::Operation;
pub(crate) use self::permit::{Outcome, Permit};
pub(crate) use self::scopes::{CALL_TOOL, GET_PROMPT, LISTEN, READ_RESOURCE, ScopeTable};
use self::seats::{Full, Seats};
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

    /// Lets `caller` do `operation`, or says why not. What it holds is given back when the permit ends.
    pub(crate) fn permit(
        &self,
        caller: &Arc<Caller>,
        operation: &Operation<'_>,
        _now: UnixSeconds,
    ) -> Result<Permit, Refusal> {
        self.scopes
            .check(caller.claims().scope(), operation.method, operation.tool)
            .map_err(|needed| caller.lacks(needed))?;
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

    /// Whether a list that `caller` asked for may name the tool `name`.
    #[expect(
        clippy::unused_self,
        reason = "the seam for lists; every tool is named until tools have scopes of their own in lists"
    )]
    pub(crate) fn may_see_tool(&self, _caller: &Caller, _name: &str) -> bool {
        true
    }

    /// Who may share a list of tools, prompts or resources that passed [`Self::may_see_tool`] and its like.
    #[expect(clippy::unused_self, reason = "the seam for lists")]
    pub(crate) fn cache_scope(&self) -> CacheScope {
        CacheScope::Public
    }
}
