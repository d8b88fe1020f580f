//! What an agent does that knows a node's URL and its own credentials, and nothing else.
//!
//! Challenge (RFC 6750 §3) → resource metadata (RFC 9728) → server metadata (RFC 8414) → token (RFC 6749 §4.4 with
//! RFC 8707) → `tools/call` over MCP 2026-07-28. Each step takes its address from the answer before it.

use serde_json::{Value, json};

use crate::fault::{Explain, Fault, Outcome};
use crate::fleet::Credentials;
use crate::http::{self, Answer, Request, Url};

/// The MCP revision that this client speaks.
pub const REVISION: &str = "2026-07-28";

/// What the journey learned on its way.
pub struct Arrival {
    /// The token endpoint it found.
    pub token_endpoint: String,
    /// The resource it asked for.
    pub resource: String,
    /// The scope of the challenge.
    pub scope: String,
    /// The access token.
    pub token: String,
    /// The result of the tool call.
    pub result: Value,
}

/// Walks the whole way to `tool`, telling each step to `tell`.
///
/// # Errors
/// At the first step that does not answer as the standards say.
pub fn walk(
    node: &str,
    credentials: &Credentials,
    tool: &str,
    tell: &mut dyn FnMut(&str),
) -> Outcome<Arrival> {
    tell(&format!("1. POST {node} without a token"));
    tell(&format!("   $ curl -si -X POST {node}"));
    let refused = tool_call(node, tool, &json!({}), None)?;
    let challenge = expect(&refused, 401)?
        .header("www-authenticate")
        .explain("401 without WWW-Authenticate")?;
    let metadata_url =
        parameter(challenge, "resource_metadata").explain("no resource_metadata in the challenge")?;
    let scope = parameter(challenge, "scope").unwrap_or_default();
    tell(&format!("   401 {challenge}"));

    tell(&format!("2. GET {metadata_url}"));
    tell(&format!("   $ curl -s {metadata_url}"));
    let metadata = expect(&http::get(&metadata_url)?, 200)?.json()?;
    let resource = text(&metadata, "resource")?;
    // RFC 9728 §3.3: metadata for another resource than the one we meant to use is not to be believed.
    if resource != node {
        return Err(Fault::new(format!(
            "the metadata speaks of {resource}, not of {node}"
        )));
    }
    let issuer = text(&metadata["authorization_servers"], 0)?;
    tell(&format!("   resource {resource}, tokens from {issuer}"));

    let server_url = metadata_address(&issuer)?;
    tell(&format!("3. GET {server_url}"));
    tell(&format!("   $ curl -s {server_url}"));
    let server = expect(&http::get(&server_url)?, 200)?.json()?;
    // RFC 8414 §3.3: the issuer must be the very string that led here.
    if text(&server, "issuer")? != issuer {
        return Err(Fault::new(format!(
            "the metadata at {server_url} belongs to another issuer"
        )));
    }
    let token_endpoint = text(&server, "token_endpoint")?;
    tell(&format!("   token endpoint {token_endpoint}"));

    tell(&format!(
        "4. POST {token_endpoint} grant_type=client_credentials resource={resource} scope={scope}"
    ));
    tell(&format!(
        "   $ curl -s -u \"$CLIENT_ID:$CLIENT_SECRET\" {token_endpoint} -d grant_type=client_credentials \
         --data-urlencode resource={resource} --data-urlencode 'scope={scope}'"
    ));
    let mut arrival = Arrival {
        token: String::new(),
        token_endpoint,
        resource,
        scope,
        result: Value::Null,
    };
    arrival.token = fetch_token(
        &arrival.token_endpoint,
        credentials,
        &arrival.resource,
        &arrival.scope,
    )?;
    tell("   200, a Bearer token (not shown)");

    tell(&format!("5. POST {node} tools/call {tool}, MCP {REVISION}"));
    tell(&format!("   $ {}", curl_call(node, tool)));
    let mut answer = tool_call(node, tool, &json!({}), Some(&arrival.token))?;
    if answer.status == 403 {
        arrival.step_up(&answer, credentials, tell)?;
        answer = tool_call(node, tool, &json!({}), Some(&arrival.token))?;
    }
    let answer = expect(&answer, 200)?.json_or_event()?;
    arrival.result = answer["result"].clone();
    if arrival.result.is_null() || arrival.result["isError"] == true {
        return Err(Fault::new(format!("the tool call failed: {answer}")));
    }
    tell(&format!("   200 {}", summary(&arrival.result)));
    Ok(arrival)
}

