//! What a server behind the node gets to know: who calls, as the operator wants it, and never the caller's token.

use serde_json::{Value, json};

use super::Behind;

#[test]
fn behind_30_the_token_stays_here() {
    // A variable of the node's own environment stands for its secrets.
    let behind = Behind::start(&[], "env = { GIVEN = \"yes\" }");
    let told = behind.told("odd_echo");
    let everything = told.to_string();
    assert!(!everything.contains(&behind.token), "{everything}");
    let signature = behind.token.rsplit('.').next().unwrap();
    assert!(!everything.contains(signature) && !everything.to_lowercase().contains("bearer"));
    let names: Vec<&str> = told["environment"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[0].as_str().unwrap())
        .collect();
    assert!(names.contains(&"GIVEN") && names.contains(&"PATH"), "{names:?}");
    for name in names {
        let allowed = [
            "GIVEN", "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
        ];
        assert!(allowed.contains(&name), "{name}");
    }
}

#[test]
fn behind_31_who_calls_stands_in_meta() {
    let behind = Behind::start(&[], "");
    let params = json!({"name": "odd_echo", "arguments": {}, "_meta": {
        "edge-hive/caller": {"subject": "admin"}, "example.com/trace": 7, "progressToken": "mine",
    }});
    let answer = behind
        .named("tools/call", "odd_echo", params)
        .json_or_event()
        .unwrap();
    let told: Value = serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    let meta = &told["params"]["_meta"];
    let claims = behind.lone.claims();
    let scopes: Vec<&str> = claims["scope"].as_str().unwrap().split(' ').collect();
    let mut told_scopes: Vec<&str> = meta["edge-hive/caller"]["scopes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap())
        .collect();
    told_scopes.sort_unstable();
    let mut expected = scopes.clone();
    expected.sort_unstable();
    assert_eq!(told_scopes, expected);
    for (member, claim) in [("subject", "sub"), ("client_id", "client_id"), ("issuer", "iss")] {
        assert_eq!(meta["edge-hive/caller"][member], claims[claim], "{meta}");
    }
    assert_eq!(meta["example.com/trace"], 7);
    assert_ne!(meta["progressToken"], "mine");
    assert!(
        meta.as_object()
            .unwrap()
            .keys()
            .all(|key| !key.starts_with("io.modelcontextprotocol/")),
        "{meta}"
    );
}

#[test]
fn behind_32_or_nowhere() {
    let behind = Behind::start(&[], "identity = \"none\"");
    let told = behind.told("odd_echo");
    assert!(!told.to_string().contains("edge-hive/caller"), "{told}");
}

#[test]
fn behind_33_what_only_this_machine_may_know_is_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "hunter2\n").unwrap();
    let behind = Behind::start(&[], &format!("env_files = {{ API_KEY = {path:?} }}"));
    let told = behind.told("odd_echo");
    let has = json!(["API_KEY", "hunter2"]);
    assert!(told["environment"].as_array().unwrap().contains(&has), "{told}");
    assert!(!behind.lone.log().contains("hunter2"));
    let status = behind.call("get_status", &json!({})).to_string();
    assert!(
        !status.contains("hunter2") && !status.contains("odd-upstream"),
        "{status}"
    );
}

#[test]
fn behind_34_nobody_else_reads_what_a_program_writes() {
    let behind = Behind::start(&[], "");
    behind.text("odd_echo");
    assert!(behind.lone.log().contains("odd upstream: started"));
    let uri = "edge-hive://logs/node";
    let read = behind.named("resources/read", uri, json!({"uri": uri}));
    assert_eq!(read.status, 200, "{read}");
    assert!(!read.text().contains("odd upstream: started"), "{read}");
}
