use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const MAX: usize = 2000;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn sign(seed: u8, header: &Value, claims: &Value) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let parts = [header, claims].map(|part| encode(part.to_string().as_bytes()));
    let input = parts.join(".");
    let signature = encode(pair(seed).sign(input.as_bytes()).as_ref());
    format!("{input}.{signature}")
}

/// A set of the keys of these seeds, each with this `kid`, or none.
fn set(keys: &[(u8, Option<&str>)]) -> KeySet {
    let keys: Vec<_> = keys
        .iter()
        .map(|(seed, kid)| {
            let x = URL_SAFE_NO_PAD.encode(pair(*seed).public_key().as_ref());
            let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            if let Some(kid) = kid {
                jwk["kid"] = json!(kid);
            }
            jwk
        })
        .collect();
    KeySet::parse_unnamed(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn verified(claims: &Value) -> VerifiedJwt {
    let token = sign(1, &json!({"alg": "EdDSA"}), claims);
    let jwt = SignedJwt::parse(&token, MAX).unwrap();
    jwt.verify_with(&set(&[(1, None)])).unwrap()
}

#[test]
fn what_is_verified_can_be_read() {
    let header = json!({"alg": "EdDSA", "kid": "a", "typ": "JWT", "x": 1});
    let token = sign(1, &header, &json!({"iss": "them", "n": 1}));
    let jwt = SignedJwt::parse(&token, MAX).unwrap();
    assert_eq!(
        (jwt.kid(), jwt.algorithm(), jwt.unverified("iss")),
        (Some("a"), Algorithm::EdDSA, Some("them"))
    );
    let known = set(&[(1, Some("a"))]);
    let jwt = jwt.verify(known.find("a").unwrap()).unwrap();
    assert_eq!(jwt.text("iss"), Ok(Some("them")));
    assert_eq!(jwt.text("sub"), Ok(None));
    assert!(jwt.text("n").is_err());
    assert_eq!(jwt.header()["x"], 1);
    assert_eq!(jwt.into_claims()["n"], 1);
}

#[test]
fn only_a_key_of_the_set_is_believed() {
    let verdict = |kid: Option<&str>, keys: &[(u8, Option<&str>)]| {
        let mut header = json!({"alg": "EdDSA"});
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        let token = sign(1, &header, &json!({}));
        let jwt = SignedJwt::parse(&token, MAX).unwrap();
        jwt.verify_with(&set(keys)).is_ok()
    };
    assert!(verdict(Some("a"), &[(2, Some("b")), (1, Some("a"))]));
    assert!(verdict(None, &[(2, Some("b")), (1, None)]));
    assert!(!verdict(Some("a"), &[(1, Some("b"))]));
    assert!(!verdict(Some("a"), &[(2, Some("a")), (1, Some("b"))]));
    assert!(!verdict(None, &[(2, None)]));
    // Four keys are tried, and no more: whoever publishes a hundred must name the one.
    let others = [(2, Some("b")), (3, Some("c")), (4, Some("d"))];
    let fourth = [&others[..], &[(1, Some("a"))]].concat();
    let fifth = [&others[..], &[(5, Some("e")), (1, Some("a"))]].concat();
    assert!(verdict(None, &fourth) && !verdict(None, &fifth) && verdict(Some("a"), &fifth));
}

#[test]
fn what_has_two_readings_is_refused() {
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "nOnE"}),
        json!({"alg": "HS256"}),
        json!({"alg": "eddsa"}),
        json!({"alg": ["EdDSA"]}),
        json!({}),
        json!({"alg": "EdDSA", "crit": []}),
        json!({"alg": "EdDSA", "b64": false}),
        json!({"alg": "EdDSA", "zip": "DEF"}),
        json!({"alg": "EdDSA", "kid": 1}),
        json!({"alg": "EdDSA", "typ": null}),
        json!(null),
        json!([]),
    ] {
        assert!(
            SignedJwt::parse(&sign(1, &header, &json!({})), MAX).is_err(),
            "{header}"
        );
    }
    let good = sign(1, &json!({"alg": "EdDSA"}), &json!({}));
    for bad in [
        format!("{good}="),
        format!("{good}.x"),
        good.replacen('.', "..", 1),
        good.rsplit_once('.').unwrap().0.to_owned(),
        format!(" {good}"),
        sign(1, &json!({"alg": "EdDSA"}), &json!([])),
        String::new(),
    ] {
        assert!(SignedJwt::parse(&bad, MAX).is_err(), "{bad}");
    }
    assert!(SignedJwt::parse(&good, good.len()).is_ok());
    assert!(SignedJwt::parse(&good, good.len() - 1).is_err());
    // An empty signature is no signature.
    let bare = format!("{}.", good.rsplit_once('.').unwrap().0);
    assert!(SignedJwt::parse(&bare, MAX).is_ok_and(|jwt| jwt.verify_with(&set(&[(1, None)])).is_err()));
}

