//! The gate behind the door: whether a caller may do what it asks for, now. The single place that is passed before a
//! tool runs, a resource is read or a stream opens, over MCP and over plain HTTP alike.

mod condition;
mod gauges;
mod hierarchy;
mod limits;
mod needs;
mod operation;
mod pattern;
mod permit;
mod rules;
mod scopes;
mod seats;
mod spelling;
mod uses;
mod via;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::web::metrics::Metrics;
use ::web::rates::KeyedLimit;
use rmcp::model::{CacheScope, JsonObject};
use shared::clock::{UnixSeconds, now};
use shared::scope::Scope;

use self::condition::Made;
pub(crate) use self::gauges::{Bounded, Gauge, Gauges};
use self::limits::{Held, Limits};
pub(crate) use self::needs::Needs;
pub(crate) use self::operation::Operation;
pub(crate) use self::pattern::Pattern;
pub(crate) use self::permit::{Outcome, Permit, TIMED_OUT};
pub(crate) use self::scopes::{
    ANNOUNCE, CALL_TOOL, COMPLETE, CONNECT, GET_PROMPT, LIST_PEERS, LISTEN, READ_RESOURCE, ScopeTable,
};
use self::scopes::{Asker, Denial, describe};
pub(crate) use self::seats::Full;
use self::seats::Owner;
use self::uses::Uses;
use self::via::via;
pub(crate) use self::via::{came_from, remembering};
use crate::app::CALLERS;
use crate::audit::{Audit, AuditFault, Entry, NoRoom, Slot};
use crate::auth::Caller;
use crate::config::NodeConfig;
use crate::error::Refusal;

/// The gate of one node.
#[derive(Debug)]
pub(crate) struct Gate {
    scopes: ScopeTable,
    limits: Arc<Limits>,
    uses: Arc<Uses>,
    gauges: Gauges,
    audit: Option<Arc<Audit>>,
}

impl Gate {
    /// The gate that `config` asks for. Needs the runtime, where an audit log is kept.
    pub(crate) fn new(config: &NodeConfig, metrics: &Metrics) -> Result<Self, AuditFault> {
        let limits = Arc::new(Limits::new(&config.limits, config.body_limit.0));
        let audit = Audit::start(&config.audit)?.map(Arc::new);
        let gauges = Gauges::default();
        gauges.add(&limits);
        show_rates(&gauges, config);
        Ok(Self {
            scopes: config.scopes.clone(),
            uses: Arc::new(Uses::of(&gauges, audit.as_ref(), metrics)),
            gauges,
            limits,
            audit,
        })
    }

    /// Goes by the limits of `config` from now on.
    pub(crate) fn change_limits(&self, config: &NodeConfig) {
        self.limits.change(&config.limits);
        show_rates(&self.gauges, config);
    }

