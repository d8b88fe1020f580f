//! Whatever a stranger writes, the readers of tokens, keys, scopes, identifiers and configuration answer with a fault:
//! never a panic, and never "yes".

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::access_token::{Check, Expectation, Shape, UnverifiedToken};
use shared::clock::UnixSeconds;
use shared::config::{Reader, Span};
use shared::dpop::{Expected, Nonces, Proof, Target};
use shared::jose::{Algorithm, KeySet};
use shared::scope::Scope;
use shared::signed_jwt::SignedJwt;
use shared::uri::{Issuer, ResourceUri};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn expectation() -> Expectation {
    Expectation {
        issuer: "https://as".into(),
        audience: "https://rs/mcp".into(),
        algorithms: Algorithm::ALL.to_vec(),
        leeway: Duration::from_secs(60),
        shape: Shape::EdgeHive,
        clients: Vec::new(),
        scope_claim: None,
        scope_prefix: None,
        kept_claims: Vec::new(),
    }
}

fn key() -> KeySet {
    let key =
        json!({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"k"});
    KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap_or_default()
}

fn token(header: &str, claims: &str, signature: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!(
        "{}.{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes()),
        encode(signature)
    )
}

/// Any JSON value, some of it in the shape of claims.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("https://as"),
            Just("https://rs/mcp"),
            Just("at+jwt"),
            Just("EdDSA"),
            Just("k")
        ]
        .prop_map(Value::from),
    ];
    let names = prop_oneof![
        "[a-z]{1,4}",
        "iss|sub|aud|exp|iat|nbf|jti|client_id|scope|scp|cnf|act|alg|kid|typ|crit|kty|crv|x|y|n|e|use|key_ops"
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((names.clone(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_a_token(text in ".{0,200}") {
        prop_assert!(UnverifiedToken::parse(&text).is_err());
        prop_assert!(SignedJwt::parse(&text, 4096).is_err());
    }

    #[test]
    fn no_unsigned_claims_pass(claims in json_value(), extra in json_value(), signature in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k"});
        if let Some(members) = extra.as_object() {
            header.as_object_mut().unwrap().extend(members.clone());
        }
        let token = token(&header.to_string(), &claims.to_string(), &signature);
        if let Ok(unverified) = UnverifiedToken::parse(&token) {
            prop_assert!(unverified.verify(key().find("k").unwrap(), &expectation(), NOW).is_err());
        }
        if let Ok(jwt) = SignedJwt::parse(&token, 4096) {
            let _ = (jwt.has_type(&["JWT"], true), jwt.kid(), jwt.unverified("sub"));
            prop_assert!(jwt.verify_with(&key()).is_err());
        }
    }

    #[test]
    fn no_claims_and_no_key_make_a_proof(claims in json_value(), jwk in json_value(), htu in "[ -~é]{0,40}", signature in proptest::collection::vec(any::<u8>(), 0..80)) {
        let target = Target::at(&"https://rs".parse().unwrap(), &htu);
        let nonces = Nonces::new(b"k", false);
        let expected = Expected { method: "POST", target: &target, access_token: None, nonces: &nonces };
        let mut header = json!({"alg": "EdDSA", "typ": "dpop+jwt", "jwk": jwk});
        let proof = token(&header.to_string(), &claims.to_string(), &signature);
        prop_assert!(Proof::verify(&proof, &expected, NOW).is_err());
        header["jwk"] = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let mut full = json!({"jti": "j", "htm": "POST", "htu": htu, "iat": NOW.0});
        if let Some(members) = claims.as_object() {
            full.as_object_mut().unwrap().extend(members.clone());
        }
        let proof = token(&header.to_string(), &full.to_string(), &signature);
        prop_assert!(Proof::verify(&proof, &expected, NOW).is_err());
    }

    #[test]
    fn no_bytes_break_the_key_set(bytes in proptest::collection::vec(any::<u8>(), 0..300), jwk in json_value()) {
        prop_assert!(KeySet::parse(&bytes).is_err());
        let _ = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes());
    }

    #[test]
    fn what_parses_prints_as_itself(text in "[ -~]{0,60}") {
        if let Ok(scope) = text.parse::<Scope>() {
            prop_assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
        }
        if let Ok(issuer) = text.parse::<Issuer>() {
            prop_assert_eq!(issuer.as_str(), &text);
        }
        if let Ok(resource) = text.parse::<ResourceUri>() {
            prop_assert_eq!(resource.as_str(), &text);
        }
        if let Ok(span) = text.parse::<Span>() {
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn no_configuration_text_panics(text in "(\\[{0,2}[a-z.]{0,6}\\]{0,2}\n?|[a-z]{1,5} = (\"[^\"\n]{0,5}\"|[0-9]{1,3}|\\[1, 2\\]|\\{ a = 1 \\})\n){0,8}") {
        if let Ok(mut reader) = Reader::from_text(text, &BTreeMap::new()) {
            reader.section("a").value::<u16>("b", "7");
            reader.count("c");
            let _ = reader.finish();
        }
    }
}

/// The order of the checks is a promise of `token explain`: the first that fails is the one that is named.
#[test]
fn the_first_failing_check_is_named() {
    let good_header = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"}"#;
    let claims = r#"{"iss":"https://as"}"#;
    let named = |header: &str, claims: &str| {
        let token = token(
            header,
            claims,
            b"0123456789012345678901234567890123456789012345678901234567890123",
        );
        let keys = key();
        UnverifiedToken::parse(&token)
            .and_then(|unverified| unverified.verify(keys.find("k").unwrap(), &expectation(), NOW))
            .unwrap_err()
            .check
    };
    assert_eq!(named(good_header, claims), Check::Signature);
    assert_eq!(named(good_header, r#"{"iss":"https://other"}"#), Check::Issuer);
    assert_eq!(named(good_header, r#"{"iss":["https://as"]}"#), Check::Issuer);
    assert_eq!(named(good_header, "[]"), Check::Structure);
    assert_eq!(
        named(r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}"#, claims),
        Check::Algorithm
    );
    assert_eq!(
        named(r#"{"alg":"none","typ":"at+jwt","kid":"k"}"#, claims),
        Check::Algorithm
    );
    assert_eq!(
        named(r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#, claims),
        Check::Algorithm
    );
    assert_eq!(
        named(r#"{"alg":"eddsa","typ":"at+jwt","kid":"k"}"#, claims),
        Check::Algorithm
    );
    assert_eq!(
        named(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"other"}"#, claims),
        Check::Key
    );
    assert_eq!(
        named(r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#, claims),
        Check::Type
    );
    assert_eq!(named(r#"{"alg":"EdDSA","kid":"k"}"#, claims), Check::Type);
    assert_eq!(named(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, claims), Check::Key);
    assert_eq!(
        named(r#"{"alg":"EdDSA","typ":"dpop+jwt","kid":"k"}"#, claims),
        Check::Type
    );
    assert_eq!(
        named(r#"{"alg":"EdDSA","typ":"AT+JWT","kid":"k"}"#, claims),
        Check::Signature
    );
    assert_eq!(
        named(r#"{"alg":"EdDSA","typ":"application/at+jwt","kid":"k"}"#, claims),
        Check::Signature
    );
    for header in [
        r#"{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","crit":[]}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","b64":false}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","zip":"DEF"}"#,
        r#"{"alg":7,"typ":"at+jwt","kid":"k"}"#,
    ] {
        assert_eq!(named(header, claims), Check::Header, "{header}");
    }
    let long = "x".repeat(9000);
    assert_eq!(UnverifiedToken::parse(&long).err().unwrap().check, Check::Size);
    for text in [
        "",
        "a.b",
        "a.b.c.d",
        "..",
        "e30.e30.",
        "e30.e30.YQ==",
        "e30.e30.YR",
        " e30.e30.YQ",
        "{}",
    ] {
        assert_eq!(
            UnverifiedToken::parse(text).err().unwrap().check,
            Check::Structure,
            "{text}"
        );
    }
}
