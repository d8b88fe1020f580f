//! META-01 … META-05, RFC 8414, RFC 7517: what the server says of itself.

use std::collections::HashSet;

use blackbox::answers::{granted, refused_400};
use blackbox::assertion;
use blackbox::fleet::Wishes;
use blackbox::forge::Key;
use blackbox::{Db, Fleet, both};
use serde_json::Value;
use xtask::http::{self, Request};

const PLACES: [&str; 2] = [
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
];

fn texts(document: &Value, member: &str) -> Vec<String> {
    let list = document[member]
        .as_array()
        .unwrap_or_else(|| panic!("no {member} in {document}"));
    list.iter()
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

both!(meta_01_the_issuer_is_exact_at_every_place);
fn meta_01_the_issuer_is_exact_at_every_place(db: Db) {
    let fleet = Fleet::shared(db);
    for place in PLACES {
        let answer = http::get(&fleet.at(place)).unwrap();
        assert_eq!(
            granted(&answer)["issuer"],
            fleet.server.issuer.as_str(),
            "{place}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{place}");
    }
    assert_eq!(
        http::get(&fleet.at("/.well-known/oauth-authorization-server/other"))
            .unwrap()
            .status,
        404
    );
}

both!(meta_02_what_is_advertised_works_and_nothing_else_is);
fn meta_02_what_is_advertised_works_and_nothing_else_is(db: Db) {
    let fleet = Fleet::shared(db);
    let document = granted(&http::get(&fleet.at(PLACES[0])).unwrap());
    let client = fleet.client(&[]);
    let known = [
        "authorization_code",
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    ];
    let mut grants = texts(&document, "grant_types_supported");
    grants.sort_unstable();
    assert_eq!(grants, known);
    granted(&fleet.post("/oauth/token", &client, &[("grant_type", "client_credentials")]));
    // Known to the server, and not this client's; what it does not know is told apart.
    for grant in known.iter().filter(|grant| **grant != "client_credentials") {
        let answer = fleet.post("/oauth/token", &client, &[("grant_type", grant)]);
        refused_400(&answer, "unauthorized_client");
    }
    let unknown = [("grant_type", "urn:ietf:params:oauth:grant-type:saml2-bearer")];
    refused_400(
        &fleet.post("/oauth/token", &client, &unknown),
        "unsupported_grant_type",
    );
    for method in texts(&document, "token_endpoint_auth_methods_supported") {
        let client = || fleet.client(&["--auth-method", &method]);
        let grant = ("grant_type", "client_credentials");
        let answer = match method.as_str() {
            "client_secret_basic" => fleet.post("/oauth/token", &client(), &[grant]),
            "client_secret_post" => {
                let client = client();
                let form = [
                    grant,
                    ("client_id", client.id.as_str()),
                    ("client_secret", client.secret.as_str()),
                ];
                fleet.post_bare("/oauth/token", &form)
            }
            "private_key_jwt" => {
                let key = Key::ed25519("k");
                let id = assertion::client(&fleet, &[&key], &[]);
                assertion::ask_token(&fleet, &assertion::assertion(&fleet, &id, &key))
            }
            // A public client has no credentials to ask with, so this grant is not for it (OAuth 2.1 §4.2).
            "none" => continue,
            other => panic!("advertised, but no test knows it: {other}"),
        };
        granted(&answer);
    }
    for endpoint in [
        "token_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "device_authorization_endpoint",
        "authorization_endpoint",
        "pushed_authorization_request_endpoint",
    ] {
        let url = document[endpoint].as_str().unwrap();
        assert!(url.starts_with(&fleet.server.issuer), "{url}");
        assert_ne!(http::get(url).unwrap().status, 404, "{url}");
    }
    let absent = "registration_endpoint";
    assert!(document.get(absent).is_none(), "{absent} is advertised");
    assert_eq!(texts(&document, "code_challenge_methods_supported"), ["S256"]);
    assert_eq!(texts(&document, "response_types_supported"), ["code"]);
}

both!(meta_04_only_public_members_are_published);
fn meta_04_only_public_members_are_published(db: Db) {
    let fleet = Fleet::shared(db);
    let document = granted(&http::get(&fleet.at("/.well-known/jwks.json")).unwrap());
    let keys = document["keys"].as_array().unwrap();
    assert!(keys.len() >= 3, "{document}");
    let mut ids = HashSet::new();
    for key in keys {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(member).is_none(), "private member {member}");
        }
        assert!(matches!(key["kty"].as_str(), Some("RSA" | "EC" | "OKP")), "{key}");
        assert_eq!(key["use"], "sig");
        assert!(
            matches!(key["alg"].as_str(), Some("EdDSA" | "ES256" | "RS256")),
            "{key}"
        );
        assert!(
            ids.insert(key["kid"].as_str().unwrap().to_owned()),
            "a kid twice: {document}"
        );
    }
    assert_eq!(document.as_object().unwrap().len(), 1);
}

