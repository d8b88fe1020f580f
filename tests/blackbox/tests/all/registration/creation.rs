//! What may be registered, and what is answered.

use blackbox::answers::{granted, json as body_of, oauth_error, refused_400};
use blackbox::registered::{REGISTER, open_fleet, public, text};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::http::{Request, get};

both!(dcr_off_there_is_nothing_to_find);
fn dcr_off_there_is_nothing_to_find(db: Db) {
    let fleet = Fleet::shared(db);
    assert_eq!(fleet.register(&public(&json!({})), None).status, 404);
    let metadata = granted(&get(&fleet.at("/.well-known/oauth-authorization-server")).unwrap());
    assert_eq!(metadata.get("registration_endpoint"), None);
}

both!(dcr_11_dcr_15_a_registration_is_answered_in_full);
fn dcr_11_dcr_15_a_registration_is_answered_in_full(db: Db) {
    let fleet = open_fleet(db);
    let metadata = granted(&get(&fleet.at("/.well-known/oauth-authorization-server")).unwrap());
    assert_eq!(metadata["registration_endpoint"], fleet.at(REGISTER));
    let document = json!({"client_name": "Confidential", "redirect_uris": ["https://client.example/cb"],
        "logo_uri": "https://client.example/logo.png", "contacts": ["ops@client.example"], "unknown_member": 1});
    let answer = fleet.register(&document, None);
    assert_eq!(answer.status, 201, "{answer}");
    blackbox::answers::not_stored(&answer);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let client = body_of(&answer);
    let id = text(&client, "client_id");
    assert!(!id.starts_with("https://"), "{id}");
    assert!(text(&client, "client_secret").starts_with("ehs_"));
    assert_eq!(client["client_secret_expires_at"], 0);
    assert!(text(&client, "registration_access_token").starts_with("ehg_"));
    assert_eq!(
        client["registration_client_uri"],
        fleet.at(&format!("{REGISTER}/{id}"))
    );
    assert!(
        client["client_id_issued_at"]
            .as_i64()
            .is_some_and(|at| at > 1_700_000_000)
    );
    // Defaults of RFC 7591 §2 are said, what is unknown is not repeated.
    assert_eq!(client["grant_types"], json!(["authorization_code"]));
    assert_eq!(client["response_types"], json!(["code"]));
    assert_eq!(client["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(client["logo_uri"], document["logo_uri"]);
    assert_eq!(client.get("unknown_member"), None);
    // The secret is shown here and never again.
    let token = text(&client, "registration_access_token");
    let again = granted(&fleet.manage("GET", id, Some(token), None));
    assert_eq!(again.get("client_secret"), None);
    // A browser may do all of it.
    let preflight = Request::new("OPTIONS", &fleet.at(&format!("{REGISTER}/{id}"))).unwrap();
    let preflight = preflight
        .header("Origin", "https://inspector.example")
        .header("Access-Control-Request-Method", "PUT");
    let allowed = preflight.send().unwrap();
    let methods = allowed
        .header("access-control-allow-methods")
        .unwrap_or_default()
        .to_owned();
    assert!(methods.contains("PUT") && methods.contains("DELETE"), "{methods}");
}

both!(dcr_03_only_a_json_object_is_a_registration);
fn dcr_03_only_a_json_object_is_a_registration(db: Db) {
    let fleet = open_fleet(db);
    let send = |kind: &str, body: &str| {
        let request = Request::post(&fleet.at(REGISTER))
            .unwrap()
            .header("Content-Type", kind);
        request.body(body.as_bytes()).send().unwrap()
    };
    let good = public(&json!({})).to_string();
    for body in [
        "",
        "null",
        "[]",
        "\"x\"",
        "{",
        "{}x",
        r#"{"redirect_uris":[],"redirect_uris":[]}"#,
    ] {
        refused_400(&send("application/json", body), "invalid_client_metadata");
    }
    refused_400(
        &send("application/x-www-form-urlencoded", &good),
        "invalid_client_metadata",
    );
    refused_400(&send("text/plain", &good), "invalid_client_metadata");
    // DCR-07: larger than a document may be; larger than a body may be.
    let padded = |size: usize| format!("{}{}", good, " ".repeat(size));
    let large = public(&json!({"unknown": "x".repeat(17_000)})).to_string();
    refused_400(&send("application/json", &large), "invalid_client_metadata");
    assert_eq!(send("application/json", &padded(65 * 1024)).status, 413);
    let answer = send("application/json; charset=utf-8", &good);
    assert_eq!(answer.status, 201, "{answer}");
    let body = body_of(&answer);
    fleet.remember(text(&body, "registration_access_token"));
}

both!(dcr_05_to_dcr_12_what_may_not_be_registered);
fn dcr_05_to_dcr_12_what_may_not_be_registered(db: Db) {
    let fleet = open_fleet(db);
    let redirects = [
        "http://client.example/cb",
        "https://client.example/cb#f",
        "https://client.example/*/../cb",
        "https://u@client.example/cb",
        "https://client.example/%2e%2e/cb",
        "JavaScript:alert(1)",
        "data:text/html,x",
    ];
    for uri in redirects {
        refused_400(
            &fleet.register(&public(&json!({"redirect_uris": [uri]})), None),
            "invalid_redirect_uri",
        );
    }
    let many: Vec<_> = (0..1000).map(|n| format!("https://c.example/{n}")).collect();
    for redirect_uris in [json!([]), json!("https://client.example/cb"), json!(many)] {
        let document = public(&json!({ "redirect_uris": redirect_uris }));
        assert_eq!(fleet.register(&document, None).status, 400);
    }
    let key =
        json!({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"});
    let mut private = key.clone();
    private["d"] = json!("AAAA");
    let jwks = |key: &Value| json!({"keys": [key]});
    for members in [
        json!({"client_uri": "JavaScript:alert(1)"}),
        json!({"logo_uri": "data:image/png;base64,AA"}),
        json!({"policy_uri": "http://client.example/"}),
        json!({"tos_uri": "vbscript:x"}),
        json!({"client_name": "\u{202e}edualC"}),
        json!({"client_name": "x".repeat(10_000)}),
        json!({"jwks": jwks(&key), "jwks_uri": "https://client.example/jwks"}),
        json!({"jwks": jwks(&private)}),
        json!({"jwks": {"keys": []}}),
        json!({"jwks_uri": "http://127.0.0.1/jwks"}),
        json!({"jwks_uri": "https://169.254.169.254/latest"}),
        json!({"grant_types": ["password"]}),
        json!({"grant_types": ["client_credentials"], "redirect_uris": []}),
        json!({"response_types": ["token"]}),
        json!({"token_endpoint_auth_method": "client_secret_jwt"}),
    ] {
        let answer = fleet.register(&public(&members), None);
        oauth_error(&answer, 400, "invalid_client_metadata");
        let sentence = body_of(&answer)["error_description"].clone();
        assert!(
            sentence.as_str().is_some_and(|text| text.len() > 20),
            "{sentence}"
        );
    }
    // Each in its good form; grants that are not for strangers are left out, and that is said.
    let client = fleet.registered(&public(&json!({
        "client_uri": "https://client.example/", "client_name": "<b>Café</b>", "jwks": jwks(&key),
        "grant_types": ["authorization_code", "implicit", "client_credentials"],
    })));
    assert_eq!(client["grant_types"], json!(["authorization_code"]));
    assert_eq!(client["jwks"], jwks(&key));
    fleet.registered(&public(&json!({"jwks_uri": "https://client.example/jwks"})));
}

both!(dcr_13_scopes_are_what_strangers_may_have_and_that_is_said);
fn dcr_13_scopes_are_what_strangers_may_have_and_that_is_said(db: Db) {
    let fleet = open_fleet(db);
    let scope = |wanted: Value| fleet.registered(&public(&json!({ "scope": wanted })))["scope"].clone();
    let all = scope(Value::Null);
    let all = all.as_str().unwrap();
    assert!(all.contains("mcp:call") && !all.contains("fleet"), "{all}");
    // What it names is what it met first; a step-up needs more, and a person decides about that.
    assert_eq!(scope(json!("admin mcp:read fleet:announce")), all);
    assert_eq!(scope(json!("admin")), all);
    assert_eq!(scope(json!("mcp:read openid")), format!("{all} openid"));
    refused_400(
        &fleet.register(&public(&json!({"scope": "a  b"})), None),
        "invalid_client_metadata",
    );
}
