//! An agent that knows a node's address and its own credentials: discovery, `client_credentials`, a tool call
//! (docs/agents.md). Arguments: the node, the tool, its arguments as JSON. Credentials: `CLIENT_ID`, `CLIENT_SECRET`.
#![expect(
    clippy::disallowed_methods,
    reason = "an agent of somebody else's, which has none of our doors"
)]

use std::env::var;
use std::error::Error;
use std::io::Write as _;

use reqwest::Client;
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::Value;
use url::{Url, form_urlencoded};

type Fallible<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Fallible<()> {
    shared::tls::install_provider();
    let mut words = std::env::args().skip(1);
    let node: Url = words.next().ok_or("which node?")?.parse()?;
    let tool = words.next().ok_or("which tool?")?;
    let arguments = serde_json::from_str(&words.next().unwrap_or_else(|| "{}".to_owned()))?;

    let http = Client::new();
    let token = token_for(&http, &node).await?;
    let settings = StreamableHttpClientTransportConfig::with_uri(node.as_str()).auth_header(token);
    let agent = ().serve(StreamableHttpClientTransport::with_client(http, settings)).await?;
    let result = agent
        .call_tool(CallToolRequestParams::new(tool).with_arguments(arguments))
        .await?;
    for text in result.content.iter().filter_map(|block| block.as_text()) {
        writeln!(std::io::stdout(), "{}", text.text)?;
    }
    agent.cancel().await?;
    Ok(())
}

/// A token for the node, of the server that the node names.
async fn token_for(http: &Client, node: &Url) -> Fallible<String> {
    // RFC 9728 §3.1: the well-known path goes before the path of the resource.
    let metadata = json(http, &inserted(node, "oauth-protected-resource")?).await?;
    if metadata["resource"] != node.as_str() {
        return Err(format!("the metadata is about {}", metadata["resource"]).into());
    }
    let issuer = metadata["authorization_servers"][0].as_str().unwrap_or_default();
    // Your secret goes to the server that you have it from, whatever a node says.
    if issuer != var("ISSUER").unwrap_or_else(|_| "http://localhost:9000".to_owned()) {
        return Err(format!("the node wants tokens of {issuer}").into());
    }
    let server = json(http, &inserted(&issuer.parse()?, "oauth-authorization-server")?).await?;
    // RFC 8414 §3.3
    if server["issuer"] != issuer {
        return Err(format!("the metadata of {issuer} are of {}", server["issuer"]).into());
    }
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("resource", node.as_str())
        .finish();
    let answer = http
        .post(server["token_endpoint"].as_str().ok_or("no token endpoint")?)
        .basic_auth(var("CLIENT_ID")?, Some(var("CLIENT_SECRET")?))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await?;
    let token: Value = serde_json::from_slice(&answer.bytes().await?)?;
    token["access_token"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| token.to_string().into())
}

/// The address of a metadata document.
fn inserted(of: &Url, document: &str) -> Fallible<Url> {
    let path = of.path().trim_end_matches('/');
    Ok(of.join(&format!("/.well-known/{document}{path}"))?)
}

async fn json(http: &Client, url: &Url) -> Fallible<Value> {
    let answer = http.get(url.as_str()).send().await?.error_for_status()?;
    Ok(serde_json::from_slice(&answer.bytes().await?)?)
}
