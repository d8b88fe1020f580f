//! Which scopes each operation needs. Decided before any tool runs and before any byte of an answer is written.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::Value;
use shared::access_token::VerifiedClaims;
use shared::clock::UnixSeconds;
use shared::config::Reader;
use shared::scope::Scope;

use super::condition::{self, Facts, Made};
use super::hierarchy::Hierarchy;
use super::operation::Operation;
use super::rules::{About, Demand, Rule};
use super::spelling::spellings;

/// The method by which every client begins; its scope is what a caller without token is told to get.
const FIRST_METHOD: &str = "server/discover";
/// What opens a stream, over MCP or over plain HTTP.
pub(crate) const LISTEN: &str = "subscriptions/listen";
/// A tool call, over MCP or over plain HTTP.
pub(crate) const CALL_TOOL: &str = "tools/call";
/// Reading a resource, over MCP or over plain HTTP.
pub(crate) const READ_RESOURCE: &str = "resources/read";
/// Asking for a prompt.
pub(crate) const GET_PROMPT: &str = "prompts/get";
/// Asking how an argument of a prompt or of a template of resources goes on.
pub(crate) const COMPLETE: &str = "completion/complete";
/// Telling other nodes of this one: no method of MCP.
pub(crate) const ANNOUNCE: &str = "discovery/announce";
/// Reading the table of other nodes.
pub(crate) const LIST_PEERS: &str = "discovery/peers";
/// Connecting to another node.
pub(crate) const CONNECT: &str = "discovery/connect";
/// Stands for every notification.
const NOTIFICATIONS: &str = "notifications";

/// Every method of every revision served, and what the fleet's addresses do, with the scopes of which one suffices.
const DEFAULTS: [(&str, &[&str]); 20] = [
    (FIRST_METHOD, &["mcp:read"]),
    ("initialize", &["mcp:read"]),
    ("ping", &["mcp:read"]),
    (NOTIFICATIONS, &["mcp:read"]),
    ("tools/list", &["mcp:read"]),
    ("prompts/list", &["mcp:read"]),
    (GET_PROMPT, &["mcp:read"]),
    (COMPLETE, &["mcp:read"]),
    ("logging/setLevel", &["mcp:read"]),
    ("resources/list", &["mcp:resources", "mcp:read"]),
    ("resources/templates/list", &["mcp:resources", "mcp:read"]),
    (READ_RESOURCE, &["mcp:resources", "mcp:read"]),
    (CALL_TOOL, &["mcp:call"]),
    (LISTEN, &["mcp:subscribe"]),
    ("resources/subscribe", &["mcp:subscribe"]),
    ("resources/unsubscribe", &["mcp:subscribe"]),
    ("tasks/get", &["mcp:call"]),
    (ANNOUNCE, &["fleet:announce"]),
    (LIST_PEERS, &["fleet:read"]),
    (CONNECT, &["fleet:connect"]),
];

/// What every method, tool, resource and prompt needs.
#[derive(Clone, Debug)]
pub struct ScopeTable {
    /// One token of these suffices.
    methods: HashMap<String, Scope>,
    /// The token that a caller is told to get, for each method.
    preferred: HashMap<String, String>,
    /// What is needed beside what the method needs.
    rules: Arc<[Rule]>,
    hierarchy: Hierarchy,
    lists: Lists,
}

/// What lists leave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Lists {
    /// What the caller is denied, and what needs scopes of its own that the caller lacks. The scope of the method that
    /// uses it does not count: a client learns of it when it calls, and would never call what it does not see.
    #[default]
    Own,
    /// Everything that the caller could not use with the token it has.
    Usable,
    /// Only what the caller is denied.
    All,
}

/// Whoever asks, as far as the table looks at them.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) scope: &'a Scope,
    /// Makes the variable `caller` of conditions.
    pub(super) describe: &'a dyn Fn() -> Value,
    /// What conditions have looked at so far, for the next one.
    pub(super) made: &'a Made,
    pub(super) now: UnixSeconds,
}

/// Why an operation is not allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Denial {
    /// A scope is missing. These are all that the operation needs, so that the caller can ask for them at once.
    Lacks(Scope),
    /// The rule of this name forbids it.
    Forbidden(String),
}

