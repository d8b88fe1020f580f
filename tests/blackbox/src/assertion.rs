//! Clients that sign: their keys on the command line, their assertions written from RFC 7523.

use serde_json::{Value, json};
use xtask::http::Answer;

use crate::Fleet;
use crate::forge::{Key, fresh_id, key_set, now};

/// RFC 7523 §2.2.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that authenticates with assertions of `keys`; `words` are further flags.
///
/// # Panics
/// When the command refuses.
#[must_use]
pub fn client(fleet: &Fleet, keys: &[&Key], words: &[&str]) -> String {
    client_of_set(fleet, &key_set(keys), words)
}

/// As [`client`], with any key set.
///
/// # Panics
/// When the command refuses.
#[must_use]
pub fn client_of_set(fleet: &Fleet, set: &Value, words: &[&str]) -> String {
    let file = fleet
        .server
        .folder
        .join(format!("jwks-{}.json", fleet.fresh_name()));
    std::fs::write(&file, set.to_string()).unwrap();
    let file = file.display().to_string();
    create(fleet, &[&["--jwks", &file], words].concat())
}

/// A client that publishes its keys at this address.
///
/// # Panics
/// When the command refuses.
#[must_use]
pub fn publishing_client(fleet: &Fleet, jwks_uri: &str) -> String {
    create(fleet, &["--jwks-uri", jwks_uri])
}

fn create(fleet: &Fleet, words: &[&str]) -> String {
    let node = fleet.node.url();
    let method = ["--auth-method", "private_key_jwt"];
    let line = [
        &method[..],
        &["--scopes", crate::fleet::SCOPES, "--resource", &node],
        words,
    ]
    .concat();
    fleet
        .server
        .create_public_client(&fleet.fresh_name(), &line)
        .unwrap()
}

/// The claims of a good assertion of `client` for the fleet's server.
#[must_use]
pub fn claims(fleet: &Fleet, client: &str) -> Value {
    json!({
        "iss": client, "sub": client, "aud": fleet.server.issuer, "jti": fresh_id(),
        "iat": now(), "exp": now() + 60,
    })
}

/// The header that new clients write.
#[must_use]
pub fn header(key: &Key) -> Value {
    json!({"typ": "client-authentication+jwt", "alg": key.algorithm(), "kid": key.kid})
}

/// A good assertion.
#[must_use]
pub fn assertion(fleet: &Fleet, client: &str, key: &Key) -> String {
    key.sign(&header(key), &claims(fleet, client))
}

/// POSTs a form with an assertion and nothing else that says who asks.
#[must_use]
pub fn post(fleet: &Fleet, path: &str, assertion: &str, form: &[(&str, &str)]) -> Answer {
    let shown = [
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    fleet.post_bare(path, &[&shown[..], form].concat())
}

/// Asks for a token of the client itself.
#[must_use]
pub fn ask_token(fleet: &Fleet, assertion: &str) -> Answer {
    post(
        fleet,
        "/oauth/token",
        assertion,
        &[("grant_type", "client_credentials")],
    )
}