    /// Where limits are shown.
    pub(crate) fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// How many calls of tools there were since the program started, by outcome.
    pub(crate) fn calls_by_outcome(&self) -> BTreeMap<&'static str, u64> {
        self.uses.by_outcome()
    }

    /// Lets `caller` do `operation`, or says why not. What it holds is given back when the permit ends.
    pub(crate) fn permit(
        &self,
        caller: &Arc<Caller>,
        operation: &Operation<'_>,
        now: UnixSeconds,
    ) -> Result<Permit, Refusal> {
        let read = self.read_arguments(operation);
        let operation = Operation {
            arguments: operation.arguments.or(read.as_ref()),
            ..*operation
        };
        let line = self
            .line(now)?
            .map(|(slot, entry)| (slot, entry.of(caller.claims()).doing(&operation)));
        match self.decide(caller, &operation, now) {
            Ok((held, rules)) => {
                let tool = operation.tool.map(str::to_owned);
                Ok(Permit::new(held, line, Arc::clone(&self.uses), (rules, tool)))
            }
            Err(refusal) => {
                if let Some((slot, entry)) = line {
                    slot.put(entry.denied(refusal.reason()));
                }
                Err(refusal)
            }
        }
    }

    /// What the operation holds while it lasts, and what rules needed for it.
    fn decide(
        &self,
        caller: &Caller,
        operation: &Operation<'_>,
        now: UnixSeconds,
    ) -> Result<(Held, Scope), Refusal> {
        let verdict = asking(caller, now, |asker| self.scopes.check_all(asker, operation));
        let needed = verdict.map_err(|denial| match denial {
            Denial::Lacks(needed) => caller.lacks(needed),
            Denial::Forbidden(rule) => {
                let client = caller.claims().client_id();
                tracing::info!(target: CALLERS, client, rule, method = operation.method, "a rule forbids what was asked for");
                Refusal::Forbidden
            }
        })?;
        let owner = Owner {
            issuer: caller.issuer_index(),
            client: caller.claims().client_id(),
            subject: caller.claims().subject(),
        };
        Ok((self.limits.take(owner, operation)?, needed))
    }

    /// Whether `caller` may hear what came of an operation that took this.
    pub(crate) fn may_hear(&self, caller: &Caller, needs: &Needs) -> bool {
        let granted = caller.claims().scope();
        let by_method = needs.method.as_deref();
        by_method.is_none_or(|method| self.scopes.allows_method(granted, method))
            && self.scopes.covers(granted, &needs.scope)
    }

    /// The arguments, where somebody wants them and they have not been read yet.
    fn read_arguments(&self, operation: &Operation<'_>) -> Option<JsonObject> {
        let is_audited = self.audit.is_some() && operation.has_arguments();
        let is_wanted =
            operation.arguments.is_none() && (is_audited || self.scopes.wants_arguments(operation));
        is_wanted.then(|| operation.read_arguments()).flatten()
    }

    fn line(&self, now: UnixSeconds) -> Result<Option<(Slot, Entry)>, Refusal> {
        let Some(audit) = &self.audit else {
            return Ok(None);
        };
        let slot = audit.slot().map_err(|NoRoom| Refusal::Unaudited)?;
        Ok(Some((slot, Entry::at(now, via()))))
    }

    /// Writes down that the door let nobody in: a token or a proof was shown, and was not good.
    pub(crate) fn turned_away(&self, refusal: &Refusal) {
        let is_told = matches!(
            refusal,
            Refusal::Token(_) | Refusal::BoundToken(_) | Refusal::Proof(_)
        );
        // Where there is no room, nothing was allowed either.
        if is_told && let Ok(Some((slot, entry))) = self.line(now()) {
            slot.put(entry.denied(refusal.reason()));
        }
    }

    /// How long the tool `name` may take.
    pub(crate) fn time(&self, name: &str) -> Duration {
        self.limits.time(name)
    }

    /// The rates that have tables, to be tidied.
    pub(crate) fn rates(&self) -> Vec<KeyedLimit> {
        self.limits.rates()
    }

    /// Waits until what has been decided is written, when the program stops.
    pub(crate) async fn finish(&self) {
        if let Some(audit) = &self.audit {
            audit.finish().await;
        }
    }

    /// Whether a list that `caller` asked for may name this tool.
    pub(crate) fn may_see_tool(&self, caller: &Caller, name: &str) -> bool {
        self.may_see(caller, &Operation::call(name, None))
    }

    /// Whether a list that `caller` asked for may name this prompt.
    pub(crate) fn may_see_prompt(&self, caller: &Caller, name: &str) -> bool {
        self.may_see(caller, &Operation::prompt(name))
    }

    /// Whether a list that `caller` asked for may name this resource or template of resources.
    pub(crate) fn may_see_resource(&self, caller: &Caller, uri: &str) -> bool {
        self.may_see(caller, &Operation::read(uri))
    }

    /// Whether other nodes may be told of this tool.
    pub(crate) fn is_tool_for_everybody(&self, name: &str) -> bool {
        self.scopes.is_for_everybody(&Operation::call(name, None))
    }

    /// Whether other nodes may be told of this resource.
    pub(crate) fn is_resource_for_everybody(&self, uri: &str) -> bool {
        self.scopes.is_for_everybody(&Operation::read(uri))
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

fn show_rates(gauges: &Gauges, config: &NodeConfig) {
    let of_tools = config.limits.tools.iter();
    let of_tools = of_tools.map(|limit| ("tool", limit.tool.as_str(), limit.rate));
    let of_all = [("address", "", config.per_ip), ("client", "", config.per_client)];
    gauges.set_rates(of_all.into_iter().chain(of_tools));
}

/// The answer of `table` to a caller.
fn asking<T>(caller: &Caller, now: UnixSeconds, table: impl FnOnce(&Asker<'_>) -> T) -> T {
    let claims = caller.claims();
    table(&Asker {
        scope: claims.scope(),
        describe: &|| describe(claims),
        made: &Made::default(),
        now,
    })
}
