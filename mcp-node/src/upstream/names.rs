//! How an upstream's names and URIs are told apart from those of the node and of other upstreams.

/// The prefix of one upstream: `files` makes the tool `read` into `files_read`, and the URI `file:///a` into
/// `files+file:///a`, whose scheme is one too (RFC 3986 §3.1).
#[derive(Clone, Debug)]
pub(super) struct Names {
    name: String,
    uri: String,
}

impl Names {
    pub(super) fn new(prefix: String) -> Self {
        match &*prefix {
            "" => Self {
                name: String::new(),
                uri: String::new(),
            },
            prefix => Self {
                name: format!("{prefix}_"),
                uri: format!("{prefix}+"),
            },
        }
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
    fn names_of_tools() {
        for good in ["a", "get_status", "A-b.c_9", &"x".repeat(128)] {
            assert!(is_tool_name(good), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", "a,b", &"x".repeat(129)] {
            assert!(!is_tool_name(bad), "{bad}");
        }
    }
}
