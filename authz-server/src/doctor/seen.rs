//! What a client sees of a server and of a node before anybody signs in.

use std::time::Duration;

use serde_json::{Map, Value, json};
use shared::http_client::{FetchFault, HeaderMap, HttpClient, Looked, Method, may_be_asked};
use shared::uri::is_loopback;
use url::Url;

/// The page of the MCP Inspector.
pub(super) const ORIGIN: &str = "http://localhost:6274";
/// What such a page sends to a server beyond what every page may.
const TO_SERVER: &str = "authorization,content-type,mcp-protocol-version";
/// And to a node.
const TO_NODE: &str = "authorization,content-type,mcp-protocol-version,mcp-method,mcp-name";
/// The largest document that is read.
const MAX_BYTES: usize = 256 * 1024;

/// A server, as its metadata show it.
#[derive(Debug)]
pub(super) struct SeenServer {
    issuer: String,
    /// The metadata, or why there are none.
    pub(super) metadata: Result<Map<String, Value>, String>,
    /// How long they took.
    pub(super) took: Duration,
    /// Whether a page may read them.
    pub(super) is_open: bool,
    /// Whether a page may ask for tokens.
    pub(super) token_is_open: bool,
}

/// A node, as it shows itself to somebody without a token.
#[derive(Debug)]
pub(super) struct SeenNode {
    pub(super) url: Url,
    /// The status of a call without a token, or why there is none.
    pub(super) call: Result<u16, String>,
    /// `resource_metadata` of the challenge (RFC 9728 §5.1).
    pub(super) named: Option<String>,
    /// The metadata of the resource, or why there are none.
    pub(super) metadata: Result<Map<String, Value>, String>,
    /// Whether a page may call it and read its challenge.
    pub(super) is_open: bool,
}

impl SeenServer {
    /// Asks for the metadata, where MCP clients look for them and in their order (RFC 8414 §3.1, OpenID Connect
    /// Discovery §4).
    pub(super) async fn look(client: &HttpClient, issuer: &Url) -> Self {
        let text = issuer.as_str().trim_end_matches('/').to_owned();
        let path = issuer.path().trim_end_matches('/');
        let mut addresses = vec![
            format!("/.well-known/oauth-authorization-server{path}"),
            format!("/.well-known/openid-configuration{path}"),
        ];
        if !path.is_empty() {
            addresses.push(format!("{path}/.well-known/openid-configuration"));
        }
        let mut seen = Self {
            issuer: text,
            metadata: Err("no metadata".to_owned()),
            took: Duration::ZERO,
            is_open: false,
            token_is_open: false,
        };
        for address in addresses {
            match document(client, issuer, &address).await {
                Ok((document, looked)) => {
                    seen.took = looked.took;
                    seen.is_open = is_open(&looked);
                    seen.metadata = Ok(document);
                    break;
                }
                Err(reason) => seen.metadata = Err(reason),
            }
        }
        if let Some(token) = seen.address("token_endpoint") {
            seen.token_is_open = preflight(client, &token, TO_SERVER).await;
        }
        seen
    }

    /// As clients write it: without a slash at its end.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.metadata.as_ref().ok()?.get(name)?.as_str()
    }

    pub(super) fn says(&self, name: &str) -> bool {
        let metadata = self.metadata.as_ref().ok();
        metadata.and_then(|metadata| metadata.get(name)) == Some(&Value::Bool(true))
    }

    pub(super) fn lists(&self, name: &str, value: &str) -> bool {
        let list = self
            .metadata
            .as_ref()
            .ok()
            .and_then(|metadata| metadata.get(name)?.as_array());
        list.is_some_and(|list| list.iter().any(|item| item == value))
    }

    /// An endpoint that may be asked.
    pub(super) fn address(&self, name: &str) -> Option<Url> {
        let url: Url = self.text(name)?.parse().ok()?;
        let issuer: Url = self.issuer.parse().ok()?;
        may_follow(&issuer, &url).then_some(url)
    }
}

impl SeenNode {
    /// Calls the node without a token, and follows what it answers.
    pub(super) async fn look(client: &HttpClient, url: &Url) -> Self {
        let (call, named) = match call(client, url, HeaderMap::new()).await {
            Ok(looked) => {
                let challenge = looked.header("www-authenticate").unwrap_or_default();
                (Ok(looked.status), parameter(challenge, "resource_metadata"))
            }
            Err(fault) => (Err(fault.to_string()), None),
        };
        let by_page = call_by_page(client, url).await;
        let path = url.path().trim_end_matches('/');
        let at_root = "/.well-known/oauth-protected-resource";
        let mut metadata = Err("no metadata".to_owned());
        let mut addresses = vec![format!("{at_root}{path}"), at_root.to_owned()];
        if let Some(named) = &named {
            addresses.insert(0, named.clone());
        }
        for address in addresses {
            metadata = document(client, url, &address)
                .await
                .map(|(document, _)| document);
            if metadata.is_ok() {
                break;
            }
        }
        Self {
            url: url.clone(),
            call,
            named,
            metadata,
            is_open: by_page && preflight(client, url, TO_NODE).await,
        }
    }

