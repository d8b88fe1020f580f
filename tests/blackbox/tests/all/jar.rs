//! RFC 9101: an authorization request as an object that the client signed, at both endpoints that take one.

use blackbox::answers::{granted, refused_400};
use blackbox::forge::{Key, hs256, key_set, now, with};
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::http::{Answer, form_encode};

const PAR: &str = "/oauth/par";

/// A public client of people that has registered these keys.
fn client(fleet: &Fleet, keys: &[&Key], words: &[&str]) -> String {
    let file = fleet
        .server
        .folder
        .join(format!("jwks-{}.json", fleet.fresh_name()));
    std::fs::write(&file, key_set(keys).to_string()).unwrap();
    let file = file.display().to_string();
    fleet.web_client(CALLBACK, &[&["--jwks", &file], words].concat())
}

fn header(key: &Key) -> Value {
    json!({"typ": "oauth-authz-req+jwt", "alg": key.algorithm(), "kid": key.kid})
}

/// The claims of a good object.
fn claims(fleet: &Fleet, client_id: &str, pkce: &Pkce) -> Value {
    json!({
        "iss": client_id, "aud": fleet.server.issuer, "exp": now() + 120, "client_id": client_id,
        "response_type": "code", "redirect_uri": CALLBACK, "state": "signed", "scope": "mcp:read",
        "code_challenge": pkce.challenge, "code_challenge_method": "S256", "resource": [fleet.node.url()],
    })
}

/// The address of a request that is nothing but an object.
fn url(fleet: &Fleet, client_id: &str, object: &str) -> String {
    format!(
        "{}/oauth/authorize?client_id={client_id}&request={}",
        fleet.server.issuer,
        form_encode(object)
    )
}

fn push(fleet: &Fleet, client_id: &str, object: &str) -> Answer {
    fleet.post_bare(PAR, &[("client_id", client_id), ("request", object)])
}

/// Refused at both endpoints: as a page, since nobody knows where an answer could be sent, and as JSON.
#[track_caller]
fn refused(fleet: &Fleet, client_id: &str, object: &str) {
    let page = fleet.person().page(&url(fleet, client_id, object));
    assert_eq!(page.answer.status, 400, "{}", page.answer);
    assert!(page.text().contains("invalid_request_object"), "{}", page.answer);
    refused_400(&push(fleet, client_id, object), "invalid_request_object");
}

/// Taken at both endpoints.
#[track_caller]
fn good(fleet: &Fleet, client_id: &str, object: &str) {
    let page = fleet.person().page(&url(fleet, client_id, object));
    assert!(page.has_form("/login"), "{}", page.answer);
    let pushed = push(fleet, client_id, object);
    assert_eq!(pushed.status, 201, "{pushed}");
}

both!(jar_what_was_signed_counts_and_nothing_beside_it);
fn jar_what_was_signed_counts_and_nothing_beside_it(db: Db) {
    let fleet = Fleet::shared(db);
    for key in [Key::ed25519("a"), Key::p256("b"), Key::rsa("c")] {
        let (id, pkce) = (client(&fleet, &[&key], &[]), Pkce::fresh());
        let object = key.sign(&header(&key), &claims(&fleet, &id, &pkce));
        let others = "&state=outside&scope=mcp:call&redirect_uri=https%3A%2F%2Fevil.example%2F&prompt=none";
        let ada = fleet.person_account();
        let mut browser = fleet.person();
        let page = browser.page(&(url(&fleet, &id, &object) + others));
        let page = browser.sign_in_at(&page, &ada, PASSWORD).page();
        let redirect = browser.decide(&page, "allow", &[]).redirect();
        assert!(redirect.url.starts_with(CALLBACK), "{}", redirect.url);
        assert_eq!(redirect.param("state").as_deref(), Some("signed"));
        let code = redirect.code();
        fleet.remember(&code);
        let tokens = granted(&fleet.redeem(&id, &code, &pkce, &[]));
        assert_eq!(tokens["scope"], "mcp:read");
    }
}

both!(jar_a_fault_inside_goes_back_to_the_client);
fn jar_a_fault_inside_goes_back_to_the_client(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, pkce) = (Key::ed25519("a"), Pkce::fresh());
    let id = client(&fleet, &[&key], &[]);
    let bad = with(&claims(&fleet, &id, &pkce), "scope", json!("mcp:nothing"));
    let object = key.sign(&header(&key), &bad);
    let redirect = fleet.person().open(&url(&fleet, &id, &object)).redirect();
    assert_eq!(redirect.param("error").as_deref(), Some("invalid_scope"));
    assert_eq!(redirect.param("state").as_deref(), Some("signed"));
    refused_400(&push(&fleet, &id, &object), "invalid_scope");
}

