//! DCR-14: software statements (RFC 7591 §2.3).

use blackbox::answers::{json as body_of, refused_400};
use blackbox::forge::{self, Key, hs256, key_set};
use blackbox::issuer::Issuer;
use blackbox::registered::{fleet_with, public, text};
use blackbox::{Db, both};
use serde_json::{Value, json};

const ISSUER: &str = "https://approver.example";

both!(dcr_14_a_statement_of_somebody_trusted_overrides);
fn dcr_14_a_statement_of_somebody_trusted_overrides(db: Db) {
    let key = Key::p256("approver");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("approver.json");
    std::fs::write(&file, key_set(&[&key]).to_string()).unwrap();
    let fleet = fleet_with(
        db,
        &format!(
            "registration = \"open\"\nregistrations_per_address = \"off\"\n\n[[clients.software_statement]]\n\
             issuer = \"{ISSUER}\"\njwks_file = \"{}\"\n",
            file.display()
        ),
    );
    let claims =
        json!({"iss": ISSUER, "software_id": "approved", "client_name": "Approved", "client_id": "c_mine"});
    let header = json!({"alg": "ES256", "kid": "approver", "typ": "JWT"});
    let send = |statement: &Value| fleet.register(&public(&json!({ "software_statement": statement })), None);
    let good = key.sign(&header, &claims);
    let answer = send(&json!(good));
    assert_eq!(answer.status, 201, "{answer}");
    let client = body_of(&answer);
    assert_eq!(
        (text(&client, "client_name"), text(&client, "software_id")),
        ("Approved", "approved")
    );
    assert_eq!(client["software_statement"], good);
    assert_ne!(client["client_id"], "c_mine");

    let other = forge::with(&claims, "iss", json!("https://somebody.example"));
    refused_400(
        &send(&json!(key.sign(&header, &other))),
        "unapproved_software_statement",
    );
    let stranger = Key::p256("approver");
    let unsigned = format!(
        "{}.{}.",
        forge::encode(r#"{"alg":"none"}"#),
        forge::encode(claims.to_string())
    );
    for bad in [
        json!(stranger.sign(&header, &claims)),
        json!(unsigned),
        json!(hs256(
            &json!({"alg": "HS256", "kid": "approver"}),
            &claims,
            key.public_bytes().as_slice()
        )),
        json!(key.sign(&forge::with(&header, "typ", json!("at+jwt")), &claims)),
        json!(key.sign(&header, &forge::with(&claims, "exp", json!(forge::now() - 3600)))),
        json!(key.sign(
            &header,
            &forge::with(&claims, "aud", json!("https://elsewhere.example"))
        )),
        json!(key.sign(&header, &json!({"software_id": "x"}))),
        json!("x"),
        json!(7),
    ] {
        refused_400(&send(&bad), "invalid_software_statement");
    }
    let logs = fleet.logs();
    for reason in [
        "its signature is not that",
        "it has expired",
        "it is for another server",
        "iss is missing",
    ] {
        assert!(logs.contains(reason), "{reason}: {logs}");
    }
    // What it says is judged like everything else.
    let wrong = forge::with(&claims, "redirect_uris", json!(["http://client.example/cb"]));
    refused_400(&send(&json!(key.sign(&header, &wrong))), "invalid_redirect_uri");
    let alive = forge::with(&claims, "exp", json!(forge::now() + 3600));
    assert_eq!(send(&json!(key.sign(&header, &alive))).status, 201);
}

both!(dcr_14_the_keys_of_statements_may_be_published);
fn dcr_14_the_keys_of_statements_may_be_published(db: Db) {
    let key = Key::ed25519("published");
    let approver = Issuer::start(key_set(&[&key]));
    let address = format!("http://localhost:{}", approver.port());
    let fleet = fleet_with(
        db,
        &format!(
            "registration = \"open\"\n\n[[clients.software_statement]]\nissuer = \"{address}\"\njwks_uri = \"{address}/keys\"\n"
        ),
    );
    let claims = json!({"iss": address, "software_id": "approved"});
    let header = json!({"alg": "EdDSA", "kid": "published"});
    let statement =
        |key: &Key, header: &Value| public(&json!({"software_statement": key.sign(header, &claims)}));
    let client = fleet.registered(&statement(&key, &header));
    assert_eq!(client["software_id"], "approved");
    let unknown = forge::with(&header, "kid", json!("other"));
    refused_400(
        &fleet.register(&statement(&key, &unknown), None),
        "invalid_software_statement",
    );
    let stranger = Key::ed25519("published");
    refused_400(
        &fleet.register(&statement(&stranger, &header), None),
        "invalid_software_statement",
    );
}
