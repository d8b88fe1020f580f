//! How an upstream's names and URIs are told apart from those of the node and of other upstreams.

use std::sync::Arc;

/// Why something of an upstream without prefix is left out.
pub(super) const ANOTHERS: &str = "what begins like this belongs to the upstream with that prefix";

/// The prefix of one upstream: `files` makes the tool `read` into `files_read`, and the URI `file:///a` into
/// `files+file:///a`, whose scheme is one too (RFC 3986 §3.1).
#[derive(Clone, Debug)]
pub(super) struct Names {
    name: String,
    uri: String,
    /// The prefixes of others, for an upstream without.
    others: Arc<[String]>,
}

impl Names {
    pub(super) fn new(prefix: String) -> Self {
        match &*prefix {
            "" => Self {
                name: String::new(),
                uri: String::new(),
                others: Arc::default(),
            },
            prefix => Self {
                name: format!("{prefix}_"),
                uri: format!("{prefix}+"),
                others: Arc::default(),
            },
        }
    }

    /// What begins with one of these prefixes belongs to others, even where they have no such thing: a rule about it
    /// must not come to be about this upstream. Prefixes end where they end, so only one without prefix can get there.
    pub(super) fn beside(mut self, prefixes: impl Iterator<Item = String>) -> Self {
        if self.are_plain() {
            self.others = prefixes.filter(|prefix| !prefix.is_empty()).collect();
        }
        self
    }

    /// Whether the upstream's own `name` of a tool or prompt would be taken for another's.
    pub(super) fn is_anothers(&self, name: &str) -> bool {
        self.begins_like_another(name, '_')
    }

    /// Whether the upstream's own `uri`, or template, would be taken for another's.
    pub(super) fn is_anothers_uri(&self, uri: &str) -> bool {
        self.begins_like_another(uri, '+')
    }

    fn begins_like_another(&self, text: &str, end: char) -> bool {
        self.others.iter().any(|prefix| {
            let rest = text.strip_prefix(&**prefix);
            rest.is_some_and(|rest| rest.starts_with(end))
        })
    }

    /// The name of a tool or prompt, as the node offers it.
    pub(super) fn offered(&self, name: &str) -> String {
        format!("{}{name}", self.name)
    }

    /// A URI or the template of one, as the node offers it.
    pub(super) fn offered_uri(&self, uri: &str) -> String {
        format!("{}{uri}", self.uri)
    }

    /// The upstream's own URI, if `uri` can be one of it.
    pub(super) fn own_uri<'u>(&self, uri: &'u str) -> Option<&'u str> {
        uri.strip_prefix(&*self.uri)
            .filter(|own| !self.is_anothers_uri(own))
    }

    /// Whether names and URIs are offered as they are.
    pub(super) fn are_plain(&self) -> bool {
        self.name.is_empty()
    }
}

/// What MCP allows as a tool's name (2025-11-25, "Tool Names").
pub(super) fn is_tool_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_goes_on_and_comes_off() {
        let names = Names::new("files".to_owned());
        assert_eq!(names.offered("read"), "files_read");
        assert_eq!(names.offered_uri("file:///{path}"), "files+file:///{path}");
        assert_eq!(names.own_uri("files+file:///a"), Some("file:///a"));
        assert_eq!(names.own_uri("file:///a"), None);
        let plain = Names::new(String::new());
        assert!(plain.are_plain() && !names.are_plain());
        assert_eq!(plain.offered("read"), "read");
        assert_eq!(plain.own_uri("file:///a"), Some("file:///a"));
    }

    #[test]
    fn what_is_under_anothers_prefix_is_anothers() {
        let prefixes = || ["".to_owned(), "files".to_owned()].into_iter();
        let plain = Names::new(String::new()).beside(prefixes());
        assert!(plain.is_anothers("files_read") && plain.is_anothers_uri("files+file:///a"));
        assert!(!plain.is_anothers("filesystem_read") && !plain.is_anothers("read"));
        assert_eq!(plain.own_uri("files+file:///a"), None);
        assert_eq!(plain.own_uri("file:///a"), Some("file:///a"));
        // Its own name for a thing may be anything.
        let files = Names::new("files".to_owned()).beside(prefixes());
        assert!(!files.is_anothers("files_read"));
        assert_eq!(files.own_uri("files+files+x:a"), Some("files+x:a"));
    }

    #[test]
    fn names_of_tools() {
        for good in ["a", "get_status", "A-b.c_9", &"x".repeat(128)] {
            assert!(is_tool_name(good), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", "a,b", &"x".repeat(129)] {
            assert!(!is_tool_name(bad), "{bad}");
        }
    }
}
