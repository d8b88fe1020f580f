//! What a caller asks for, whichever way it came.

use rmcp::model::JsonObject;

#[cfg(test)]
use super::scopes::GET_PROMPT;
use super::scopes::{CALL_TOOL, LISTEN, READ_RESOURCE};

/// One request, as far as it decides whether it is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Operation<'a> {
    /// The MCP method; plain-JSON endpoints stand for the method that they mirror.
    pub(crate) method: &'a str,
    /// The tool of a call.
    pub(crate) tool: Option<&'a str>,
    /// The URI of a resource.
    pub(crate) resource: Option<&'a str>,
    /// The name of a prompt.
    pub(crate) prompt: Option<&'a str>,
    /// The arguments of a tool call or a prompt.
    pub(crate) arguments: Option<&'a JsonObject>,
}

impl<'a> Operation<'a> {
    /// A tool call.
    pub(crate) fn call(tool: &'a str, arguments: Option<&'a JsonObject>) -> Self {
        Self {
            method: CALL_TOOL,
            tool: Some(tool),
            arguments,
            ..Self::default()
        }
    }

    /// Reading a resource.
    pub(crate) fn read(uri: &'a str) -> Self {
        Self {
            method: READ_RESOURCE,
            resource: Some(uri),
            ..Self::default()
        }
    }

    /// Asking for a prompt.
    #[cfg(test)]
    pub(crate) fn prompt(name: &'a str) -> Self {
        Self {
            method: GET_PROMPT,
            prompt: Some(name),
            ..Self::default()
        }
    }

    /// Opening a stream of news.
    pub(crate) fn listen() -> Self {
        Self {
            method: LISTEN,
            ..Self::default()
        }
    }
}
