//! What to paste into a shell or an MCP client.

use serde_json::json;
use xtask::shell::say;

use super::{Fleet, demo_client, demo_person};

pub(crate) fn print(fleet: &Fleet) {
    let (server, node) = (&fleet.server, &fleet.nodes[0]);
    let (issuer, url) = (&server.issuer, node.url());
    let curl = demo_client::curl_config(server);
    say("\n# A token of the demo client, in your shell (its secret stays in the file):");
    say(format!(
        "export EDGE_HIVE_TOKEN=$(curl -s --config {} -d grant_type=client_credentials --data-urlencode resource={url} \\\n  \
         {issuer}/oauth/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')",
        curl.display()
    ));
    say("\n# A tool call without MCP:");
    say(format!(
        "curl -s -H \"Authorization: Bearer $EDGE_HIVE_TOKEN\" -H 'Content-Type: application/json' \\\n  \
         -d '{{\"name\":\"get_status\",\"arguments\":{{}}}}' {url}/tools/call"
    ));
    let person = &fleet.person;
    say("\n# Claude Code, on behalf of a person (its /mcp opens the browser):");
    say(format!(
        "claude mcp add --transport http edge-hive {url} --client-id {}",
        person.client_id
    ));
    say(format!(
        "# Sign in as {}; the password is in {}.",
        person.username,
        demo_person::password_file(server).display()
    ));
    say("\n# Claude Code, with the demo client's token:");
    say(format!(
        "claude mcp add --transport http edge-hive {url} --header \"Authorization: Bearer $EDGE_HIVE_TOKEN\""
    ));
    say(
        "\n# Other MCP clients (those with a client_credentials provider need only the URL and the two lines of",
    );
    say(format!(
        "# {}):",
        server.folder.join("demo-client.json").display()
    ));
    let block = json!({"mcpServers": {"edge-hive": {
        "type": "http", "url": url, "headers": {"Authorization": "Bearer ${EDGE_HIVE_TOKEN}"},
    }}});
    say(format!("{block:#}"));
    say("\n# Addresses:");
    say(format!(
        "authorization server  {issuer}  (metadata: {issuer}/.well-known/oauth-authorization-server)"
    ));
    say(format!("accounts              {issuer}/account"));
    say(format!(
        "console               {issuer}/console  (first administrator: the link in {})",
        server.log().display()
    ));
    for node in &fleet.nodes {
        say(format!("{:<21} {}", node.name, node.url()));
    }
    say(format!("logs and keys         {}", server.folder.display()));
    say("\nServing. Ctrl-C stops everything.");
}
