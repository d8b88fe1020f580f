//! What an upstream has, as the node offers it: asked for page by page, each entry judged by itself. An entry that breaks
//! a rule is left out, and the log says why; the others stay.

mod tool;

use std::collections::HashSet;

use rmcp::model::{CustomRequest, ErrorCode, Prompt, Resource, ResourceTemplate};
use rmcp::service::ServiceError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::tool::OfferedTool;
use super::link::Link;
use super::names::{ANOTHERS, Names};
use crate::config::UpstreamConfig;
use crate::mcp::news::Change;

/// The most entries of one list.
const MOST: usize = 1000;
/// The most pages of one list.
const MOST_PAGES: usize = 100;

/// What an upstream has.
#[derive(Default)]
pub(crate) struct Catalogue {
    /// Its tools, in its order.
    pub(crate) tools: Vec<OfferedTool>,
    /// Its resources, with the node's URIs.
    pub(crate) resources: Vec<Resource>,
    /// Its templates of URIs, with the node's.
    pub(crate) templates: Vec<ResourceTemplate>,
    /// Its prompts.
    pub(crate) prompts: Vec<OfferedPrompt>,
    /// Whether it completes arguments.
    pub(crate) completes: bool,
    /// Whether it has resources, listed or not.
    pub(crate) reads: bool,
}

/// A prompt of an upstream.
pub(crate) struct OfferedPrompt {
    /// As the node offers it.
    pub(crate) prompt: Prompt,
    /// Its name there.
    pub(crate) own_name: String,
}

impl Catalogue {
    /// Which lists are other than `before`.
    pub(super) fn differences(&self, before: &Self) -> Vec<Change> {
        let tools = |of: &Self| {
            of.tools
                .iter()
                .map(|offered| offered.tool.clone())
                .collect::<Vec<_>>()
        };
        let prompts = |of: &Self| {
            of.prompts
                .iter()
                .map(|offered| offered.prompt.clone())
                .collect::<Vec<_>>()
        };
        let resources_are_same = self.resources == before.resources && self.templates == before.templates;
        let all = [
            (tools(self) == tools(before), Change::ToolList),
            (prompts(self) == prompts(before), Change::PromptList),
            (resources_are_same, Change::ResourceList),
        ];
        let other = all.into_iter().filter(|(is_same, _)| !is_same);
        other.map(|(_, change)| change).collect()
    }
}

/// Asks for everything that the server says it has.
pub(super) async fn fetch(link: &Link, config: &UpstreamConfig, names: &Names) -> Result<Catalogue, String> {
    let has = link.capabilities();
    let asks = Asking { link, config };
    let mut catalogue = Catalogue {
        completes: has.completions.is_some(),
        reads: has.resources.is_some(),
        ..Catalogue::default()
    };
    if has.tools.is_some() {
        let tools = asks.list("tools/list", "tools").await?;
        catalogue.tools = unlike(
            tools.into_iter().filter_map(|value| {
                let told = value
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or("?")
                    .to_owned();
                let offered = OfferedTool::new(value, names);
                offered
                    .map_err(|reason| asks.leave_out("tool", &told, &reason))
                    .ok()
            }),
            |tool| tool.own_name(),
            |name| asks.leave_out("tool", name, "another one has the same name"),
        );
    }
    if has.resources.is_some() {
        let mut resources: Vec<Resource> = asks.read("resources/list", "resources").await?;
        resources
            .retain(|resource| asks.keeps("resource", &resource.uri, names.is_anothers_uri(&resource.uri)));
        catalogue.resources = unlike(
            resources.into_iter().map(|mut resource| {
                resource.uri = names.offered_uri(&resource.uri);
                resource
            }),
            |resource| &resource.uri,
            |uri| asks.leave_out("resource", uri, "another one has the same URI"),
        );
        let templates: Vec<ResourceTemplate> =
            asks.read("resources/templates/list", "resourceTemplates").await?;
        catalogue.templates = templates;
        catalogue.templates.retain(|template| {
            let uri = &template.uri_template;
            asks.keeps("template", uri, names.is_anothers_uri(uri))
        });
        for template in &mut catalogue.templates {
            template.uri_template = names.offered_uri(&template.uri_template);
        }
    }
    if has.prompts.is_some() {
        let mut prompts: Vec<Prompt> = asks.read("prompts/list", "prompts").await?;
        prompts.retain(|prompt| asks.keeps("prompt", &prompt.name, names.is_anothers(&prompt.name)));
        catalogue.prompts = unlike(
            prompts.into_iter().map(|mut prompt| {
                let own_name = std::mem::take(&mut prompt.name);
                prompt.name = names.offered(&own_name);
                OfferedPrompt { prompt, own_name }
            }),
            |prompt| &prompt.own_name,
            |name| asks.leave_out("prompt", name, "another one has the same name"),
        );
    }
    Ok(catalogue)
}

/// Without those whose key another one had before.
fn unlike<T>(all: impl Iterator<Item = T>, key: impl Fn(&T) -> &str, mut twice: impl FnMut(&str)) -> Vec<T> {
    let mut seen = HashSet::new();
    all.filter(|one| {
        let is_new = seen.insert(key(one).to_owned());
        if !is_new {
            twice(key(one));
        }
        is_new
    })
    .collect()
}

struct Asking<'a> {
    link: &'a Link,
    config: &'a UpstreamConfig,
}

impl Asking<'_> {
    /// The entries of a list that are of the right form.
    async fn read<T: DeserializeOwned>(&self, method: &str, member: &str) -> Result<Vec<T>, String> {
        let values = self.list(method, member).await?;
        let read = values.into_iter().filter_map(|value| {
            let told = value
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or("?")
                .to_owned();
            serde_json::from_value(value)
                .map_err(|fault| self.leave_out(member, &told, &fault.to_string()))
                .ok()
        });
        Ok(read.collect())
    }

    /// All entries of a list, as they came.
    async fn list(&self, method: &str, member: &str) -> Result<Vec<Value>, String> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let params = cursor.as_ref().map(|cursor| json!({"cursor": cursor}));
            let request = CustomRequest::new(method, params);
            let mut page = match self.link.ask(request, self.config.start_timeout).await {
                Ok(page) => serde_json::to_value(page).map_err(|e| e.to_string())?,
                // It says that it has such things, and then that it does not: it has none.
                Err(ServiceError::McpError(fault)) if fault.code == ErrorCode::METHOD_NOT_FOUND => break,
                Err(fault) => return Err(format!("{method}: {fault}")),
            };
            let Some(Value::Array(entries)) = page.get_mut(member).map(Value::take) else {
                return Err(format!("{method}: the result has no list of {member}"));
            };
            all.extend(entries);
            let next = page.get("nextCursor").and_then(Value::as_str);
            if all.len() > MOST {
                break;
            }
            match next {
                Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
                _ => return Ok(all),
            }
        }
        if all.len() > MOST || cursor.is_some() {
            tracing::warn!(
                upstream = self.config.name,
                method,
                kept = MOST,
                "a list is too long; its end is left out"
            );
            all.truncate(MOST);
        }
        Ok(all)
    }

    fn keeps(&self, what: &str, name: &str, is_anothers: bool) -> bool {
        if is_anothers {
            self.leave_out(what, name, ANOTHERS);
        }
        !is_anothers
    }

    fn leave_out(&self, what: &str, name: &str, reason: &str) {
        tracing::warn!(upstream = self.config.name, what, name, reason, "left out");
    }
}
