//! What a caller asks for, whichever way it came.

use rmcp::model::JsonObject;
use serde_json::Value;

use super::scopes::{CALL_TOOL, GET_PROMPT, LISTEN, READ_RESOURCE};

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
    /// The message or the request body. The arguments are read from it where they decide something: that costs more than
    /// everything else at the gate.
    pub(crate) raw: Option<&'a [u8]>,
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
    pub(crate) fn prompt(name: &'a str) -> Self {
        Self {
            method: GET_PROMPT,
            prompt: Some(name),
            ..Self::default()
        }
    }

    /// The arguments of the MCP message in `raw`.
    pub(super) fn read_arguments(&self) -> Option<JsonObject> {
        let mut message = shared::json::object(self.raw?).ok()?;
        match message.get_mut("params")?.get_mut("arguments")?.take() {
            Value::Object(arguments) => Some(arguments),
            _ => None,
        }
    }

    /// The resources that the subscription in `raw` wants to follow.
    pub(super) fn read_followed(&self) -> Vec<String> {
        let message = self.raw.and_then(|raw| shared::json::object(raw).ok());
        let uris = message
            .as_ref()
            .and_then(|message| {
                message
                    .get("params")?
                    .get("notifications")?
                    .get("resourceSubscriptions")
            })
            .and_then(Value::as_array);
        let texts = uris.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// Whether it is something that takes arguments.
    pub(crate) fn has_arguments(&self) -> bool {
        self.tool.is_some() || self.prompt.is_some()
    }

    /// How large the message or the request body is, in bytes.
    pub(super) fn size(&self) -> usize {
        self.raw.map_or(0, <[u8]>::len)
    }

    /// Something that is no method of MCP, or has no parameters that matter.
    pub(crate) fn plain(method: &'a str) -> Self {
        Self {
            method,
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
