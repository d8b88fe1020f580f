//! Rows DPOP-01 to DPOP-36 of the catalogue, as far as one proof decides them. Each refusal has its twin: the same
//! proof, unspoilt, is taken.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;
use crate::secret::system_random;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const URL: &str = "https://as.example/oauth/token";
const TOKEN: &str = "a.b.c";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A client with an Ed25519 key.
struct Signer(Ed25519KeyPair);

impl Signer {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": encode(self.0.public_key())})
    }

    /// A good proof, but for `change` of its header and claims.
    fn proof(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self.jwk()});
        let mut claims = json!({"jti": "j-1", "htm": "POST", "htu": URL, "iat": NOW.0});
        change(&mut header, &mut claims);
        self.sign(&header.to_string(), &claims.to_string())
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode(header), encode(claims));
        format!("{input}.{}", encode(self.0.sign(input.as_bytes())))
    }
}

fn target() -> Target {
    Target::at(&"https://as.example".parse().unwrap(), "/oauth/token")
}

fn verdict_with(proof: &str, nonces: &Nonces, token: Option<&str>) -> Result<Proof, ProofFault> {
    let expected = Expected {
        method: "POST",
        target: &target(),
        access_token: token,
        nonces,
    };
    Proof::verify(proof, &expected, NOW)
}

fn verdict(proof: &str) -> Result<Proof, ProofFault> {
    verdict_with(proof, &Nonces::new(b"k", false), None)
}

/// Why a proof with this change is refused; without it, it is taken.
fn reason(change: impl FnOnce(&mut Value, &mut Value)) -> String {
    assert!(verdict(&Signer::new(1).proof(|_, _| {})).is_ok());
    match verdict(&Signer::new(1).proof(change)) {
        Err(ProofFault::Invalid(reason)) => reason.into_owned(),
        other => panic!("expected an invalid proof, got {other:?}"),
    }
}

fn claim(name: &str, value: Value) -> String {
    reason(|_, claims| claims[name] = value)
}

fn header(name: &str, value: Value) -> String {
    reason(|header, _| header[name] = value)
}

#[test]
fn dpop_01_one_header_with_one_proof() {
    let proof = Signer::new(1).proof(|_, _| {});
    let nonces = Nonces::new(b"k", false);
    let read = |values: &[&str]| {
        let expected = Expected {
            method: "POST",
            target: &target(),
            access_token: None,
            nonces: &nonces,
        };
        let read = Proof::of_request(values.iter().map(|value| value.as_bytes()), &expected, NOW);
        read.map(|proof| proof.is_some())
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(read(&[]), Ok(false));
    assert_eq!(read(&[&proof]), Ok(true));
    assert_eq!(read(&[&format!(" {proof} ")]), Ok(true));
    assert_eq!(
        read(&[&proof, &proof]),
        Err("there are two DPoP headers".to_owned())
    );
    assert!(read(&[&format!("{proof},{proof}")]).is_err());
    assert!(read(&[&format!("{proof}, {proof}")]).is_err());
    assert!(read(&[""]).is_err());
    assert!(read(&["nonsense"]).is_err());
    assert!(read(&["é"]).is_err());
}

#[test]
fn dpop_03_every_member_is_needed() {
    for name in ["typ", "alg", "jwk"] {
        let found = reason(|header, _| {
            header.as_object_mut().unwrap().remove(name);
        });
        assert_eq!(found, format!("{name} is missing"));
    }
    for name in ["jti", "htm", "htu", "iat"] {
        let found = reason(|_, claims| {
            claims.as_object_mut().unwrap().remove(name);
        });
        assert_eq!(found, format!("{name} is missing"));
    }
}

#[test]
fn dpop_04_the_type_is_a_media_type() {
    for good in ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt"] {
        assert!(
            verdict(&Signer::new(1).proof(|header, _| header["typ"] = json!(good))).is_ok(),
            "{good}"
        );
    }
    for bad in ["JWT", "at+jwt", "dpop", "dpop+jwt ", ""] {
        assert_eq!(header("typ", json!(bad)), "typ is not dpop+jwt");
    }
    assert_eq!(header("typ", json!(["dpop+jwt"])), "typ is not a string");
}

