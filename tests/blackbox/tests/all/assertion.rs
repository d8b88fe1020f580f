//! CA-12 … CA-31: `private_key_jwt` (RFC 7523, draft-ietf-oauth-rfc7523bis).

use blackbox::answers::{granted, oauth_error, refused_400, refused_401, refused_client, retry_after};
use blackbox::assertion::{self, ASSERTION_TYPE, ask_token, assertion, claims, client, header, post};
use blackbox::forge::{self, Key, encode, hs256, now, with};
use blackbox::issuer::{Issuer, Manner};
use blackbox::people::{CALLBACK, Pkce};
use blackbox::{Db, Fleet, both, location};
use serde_json::{Value, json};
use xtask::http::Request;

/// The answer is `invalid_client`, and the log says why: a refusal for another reason proves nothing.
#[track_caller]
fn refused(fleet: &Fleet, client: &str, assertion: &str, reason: &str) {
    refused_client(&ask_token(fleet, assertion), false);
    let logs = fleet.logs();
    let told = logs
        .lines()
        .filter(|line| line.contains(client))
        .any(|line| line.contains(reason));
    assert!(told, "no log line names {client} and says {reason:?}");
}

both!(ca_12_an_assertion_authenticates_everywhere);
fn ca_12_an_assertion_authenticates_everywhere(db: Db) {
    let fleet = Fleet::shared(db);
    for key in [Key::ed25519("e"), Key::p256("p"), Key::rsa("r")] {
        let id = client(&fleet, &[&key], &[]);
        let fresh = || assertion(&fleet, &id, &key);
        let token = granted(&ask_token(&fleet, &fresh()))["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(forge::part(&token, 1)["client_id"], id.as_str());
        granted(&post(
            &fleet,
            "/mcp/auth/token",
            &fresh(),
            &[("grant_type", "client_credentials")],
        ));
        let form = [("token", token.as_str())];
        let seen = granted(&post(&fleet, "/oauth/introspect", &fresh(), &form));
        assert_eq!(seen["active"], true);
        // RFC 6749 §3.2.1 allows the id beside it, but then it must be the same one.
        let named = [("token", token.as_str()), ("client_id", id.as_str())];
        assert_eq!(post(&fleet, "/oauth/revoke", &fresh(), &named).status, 200);
        let seen = granted(&post(&fleet, "/oauth/introspect", &fresh(), &form));
        assert_eq!(seen["active"], false);
    }
    let key = Key::ed25519("d");
    let grants = ["--grants", "urn:ietf:params:oauth:grant-type:device_code"];
    let id = client(&fleet, &[&key], &grants);
    let scope = [("scope", "mcp:read")];
    let begun = post(
        &fleet,
        "/oauth/device_authorization",
        &assertion(&fleet, &id, &key),
        &scope,
    );
    assert!(granted(&begun)["device_code"].is_string());
}

both!(ca_12_an_assertion_authenticates_a_pushed_request);
fn ca_12_an_assertion_authenticates_a_pushed_request(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, pkce) = (Key::ed25519("k"), Pkce::fresh());
    let id = client(&fleet, &[&key], &["--redirect-uri", CALLBACK]);
    let request = location::query(&fleet.authorization_url(&id, &pkce, &[]));
    let form: Vec<_> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
    let pushed = |assertion: &str| post(&fleet, "/oauth/par", assertion, &form);
    let answer = pushed(&assertion(&fleet, &id, &key));
    assert_eq!(answer.status, 201, "{answer}");
    fleet.remember(blackbox::answers::json(&answer)["request_uri"].as_str().unwrap());
    let elsewhere = with(&claims(&fleet, &id), "aud", json!(fleet.at("/oauth/par")));
    refused_client(&pushed(&key.sign(&header(&key), &elsewhere)), false);
    refused_client(&fleet.post_bare("/oauth/par", &form), false);
}

both!(ca_12_older_types_are_taken_and_others_refused);
fn ca_12_older_types_are_taken_and_others_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let typed = |typ: Value| key.sign(&with(&header(&key), "typ", typ), &claims(&fleet, &id));
    for good in [
        json!("JWT"),
        json!("jwt"),
        json!("application/client-authentication+jwt"),
        Value::Null,
    ] {
        granted(&ask_token(&fleet, &typed(good)));
    }
    for bad in [
        "at+jwt",
        "dpop+jwt",
        "logout+jwt",
        "oauth-authz-req+jwt",
        "oauth-id-jag+jwt",
        "token-introspection+jwt",
    ] {
        refused(&fleet, &id, &typed(json!(bad)), "typ is that of another kind");
    }
}

