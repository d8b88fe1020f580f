//! An Ed25519 key that signs for the program that holds it: a node's identity. Made and used by ring alone, so that a
//! node needs no OpenSSL.

use std::convert::Infallible;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Algorithm, compact, decode_base64url, thumbprint};
use crate::json;
use crate::secret::{NoRandomness, random_bytes};

/// The text is no private Ed25519 key (RFC 8037 §2). Names nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is not a private Ed25519 key as a JWK")]
pub struct NoEd25519Key;

/// A private key. Nothing of it is in `Debug`.
pub struct Ed25519Key {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Ed25519Key {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        let seed = Zeroizing::new(random_bytes::<32>()?);
        // Every seed of 32 bytes is one (RFC 8032 §5.1.5).
        Self::from_seed(seed).ok_or(NoRandomness)
    }

    /// The key that [`Self::to_private_jwk`] wrote. Its two halves must belong together.
    pub fn from_private_jwk(document: &[u8]) -> Result<Self, NoEd25519Key> {
        let members = json::object(document).map_err(|_| NoEd25519Key)?;
        let is = |name: &str, expected: &str| members.get(name).and_then(Value::as_str) == Some(expected);
        let bytes = |name: &str| {
            let text = members.get(name).and_then(Value::as_str)?;
            let bytes = Zeroizing::new(decode_base64url(text)?);
            <[u8; 32]>::try_from(bytes.as_slice()).ok()
        };
        let (seed, public) = bytes("d").zip(bytes("x")).ok_or(NoEd25519Key)?;
        let key = Self::from_seed(Zeroizing::new(seed)).ok_or(NoEd25519Key)?;
        if is("kty", "OKP") && is("crv", "Ed25519") && key.public == public {
            Ok(key)
        } else {
            Err(NoEd25519Key)
        }
    }

    fn from_seed(seed: Zeroizing<[u8; 32]>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).ok()?;
        let public = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { pair, seed, public })
    }

    /// The whole key as a JWK (RFC 8037 §2), for a file that nobody else reads.
    pub fn to_private_jwk(&self) -> Zeroizing<Vec<u8>> {
        let seed = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.seed.as_slice()));
        let text = format!(
            "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{}\",\"d\":\"{}\"}}\n",
            URL_SAFE_NO_PAD.encode(self.public),
            *seed
        );
        Zeroizing::new(text.into_bytes())
    }

    /// The public half: 32 bytes (RFC 8032 §5.1.5).
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Seed and public half, 64 bytes, for a library that signs with the key itself.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(self.seed.as_slice());
        bytes[32..].copy_from_slice(&self.public);
        bytes
    }

    /// The public half as a JWK, with `kid`, `alg` and `use`.
    pub fn public_jwk(&self) -> Map<String, Value> {
        let mut jwk = self.bare_jwk();
        jwk.insert("kid".to_owned(), self.thumbprint().into());
        jwk.insert("alg".to_owned(), Algorithm::EdDSA.as_str().into());
        jwk.insert("use".to_owned(), "sig".into());
        jwk
    }

    /// The SHA-256 thumbprint (RFC 7638 §3).
    pub fn thumbprint(&self) -> String {
        thumbprint(&self.bare_jwk()).unwrap_or_default()
    }

    /// Signs `claims` as a JWT of the type `typ` in compact serialization (RFC 7515 §7.1, RFC 8037 §3.1).
    pub fn sign_jwt(&self, typ: &str, claims: &Value) -> String {
        let header = compact::header(typ, Algorithm::EdDSA, &self.thumbprint());
        let sign = |input: &[u8]| Ok::<_, Infallible>(self.pair.sign(input));
        let Ok(jwt) = compact::jwt(&header, claims.to_string().as_bytes(), sign);
        jwt
    }

    fn bare_jwk(&self) -> Map<String, Value> {
        let members = [
            ("crv", "Ed25519".to_owned()),
            ("kty", "OKP".to_owned()),
            ("x", URL_SAFE_NO_PAD.encode(self.public)),
        ];
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect()
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Key({})", self.thumbprint())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::VerifyingKey;
    use crate::signed_jwt::SignedJwt;

    /// RFC 8037 appendix A.1.
    const STANDARD: &[u8] =
        br#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn the_key_of_the_standard_has_its_thumbprint() {
        let key = Ed25519Key::from_private_jwk(STANDARD).unwrap();
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let again = Ed25519Key::from_private_jwk(&key.to_private_jwk()).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(!format!("{key:?}").contains("nWGx"));
        assert!(!key.public_jwk().contains_key("d"));
    }

    #[test]
    fn what_it_signs_verifies_with_its_public_key_and_no_other() {
        let (key, other) = (Ed25519Key::generate().unwrap(), Ed25519Key::generate().unwrap());
        let jwt = key.sign_jwt("test+jwt", &json!({"sub": "x"}));
        let verify = |key: &Ed25519Key| {
            let key = VerifyingKey::from_public_jwk(&key.public_jwk(), Algorithm::EdDSA).unwrap();
            SignedJwt::parse(&jwt, 1000).unwrap().verify(&key)
        };
        let verified = verify(&key).unwrap();
        assert!(verified.has_type(&["test+jwt"], false));
        assert_eq!(verified.text("sub").unwrap(), Some("x"));
        assert!(verify(&other).is_err());
    }

    #[test]
    fn a_spoilt_key_is_refused() {
        let text = std::str::from_utf8(STANDARD).unwrap();
        for (from, to) in [
            ("OKP", "EC"),
            ("Ed25519", "X25519"),
            ("nWGx", "nWGy"),
            ("11qY", "11qZ"),
            ("\"d\"", "\"e\""),
            ("f2A\"", "f\""),
        ] {
            let spoilt = text.replacen(from, to, 1);
            assert_ne!(spoilt, text);
            assert!(Ed25519Key::from_private_jwk(spoilt.as_bytes()).is_err(), "{from}");
        }
        assert!(Ed25519Key::from_private_jwk(b"").is_err());
    }
}