#[test]
fn dpop_05_only_listed_asymmetric_algorithms() {
    for bad in ["none", "HS256", "RS256", "ES512", "eddsa", ""] {
        assert_eq!(header("alg", json!(bad)), "alg is not allowed");
    }
    // The name must be the key's own.
    assert!(header("alg", json!("ES256")).starts_with("jwk: "));
    // RFC 9864's name for the same.
    assert!(verdict(&Signer::new(1).proof(|header, _| header["alg"] = json!("Ed25519"))).is_ok());
    assert!(algorithms().all(|name| name != "none" && !name.starts_with("HS")));
}

#[test]
fn dpop_06_the_key_is_public_and_made_the_signature() {
    assert_eq!(
        reason(|header, _| header["jwk"]["d"] = json!("AAAA")),
        "jwk: the key contains secret key material"
    );
    assert_eq!(
        reason(|header, _| header["jwk"] = json!({"kty": "oct", "k": "AAAA"})),
        "jwk: the key contains secret key material"
    );
    assert_eq!(header("jwk", json!("x")), "jwk is not an object");
    let other = Signer::new(2).jwk();
    assert_eq!(
        reason(|header, _| header["jwk"] = other),
        "the signature does not fit"
    );
    // The identity: anyone can sign for it.
    assert_eq!(
        reason(|header, _| header["jwk"]["x"] = json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        "jwk: the point is not acceptable"
    );
}

#[test]
fn dpop_06_a_point_off_its_curve_verifies_nothing() {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &system_random()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &system_random()).unwrap();
    let point = pair.public_key().as_ref();
    let proof = |y: &[u8]| {
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(y)});
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
        let claims = json!({"jti": "j-1", "htm": "POST", "htu": URL, "iat": NOW.0});
        let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = pair.sign(&system_random(), input.as_bytes()).unwrap();
        format!("{input}.{}", encode(signature))
    };
    assert!(verdict(&proof(&point[33..])).is_ok());
    let mut off = point[33..].to_vec();
    off[31] ^= 1;
    assert_eq!(
        verdict(&proof(&off)).unwrap_err(),
        invalid("the signature does not fit")
    );
}

#[test]
fn dpop_07_a_changed_proof_is_no_proof() {
    let proof = Signer::new(1).proof(|_, _| {});
    let parts: Vec<&str> = proof.split('.').collect();
    let claims = encode(json!({"jti": "j-2", "htm": "POST", "htu": URL, "iat": NOW.0}).to_string());
    let spoilt = [
        format!("{}.{claims}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{proof}.x"),
        format!("{proof}="),
        format!("{}.{}.{}", parts[0], parts[1], encode([0; 64])),
        "a".repeat(MAX_PROOF_BYTES + 1),
        json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]}).to_string(),
    ];
    for spoilt in spoilt {
        assert!(
            matches!(verdict(&spoilt), Err(ProofFault::Invalid(_))),
            "{spoilt}"
        );
    }
    // What stands twice, and what is no object, although the signature fits.
    let signer = Signer::new(1);
    let good = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": signer.jwk()}).to_string();
    let twice = format!(
        r#"{{"jti":"j","jti":"k","htm":"POST","htu":"{URL}","iat":{}}}"#,
        NOW.0
    );
    for claims in [&*twice, "[]", "null", "\u{feff}{}"] {
        assert!(verdict(&signer.sign(&good, claims)).is_err(), "{claims}");
    }
    for member in ["crit", "b64", "zip", "enc"] {
        assert_eq!(
            header(member, json!(["x"])),
            "the header contains crit, b64, zip or enc"
        );
    }
    assert!(verdict(&proof).is_ok());
}

#[test]
fn dpop_08_the_method_is_exact() {
    for bad in ["PUT", "post", "POST ", ""] {
        assert_eq!(claim("htm", json!(bad)), "htm is another method");
    }
    assert_eq!(claim("htm", json!(7)), "htm is not a string");
}