both!(ca_13_the_audience_is_the_issuer_alone);
fn ca_13_the_audience_is_the_issuer_alone(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let to = |audience: Value| key.sign(&header(&key), &with(&claims(&fleet, &id), "aud", audience));
    let issuer = fleet.server.issuer.as_str();
    for bad in [
        json!(fleet.at("/oauth/token")),
        json!(fleet.at("/oauth/par")),
        json!([issuer, fleet.at("/oauth/token")]),
        json!([issuer, issuer]),
        json!([]),
        json!("https://other.example"),
        json!(format!("{issuer}/")),
        json!(issuer.to_uppercase()),
        json!({"0": issuer}),
        Value::Null,
    ] {
        refused(
            &fleet,
            &id,
            &to(bad),
            "aud is not this server's issuer identifier alone",
        );
    }
    granted(&ask_token(&fleet, &to(json!(issuer))));
    granted(&ask_token(&fleet, &to(json!([issuer]))));
}

both!(ca_14_issuer_and_subject_are_the_client);
fn ca_14_issuer_and_subject_are_the_client(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let (id, other) = (
        client(&fleet, &[&key], &[]),
        client(&fleet, &[&Key::ed25519("k")], &[]),
    );
    for name in ["iss", "sub"] {
        for bad in [json!(other), json!([id]), json!(""), Value::Null] {
            let changed = with(&claims(&fleet, &id), name, bad);
            refused_client(&ask_token(&fleet, &key.sign(&header(&key), &changed)), false);
        }
    }
    // Another client's name under this client's key.
    let stolen = key.sign(&header(&key), &claims(&fleet, &other));
    refused(
        &fleet,
        &other,
        &stolen,
        "its signature is not that of a known key",
    );
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", other.as_str()),
    ];
    refused_client(
        &post(&fleet, "/oauth/token", &assertion(&fleet, &id, &key), &form),
        false,
    );
    let unknown = key.sign(&header(&key), &claims(&fleet, "nobody"));
    refused_client(&ask_token(&fleet, &unknown), false);
    granted(&ask_token(&fleet, &assertion(&fleet, &id, &key)));
}

both!(ca_15_16_17_an_assertion_is_new_and_short_lived);
fn ca_15_16_17_an_assertion_is_new_and_short_lived(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let changed =
        |name: &str, value: Value| key.sign(&header(&key), &with(&claims(&fleet, &id), name, value));
    for (name, bad, reason) in [
        ("exp", Value::Null, "exp is missing"),
        ("exp", json!(now() - 300), "it has expired"),
        ("exp", json!(now() + 600), "exp lies too far ahead"),
        ("exp", json!("soon"), "a time of it is no number"),
        ("exp", json!(1e19), "a time of it is no number"),
        ("nbf", json!(now() + 75), "it is not valid yet"),
        ("iat", json!(now() + 75), "it is not valid yet"),
        ("jti", Value::Null, "jti is missing"),
        ("jti", json!(7), "a claim is not text"),
        ("jti", json!("x".repeat(600)), "jti is too long"),
    ] {
        refused(&fleet, &id, &changed(name, bad), reason);
    }
    for (name, good) in [
        ("exp", json!(now() + 290)),
        ("exp", json!(now() - 8)),
        ("nbf", json!(now() + 8)),
        ("iat", json!(now() + 8)),
        ("iat", Value::Null),
    ] {
        granted(&ask_token(&fleet, &changed(name, good)));
    }
}

both!(ca_18_19_an_assertion_is_good_once);
fn ca_18_19_an_assertion_is_good_once(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let (one, two) = (client(&fleet, &[&key], &[]), client(&fleet, &[&key], &[]));
    let shown = assertion(&fleet, &one, &key);
    granted(&ask_token(&fleet, &shown));
    refused(&fleet, &one, &shown, "the assertion was used before");
    let elsewhere = post(&fleet, "/oauth/introspect", &shown, &[("token", "x")]);
    refused_client(&elsewhere, false);
    // Another assertion with the same jti is the same to us; another client's is not.
    let jti = json!(forge::part(&shown, 1)["jti"]);
    let again = with(&with(&claims(&fleet, &one), "jti", jti.clone()), "x", json!(1));
    refused(
        &fleet,
        &one,
        &key.sign(&header(&key), &again),
        "the assertion was used before",
    );
    granted(&ask_token(
        &fleet,
        &key.sign(&header(&key), &with(&claims(&fleet, &two), "jti", jti)),
    ));
    // A forged assertion uses nothing up.
    let (next, stranger) = (claims(&fleet, &one), Key::ed25519("k"));
    refused(
        &fleet,
        &one,
        &stranger.sign(&header(&key), &next),
        "its signature is not that",
    );
    granted(&ask_token(&fleet, &key.sign(&header(&key), &next)));
}

