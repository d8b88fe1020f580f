//! The demo person and the client that they use: created once, the password kept in a file that only its owner can
//! read.

use std::io::Read;
use std::path::PathBuf;

use serde_json::{Value, json};
use xtask::fleet::AuthzServer;
use xtask::{Explain, Outcome};

use super::demo_client;

/// Where programs on this machine are called back: any port goes (RFC 8252 §7.3).
const CALLBACKS: [&str; 3] = [
    "http://localhost/callback",
    "http://127.0.0.1/callback",
    "http://localhost/oauth/callback",
];

/// Somebody who can sign in, and an agent that they can connect.
pub(crate) struct DemoPerson {
    /// What they type.
    pub(crate) username: String,
    /// The id of a public client; its requests are theirs to allow.
    pub(crate) client_id: String,
}

/// Where the password is.
pub(crate) fn password_file(server: &AuthzServer) -> PathBuf {
    server.folder.join("demo-password")
}

/// The person of the last run if the server still knows them, otherwise a new one.
pub(crate) fn find_or_create(server: &AuthzServer) -> Outcome<DemoPerson> {
    let path = server.folder.join("demo-person.json");
    if let Some(known) = read(&path)
        && server.json(&["client", "show", &known.client_id]).is_ok()
    {
        return Ok(known);
    }
    let username = format!("demo-{}", &random_text()?[..6]);
    let file = password_file(server);
    demo_client::write(&file, &random_text()?)?;
    let path_text = file.display().to_string();
    server.json(&[
        "user",
        "create",
        "--username",
        &username,
        "--display-name",
        "Demo",
        "--password-file",
        &path_text,
    ])?;
    let mut words = vec!["--public", "--type", "native", "--scopes", demo_client::SCOPES];
    for callback in &CALLBACKS {
        words.extend(["--redirect-uri", callback]);
    }
    let client_id = server.create_public_client("an agent on this machine", &words)?;
    demo_client::write(
        &path,
        &json!({"username": username, "client_id": client_id}).to_string(),
    )?;
    Ok(DemoPerson { username, client_id })
}

fn read(path: &std::path::Path) -> Option<DemoPerson> {
    let value: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(DemoPerson {
        username: value["username"].as_str()?.into(),
        client_id: value["client_id"].as_str()?.into(),
    })
}

/// 80 random bits as hexadecimal digits.
fn random_text() -> Outcome<String> {
    let mut bytes = [0; 10];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .explain("the system gives no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