#[test]
fn dpop_09_10_11_12_the_address() {
    for bad in [
        "https://as.example/oauth/par",
        "https://other.example/oauth/token",
        "http://as.example/oauth/token",
    ] {
        assert_eq!(claim("htu", json!(bad)), "htu is another address");
    }
    let long = format!("{URL}?{}", "x".repeat(MAX_HTU_BYTES));
    assert_eq!(claim("htu", json!(long)), "htu is another address");
    for good in ["?a=b#c", "#", "?"] {
        let htu = json!(format!("{URL}{good}"));
        assert!(
            verdict(&Signer::new(1).proof(|_, claims| claims["htu"] = htu)).is_ok(),
            "{good}"
        );
    }
    for good in [
        "HTTPS://AS.example/oauth/token",
        "https://as.example:443/oauth/token",
    ] {
        assert!(
            verdict(&Signer::new(1).proof(|_, claims| claims["htu"] = json!(good))).is_ok(),
            "{good}"
        );
    }
    for odd in [
        json!([URL]),
        json!(1),
        json!({"u": URL}),
        json!(null),
        json!(true),
    ] {
        assert_eq!(claim("htu", odd), "htu is not a string");
    }
}

#[test]
fn dpop_13_the_jti_is_bounded() {
    assert_eq!(claim("jti", json!("")), "jti is empty or too long");
    assert_eq!(claim("jti", json!("j".repeat(257))), "jti is empty or too long");
    assert_eq!(claim("jti", json!(["j"])), "jti is not a string");
    let longest = json!("j".repeat(256));
    assert!(verdict(&Signer::new(1).proof(|_, claims| claims["jti"] = longest)).is_ok());
}

#[test]
fn dpop_14_15_16_the_time() {
    for good in [0, 10, -10, 30, -90] {
        let iat = json!(NOW.0 + good);
        assert!(
            verdict(&Signer::new(1).proof(|_, claims| claims["iat"] = iat)).is_ok(),
            "{good}"
        );
    }
    for early in [-91, -3600] {
        assert_eq!(claim("iat", json!(NOW.0 + early)), "iat is too long ago");
    }
    for late in [31, 3600] {
        assert_eq!(claim("iat", json!(NOW.0 + late)), "iat lies ahead");
    }
    let odd = [
        json!(1e300),
        json!(-1),
        json!("1800000000"),
        json!(9_223_372_036_854_775_808_u64),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(1_800_000_000.5),
        json!(true),
        json!(null),
        json!([NOW.0]),
        json!(253_402_300_800_i64),
    ];
    for value in odd {
        for name in ["iat", "exp", "nbf"] {
            assert_eq!(
                claim(name, value.clone()),
                format!("{name} is not a time"),
                "{value}"
            );
        }
    }
}

#[test]
fn dpop_17_exp_and_nbf_are_heeded_when_they_are_there() {
    let with = |name: &'static str, offset: i64| {
        verdict(&Signer::new(1).proof(|_, claims| claims[name] = json!(NOW.0 + offset)))
    };
    assert!(with("exp", 60).is_ok() && with("exp", -29).is_ok());
    assert!(with("nbf", -60).is_ok() && with("nbf", 30).is_ok());
    assert_eq!(claim("exp", json!(NOW.0 - 30)), "the proof has expired");
    assert_eq!(claim("nbf", json!(NOW.0 + 31)), "the proof is not valid yet");
}

#[test]
fn dpop_18_20_34_a_proof_is_known_by_key_jti_and_address() {
    let known = |signer: u8, jti: &str, htu: &str, path: &str| {
        let proof = Signer::new(signer).proof(|_, claims| {
            claims["jti"] = json!(jti);
            claims["htu"] = json!(htu);
        });
        let target = Target::at(&"https://as.example".parse().unwrap(), path);
        let expected = Expected {
            method: "POST",
            target: &target,
            access_token: None,
            nonces: &Nonces::new(b"k", false),
        };
        *Proof::verify(&proof, &expected, NOW).unwrap().fingerprint()
    };
    let first = known(1, "j", URL, "/oauth/token");
    assert_eq!(first, known(1, "j", URL, "/oauth/token"));
    // Another spelling of the address does not make it another proof.
    assert_eq!(
        first,
        known(1, "j", "https://AS.example:443/oauth/token?x", "/oauth/token")
    );
    assert_ne!(first, known(1, "k", URL, "/oauth/token"));
    assert_ne!(first, known(2, "j", URL, "/oauth/token"));
    assert_ne!(first, known(1, "j", "https://as.example/oauth/par", "/oauth/par"));
}