both!(jar_only_the_clients_own_signature_counts);
fn jar_only_the_clients_own_signature_counts(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, pkce) = (Key::ed25519("a"), Pkce::fresh());
    let id = client(&fleet, &[&key], &[]);
    let claims = claims(&fleet, &id, &pkce);
    good(&fleet, &id, &key.sign(&header(&key), &claims));
    let stranger = Key::ed25519("a");
    refused(&fleet, &id, &stranger.sign(&header(&stranger), &claims));
    // Signed with nothing, and with what everybody knows.
    let none = json!({"typ": "oauth-authz-req+jwt", "alg": "none"});
    let encode = |value: &Value| blackbox::forge::encode(value.to_string());
    refused(&fleet, &id, &format!("{}.{}.", encode(&none), encode(&claims)));
    let shared = with(&header(&key), "alg", json!("HS256"));
    refused(&fleet, &id, &hs256(&shared, &claims, &key.public_bytes()));
    // Encrypted: five parts.
    refused(&fleet, &id, &format!("{}.a.b.c.d", encode(&header(&key))));
    refused(&fleet, &id, "e30.e30.");
    // Another client, with the same words, and one without keys.
    let other = client(&fleet, &[&Key::ed25519("a")], &[]);
    refused(&fleet, &other, &key.sign(&header(&key), &claims));
    let keyless = fleet.web_client(CALLBACK, &[]);
    refused(&fleet, &keyless, &key.sign(&header(&key), &claims));
    // One algorithm, if the client says so.
    let (ec, ed) = (Key::p256("ec"), Key::ed25519("ed"));
    let strict = client(&fleet, &[&ec, &ed], &["--request-alg", "ES256"]);
    let claims = self::claims(&fleet, &strict, &pkce);
    good(&fleet, &strict, &ec.sign(&header(&ec), &claims));
    refused(&fleet, &strict, &ed.sign(&header(&ed), &claims));
}

both!(jar_the_object_says_who_for_whom_and_until_when);
fn jar_the_object_says_who_for_whom_and_until_when(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, pkce) = (Key::ed25519("a"), Pkce::fresh());
    let id = client(&fleet, &[&key], &[]);
    let claims = claims(&fleet, &id, &pkce);
    let signed = |claims: &Value| key.sign(&header(&key), claims);
    for (name, value) in [
        ("nbf", json!(now())),
        ("iat", json!(now() - 30)),
        ("aud", json!([fleet.server.issuer])),
        ("max_age", json!(1000)),
        ("unknown", json!({"a": [1]})),
    ] {
        good(&fleet, &id, &signed(&with(&claims, name, value)));
    }
    for (name, value) in [
        ("iss", Value::Null),
        ("iss", json!("c_other")),
        ("client_id", Value::Null),
        ("client_id", json!("c_other")),
        ("aud", Value::Null),
        ("aud", json!(format!("{}/", fleet.server.issuer))),
        ("aud", json!(fleet.at("/oauth/authorize"))),
        ("aud", json!([fleet.server.issuer, "https://other.example"])),
        ("exp", Value::Null),
        ("exp", json!(now() - 90)),
        ("exp", json!(now() + 86_400)),
        ("nbf", json!(now() + 300)),
        ("sub", json!(id)),
        ("request", json!("e30.e30.")),
        ("request_uri", json!("urn:ietf:params:oauth:request_uri:x")),
        ("state", json!(7)),
        ("scope", json!(["mcp:read"])),
        ("resource", json!({})),
    ] {
        refused(&fleet, &id, &signed(&with(&claims, name, value)));
    }
    // Its type: named, or not at all; never that of another purpose.
    for typ in [
        json!("JWT"),
        json!("application/oauth-authz-req+jwt"),
        Value::Null,
    ] {
        good(&fleet, &id, &key.sign(&with(&header(&key), "typ", typ), &claims));
    }
    for typ in ["at+jwt", "client-authentication+jwt", "dpop+jwt"] {
        refused(
            &fleet,
            &id,
            &key.sign(&with(&header(&key), "typ", json!(typ)), &claims),
        );
    }
}

both!(jar_some_clients_must_sign);
fn jar_some_clients_must_sign(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, pkce) = (Key::ed25519("a"), Pkce::fresh());
    let id = client(&fleet, &[&key], &["--require-signed-requests"]);
    good(&fleet, &id, &key.sign(&header(&key), &claims(&fleet, &id, &pkce)));
    let plain = fleet.authorization_url(&id, &pkce, &[]);
    let redirect = fleet.person().open(&plain).redirect();
    assert_eq!(redirect.param("error").as_deref(), Some("invalid_request"));
    let request = blackbox::location::query(&plain);
    let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
    refused_400(&fleet.post_bare(PAR, &form), "invalid_request");
}

both!(jar_and_a_reference_exclude_each_other);
fn jar_and_a_reference_exclude_each_other(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, pkce) = (Key::ed25519("a"), Pkce::fresh());
    let id = client(&fleet, &[&key], &[]);
    let object = key.sign(&header(&key), &claims(&fleet, &id, &pkce));
    let pushed = granted_reference(&push(&fleet, &id, &object));
    let both = format!(
        "{}&request_uri={}",
        url(&fleet, &id, &object),
        form_encode(&pushed)
    );
    let page = fleet.person().page(&both);
    assert_eq!(page.answer.status, 400, "{}", page.answer);
    let alone = format!(
        "{}/oauth/authorize?client_id={id}&request_uri={}",
        fleet.server.issuer,
        form_encode(&pushed)
    );
    assert!(fleet.person().page(&alone).has_form("/login"));
}

#[track_caller]
fn granted_reference(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer}");
    answer.json().unwrap()["request_uri"].as_str().unwrap().to_owned()
}