both!(ca_20_21_the_algorithm_is_the_keys);
fn ca_20_21_the_algorithm_is_the_keys(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, rsa) = (Key::p256("k"), Key::rsa("r"));
    let id = client(&fleet, &[&key], &[]);
    let good = claims(&fleet, &id);
    for name in ["none", "None", "nOnE", "HS256", "es256", ""] {
        let head = with(&header(&key), "alg", json!(name));
        let unsigned = format!("{}.{}.", encode(head.to_string()), encode(good.to_string()));
        refused_client(&ask_token(&fleet, &unsigned), false);
        refused_client(&ask_token(&fleet, &key.sign(&head, &good)), false);
        for secret in [
            key.public_bytes(),
            id.as_bytes().to_vec(),
            key.jwk().to_string().into_bytes(),
        ] {
            refused_client(&ask_token(&fleet, &hs256(&head, &good, &secret)), false);
        }
    }
    let other = rsa.sign(&with(&header(&rsa), "kid", json!("k")), &good);
    refused(&fleet, &id, &other, "its signature is not that of a known key");
    granted(&ask_token(&fleet, &key.sign(&header(&key), &good)));

    // Keys that are not for signatures are not there at all.
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("alg", json!("RS256")),
    ] {
        let fine = Key::ed25519("fine");
        let set = json!({"keys": [with(&key.jwk(), member, value), fine.jwk()]});
        let id = assertion::client_of_set(&fleet, &set, &[]);
        refused(
            &fleet,
            &id,
            &assertion(&fleet, &id, &key),
            "its signature is not that of a known key",
        );
        granted(&ask_token(&fleet, &assertion(&fleet, &id, &fine)));
    }
}

both!(ca_21_a_registered_algorithm_is_the_only_one);
fn ca_21_a_registered_algorithm_is_the_only_one(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, rsa) = (Key::p256("k"), Key::rsa("r"));
    let id = client(&fleet, &[&key, &rsa], &["--auth-signing-alg", "ES256"]);
    refused(
        &fleet,
        &id,
        &assertion(&fleet, &id, &rsa),
        "the client registered another algorithm",
    );
    granted(&ask_token(&fleet, &assertion(&fleet, &id, &key)));
}

both!(ca_22_keys_are_found_by_name_or_by_trying_few);
fn ca_22_keys_are_found_by_name_or_by_trying_few(db: Db) {
    let fleet = Fleet::shared(db);
    let keys: Vec<_> = (0..6).map(|n| Key::ed25519(&format!("k{n}"))).collect();
    let nameless =
        |id: &str, key: &Key| key.sign(&with(&header(key), "kid", Value::Null), &claims(&fleet, id));
    let one = client(&fleet, &[&keys[0]], &[]);
    granted(&ask_token(&fleet, &nameless(&one, &keys[0])));
    let unknown = keys[0].sign(&with(&header(&keys[0]), "kid", json!("x")), &claims(&fleet, &one));
    refused(&fleet, &one, &unknown, "its signature is not that of a known key");

    let (p256, all): (_, Vec<_>) = (Key::p256("p"), keys.iter().collect());
    let several = client(&fleet, &[&all[..], &[&p256]].concat(), &[]);
    granted(&ask_token(&fleet, &nameless(&several, &keys[3])));
    granted(&ask_token(&fleet, &nameless(&several, &p256)));
    refused(
        &fleet,
        &several,
        &nameless(&several, &keys[5]),
        "its signature is not that of a known key",
    );
    granted(&ask_token(&fleet, &assertion(&fleet, &several, &keys[5])));

    // A registered key need not have a name either (RFC 7517 §4.5).
    let mut bare = keys[0].jwk();
    bare.as_object_mut().unwrap().remove("kid");
    let id = assertion::client_of_set(&fleet, &json!({"keys": [bare]}), &[]);
    granted(&ask_token(&fleet, &nameless(&id, &keys[0])));
}

both!(ca_23_keys_in_the_header_are_not_looked_at);
fn ca_23_keys_in_the_header_are_not_looked_at(db: Db) {
    let fleet = Fleet::shared(db);
    let (key, stranger) = (Key::ed25519("k"), Key::ed25519("k"));
    let id = client(&fleet, &[&key], &[]);
    for (name, value) in [
        ("jwk", stranger.jwk()),
        ("jku", json!("http://127.0.0.1:9/keys")),
        ("x5u", json!("http://127.0.0.1:9/certificate")),
        ("x5c", json!(["AAAA"])),
    ] {
        let head = with(&header(&key), name, value);
        refused(
            &fleet,
            &id,
            &stranger.sign(&head, &claims(&fleet, &id)),
            "its signature is not that of a known key",
        );
        granted(&ask_token(&fleet, &key.sign(&head, &claims(&fleet, &id))));
    }
}

