//! Which scope each operation needs. Decided before any tool runs and before any byte of an answer is written.

use std::collections::{BTreeMap, HashMap};

use shared::config::Reader;
use shared::scope::Scope;

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
/// Stands for every notification.
const NOTIFICATIONS: &str = "notifications";

/// Every method of every revision served, with the scopes of which one suffices.
const DEFAULTS: [(&str, &[&str]); 17] = [
    (FIRST_METHOD, &["mcp:read"]),
    ("initialize", &["mcp:read"]),
    ("ping", &["mcp:read"]),
    (NOTIFICATIONS, &["mcp:read"]),
    ("tools/list", &["mcp:read"]),
    ("prompts/list", &["mcp:read"]),
    (GET_PROMPT, &["mcp:read"]),
    ("completion/complete", &["mcp:read"]),
    ("logging/setLevel", &["mcp:read"]),
    ("resources/list", &["mcp:resources", "mcp:read"]),
    ("resources/templates/list", &["mcp:resources", "mcp:read"]),
    (READ_RESOURCE, &["mcp:resources", "mcp:read"]),
    (CALL_TOOL, &["mcp:call"]),
    (LISTEN, &["mcp:subscribe"]),
    ("resources/subscribe", &["mcp:subscribe"]),
    ("resources/unsubscribe", &["mcp:subscribe"]),
    ("tasks/get", &["mcp:call"]),
];

/// The scope of each method and of each tool.
#[derive(Clone, Debug)]
pub struct ScopeTable {
    /// One token of these suffices.
    methods: HashMap<String, Scope>,
    /// The token that a caller is told to get, for each method.
    preferred: HashMap<String, String>,
    /// All of these are needed, beside what `tools/call` needs.
    tools: BTreeMap<String, Scope>,
}

impl ScopeTable {
    /// Reads `[scopes.methods]` and `[scopes.tools]`. Faults stay in the reader.
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
        for (tool, text) in section.map("tools") {
            match text.parse() {
                Ok(all_of) => drop(table.tools.insert(tool, all_of)),
                Err(fault) => section.fault("tools", format!("{tool}: {fault}")),
            }
        }
        table
    }

    /// Whether `granted` suffices for `method` and, in a tool call, for `tool`. If not: every scope that this
    /// operation needs, so that the caller can ask for all of them at once.
    pub(crate) fn check(&self, granted: &Scope, method: &str, tool: Option<&str>) -> Result<(), Scope> {
        let known = self.known(method);
        let method_is_granted = self
            .methods
            .get(known)
            .is_some_and(|any| any.iter().any(|one| granted.contains(one)));
        let extra = tool.and_then(|tool| self.tools.get(tool));
        if method_is_granted && extra.is_none_or(|all| all.is_subset(granted)) {
            return Ok(());
        }
        Err(self.needed(method, tool, granted))
    }

    /// What a caller without token is told to get for `method`.
    pub(crate) fn hint(&self, method: &str) -> String {
        self.needed(method, None, &Scope::default()).to_string()
    }

    /// What a caller without token is told to get when it is not known yet what it wants.
    pub(crate) fn basic(&self) -> String {
        self.hint(FIRST_METHOD)
    }

    /// The scopes for basic use, for the resource's metadata: what clients ask for when nothing else was said.
    pub(crate) fn for_metadata(&self) -> Vec<String> {
        let empty = Scope::default();
        let all = self
            .needed(FIRST_METHOD, None, &empty)
            .union(&self.needed(CALL_TOOL, None, &empty));
        all.iter().map(str::to_owned).collect()
    }

    fn needed(&self, method: &str, tool: Option<&str>, granted: &Scope) -> Scope {
        let known = self.known(method);
        // Where one of several suffices, the one that the caller has is not replaced by another.
        let held = self
            .methods
            .get(known)
            .and_then(|any| any.iter().find(|one| granted.contains(one)));
        let one = held.or_else(|| self.preferred.get(known).map(String::as_str));
        let one = Scope::from_tokens(one).unwrap_or_default();
        match tool.and_then(|tool| self.tools.get(tool)) {
            Some(extra) => one.union(extra),
            None => one,
        }
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
            tools: BTreeMap::new(),
        };
        for (method, any_of) in DEFAULTS {
            let scope = Scope::from_tokens(any_of.iter().copied()).unwrap_or_default();
            table.set(method, scope, any_of.iter().copied());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(text: &str) -> ScopeTable {
        let mut reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
        let table = ScopeTable::read(&mut reader);
        reader.finish().unwrap();
        table
    }

    fn needed(table: &ScopeTable, granted: &str, method: &str, tool: Option<&str>) -> Option<String> {
        table
            .check(&granted.parse().unwrap(), method, tool)
            .err()
            .map(|scope| scope.to_string())
    }

    #[test]
    fn the_contract_table() {
        let table = ScopeTable::default();
        for method in [
            "server/discover",
            "initialize",
            "ping",
            "tools/list",
            "prompts/get",
            "notifications/initialized",
        ] {
            assert_eq!(needed(&table, "mcp:read", method, None), None, "{method}");
            assert_eq!(
                needed(&table, "mcp:call", method, None).as_deref(),
                Some("mcp:read"),
                "{method}"
            );
        }
        for granted in ["mcp:read", "mcp:resources"] {
            assert_eq!(needed(&table, granted, "resources/read", None), None);
        }
        assert_eq!(
            needed(&table, "", "resources/read", None).as_deref(),
            Some("mcp:resources")
        );
        assert_eq!(needed(&table, "mcp:call", "tools/call", Some("x")), None);
        assert_eq!(
            needed(&table, "mcp:read", "tools/call", Some("x")).as_deref(),
            Some("mcp:call")
        );
        assert_eq!(
            needed(&table, "mcp:read", "subscriptions/listen", None).as_deref(),
            Some("mcp:subscribe")
        );
        // Case matters, and what nobody knows needs what everyone needs.
        assert_eq!(
            needed(&table, "mcp:call", "Tools/call", None).as_deref(),
            Some("mcp:read")
        );
        assert_eq!(table.for_metadata(), ["mcp:call", "mcp:read"]);
    }

    #[test]
    fn a_deployment_has_its_own_names_and_tools_ask_for_more() {
        let table = configured(
            "[scopes.methods]\n\"tools/call\" = \"mcp:tools:execute admin\"\n[scopes.tools]\nget_status = \"ops z\"\n",
        );
        assert_eq!(
            needed(&table, "mcp:tools:execute", "tools/call", Some("list_peers")),
            None
        );
        assert_eq!(needed(&table, "admin", "tools/call", None), None);
        let all = "mcp:tools:execute ops z";
        assert_eq!(
            needed(&table, "mcp:tools:execute ops", "tools/call", Some("get_status")).as_deref(),
            Some(all)
        );
        assert_eq!(
            needed(&table, "ops z", "tools/call", Some("get_status")).as_deref(),
            Some(all)
        );
        assert_eq!(needed(&table, all, "tools/call", Some("get_status")), None);
        assert_eq!(
            needed(&table, "admin z", "tools/call", Some("get_status")).as_deref(),
            Some("admin ops z")
        );
        assert_eq!(table.hint("tools/call"), "mcp:tools:execute");
    }
}
