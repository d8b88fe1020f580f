//! INT-06, RFC 9701: what the server says of a token, signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blackbox::answers::{granted, refused_401, refused_client};
use blackbox::{Db, Fleet, both, forge};
use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Value, json};
use xtask::fleet::Credentials;
use xtask::http::{Answer, Request};

const TYPE: &str = "application/token-introspection+jwt";

fn ask(fleet: &Fleet, client: &Credentials, token: &str, accept: &str) -> Answer {
    let request = Request::post(&fleet.at("/oauth/introspect")).unwrap();
    let request = request
        .basic(&client.id, &client.secret)
        .form(&[("token", token)]);
    request.header("Accept", accept).send().unwrap()
}

/// The claims of a signed answer, once its form and its signature were checked.
#[track_caller]
fn signed(fleet: &Fleet, client: &Credentials, answer: &Answer, algorithm: &str) -> Value {
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header("content-type"), Some(TYPE));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let jwt = answer.text();
    let header = forge::part(&jwt, 0);
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("token-introspection+jwt"), &json!(algorithm))
    );
    let set = granted(&xtask::http::get(&fleet.at("/.well-known/jwks.json")).unwrap());
    let key = set["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let member = |name: &str| decode(key[name].as_str().unwrap());
    let (input, signature) = jwt.rsplit_once('.').unwrap();
    let (input, signature) = (input.as_bytes(), decode(signature));
    if algorithm == "RS256" {
        let key = RsaPublicKeyComponents {
            n: member("n"),
            e: member("e"),
        };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, input, &signature)
            .unwrap();
    } else {
        UnparsedPublicKey::new(&ED25519, member("x"))
            .verify(input, &signature)
            .unwrap();
    }
    let claims = forge::part(&jwt, 1);
    assert_eq!(claims["iss"], fleet.server.issuer.as_str());
    assert_eq!(claims["aud"], client.id.as_str());
    assert!((claims["iat"].as_i64().unwrap() - forge::now()).abs() < 60);
    // RFC 9701 §5: it must not pass for an access token.
    assert!(claims.get("sub").is_none() && claims.get("exp").is_none());
    claims
}

both!(rfc_9701_the_answer_is_signed_when_asked_for);
fn rfc_9701_the_answer_is_signed_when_asked_for(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    let plain = fleet.introspect(&client, &token);
    let answer = ask(&fleet, &client, &token, TYPE);
    let claims = signed(&fleet, &client, &answer, "RS256");
    assert_eq!(claims["token_introspection"], plain);
    for accept in ["application/json", "*/*", "application/jwt"] {
        let answer = ask(&fleet, &client, &token, accept);
        assert_eq!(granted(&answer), plain, "{accept}");
    }
    // It is no token, for nobody.
    refused_401(&fleet.call(&answer.text()), Some("invalid_token"));
    assert_eq!(fleet.introspect(&client, &answer.text())["active"], false);
}

both!(rfc_9701_a_caller_may_be_registered_for_it);
fn rfc_9701_a_caller_may_be_registered_for_it(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&["--introspection-alg", "EdDSA"]);
    let token = fleet.token(&client, &fleet.node.url());
    for accept in ["*/*", TYPE] {
        let claims = signed(&fleet, &client, &ask(&fleet, &client, &token, accept), "EdDSA");
        assert_eq!(claims["token_introspection"]["active"], true);
    }
    let plain = granted(&ask(&fleet, &client, &token, "application/json"));
    assert_eq!(plain["active"], true);
    let document = granted(&xtask::http::get(&fleet.at("/.well-known/oauth-authorization-server")).unwrap());
    let algorithms = document["introspection_signing_alg_values_supported"]
        .as_array()
        .unwrap();
    assert!(algorithms.contains(&json!("EdDSA")) && algorithms.contains(&json!("RS256")));
}

both!(int_06_who_may_not_know_learns_nothing_from_a_jwt_either);
fn int_06_who_may_not_know_learns_nothing_from_a_jwt_either(db: Db) {
    let fleet = Fleet::shared(db);
    let (owner, stranger) = (fleet.client(&[]), fleet.client(&[]));
    let token = fleet.token(&owner, &fleet.node.url());
    let claims = signed(&fleet, &stranger, &ask(&fleet, &stranger, &token, TYPE), "RS256");
    assert_eq!(claims["token_introspection"], json!({"active": false}));
    let claims = signed(&fleet, &owner, &ask(&fleet, &owner, "nonsense", TYPE), "RS256");
    assert_eq!(claims["token_introspection"], json!({"active": false}));
    let wrong = Credentials {
        id: owner.id.clone(),
        secret: "ehs_x".into(),
    };
    refused_client(&ask(&fleet, &wrong, &token, TYPE), true);
    let claims = signed(&fleet, &owner, &ask(&fleet, &owner, &token, TYPE), "RS256");
    assert_eq!(claims["token_introspection"]["active"], true);
    assert_eq!(
        fleet.post("/oauth/revoke", &owner, &[("token", &token)]).status,
        200
    );
    let claims = signed(&fleet, &owner, &ask(&fleet, &owner, &token, TYPE), "RS256");
    assert_eq!(claims["token_introspection"], json!({"active": false}));
}
