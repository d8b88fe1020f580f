//! A public key that comes alone, with what it signed: the `jwk` in the header of a DPoP proof (RFC 9449 §4.2). It
//! has no name but its thumbprint.

use serde_json::{Map, Value, json};

use super::admission::{self, KeyFault};
use super::key_set::has_secret_material;
use super::{Algorithm, VerifyingKey, sha256_base64url};

impl VerifyingKey {
    /// Admits a public key for `algorithm`, with the care of a key set: a key for which anyone can sign would bind a
    /// token to everybody. The thumbprint becomes its `kid`.
    pub fn from_public_jwk(jwk: &Map<String, Value>, algorithm: Algorithm) -> Result<Self, KeyFault> {
        if has_secret_material(jwk) {
            return Err(KeyFault::SecretMaterial);
        }
        admission::admit_as(jwk, algorithm, thumbprint(jwk).ok_or(KeyFault::Malformed)?)
    }
}

/// The SHA-256 thumbprint of a public key (RFC 7638 §3); `None` when a member that it needs is missing.
pub fn thumbprint(jwk: &Map<String, Value>) -> Option<String> {
    // RFC 7638 §3.2 and RFC 8037 §2, in alphabetical order.
    let names: &[&str] = match jwk.get("kty")?.as_str()? {
        "OKP" => &["crv", "kty", "x"],
        "EC" => &["crv", "kty", "x", "y"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let members: Option<Vec<_>> = names
        .iter()
        .map(|name| Some(format!("{}:{}", json!(name), json!(jwk.get(*name)?.as_str()?))))
        .collect();
    Some(sha256_base64url(format!("{{{}}}", members?.join(",")).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.2 and A.3.
    fn ed() -> Map<String, Value> {
        let jwk = json!({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        jwk.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn the_thumbprint_is_that_of_the_standards() {
        assert_eq!(
            thumbprint(&ed()).as_deref(),
            Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let rsa = json!({"n": n, "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
        assert_eq!(
            rsa.as_object().and_then(thumbprint).as_deref(),
            Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        );
    }

    #[test]
    fn a_lone_key_is_admitted_with_the_care_of_a_set() {
        let admitted = VerifyingKey::from_public_jwk(&ed(), Algorithm::EdDSA);
        assert_eq!(
            admitted.as_ref().map(VerifyingKey::kid).ok(),
            thumbprint(&ed()).as_deref()
        );
        let with = |member: &str, value: Value| {
            let mut jwk = ed();
            jwk.insert(member.to_owned(), value);
            VerifyingKey::from_public_jwk(&jwk, Algorithm::EdDSA).err()
        };
        assert_eq!(with("d", json!("AAAA")), Some(KeyFault::SecretMaterial));
        assert_eq!(with("use", json!("enc")), Some(KeyFault::NotForSignatures));
        assert_eq!(with("alg", json!("ES256")), Some(KeyFault::AlgorithmMismatch));
        let identity = json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(with("x", identity), Some(KeyFault::BadPoint));
        assert_eq!(with("kid", json!("anything")), None);
        assert_eq!(
            VerifyingKey::from_public_jwk(&ed(), Algorithm::ES256).err(),
            Some(KeyFault::AlgorithmMismatch)
        );
        let symmetric = json!({"kty":"oct","k":"AAAA"});
        let symmetric = symmetric.as_object().cloned().unwrap_or_default();
        assert_eq!(
            VerifyingKey::from_public_jwk(&symmetric, Algorithm::EdDSA).err(),
            Some(KeyFault::SecretMaterial)
        );
    }
}
