//! What a granted scope is good for beside itself (MCP authorization, "Scope Challenge Handling": a server must account
//! for hierarchies).

use std::collections::BTreeMap;

use shared::config::Section;
use shared::scope::Scope;

/// How scopes contain each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hierarchy {
    /// Whether `mcp:*` covers every scope that begins with `mcp:`.
    stars: bool,
    /// What else somebody has who has the scope named first.
    implies: BTreeMap<String, Scope>,
}

impl Default for Hierarchy {
    fn default() -> Self {
        Self {
            stars: true,
            implies: BTreeMap::new(),
        }
    }
}

impl Hierarchy {
    /// Reads `scopes.hierarchy` and `[scopes.implies]`.
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let kind: Option<String> = section.value("hierarchy", "stars");
        if kind
            .as_deref()
            .is_some_and(|kind| !matches!(kind, "stars" | "off"))
        {
            section.fault("hierarchy", "write \"stars\" or \"off\"");
        }
        let mut implies = BTreeMap::new();
        for (token, text) in section.map("implies") {
            if let Err(fault) = Scope::from_tokens([&*token]) {
                section.fault("implies", format!("{token:?}: {fault}"));
            }
            match text.parse() {
                Ok(implied) => drop(implies.insert(token, implied)),
                Err(fault) => section.fault("implies", format!("{token}: {fault}")),
            }
        }
        Self {
            stars: kind.as_deref() != Some("off"),
            implies,
        }
    }

    /// Whether somebody who was granted `granted` has `needed` too.
    pub(super) fn covers(&self, granted: &Scope, needed: &str) -> bool {
        granted.contains(needed) || {
            let simple = self.implies.is_empty();
            let by_star = self.stars && granted.iter().any(|one| star_covers(one, needed));
            by_star
                || !simple
                    && self
                        .everything(granted)
                        .iter()
                        .any(|one| self.one_covers(one, needed))
        }
    }

    /// Whether somebody who was granted `granted` has every token of `needed`.
    pub(super) fn covers_all(&self, granted: &Scope, needed: &Scope) -> bool {
        needed.iter().all(|one| self.covers(granted, one))
    }

    fn one_covers(&self, one: &str, needed: &str) -> bool {
        one == needed || self.stars && star_covers(one, needed)
    }

    /// What was granted and, to any depth, what that implies. Each entry of the table is taken once at most, so rings
    /// end.
    fn everything<'s>(&'s self, granted: &'s Scope) -> Vec<&'s str> {
        let mut held: Vec<&str> = granted.iter().collect();
        let mut left: Vec<_> = self.implies.iter().collect();
        loop {
            let (found, rest): (Vec<_>, Vec<_>) = left
                .into_iter()
                .partition(|(token, _)| held.iter().any(|one| self.one_covers(one, token)));
            if found.is_empty() {
                return held;
            }
            held.extend(found.into_iter().flat_map(|(_, implied)| implied.iter()));
            left = rest;
        }
    }
}

/// `mcp:*` covers `mcp:read` and `mcp:tools:execute`. A star alone, or anywhere but behind the last colon, is a scope
/// like any other.
fn star_covers(granted: &str, needed: &str) -> bool {
    let prefix = granted.strip_suffix('*').filter(|prefix| prefix.ends_with(':'));
    prefix.is_some_and(|prefix| prefix.len() > 1 && needed.len() > prefix.len() && needed.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    fn with(implies: &[(&str, &str)]) -> Hierarchy {
        Hierarchy {
            stars: true,
            implies: implies
                .iter()
                .map(|(token, implied)| ((*token).to_owned(), scope(implied)))
                .collect(),
        }
    }

    #[test]
    fn mcp_04_a_star_covers_what_lies_below() {
        let plain = Hierarchy::default();
        for (granted, needed) in [
            ("mcp:read", "mcp:read"),
            ("mcp:*", "mcp:read"),
            ("mcp:*", "mcp:tools:execute"),
            ("mcp:tools:*", "mcp:tools:execute"),
            ("x mcp:*", "mcp:call"),
        ] {
            assert!(plain.covers(&scope(granted), needed), "{granted} {needed}");
        }
        for (granted, needed) in [
            ("mcp:*", "mcp"),
            ("mcp:*", "mcp:"),
            ("mcp:*", "mcpx:read"),
            ("mcp*", "mcp:read"),
            ("*", "mcp:read"),
            (":*", ":read"),
            ("mcp:tools", "mcp:tools:execute"),
            ("mcp:tools:*", "mcp:read"),
            ("mcp:*:execute", "mcp:tools:execute"),
            ("mcp:read", "mcp:*"),
            ("", "mcp:read"),
        ] {
            assert!(!plain.covers(&scope(granted), needed), "{granted} {needed}");
        }
        let off = Hierarchy {
            stars: false,
            ..plain
        };
        assert!(!off.covers(&scope("mcp:*"), "mcp:read") && off.covers(&scope("mcp:*"), "mcp:*"));
    }

    #[test]
    fn mcp_04_one_scope_implies_others_to_any_depth() {
        let table = with(&[
            ("admin", "mcp:* ops"),
            ("ops", "logs"),
            ("mcp:root", "disk"),
            ("ring", "ring"),
        ]);
        for needed in ["mcp:call", "ops", "logs", "admin"] {
            assert!(table.covers(&scope("admin"), needed), "{needed}");
        }
        // A scope that is only covered by a star implies what it implies.
        assert!(table.covers(&scope("mcp:*"), "disk") && table.covers(&scope("admin"), "disk"));
        assert!(!table.covers(&scope("ops"), "admin") && !table.covers(&scope("ring"), "logs"));
        assert!(table.covers_all(&scope("admin x"), &scope("x logs mcp:read")));
        assert!(!table.covers_all(&scope("admin"), &scope("x logs")));
    }
}