impl ScopeTable {
    /// Reads `[scopes]` and what is below it. Faults stay in the reader.
    pub(crate) fn read(reader: &mut Reader) -> Self {
        let mut table = Self::default();
        let mut section = reader.section("scopes");
        for (method, text) in section.map("methods") {
            if !table.methods.contains_key(&method) {
                section.fault("methods", format!("there is no MCP method {method:?}"));
                continue;
            }
            match text.parse::<Scope>() {
                Ok(any_of) if !any_of.is_empty() => table.set(&method, any_of, text.split(' ')),
                Ok(_) => section.fault("methods", format!("{method}: name at least one scope")),
                Err(fault) => section.fault("methods", format!("{method}: {fault}")),
            }
        }
        let mut rules = Rule::read_table(&mut section, "tools", About::Tool);
        rules.extend(Rule::read_table(&mut section, "resources", About::Resource));
        rules.extend(Rule::read_table(&mut section, "prompts", About::Prompt));
        table.hierarchy = Hierarchy::read(&mut section);
        let lists = section.value::<String>("lists", "own");
        table.lists = match lists.as_deref() {
            None | Some("own") => Lists::Own,
            Some("usable") => Lists::Usable,
            Some("all") => Lists::All,
            Some(_) => {
                section.fault("lists", "write \"own\", \"usable\" or \"all\"");
                Lists::Own
            }
        };
        rules.extend(Rule::read_all(reader));
        table.rules = rules.into();
        table
    }

    /// Whether `asker` may do `operation`; the scopes that rules need for it.
    pub(super) fn check(&self, asker: &Asker<'_>, operation: &Operation<'_>) -> Result<Scope, Denial> {
        let mut needed = Scope::default();
        for rule in self.rules.iter().filter(|rule| applies(rule, asker, operation)) {
            match rule.demand() {
                Demand::Needs(more) => needed = needed.union(more),
                Demand::Deny => return Err(Denial::Forbidden(rule.name().to_owned())),
            }
        }
        if self.allows_method(asker.scope, operation.method)
            && self.hierarchy.covers_all(asker.scope, &needed)
        {
            return Ok(needed);
        }
        Err(Denial::Lacks(
            self.of_method(operation.method, asker.scope).union(&needed),
        ))
    }

    /// As [`Self::check`], for a subscription with every resource that it wants to follow.
    pub(super) fn check_all(&self, asker: &Asker<'_>, operation: &Operation<'_>) -> Result<Scope, Denial> {
        let follows = operation.method == LISTEN && self.rules.iter().any(Rule::looks_at_resource);
        let followed = if follows {
            operation.read_followed()
        } else {
            Vec::new()
        };
        let (mut needed, mut lacking) = (Scope::default(), Scope::default());
        let each = followed.iter().map(|uri| Operation {
            resource: Some(uri),
            ..*operation
        });
        for one in std::iter::once(*operation).chain(each) {
            match self.check(asker, &one) {
                Ok(more) if more.is_empty() => {}
                Ok(more) => needed = needed.union(&more),
                Err(Denial::Lacks(more)) => lacking = lacking.union(&more),
                Err(forbidden) => return Err(forbidden),
            }
        }
        if lacking.is_empty() {
            Ok(needed)
        } else {
            Err(Denial::Lacks(lacking))
        }
    }

    /// Whether a list may name what `operation` would use. Rules about arguments do not count: there are none yet.
    pub(super) fn lists(&self, asker: &Asker<'_>, operation: &Operation<'_>) -> bool {
        let counts = |rule: &&Rule| {
            let mentions_more = rule.when().is_some_and(|when| {
                when.mentions().arguments
                    || when.mentions().resource && operation.resource.is_none_or(is_template)
            });
            !mentions_more && applies(rule, asker, operation)
        };
        let own = self.rules.iter().filter(counts).all(|rule| match rule.demand() {
            Demand::Needs(needed) => {
                self.lists == Lists::All || self.hierarchy.covers_all(asker.scope, needed)
            }
            Demand::Deny => false,
        });
        own && (self.lists != Lists::Usable || self.allows_method(asker.scope, operation.method))
    }

    /// Whether everybody may know of what `operation` would use: everybody, that is, who has the scopes for basic use.
    /// A rule with a condition counts as one that always applies.
    pub(super) fn is_for_everybody(&self, operation: &Operation<'_>) -> bool {
        let basic = Scope::from_tokens(self.for_metadata().iter().map(String::as_str)).unwrap_or_default();
        let is_about = |rule: &&Rule| match operation.resource {
            None => rule.is_about(operation),
            Some(uri) => spellings(uri).iter().any(|spelling| {
                rule.is_about(&Operation {
                    resource: Some(spelling),
                    ..*operation
                })
            }),
        };
        self.rules
            .iter()
            .filter(is_about)
            .all(|rule| match rule.demand() {
                Demand::Needs(needed) => self.hierarchy.covers_all(&basic, needed),
                Demand::Deny => false,
            })
    }

    /// Whether two callers may get different lists.
    pub(super) fn lists_differ(&self) -> bool {
        !self.rules.is_empty() || self.lists == Lists::Usable
    }

    /// Whether a rule about this operation looks at its arguments, which have not been read yet.
    pub(super) fn wants_arguments(&self, operation: &Operation<'_>) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.when().is_some_and(|when| when.mentions().arguments) && rule.is_about(operation))
    }

