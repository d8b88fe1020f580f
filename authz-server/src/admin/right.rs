//! What a token may do here: to read or to write, everything or one noun.

use shared::scope::Scope;

/// What operations are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Noun {
    Clients,
    Resources,
    Nodes,
    Grants,
    Tokens,
    Users,
    Approvals,
    Keys,
    Audit,
    Policies,
    Statistics,
    Configuration,
}

impl Noun {
    pub(crate) const ALL: [Self; 12] = [
        Self::Clients,
        Self::Resources,
        Self::Nodes,
        Self::Grants,
        Self::Tokens,
        Self::Users,
        Self::Approvals,
        Self::Keys,
        Self::Audit,
        Self::Policies,
        Self::Statistics,
        Self::Configuration,
    ];

    /// As it stands in scopes, paths and the document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Resources => "resources",
            Self::Nodes => "nodes",
            Self::Grants => "grants",
            Self::Tokens => "tokens",
            Self::Users => "users",
            Self::Approvals => "approvals",
            Self::Keys => "keys",
            Self::Audit => "audit",
            Self::Policies => "policies",
            Self::Statistics => "statistics",
            Self::Configuration => "configuration",
        }
    }
}

/// What an operation does to its noun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Right {
    Read,
    Write,
}

impl Right {
    const ALL: [Self; 2] = [Self::Read, Self::Write];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// The scope that lets do this to everything.
    pub(crate) fn everywhere(self) -> String {
        format!("admin:{}", self.as_str())
    }

    /// The scope that lets do this to `noun`.
    pub(crate) fn of(self, noun: Noun) -> String {
        format!("admin:{}:{}", noun.as_str(), self.as_str())
    }
}

/// The scopes, any one of which an operation needs. To write is not to read: a token that does both has both.
pub(crate) fn needed(noun: Noun, right: Right) -> [String; 2] {
    [right.everywhere(), right.of(noun)]
}

/// Every scope of the API.
pub(crate) fn scopes() -> Vec<String> {
    let nouns = Right::ALL
        .into_iter()
        .flat_map(|right| Noun::ALL.map(|noun| right.of(noun)));
    Right::ALL
        .map(Right::everywhere)
        .into_iter()
        .chain(nouns)
        .collect()
}

/// Whether whoever has `scope` may do what `wanted`, one of [`scopes`], lets do.
pub(crate) fn covers(scope: &Scope, wanted: &str) -> bool {
    scope.contains(wanted)
        || Right::ALL.into_iter().any(|right| {
            let is_its = wanted.rsplit(':').next() == Some(right.as_str());
            is_its && scope.contains(&right.everywhere())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_for_everything_covers_each_noun_and_no_other_right() {
        let covers = |scope: &str, wanted: &str| covers(&scope.parse().unwrap(), wanted);
        assert!(covers("admin:read", "admin:clients:read") && covers("admin:read", "admin:read"));
        assert!(covers("admin:clients:write", "admin:clients:write"));
        assert!(!covers("admin:write", "admin:clients:read"));
        assert!(!covers("admin:clients:write", "admin:write"));
        assert!(!covers("admin:clients:write", "admin:users:write"));
        assert!(!covers("mcp:read", "admin:read"));
    }

    #[test]
    fn scopes_are_scopes() {
        let all = scopes();
        assert_eq!(all.len(), 2 + 2 * Noun::ALL.len());
        let scope = Scope::from_tokens(all.iter().map(String::as_str)).unwrap();
        assert_eq!(scope.iter().count(), all.len());
    }
}
