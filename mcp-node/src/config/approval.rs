//! `[approval]`: which tools run only with a person's yes.

use std::time::Duration;

use shared::config::{Reader, Span};

/// Asks for an invite, so it always needs the yes of an operator.
pub(crate) const PROVISION_NODE: &str = "provision_node";

/// Whose yes a tool needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApprovedBy {
    /// The person for whom the call is made; an operator where there is none.
    Caller,
    /// An operator.
    Operator,
}

/// Tools that run only with a person's yes.
#[derive(Clone, Debug, Default)]
pub struct ApprovalRules {
    tools: Vec<String>,
    operator_tools: Vec<String>,
    /// How long a question waits, and an answer counts.
    pub ttl: Duration,
}

impl ApprovalRules {
    /// Reads the section. Faults stay in the reader.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut section = reader.section("approval");
        let mut patterns = |key: &str| {
            let patterns: Vec<String> = section.list(key, "");
            for pattern in &patterns {
                if !is_pattern(pattern) {
                    section.fault(
                        key,
                        format!("{pattern:?}: a tool's name, in which * stands for any letters"),
                    );
                }
            }
            patterns
        };
        let (tools, operator_tools) = (patterns("tools"), patterns("operator_tools"));
        let ttl: Option<Span> = section.value("ttl", "10m");
        let ttl = ttl.map_or(Duration::ZERO, |ttl| ttl.0);
        if !(Duration::from_secs(30)..=Duration::from_secs(3600)).contains(&ttl) {
            section.fault("ttl", "a person has from 30s to 1h");
        }
        Self {
            tools,
            operator_tools,
            ttl,
        }
    }

    /// Whose yes a call of `tool` needs, if it needs one.
    pub(crate) fn needed(&self, tool: &str) -> Option<ApprovedBy> {
        let is_among = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, tool));
        if tool == PROVISION_NODE || is_among(&self.operator_tools) {
            return Some(ApprovedBy::Operator);
        }
        is_among(&self.tools).then_some(ApprovedBy::Caller)
    }

    /// Whether the configuration names any tool.
    pub(crate) fn are_named(&self) -> bool {
        !self.tools.is_empty() || !self.operator_tools.is_empty()
    }
}

fn is_pattern(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether `name` is of the form `pattern`, in which `*` stands for any letters. Greedy, with one place to go back to:
/// no pattern takes more than the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == name[read] => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((star_at, star_read)) => {
                    star = Some((star_at, star_read + 1));
                    at = star_at + 1;
                    read = star_read + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rules(text: &str) -> Result<ApprovalRules, Vec<String>> {
        let mut reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
        let rules = ApprovalRules::read(&mut reader);
        reader.finish().map(|_| rules).map_err(|faults| faults.0)
    }

    #[test]
    fn patterns_name_tools_and_provisioning_is_always_the_operators() {
        let rules = rules(
            "[approval]\ntools = [\"fs_delete*\", \"*_drop_*\"]\noperator_tools = [\"fs_delete_all\"]\n",
        )
        .unwrap();
        for (tool, needed) in [
            ("fs_delete", Some(ApprovedBy::Caller)),
            ("fs_delete_one", Some(ApprovedBy::Caller)),
            ("fs_delete_all", Some(ApprovedBy::Operator)),
            ("db_drop_table", Some(ApprovedBy::Caller)),
            ("drop_table", None),
            ("get_status", None),
            ("FS_DELETE", None),
            ("provision_node", Some(ApprovedBy::Operator)),
        ] {
            assert_eq!(rules.needed(tool), needed, "{tool}");
        }
        assert_eq!(rules.ttl, Duration::from_secs(600));
        assert!(rules.are_named() && !super::tests::rules("").unwrap().are_named());
    }

    #[test]
    fn faults_are_told() {
        for bad in [
            "tools = [\"\"]",
            "tools = [\"a b\"]",
            "ttl = \"2h\"",
            "ttl = \"1s\"",
            "tols = []",
        ] {
            let found = rules(&format!("[approval]\n{bad}\n")).unwrap_err();
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
        }
    }

    #[test]
    fn stars_match_in_linear_room() {
        assert!(matches("*", "") && matches("a*b*c", "aXbYbc") && !matches("a*b", "acbc"));
        assert!(!matches(&"*a".repeat(100), &"a".repeat(99)));
        assert!(!matches("", "a") && !matches("ab", "a"));
    }
}