    /// The claims that conditions look at.
    pub(crate) fn claims(&self) -> BTreeSet<String> {
        let conditions = self.rules.iter().filter_map(Rule::when);
        conditions
            .flat_map(|when| when.mentions().claims.iter().cloned())
            .collect()
    }

    /// Whether somebody who was granted `granted` has every token of `needed`.
    pub(crate) fn covers(&self, granted: &Scope, needed: &Scope) -> bool {
        self.hierarchy.covers_all(granted, needed)
    }

    /// What a caller without token is told to get for `method`.
    pub(crate) fn hint(&self, method: &str) -> String {
        self.of_method(method, &Scope::default()).to_string()
    }

    /// What a caller without token is told to get when it is not known yet what it wants.
    pub(crate) fn basic(&self) -> String {
        self.hint(FIRST_METHOD)
    }

    /// The scopes for basic use, for the resource's metadata: what clients ask for when nothing else was said.
    pub(crate) fn for_metadata(&self) -> Vec<String> {
        let empty = Scope::default();
        let all = self
            .of_method(FIRST_METHOD, &empty)
            .union(&self.of_method(CALL_TOOL, &empty));
        all.iter().map(str::to_owned).collect()
    }

    /// Whether somebody who was granted `granted` may use `method`, as far as rules say nothing else.
    pub(super) fn allows_method(&self, granted: &Scope, method: &str) -> bool {
        let any_of = self.methods.get(self.known(method));
        any_of.is_some_and(|any| any.iter().any(|one| self.hierarchy.covers(granted, one)))
    }

    /// The scope to name for `method`. Where one of several suffices, the one that the caller has is not replaced by
    /// another.
    fn of_method(&self, method: &str, granted: &Scope) -> Scope {
        let known = self.known(method);
        let held = self
            .methods
            .get(known)
            .and_then(|any| any.iter().find(|one| self.hierarchy.covers(granted, one)));
        let one = held.or_else(|| self.preferred.get(known).map(String::as_str));
        Scope::from_tokens(one).unwrap_or_default()
    }

    /// The name under which `method` stands in the table. A method nobody knows needs what the first one needs.
    fn known<'m>(&self, method: &'m str) -> &'m str {
        if method.starts_with("notifications/") {
            NOTIFICATIONS
        } else if self.methods.contains_key(method) {
            method
        } else if method.starts_with("tasks/") {
            "tasks/get"
        } else {
            FIRST_METHOD
        }
    }

    fn set<'t>(&mut self, method: &str, any_of: Scope, mut in_order: impl Iterator<Item = &'t str>) {
        if let Some(first) = in_order.next() {
            self.preferred.insert(method.to_owned(), first.to_owned());
        }
        self.methods.insert(method.to_owned(), any_of);
    }
}

impl Default for ScopeTable {
    fn default() -> Self {
        let mut table = Self {
            methods: HashMap::new(),
            preferred: HashMap::new(),
            rules: Arc::from([]),
            hierarchy: Hierarchy::default(),
            lists: Lists::default(),
        };
        for (method, any_of) in DEFAULTS {
            let scope = Scope::from_tokens(any_of.iter().copied()).unwrap_or_default();
            table.set(method, scope, any_of.iter().copied());
        }
        table
    }
}

/// Whether `rule` applies, to any spelling of the resource.
fn applies(rule: &Rule, asker: &Asker<'_>, operation: &Operation<'_>) -> bool {
    let applies = |operation: &Operation<'_>| {
        let facts = Facts {
            tool: operation.tool,
            resource: operation.resource,
            prompt: operation.prompt,
            arguments: operation.arguments,
            caller: asker.describe,
            made: asker.made,
            now: asker.now.0,
        };
        rule.applies(operation, &facts)
    };
    match operation.resource.filter(|_| rule.looks_at_resource()) {
        None => applies(operation),
        Some(uri) => spellings(uri).iter().any(|spelling| {
            applies(&Operation {
                resource: Some(spelling),
                ..*operation
            })
        }),
    }
}

/// Whether a URI of a list is a template (RFC 6570): a `{` is in no URI.
fn is_template(uri: &str) -> bool {
    uri.contains('{')
}

/// The variable `caller` of conditions.
pub(super) fn describe(claims: &VerifiedClaims) -> Value {
    let text = |text: &str| Value::String(Arc::new(text.to_owned()));
    let scopes = claims.scope().iter().map(text).collect();
    let kept = claims.kept();
    let mut members = vec![
        ("subject", text(claims.subject())),
        ("client_id", text(claims.client_id())),
        ("issuer", text(claims.issuer())),
        ("scopes", Value::List(Arc::new(scopes))),
        (
            "claims",
            condition::map(kept.map(|(name, value)| (name.as_str(), condition::json(value)))),
        ),
    ];
    members.extend(claims.client_name().map(|name| ("client_name", text(name))));
    condition::map(members)
}

#[cfg(test)]
mod tests;