both!(meta_04_the_key_id_is_the_thumbprint);
fn meta_04_the_key_id_is_the_thumbprint(db: Db) {
    // RFC 7638 §3: SHA-256 over the required members in lexical order.
    let fleet = Fleet::shared(db);
    let document = granted(&http::get(&fleet.at("/.well-known/jwks.json")).unwrap());
    for key in document["keys"].as_array().unwrap() {
        let members: &[&str] = match key["kty"].as_str().unwrap() {
            "RSA" => &["e", "kty", "n"],
            "EC" => &["crv", "kty", "x", "y"],
            _ => &["crv", "kty", "x"],
        };
        let text: Vec<String> = members
            .iter()
            .map(|name| format!("\"{name}\":{}", key[*name]))
            .collect();
        let digest = ring::digest::digest(
            &ring::digest::SHA256,
            format!("{{{}}}", text.join(",")).as_bytes(),
        );
        assert_eq!(key["kid"], blackbox::forge::encode(digest));
    }
}

both!(meta_05_every_address_is_on_the_issuers_host);
fn meta_05_every_address_is_on_the_issuers_host(db: Db) {
    let fleet = Fleet::shared(db);
    let document = granted(&http::get(&fleet.at(PLACES[0])).unwrap());
    for (name, value) in document.as_object().unwrap() {
        if let Some(url) = value.as_str().filter(|text| text.contains("://")) {
            assert!(
                url == fleet.server.issuer || url.starts_with(&format!("{}/", fleet.server.issuer)),
                "{name}: {url}"
            );
        }
    }
}

both!(meta_06_keys_can_be_cached_and_revalidated);
fn meta_06_keys_can_be_cached_and_revalidated(db: Db) {
    let fleet = Fleet::shared(db);
    let url = fleet.at("/.well-known/jwks.json");
    let first = http::get(&url).unwrap();
    assert!(
        first.header("cache-control").unwrap().contains("max-age="),
        "{:?}",
        first.headers
    );
    let tag = first.header("etag").unwrap();
    let again = Request::new("GET", &url)
        .unwrap()
        .header("If-None-Match", tag)
        .send()
        .unwrap();
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = Request::new("GET", &url)
        .unwrap()
        .header("If-None-Match", "\"other\"")
        .send()
        .unwrap();
    assert_eq!(other.body, first.body);
}

both!(meta_01_a_path_issuer_is_found_at_the_inserted_places);
fn meta_01_a_path_issuer_is_found_at_the_inserted_places(db: Db) {
    let fleet = Fleet::start(
        db,
        &Wishes {
            path: "/tenant".into(),
            ..Wishes::default()
        },
    );
    for place in PLACES {
        assert_eq!(
            granted(&http::get(&fleet.at(&format!("{place}/tenant"))).unwrap())["issuer"],
            fleet.server.issuer.as_str()
        );
    }
    let appended = granted(&http::get(&fleet.at("/tenant/.well-known/openid-configuration")).unwrap());
    assert_eq!(appended["issuer"], fleet.server.issuer.as_str());
    // The whole way works from there: the node found its keys, and the token names the path.
    let client = fleet.client(&[]);
    let endpoint = appended["token_endpoint"].as_str().unwrap();
    let token =
        xtask::journey::fetch_token(endpoint, &client, &fleet.node.url(), "mcp:read mcp:call").unwrap();
    fleet.remember(&token);
    assert_eq!(fleet.call(&token).status, 200);
}
