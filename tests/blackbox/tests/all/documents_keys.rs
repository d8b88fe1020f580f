//! CIMD, "Client Metadata": clients that publish their keys beside their metadata, and prove themselves with them.

use blackbox::answers::{granted, oauth_error, refused_client};
use blackbox::assertion;
use blackbox::forge::{Key, key_set};
use blackbox::people::{CALLBACK, Pkce};
use blackbox::published::{Published, document};
use blackbox::publisher::Reply;
use blackbox::{Db, both};
use serde_json::{Value, json};

/// Shows a code, with an assertion of `key`.
fn redeem(here: &Published, (client, key): (&str, &Key), form: &[(&str, &str)]) -> xtask::http::Answer {
    let assertion = assertion::assertion(&here.fleet, client, key);
    here.fleet.remember(&assertion);
    assertion::post(&here.fleet, "/oauth/token", &assertion, form)
}

both!(cimd_01_chatgpt_as_it_publishes_itself_gets_tokens);
fn cimd_01_chatgpt_as_it_publishes_itself_gets_tokens(db: Db) {
    let here = Published::shared(db);
    // Its document, moved to an address of this machine, and keys that we have.
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/client-metadata/chatgpt.json"
    );
    let text = std::fs::read_to_string(file).unwrap();
    let base = here.publisher.at("");
    let moved = text.replace("https://chatgpt.com/oauth", &format!("{base}/oauth"));
    let client = here.publisher.at("/oauth/client.json");
    here.publisher.publish("/oauth/client.json", Reply::bytes(moved));
    let (key, other) = (Key::rsa("chatgpt-1"), Key::ed25519("other"));
    here.publisher
        .publish("/oauth/jwks.json", Reply::json(&key_set(&[&key])));
    let redirect_uri = "https://chatgpt.com/connector_platform_oauth_redirect";
    let ada = here.fleet.person_account();
    let (mut browser, pkce) = (here.fleet.person(), Pkce::fresh());
    let more = [("redirect_uri", redirect_uri)];
    let redirect = here.fleet.allowed(&mut browser, &ada, &client, (&pkce, &more));
    let code = redirect.code();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", redirect_uri),
        ("code_verifier", pkce.verifier.as_str()),
    ];
    // Its document names one method, so it is no public client, whatever else it lists.
    refused_client(&here.fleet.redeem(&client, &code, &pkce, &more), false);
    refused_client(&redeem(&here, (&client, &other), &form), false);
    let tokens = granted(&redeem(&here, (&client, &key), &form));
    assert_eq!(
        here.fleet.call(tokens["access_token"].as_str().unwrap()).status,
        200
    );
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    here.fleet.remember(refresh_token);
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    refused_client(&here.fleet.refresh(&client, refresh_token, &[]), false);
    let refreshed = granted(&redeem(&here, (&client, &key), &form));
    here.fleet.remember(refreshed["refresh_token"].as_str().unwrap());
    assert_eq!(here.publisher.requests("/oauth/client.json").len(), 1);
}

both!(cimd_01_a_client_with_keys_in_its_document_may_choose_among_its_methods);
fn cimd_01_a_client_with_keys_in_its_document_may_choose_among_its_methods(db: Db) {
    let here = Published::shared(db);
    let key = Key::ed25519("one");
    let (client, _) = here.client(&json!({
        "token_endpoint_auth_method": null, "jwks": key_set(&[&key]),
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "self_signed_tls_client_auth", "none", "new"],
    }));
    let ada = here.fleet.person_account();
    for signs in [true, false] {
        let (mut browser, pkce) = (here.fleet.person(), Pkce::fresh());
        let redirect = here.fleet.allowed(&mut browser, &ada, &client, (&pkce, &[]));
        let code = redirect.code();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", CALLBACK),
            ("code_verifier", pkce.verifier.as_str()),
        ];
        let answer = if signs {
            redeem(&here, (&client, &key), &form)
        } else {
            here.fleet.redeem(&client, &code, &pkce, &[])
        };
        let tokens = granted(&answer);
        here.fleet.remember(tokens["refresh_token"].as_str().unwrap());
    }
}

both!(ssrf_keys_are_fetched_as_carefully_as_the_document_that_names_them);
fn ssrf_keys_are_fetched_as_carefully_as_the_document_that_names_them(db: Db) {
    let here = Published::shared(db);
    let key = Key::ed25519("one");
    let with = |uri: &str| json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri});
    // Plain http to this machine is for operators.
    let plain = format!("http://127.0.0.1:{}/healthz", here.fleet.server.port);
    let (client, _) = here.client(&with(&plain));
    assert_eq!(here.arrive(&client).status, 400);
    assert!(
        here.reason(&client).contains("jwks_uri is not https"),
        "{}",
        here.reason(&client)
    );
    // Its own network is nobody's to name; the keys beside the document are what the rule opens.
    let beside = here.path();
    here.publisher.publish(&beside, Reply::json(&key_set(&[&key])));
    for (uri, works) in [
        ("https://10.0.0.1/keys".to_owned(), false),
        (here.publisher.at(&here.path()), false),
        (here.publisher.at(&beside), true),
    ] {
        let (client, _) = here.client(&with(&uri));
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "eha_x"),
            ("code_verifier", "x"),
        ];
        let answer = redeem(&here, (&client, &key), &form);
        // Whatever the reason, there is one answer.
        if works {
            oauth_error(&answer, 400, "invalid_grant");
        } else {
            oauth_error(&answer, 503, "temporarily_unavailable");
        }
    }
    assert!(
        here.fleet
            .logs()
            .contains("it leads to 10.0.0.1 (private), which no rule opens")
    );
}

both!(cimd_11_a_private_key_in_a_document_is_no_key);
fn cimd_11_a_private_key_in_a_document_is_no_key(db: Db) {
    let here = Published::shared(db);
    let mut jwk = Key::ed25519("one").jwk();
    let public = json!({"jwks": {"keys": [jwk.clone()]}});
    jwk["d"] = jwk["x"].clone();
    let (client, path) = here.client(&json!({"jwks": {"keys": [jwk]}}));
    assert_eq!(here.arrive(&client).status, 400);
    let mut good = document(&public);
    good["client_id"] = Value::from(client.clone());
    here.publisher.publish(&path, Reply::json(&good));
    let (_, page, _) = here.asked(&client);
    assert!(page.text().contains("Example Agent"), "{}", page.answer);
}