both!(ca_24_the_type_of_the_assertion_is_named);
fn ca_24_the_type_of_the_assertion_is_named(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let grant = ("grant_type", "client_credentials");
    let shown = assertion(&fleet, &id, &key);
    for form in [
        vec![("client_assertion", shown.as_str())],
        vec![
            ("client_assertion", &shown),
            ("client_assertion_type", "jwt-bearer"),
        ],
        vec![
            ("client_assertion", &shown),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
            ),
        ],
        vec![
            ("client_assertion", ""),
            ("client_assertion_type", ASSERTION_TYPE),
        ],
        vec![("client_assertion_type", ASSERTION_TYPE), ("client_id", &id)],
        vec![
            ("client_assertion", &shown),
            ("client_assertion", &shown),
            ("client_assertion_type", ASSERTION_TYPE),
        ],
    ] {
        let form = [&form[..], &[grant]].concat();
        refused_400(&fleet.post_bare("/oauth/token", &form), "invalid_request");
    }
    granted(&ask_token(&fleet, &shown));
}

both!(ca_26_tokens_are_no_assertions_and_assertions_no_tokens);
fn ca_26_tokens_are_no_assertions_and_assertions_no_tokens(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let token = granted(&ask_token(&fleet, &assertion(&fleet, &id, &key)));
    let token = token["access_token"].as_str().unwrap();
    refused_client(&ask_token(&fleet, token), false);
    refused_401(&fleet.call(&assertion(&fleet, &id, &key)), Some("invalid_token"));
    assert_eq!(fleet.call(token).status, 200);
}

both!(ca_27_an_assertion_for_another_server);
fn ca_27_an_assertion_for_another_server(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let other = with(&claims(&fleet, &id), "aud", json!("https://as.attacker.example"));
    refused(
        &fleet,
        &id,
        &key.sign(&header(&key), &other),
        "aud is not this server's",
    );
    granted(&ask_token(&fleet, &assertion(&fleet, &id, &key)));
}

both!(ca_28_what_is_no_assertion_at_all);
fn ca_28_what_is_no_assertion_at_all(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let (head, good) = (header(&key).to_string(), claims(&fleet, &id).to_string());
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let long = with(&claims(&fleet, &id), "x", json!("x".repeat(7000)));
    let twice = good.replacen('{', &format!("{{\"sub\":\"{id}\","), 1);
    for bad in [
        key.sign(&header(&key), &long),
        key.sign_texts(&head, &deep),
        key.sign_texts(&head, "[]"),
        key.sign_texts(&head, "7"),
        key.sign_texts(&head, &twice),
        key.sign_texts("null", &good),
        key.sign_texts("[]", &good),
        key.sign_texts("", &good),
        key.sign_raw("only-one-part"),
        key.sign_texts(&head, &good) + ".",
        "..".to_owned(),
        "a.b.c.d.e".to_owned(),
        "\u{fffd}".to_owned(),
    ] {
        refused_client(&ask_token(&fleet, &bad), false);
    }
    for extension in [json!(["exp"]), json!([]), json!("exp")] {
        let head = with(&header(&key), "crit", extension);
        refused_client(&ask_token(&fleet, &key.sign(&head, &claims(&fleet, &id))), false);
    }
    granted(&ask_token(&fleet, &key.sign_texts(&head, &good)));
}

