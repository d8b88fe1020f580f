//! `provision_node`: prepares the enrolment of another node. Only where the authorization server lets this node do so,
//! and only with the yes of an operator, each time.

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use shared::clock::now;

use super::{output_schema, structured};
use crate::app::Node;
use crate::approval::Approved;
use crate::config::PROVISION_NODE;

pub(crate) const NAME: &str = PROVISION_NODE;

/// What is needed to enrol the new node.
#[derive(Serialize, JsonSchema)]
struct Prepared {
    /// The command to run where the new node is to be. Shown once; whoever runs it has the place.
    command: String,
    /// When it stops working, in seconds since 1970.
    expires_at: i64,
    /// The resource that the node is to serve, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
}

pub(super) fn describe() -> Tool {
    let description = "Prepares the enrolment of another node: returns a command with an invite that works once, within \
                       an hour. An operator must approve each call.";
    let line = |description: &str| json!({"type": "string", "maxLength": 1000, "description": description});
    let input = json!({
        "type": "object",
        "properties": {
            "name": line("What the new node is called"),
            "resource": line("The address that the new node will serve, for example https://node.example/mcp"),
        },
        "additionalProperties": false,
    });
    let input = input.as_object().cloned().unwrap_or_default();
    Tool::new(NAME, description, input)
        .with_title("Provision a node")
        .with_raw_output_schema(output_schema::<Prepared>())
        .with_annotations(
            ToolAnnotations::new()
                .read_only(false)
                .destructive(false)
                .idempotent(false)
                .open_world(false),
        )
}

/// Whether this node offers the tool.
pub(crate) fn is_offered(node: &Node) -> bool {
    node.membership
        .as_ref()
        .is_some_and(|membership| membership.may_invite())
}

pub(crate) async fn call(node: &Node, arguments: Option<&JsonObject>, approved: &Approved) -> CallToolResult {
    let refusal = |sentence: String| CallToolResult::error(vec![ContentBlock::text(sentence)]);
    let Some(membership) = &node.membership else {
        return refusal("this node has not enrolled".to_owned());
    };
    let text = |name: &str| arguments.and_then(|arguments| arguments.get(name)?.as_str());
    let known = ["name", "resource"];
    let is_good = arguments.is_none_or(|arguments| {
        let is_known = |(name, value): (&String, &Value)| known.contains(&&**name) && value.is_string();
        arguments.iter().all(is_known)
    });
    if !is_good {
        return refusal(format!("{NAME} takes name and resource, both text"));
    }
    let invited = membership
        .invite(&approved.id, (text("resource"), text("name")), now())
        .await;
    match invited {
        Ok(invite) => structured(Prepared {
            command: invite["command"].as_str().unwrap_or_default().to_owned(),
            expires_at: invite["expires_at"].as_i64().unwrap_or_default(),
            resource: invite["resource"].as_str().map(str::to_owned),
        }),
        Err(fault) => {
            tracing::warn!(reason = %fault, "the authorization server made no invite");
            refusal(format!("the authorization server made no invite: {fault}"))
        }
    }
}