#[test]
fn dpop_21_a_proof_is_remembered_longer_than_it_is_good() {
    let latest = Signer::new(1).proof(|_, claims| claims["iat"] = json!((NOW + CLOCKS).0));
    let proof = verdict(&latest).unwrap();
    let nonces = Nonces::new(b"k", false);
    let at = |now: UnixSeconds| {
        let expected = Expected {
            method: "POST",
            target: &target(),
            access_token: None,
            nonces: &nonces,
        };
        Proof::verify(&latest, &expected, now).is_ok()
    };
    assert!(at(proof.good_until()));
    assert!(!at(proof.good_until() + Duration::from_secs(1)));
}

#[test]
fn dpop_23_the_proof_names_the_token_that_is_shown() {
    let nonces = Nonces::new(b"k", false);
    let with = |ath: Value| {
        let proof = Signer::new(1).proof(|_, claims| claims["ath"] = ath);
        verdict_with(&proof, &nonces, Some(TOKEN)).map_err(|fault| fault.to_string())
    };
    assert!(with(json!(sha256_base64url(TOKEN.as_bytes()))).is_ok());
    assert_eq!(
        with(json!(sha256_base64url(b"x"))).unwrap_err(),
        "ath is of another access token"
    );
    assert_eq!(with(json!("")).unwrap_err(), "ath is of another access token");
    assert_eq!(with(json!(7)).unwrap_err(), "ath is not a string");
    let without = verdict_with(&Signer::new(1).proof(|_, _| {}), &nonces, Some(TOKEN));
    assert_eq!(without.unwrap_err(), ProofFault::Invalid("ath is missing".into()));
}

#[test]
fn dpop_28_29_a_nonce_is_ours_and_dates_the_proof() {
    let required = Nonces::new(b"k", true);
    let with = |nonce: Option<&str>, iat: i64, nonces: &Nonces| {
        let proof = Signer::new(1).proof(|_, claims| {
            claims["iat"] = json!(iat);
            if let Some(nonce) = nonce {
                claims["nonce"] = json!(nonce);
            }
        });
        verdict_with(&proof, nonces, None)
    };
    let ours = required.current(NOW);
    assert!(with(Some(&ours), NOW.0, &required).is_ok());
    // The client's clock stands still; the nonce governs.
    let late = with(Some(&ours), NOW.0 - 86_400, &required).unwrap();
    assert_eq!(late.good_until(), NOW + Nonces::LIFE);
    assert!(matches!(
        with(None, NOW.0, &required),
        Err(ProofFault::Nonce("the nonce is missing"))
    ));
    for forged in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA"] {
        assert!(matches!(
            with(Some(forged), NOW.0, &required),
            Err(ProofFault::Nonce(_))
        ));
    }
    let old = required.current(NOW - Duration::from_secs(121));
    assert!(matches!(
        with(Some(&old), NOW.0, &required),
        Err(ProofFault::Nonce(_))
    ));
    // Where none is demanded, one that comes is still checked.
    let optional = Nonces::new(b"k", false);
    assert!(with(None, NOW.0, &optional).is_ok() && with(Some(&ours), NOW.0, &optional).is_ok());
    assert!(matches!(
        with(Some("x"), NOW.0, &optional),
        Err(ProofFault::Nonce(_))
    ));
    assert_eq!(claim("nonce", json!(7)), "nonce is not a string");
}

#[test]
fn dpop_31_unknown_members_say_nothing() {
    let proof = Signer::new(1).proof(|header, claims| {
        header["kid"] = json!("x");
        header["jku"] = json!("https://evil.example");
        header["jwk"]["kid"] = json!("y");
        claims["sub"] = json!({"a": [1]});
    });
    let plain = verdict(&Signer::new(1).proof(|_, _| {})).unwrap();
    assert_eq!(verdict(&proof).unwrap().key(), plain.key());
}