both!(ca_04_31_the_method_is_what_the_client_is_registered_for);
fn ca_04_31_the_method_is_what_the_client_is_registered_for(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let grant = ("grant_type", "client_credentials");
    // Nothing but the id, and secrets of any kind.
    refused_client(
        &fleet.post_bare("/oauth/token", &[grant, ("client_id", &id)]),
        false,
    );
    let posted = [grant, ("client_id", id.as_str()), ("client_secret", "ehs_x")];
    refused_client(&fleet.post_bare("/oauth/token", &posted), false);
    // A client with a secret shows it with an assertion that nobody signed: two ways at once, and neither counts.
    let secretive = fleet.client(&[]);
    let unsigned = format!(
        "{}.{}.",
        encode(json!({"alg": "none"}).to_string()),
        encode(claims(&fleet, &secretive.id).to_string())
    );
    let form = [
        grant,
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &unsigned),
    ];
    refused_400(&fleet.post("/oauth/token", &secretive, &form), "invalid_request");
    refused_client(&ask_token(&fleet, &unsigned), false);
    // Its secret is no key, and an assertion of whatever key is not its way.
    let signed = assertion(&fleet, &secretive.id, &key);
    refused(
        &fleet,
        &secretive.id,
        &signed,
        "is not registered for private_key_jwt",
    );
    let hmac = hs256(
        &json!({"alg": "HS256"}),
        &claims(&fleet, &secretive.id),
        secretive.secret.as_bytes(),
    );
    refused_client(&ask_token(&fleet, &hmac), false);
    granted(&fleet.ask_token(&secretive, &[]));
    let bearer = Request::post(&fleet.at("/oauth/token")).unwrap().bearer("x");
    let shown = assertion(&fleet, &id, &key);
    let form = [
        grant,
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &shown),
    ];
    refused_400(&bearer.form(&form).send().unwrap(), "invalid_request");
    granted(&ask_token(&fleet, &shown));
}

both!(ca_18_of_requests_at_once_one_wins);
fn ca_18_of_requests_at_once_one_wins(db: Db) {
    let fleet = Fleet::shared(db);
    let key = Key::ed25519("k");
    let id = client(&fleet, &[&key], &[]);
    let shown = assertion(&fleet, &id, &key);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ask_token(&fleet, &shown).status))
            .collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        7,
        "{statuses:?}"
    );
}

both!(ca_22_30_published_keys_rotate_and_outlive_their_address);
fn ca_22_30_published_keys_rotate_and_outlive_their_address(db: Db) {
    let fleet = Fleet::shared(db);
    let (old, new, stranger) = (Key::ed25519("old"), Key::ed25519("new"), Key::ed25519("stranger"));
    let publisher = Issuer::start(forge::key_set(&[&old]));
    let id = assertion::publishing_client(&fleet, &format!("{}/keys", publisher.url));
    let with = |key: &Key| ask_token(&fleet, &assertion(&fleet, &id, key));
    granted(&with(&old));
    granted(&with(&old));
    assert_eq!(publisher.key_requests(), 1);
    publisher.set_keys(forge::key_set(&[&new]));
    granted(&with(&new));
    assert_eq!(publisher.key_requests(), 2);
    // The old key is not there any more, and nobody who tries makes us ask again so soon.
    refused(
        &fleet,
        &id,
        &assertion(&fleet, &id, &old),
        "its signature is not that of a known key",
    );
    for _ in 0..5 {
        refused_client(&with(&stranger), false);
    }
    assert_eq!(publisher.key_requests(), 2);
    // Away: the keys known last go on, and a client whose address never answered gets nowhere, alone.
    publisher.set_manner(Manner::Status(500));
    granted(&with(&new));
    let dead = assertion::publishing_client(&fleet, &format!("{}/nowhere", publisher.url));
    // Nobody can tell whether that is the client: it is told to come back, and not that it is another.
    for reason in ["cannot be fetched", "could not be fetched a moment ago"] {
        let answer = ask_token(&fleet, &assertion(&fleet, &dead, &new));
        oauth_error(&answer, 503, "temporarily_unavailable");
        assert!((1..=30).contains(&retry_after(&answer)), "{answer}");
        assert!(
            fleet
                .logs()
                .contains(&format!("client {dead}: the client's keys {reason}"))
        );
    }
    assert_eq!(publisher.requests("/nowhere"), 1);
    granted(&with(&new));
}

both!(ca_12_metadata_names_methods_and_algorithms);
fn ca_12_metadata_names_methods_and_algorithms(db: Db) {
    let fleet = Fleet::shared(db);
    let document = granted(&xtask::http::get(&fleet.at("/.well-known/oauth-authorization-server")).unwrap());
    for endpoint in ["token", "revocation", "introspection"] {
        let listed = |what: &str| {
            document[format!("{endpoint}_endpoint_auth_{what}_supported")]
                .as_array()
                .unwrap()
        };
        assert!(
            listed("methods").contains(&json!("private_key_jwt")),
            "{endpoint}"
        );
        let algorithms = listed("signing_alg_values");
        assert!(algorithms.contains(&json!("ES256")) && algorithms.contains(&json!("EdDSA")));
        assert!(!algorithms.iter().any(|name| name == "none" || name == "HS256"));
        // RFC 8705: this server asks nobody for a certificate.
        assert!(
            !listed("methods")
                .iter()
                .any(|name| name.as_str().unwrap().contains("tls"))
        );
    }
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], false);
    assert!(document.get("mtls_endpoint_aliases").is_none());
}