impl Arrival {
    /// The node wants more scopes for this call than the first challenge named: a client asks for the union of what
    /// it has and what it lacks (MCP 2026-07-28, step-up authorization).
    fn step_up(
        &mut self,
        refusal: &Answer,
        credentials: &Credentials,
        tell: &mut dyn FnMut(&str),
    ) -> Outcome<()> {
        let challenge = refusal
            .header("www-authenticate")
            .explain("403 without WWW-Authenticate")?;
        tell(&format!("   403 {challenge}"));
        let missing =
            parameter(challenge, "scope").explain("a 403 that does not say which scope is missing")?;
        let had: Vec<&str> = self.scope.split(' ').collect();
        let more: Vec<&str> = missing.split(' ').filter(|scope| !had.contains(scope)).collect();
        if more.is_empty() {
            return Err(Fault::new(format!(
                "refused for scopes that the token has: {missing}"
            )));
        }
        self.scope = [had, more].concat().join(" ").trim().to_owned();
        tell(&format!(
            "   POST {} again, scope={}",
            self.token_endpoint, self.scope
        ));
        self.token = fetch_token(&self.token_endpoint, credentials, &self.resource, &self.scope)?;
        tell("   200, a token with both");
        Ok(())
    }
}

/// Asks for a token with the client_credentials grant.
///
/// # Errors
/// When the server does not grant it.
pub fn fetch_token(
    endpoint: &str,
    credentials: &Credentials,
    resource: &str,
    scope: &str,
) -> Outcome<String> {
    let mut form = vec![("grant_type", "client_credentials"), ("resource", resource)];
    if !scope.is_empty() {
        form.push(("scope", scope));
    }
    let answer = Request::post(endpoint)?
        .basic(&credentials.id, &credentials.secret)
        .form(&form)
        .send()?;
    text(&expect(&answer, 200)?.json()?, "access_token")
}

/// One stateless `tools/call` as MCP 2026-07-28 writes it: the version in header and `_meta`, method and name mirrored.
///
/// # Errors
/// When nobody answers.
pub fn tool_call(node: &str, tool: &str, arguments: &Value, token: Option<&str>) -> Outcome<Answer> {
    let request =
        modern(node, "tools/call", json!({"name": tool, "arguments": arguments}))?.header("Mcp-Name", tool);
    match token {
        Some(token) => request.bearer(token).send(),
        None => request.send(),
    }
}

/// The same for a shell.
fn curl_call(node: &str, tool: &str) -> String {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": tool, "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientCapabilities": {},
        }},
    });
    format!(
        "curl -s {node} -H \"Authorization: Bearer $EDGE_HIVE_TOKEN\" -H 'Content-Type: application/json' \
         -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: {REVISION}' \
         -H 'Mcp-Method: tools/call' -H 'Mcp-Name: {tool}' -d '{body}'"
    )
}

/// A request of MCP 2026-07-28 with its envelope and mirrored headers.
///
/// # Errors
/// When `node` is not an http URL.
pub fn modern(node: &str, method: &str, mut params: Value) -> Outcome<Request> {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "edge-hive-xtask", "version": env!("CARGO_PKG_VERSION")},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    Ok(Request::post(node)?
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", REVISION)
        .header("Mcp-Method", method)
        .json(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})))
}

/// The value of a quoted parameter in a challenge (RFC 9110 §11.2).
#[must_use]
pub fn parameter(challenge: &str, name: &str) -> Option<String> {
    let start = challenge.find(&format!("{name}=\""))? + name.len() + 2;
    let rest = &challenge[start..];
    rest.find('"').map(|end| rest[..end].to_owned())
}

/// RFC 8414 §3.1: the well-known part goes between host and path.
fn metadata_address(issuer: &str) -> Outcome<String> {
    let url = Url::parse(issuer)?;
    let path = url.target().trim_end_matches('/');
    Ok(format!(
        "{}/.well-known/oauth-authorization-server{path}",
        url.origin()
    ))
}

fn expect(answer: &Answer, status: u16) -> Outcome<&Answer> {
    if answer.status == status {
        Ok(answer)
    } else {
        Err(Fault::new(format!("expected {status}, got {answer}")))
    }
}

fn text(value: &Value, key: impl serde_json::value::Index + std::fmt::Display + Copy) -> Outcome<String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .explain(format!("no text `{key}` in {value}"))
}

fn summary(result: &Value) -> String {
    let shown = result.get("structuredContent").unwrap_or(result).to_string();
    if shown.len() > 300 {
        format!("{}…", shown.chars().take(300).collect::<String>())
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_challenge() {
        let challenge = "Bearer resource_metadata=\"http://h/m\", scope=\"a b\"";
        assert_eq!(
            parameter(challenge, "resource_metadata").as_deref(),
            Some("http://h/m")
        );
        assert_eq!(parameter(challenge, "scope").as_deref(), Some("a b"));
        assert_eq!(parameter(challenge, "error"), None);
    }

    #[test]
    fn the_well_known_part_is_inserted() {
        let with_path = metadata_address("http://h:1/tenant").unwrap();
        assert_eq!(
            with_path,
            "http://h:1/.well-known/oauth-authorization-server/tenant"
        );
        assert_eq!(
            metadata_address("http://h").unwrap(),
            "http://h/.well-known/oauth-authorization-server"
        );
    }
}
