//! The demo client: created once, its secret kept in a file that only its owner can read.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xtask::fleet::{AuthzServer, Credentials};
use xtask::{Explain, Outcome};

/// What the demo may do: read, call tools.
pub(crate) const SCOPES: &str = "mcp:read mcp:call mcp:resources mcp:subscribe";

/// The credentials of the last run if the server still knows them, otherwise new ones.
pub(crate) fn find_or_create(server: &AuthzServer) -> Outcome<Credentials> {
    let path = server.folder.join("demo-client.json");
    if let Some(known) = read(&path)
        && server.json(&["client", "show", &known.id]).is_ok()
    {
        return Ok(known);
    }
    let client = server.create_client("xtask demo", &["--scopes", SCOPES, "--type", "ai-agent"])?;
    write(
        &path,
        &json!({"client_id": client.id, "client_secret": client.secret}).to_string(),
    )?;
    write(
        &curl_config(server),
        &format!("user = \"{}:{}\"\n", client.id, client.secret),
    )?;
    Ok(client)
}

/// A file for `curl --config`, so that the secret appears on no command line.
pub(crate) fn curl_config(server: &AuthzServer) -> PathBuf {
    server.folder.join("demo-client.curl")
}

fn read(path: &Path) -> Option<Credentials> {
    let value: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(Credentials {
        id: value["client_id"].as_str()?.into(),
        secret: value["client_secret"].as_str()?.into(),
    })
}

/// Writes a file that only its owner can read.
pub(crate) fn write(path: &Path, text: &str) -> Outcome<()> {
    let file = std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .explain(format!("cannot write {}", path.display()))
}
