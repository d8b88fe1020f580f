//! `authz-server doctor`: what real MCP clients would meet, seen from outside.

use std::path::Path;

use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, both};
use serde_json::Value;

/// What the doctor says, and whether it ends well.
fn doctor(fleet: &Fleet, words: &[&str]) -> (Value, bool) {
    let words = [&["doctor", "--json"], words].concat();
    let output = fleet.server.command(&words).output().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    (
        said.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))),
        output.status.success(),
    )
}

/// The verdict on a client, and all that is said of it.
fn verdict(said: &Value, client: &str) -> (String, String) {
    let clients = said[0]["clients"].as_array().unwrap();
    let found = clients.iter().find(|found| found["client"] == client).unwrap();
    (
        found["verdict"].as_str().unwrap().to_owned(),
        found["findings"].to_string(),
    )
}

fn document(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/client-metadata");
    folder.join(name).display().to_string()
}

const OPEN: &str = "\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\nper_ip_failures = \"off\"\n\n[clients]\nregistration = \"open\"\n";

both!(everybody_works_where_everything_is_there);
fn everybody_works_where_everything_is_there(db: Db) {
    let inspector = ("EDGE_HIVE_SERVER__ALLOWED_ORIGINS", "http://localhost:6274");
    let wishes = Wishes {
        server: Some(OPEN.to_owned()),
        node_environment: vec![(inspector.0.to_owned(), inspector.1.to_owned())],
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    for name in ["claude-code.json", "vscode.json"] {
        let words = ["client", "import", "--pin", "--document", &document(name)];
        fleet.server.json(&words).unwrap();
    }
    let clients = || {
        let all = fleet.server.json(&["client", "list"]).unwrap();
        let all = all.as_array().unwrap();
        all.iter().filter(|client| client["revoked_at"].is_null()).count()
    };
    let before = clients();
    let (said, is_well) = doctor(&fleet, &[&fleet.node.url(), "--register"]);
    assert!(is_well, "{said:#}");
    assert_eq!(said[0]["deployment"], serde_json::json!([]));
    for client in ["Claude Code", "VS Code", "Cursor", "mcp-remote", "MCP Inspector"] {
        assert_eq!(verdict(&said, client).0, "works", "{said:#}");
    }
    assert_eq!(verdict(&said, "ChatGPT").0, "out_of_reach");
    // What registered for the doctor is revoked.
    assert_eq!(clients(), before);
}

both!(what_is_missing_is_said_with_what_to_do);
fn what_is_missing_is_said_with_what_to_do(db: Db) {
    let fleet = Fleet::shared(db);
    let (said, is_well) = doctor(&fleet, &[&fleet.node.url()]);
    let (inspector, why) = verdict(&said, "MCP Inspector");
    assert_eq!((inspector.as_str(), is_well), ("fails", false), "{said:#}");
    assert!(why.contains("allowed_origins"), "{why}");
    let (cursor, why) = verdict(&said, "Cursor");
    assert_eq!(cursor, "with_client_id", "{said:#}");
    assert!(why.contains("client create"), "{why}");
    // The right node at a wrong address: nobody gets anywhere.
    let (said, is_well) = doctor(&fleet, &[&fleet.node_at("/elsewhere")]);
    assert!(!is_well);
    let told = said[0]["deployment"].to_string();
    assert!(
        told.contains("calls itself") && told.contains("not 401"),
        "{told}"
    );
    assert_eq!(verdict(&said, "Codex CLI").0, "fails");
    // Nobody there at all.
    let (said, is_well) = doctor(&fleet, &["--issuer", "http://127.0.0.1:9"]);
    assert!(
        !is_well
            && said[0]["deployment"]
                .to_string()
                .contains("metadata cannot be had")
    );
    // What may not be asked is refused before anything is.
    let refused = fleet
        .server
        .command(&["doctor", "http://192.0.2.1/mcp"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("https"));
}
