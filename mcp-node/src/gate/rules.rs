//! Rules of operators: what a tool, a resource, a prompt or an argument needs beside what its method does.
//!
//! Rules only ever ask for more. Every rule that applies counts, so their order does not matter, and one that cannot be
//! judged applies.

use shared::config::{Reader, Section};
use shared::scope::Scope;

use super::condition::{Condition, Facts};
use super::operation::Operation;
use super::pattern::Pattern;

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// For the log: `scopes.rule 2 (no passwords)`.
    name: String,
    method: Option<Pattern>,
    tool: Option<Pattern>,
    resource: Option<Pattern>,
    prompt: Option<Pattern>,
    when: Option<Condition>,
    demand: Demand,
}

/// What a rule asks for.
#[derive(Debug)]
pub(super) enum Demand {
    /// All of these scopes.
    Needs(Scope),
    /// Nothing helps.
    Deny,
}

/// Which of the texts that an operation has a short table is about.
#[derive(Clone, Copy)]
pub(super) enum About {
    Tool,
    Resource,
    Prompt,
}

impl Rule {
    /// Reads one short table, `[scopes.tools]` for example: a pattern and the scopes that it needs.
    pub(super) fn read_table(section: &mut Section<'_>, key: &str, about: About) -> Vec<Self> {
        let mut rules = Vec::new();
        for (pattern, text) in section.map(key) {
            let needed = match text.parse::<Scope>() {
                Ok(needed) => needed,
                Err(fault) => {
                    section.fault(key, format!("{pattern}: {fault}"));
                    continue;
                }
            };
            let Ok(parsed) = pattern.parse();
            let mut rule = Self::bare(format!("scopes.{key} {pattern}"), Demand::Needs(needed));
            *match about {
                About::Tool => &mut rule.tool,
                About::Resource => &mut rule.resource,
                About::Prompt => &mut rule.prompt,
            } = Some(parsed);
            rules.push(rule);
        }
        rules
    }

    /// Reads every `[[scopes.rule]]`. Faults stay in the reader.
    pub(super) fn read_all(reader: &mut Reader) -> Vec<Self> {
        let count = reader.count("scopes.rule");
        (0..count)
            .filter_map(|index| Self::read(&mut reader.section(&format!("scopes.rule.{index}")), index))
            .collect()
    }

    fn read(section: &mut Section<'_>, index: usize) -> Option<Self> {
        let name = match section.optional::<String>("name") {
            Some(name) => format!("scopes.rule {index} ({name})"),
            None => format!("scopes.rule {index}"),
        };
        let mut rule = Self::bare(name, Demand::Deny);
        rule.method = section.optional("method");
        rule.tool = section.optional("tool");
        rule.resource = section.optional("resource");
        rule.prompt = section.optional("prompt");
        rule.when = section.optional("when");
        let is_about_something = ["method", "tool", "resource", "prompt", "when"]
            .iter()
            .any(|key| section.has(key));
        if !is_about_something {
            section.fault(
                "tool",
                "say what the rule is about: method, tool, resource, prompt or when",
            );
        }
        let needs: Option<Scope> = section.optional("needs");
        let deny: Option<bool> = section.optional("deny");
        rule.demand = match (needs, deny) {
            (Some(needs), None | Some(false)) if !needs.is_empty() => Demand::Needs(needs),
            (None, Some(true)) => Demand::Deny,
            _ => {
                // A text that is no scope has been told of already.
                if deny.is_some() || !section.has("needs") || section.has("deny") {
                    section.fault("needs", "write either needs = \"scope\" or deny = true");
                }
                return None;
            }
        };
        Some(rule)
    }

    fn bare(name: String, demand: Demand) -> Self {
        Self {
            name,
            method: None,
            tool: None,
            resource: None,
            prompt: None,
            when: None,
            demand,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn demand(&self) -> &Demand {
        &self.demand
    }

    /// The condition, if it has one.
    pub(super) fn when(&self) -> Option<&Condition> {
        self.when.as_ref()
    }

    /// Whether what it is about is what `operation` is about; the condition has not been looked at.
    pub(super) fn is_about(&self, operation: &Operation<'_>) -> bool {
        let fits = |pattern: &Option<Pattern>, text: Option<&str>| {
            pattern
                .as_ref()
                .is_none_or(|pattern| text.is_some_and(|text| pattern.matches(text)))
        };
        fits(&self.method, Some(operation.method))
            && fits(&self.tool, operation.tool)
            && fits(&self.prompt, operation.prompt)
            && fits(&self.resource, operation.resource)
    }

    /// Whether it looks at the URI of a resource, which may be spelled in several ways.
    pub(super) fn looks_at_resource(&self) -> bool {
        self.resource.is_some() || self.when.as_ref().is_some_and(|when| when.mentions().resource)
    }

    /// Whether it applies to `operation`. A condition that cannot be judged counts as fulfilled; the log says so.
    pub(super) fn applies(&self, operation: &Operation<'_>, facts: &Facts<'_>) -> bool {
        self.is_about(operation)
            && self.when.as_ref().is_none_or(|when| {
                when.holds(facts).unwrap_or_else(|unjudged| {
                    tracing::warn!(
                        rule = self.name,
                        condition = when.text(),
                        reason = unjudged.0,
                        "a rule cannot be judged, and so applies"
                    );
                    true
                })
            })
    }
}
