//! A private key of this program by which it proves who it is to an authorization server (RFC 7523 §2.2). Signed by
//! ring: a node has no other library.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Algorithm, compact, decode_base64url, thumbprint};
use crate::json;
use crate::secret::system_random;

/// A key could not be read or used. The text names no key material.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClientKeyFault {
    /// Neither a PEM file with `PRIVATE KEY` nor a private JWK.
    #[error(
        "it is no private key: write PKCS #8 in PEM (BEGIN PRIVATE KEY), or a private JWK, of Ed25519 or P-256"
    )]
    Unreadable,
    /// The library gave no signature.
    #[error("the key cannot be used")]
    Unusable,
}

/// An Ed25519 or P-256 key.
pub struct ClientKey {
    kid: String,
    public_jwk: Map<String, Value>,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl ClientKey {
    /// Reads a PEM file (PKCS #8) or a private JWK. Its name is the `kid` of the JWK, else the thumbprint (RFC 7638).
    pub fn read(file: &[u8]) -> Result<Self, ClientKeyFault> {
        let unreadable = ClientKeyFault::Unreadable;
        let (pair, kid) = match json::object(file) {
            Ok(jwk) => {
                let kid = jwk
                    .get("kid")
                    .map(|kid| kid.as_str().filter(|kid| !kid.is_empty()));
                let named = match kid {
                    None => None,
                    Some(kid) => Some(kid.ok_or(unreadable)?.to_owned()),
                };
                (from_jwk(&jwk)?, named)
            }
            Err(_) => {
                let der = PrivatePkcs8KeyDer::from_pem_slice(file).map_err(|_| unreadable)?;
                (from_pkcs8(der.secret_pkcs8_der())?, None)
            }
        };
        let public_jwk = pair.public_jwk();
        let kid = kid.or_else(|| thumbprint(&public_jwk)).ok_or(unreadable)?;
        Ok(Self {
            kid,
            public_jwk,
            pair,
        })
    }

    /// The name by which the authorization server knows the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ed25519(_) => Algorithm::EdDSA,
            Pair::P256(_) => Algorithm::ES256,
        }
    }

    /// The public key as a member of a JWK set, for registering it.
    pub fn public_jwk(&self) -> Map<String, Value> {
        let mut jwk = self.public_jwk.clone();
        for (name, value) in [
            ("kid", self.kid.as_str()),
            ("alg", self.algorithm().as_str()),
            ("use", "sig"),
        ] {
            jwk.insert(name.to_owned(), json!(value));
        }
        jwk
    }

    /// Signs `claims` as a JWT of type `typ`, in compact form (RFC 7515 §7.1).
    pub fn sign(&self, typ: &str, claims: &Value) -> Result<String, ClientKeyFault> {
        let header = compact::header(typ, self.algorithm(), &self.kid);
        compact::jwt(&header, claims.to_string().as_bytes(), |input| match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(input)),
            Pair::P256(pair) => pair
                .sign(&system_random(), input)
                .map_err(|_| ClientKeyFault::Unusable),
        })
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({} {})", self.algorithm(), self.kid)
    }
}

impl Pair {
    fn public_jwk(&self) -> Map<String, Value> {
        let members = match self {
            Self::Ed25519(pair) => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": URL_SAFE_NO_PAD.encode(pair.public_key())})
            }
            Self::P256(pair) => {
                // Uncompressed, `04 ‖ x ‖ y`.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"crv": "P-256", "kty": "EC", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
            }
        };
        members.as_object().cloned().unwrap_or_default()
    }
}

fn from_pkcs8(der: &[u8]) -> Result<Pair, ClientKeyFault> {
    // Without the public half too: openssl writes it so.
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(Pair::Ed25519(pair));
    }
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &system_random())
        .map(Pair::P256)
        .map_err(|_| ClientKeyFault::Unreadable)
}

fn from_jwk(jwk: &Map<String, Value>) -> Result<Pair, ClientKeyFault> {
    let unreadable = ClientKeyFault::Unreadable;
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| {
        let decoded = text(name).and_then(decode_base64url).map(Zeroizing::new);
        decoded.ok_or(unreadable)
    };
    match (text("kty"), text("crv")) {
        (Some("OKP"), Some("Ed25519")) => {
            Ed25519KeyPair::from_seed_and_public_key(&bytes("d")?, &bytes("x")?).map(Pair::Ed25519)
        }
        (Some("EC"), Some("P-256")) => {
            let point = [&[4][..], &bytes("x")?, &bytes("y")?].concat();
            EcdsaKeyPair::from_private_key_and_public_key(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                &bytes("d")?,
                &point,
                &system_random(),
            )
            .map(Pair::P256)
        }
        _ => return Err(unreadable),
    }
    .map_err(|_| unreadable)
}

#[cfg(test)]
mod tests {
    use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;
    use crate::jose::KeySet;

    /// RFC 8037 appendix A.1.
    fn ed() -> Value {
        json!({"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
               "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn verifies(key: &ClientKey) -> bool {
        let set = json!({"keys": [key.public_jwk()]}).to_string();
        let set = KeySet::parse(set.as_bytes()).unwrap();
        let token = key.sign("JWT", &json!({"iss": "node"})).unwrap();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let header = decode_base64url(token.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["kid"], key.kid());
        let public = set.find(key.kid()).unwrap();
        public.algorithm() == key.algorithm()
            && public.verifies(input.as_bytes(), &decode_base64url(signature).unwrap())
    }

    #[test]
    fn keys_in_pem_and_jwk_sign_what_their_public_half_verifies() {
        for (kind, algorithm) in [
            (&PKCS_ED25519, Algorithm::EdDSA),
            (&PKCS_ECDSA_P256_SHA256, Algorithm::ES256),
        ] {
            let pem = rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
            let key = ClientKey::read(pem.as_bytes()).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert!(verifies(&key));
            assert_eq!(
                format!("{key:?}"),
                format!("ClientKey({algorithm} {})", key.kid())
            );
        }
        let key = ClientKey::read(ed().to_string().as_bytes()).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert!(verifies(&key) && !key.public_jwk().contains_key("d"));
        let mut named = ed();
        named["kid"] = json!("node-1");
        assert_eq!(
            ClientKey::read(named.to_string().as_bytes()).unwrap().kid(),
            "node-1"
        );
        // RFC 7515 appendix A.3.1.
        let ec = json!({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"});
        assert!(verifies(&ClientKey::read(ec.to_string().as_bytes()).unwrap()));
    }

    #[test]
    fn what_is_no_key_of_ours_is_refused() {
        let p384 = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)
            .unwrap()
            .serialize_pem();
        let mut without_private = ed();
        without_private.as_object_mut().unwrap().remove("d");
        let mut other_public = ed();
        other_public["x"] = json!("PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
        let mut odd_kid = ed();
        odd_kid["kid"] = json!(7);
        for bad in [
            String::new(),
            "nonsense".to_owned(),
            p384,
            without_private.to_string(),
            other_public.to_string(),
            odd_kid.to_string(),
            json!({"kty": "oct", "k": "AAAA"}).to_string(),
        ] {
            assert_eq!(
                ClientKey::read(bad.as_bytes()).err(),
                Some(ClientKeyFault::Unreadable),
                "{bad}"
            );
        }
    }
}