    /// The first server that the metadata name: many clients read no other.
    pub(super) fn first_server(&self) -> Option<Url> {
        let list = self.metadata.as_ref().ok()?.get("authorization_servers")?;
        let url: Url = list.get(0)?.as_str()?.parse().ok()?;
        may_follow(&self.url, &url).then_some(url)
    }
}

/// Whether an address that `from` names may be asked. A deployment elsewhere does not get to send requests to what listens
/// on the operator's own machine.
pub(super) fn may_follow(from: &Url, to: &Url) -> bool {
    let is_here = |url: &Url| url.host().is_some_and(|host| is_loopback(&host));
    may_be_asked(to) && (is_here(from) || !is_here(to))
}

/// The first call of a client that has no token yet.
async fn call(client: &HttpClient, url: &Url, mut headers: HeaderMap) -> Result<Looked, FetchFault> {
    let hello = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "doctor", "version": env!("CARGO_PKG_VERSION")},
        },
    });
    set(&mut headers, "content-type", "application/json");
    set(&mut headers, "accept", "application/json, text/event-stream");
    let body = hello.to_string().into_bytes();
    client.look((Method::POST, url), &headers, body, MAX_BYTES).await
}

/// Whether a page may make that call and read the challenge.
async fn call_by_page(client: &HttpClient, url: &Url) -> bool {
    let Ok(looked) = call(client, url, of_page()).await else {
        return false;
    };
    let exposed = looked.header("access-control-expose-headers").unwrap_or_default();
    is_open(&looked) && exposed.to_ascii_lowercase().contains("www-authenticate")
}

/// A JSON document at an address below `base`, asked for as pages and SDKs do.
async fn document(
    client: &HttpClient,
    base: &Url,
    address: &str,
) -> Result<(Map<String, Value>, Looked), String> {
    let url = base
        .join(address)
        .map_err(|fault| format!("{address:?}: {fault}"))?;
    if !may_follow(base, &url) {
        return Err(format!("{url}: a deployment elsewhere may not name that"));
    }
    let mut headers = of_page();
    set(&mut headers, "accept", "application/json");
    set(&mut headers, "mcp-protocol-version", "2025-11-25");
    let looked = client
        .look((Method::GET, &url), &headers, Vec::new(), MAX_BYTES)
        .await;
    let looked = looked.map_err(|fault| format!("{url}: {fault}"))?;
    match (looked.status, looked.json()) {
        (200, Some(document)) => Ok((document, looked)),
        (200, None) => Err(format!("{url}: the answer is no JSON object")),
        (status, _) => Err(format!("{url}: the answer has status {status}")),
    }
}

/// Whether a page may POST with the headers `asked` (CORS).
async fn preflight(client: &HttpClient, url: &Url, asked: &str) -> bool {
    let mut headers = of_page();
    set(&mut headers, "access-control-request-method", "POST");
    set(&mut headers, "access-control-request-headers", asked);
    let looked = client
        .look((Method::OPTIONS, url), &headers, Vec::new(), MAX_BYTES)
        .await;
    let Ok(looked) = looked else { return false };
    let allowed = looked
        .header("access-control-allow-headers")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let allows = |name: &str| allowed.split(',').any(|allowed| allowed.trim() == name);
    (200..300).contains(&looked.status) && is_open(&looked) && asked.split(',').all(allows)
}

fn is_open(looked: &Looked) -> bool {
    matches!(looked.header("access-control-allow-origin"), Some("*" | ORIGIN))
}

fn of_page() -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, "origin", ORIGIN);
    headers
}

pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

/// A quoted parameter of a challenge (RFC 9110 §11.6.1).
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_elsewhere_names_nothing_on_this_machine() {
        let follows = |from: &str, to: &str| may_follow(&from.parse().unwrap(), &to.parse().unwrap());
        assert!(follows("http://localhost:8080/mcp", "http://127.0.0.1:9000"));
        assert!(follows("https://node.example/mcp", "https://as.example/token"));
        for to in [
            "http://localhost:2375/containers/x",
            "https://127.0.0.1/",
            "http://[::1]:9000/",
            "http://as.example/",
            "https://a:b@as.example/",
        ] {
            assert!(!follows("https://node.example/mcp", to), "{to}");
        }
    }
}