#[test]
fn types_are_compared_as_media_types() {
    let has = |typ: Value, or_none| {
        let token = sign(1, &json!({"alg": "EdDSA", "typ": typ}), &json!({}));
        SignedJwt::parse(&token, MAX)
            .unwrap()
            .has_type(&["JWT", "x+jwt"], or_none)
    };
    for good in ["JWT", "jwt", "application/jwt", "Application/X+JWT", "x+jwt"] {
        assert!(has(json!(good), false), "{good}");
    }
    for bad in [
        "at+jwt",
        "application/",
        "",
        "text/jwt",
        "application/application/jwt",
    ] {
        assert!(!has(json!(bad), true), "{bad}");
    }
    let token = sign(1, &json!({"alg": "EdDSA"}), &json!({}));
    let jwt = SignedJwt::parse(&token, MAX).unwrap();
    assert!(jwt.has_type(&["JWT"], true) && !jwt.has_type(&["JWT"], false));
}

#[test]
fn the_audience_is_one_or_among_others() {
    for (audience, only, among) in [
        (json!("us"), true, true),
        (json!(["us"]), true, true),
        (json!(["us", "them"]), false, true),
        (json!(["us", "us"]), false, true),
        (json!(["us", 1]), false, false),
        (json!([]), false, false),
        (json!("us/"), false, false),
        (json!({"us": 1}), false, false),
    ] {
        let jwt = verified(&json!({"aud": audience}));
        assert_eq!(
            (jwt.is_only_for("us"), jwt.is_for("us")),
            (only, among),
            "{audience}"
        );
    }
    assert!(!verified(&json!({})).is_for("us"));
}

#[test]
fn times_are_numbers_near_now() {
    let times = Times {
        leeway: Duration::from_secs(60),
        longest: Some(Duration::from_secs(300)),
        oldest: None,
    };
    let verdict = |claims: Value, times| verified(&claims).check_times(times, NOW);
    let at = |seconds: i64| NOW.0 + seconds;
    for good in [
        json!({"exp": at(300)}),
        json!({"exp": at(-59)}),
        json!({"exp": at(360)}),
        json!({"exp": at(10) as f64 + 0.5, "iat": at(60), "nbf": at(60)}),
    ] {
        assert!(verdict(good.clone(), times).is_ok(), "{good}");
    }
    for bad in [
        json!({}),
        json!({"exp": at(-60)}),
        json!({"exp": at(361)}),
        json!({"exp": 1e19}),
        json!({"exp": "soon"}),
        json!({"exp": null}),
        json!({"exp": -1}),
        json!({"exp": at(9), "iat": at(61)}),
        json!({"exp": at(9), "nbf": at(61)}),
        json!({"exp": at(9), "nbf": "x"}),
        json!({"exp": at(9), "iat": []}),
    ] {
        assert!(verdict(bad.clone(), times).is_err(), "{bad}");
    }
    let fresh = Times {
        oldest: Some(Duration::from_secs(30)),
        ..times
    };
    assert!(verdict(json!({"exp": at(9), "iat": at(-90)}), fresh).is_ok());
    assert!(verdict(json!({"exp": at(9), "iat": at(-91)}), fresh).is_err());
    assert!(verdict(json!({"exp": at(9)}), fresh).is_err());
}
