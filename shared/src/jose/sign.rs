//! Signing keys: made and used by the authorization server only. josekit makes every key and signs RS256 and ES256;
//! ring signs EdDSA, half again as fast as OpenSSL (docs/decisions/0003).

use std::fmt;

use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jwk::alg::ed::EdCurve;
use josekit::jws::{ES256, JwsSigner, RS256};
use ring::signature::Ed25519KeyPair;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Algorithm, compact, decode_base64url, thumbprint};

/// A key could not be made, read or used. The text names no key material.
#[derive(Debug, thiserror::Error)]
pub enum SigningFault {
    /// Only EdDSA, ES256 and RS256 are signed here.
    #[error("{0} is not among the algorithms that are signed here")]
    Unsupported(Algorithm),
    /// The cryptographic library refused.
    #[error("the signing key cannot be {0}")]
    Library(&'static str),
}

/// A private key with everything that signing a token needs, prepared once.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    public_jwk: Map<String, Value>,
    signer: Signer,
    /// The protected header of access tokens, already base64url (RFC 9068 §2.1).
    access_token_header: String,
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    Josekit(Box<dyn JwsSigner + Send + Sync>),
}

impl SigningKey {
    /// Makes a key and returns its private JWK as JSON. RSA takes some 30 ms and more: not on an async thread.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, SigningFault> {
        let made = match algorithm {
            Algorithm::EdDSA => Jwk::generate_ed_key(EdCurve::Ed25519),
            Algorithm::ES256 => Jwk::generate_ec_key(EcCurve::P256),
            Algorithm::RS256 => Jwk::generate_rsa_key(2048),
            other => return Err(SigningFault::Unsupported(other)),
        };
        let jwk = made.map_err(|_| SigningFault::Library("made"))?;
        serde_json::to_vec(jwk.as_ref())
            .map(Zeroizing::new)
            .map_err(|_| SigningFault::Library("written"))
    }

    /// Prepares the private JWK that [`Self::generate`] made. The `kid` is its RFC 7638 thumbprint.
    pub fn from_private_jwk(algorithm: Algorithm, private_jwk: &[u8]) -> Result<Self, SigningFault> {
        let unreadable = SigningFault::Library("read");
        let members: Map<String, Value> =
            serde_json::from_slice(private_jwk).map_err(|_| SigningFault::Library("read"))?;
        let mut public_jwk = public_members(algorithm, &members).ok_or(unreadable)?;
        let kid = thumbprint(&public_jwk).ok_or(SigningFault::Library("read"))?;
        let signer = match algorithm {
            Algorithm::EdDSA => Signer::Ed25519(ed25519(&members)?),
            _ => {
                let jwk = Jwk::from_map(members).map_err(|_| SigningFault::Library("read"))?;
                let signer = match algorithm {
                    Algorithm::ES256 => ES256
                        .signer_from_jwk(&jwk)
                        .map(|s| Box::new(s) as Box<dyn JwsSigner + Send + Sync>),
                    Algorithm::RS256 => RS256
                        .signer_from_jwk(&jwk)
                        .map(|s| Box::new(s) as Box<dyn JwsSigner + Send + Sync>),
                    other => return Err(SigningFault::Unsupported(other)),
                };
                Signer::Josekit(signer.map_err(|_| SigningFault::Library("used"))?)
            }
        };
        // josekit's own to_public_key() would drop these three.
        public_jwk.insert("kid".to_owned(), json!(kid));
        public_jwk.insert("alg".to_owned(), json!(algorithm.as_str()));
        public_jwk.insert("use".to_owned(), json!("sig"));
        Ok(Self {
            access_token_header: compact::header("at+jwt", algorithm, &kid),
            kid,
            algorithm,
            public_jwk,
            signer,
        })
    }

    /// The thumbprint by which tokens name this key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm of the key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as it is published.
    pub fn public_jwk(&self) -> &Map<String, Value> {
        &self.public_jwk
    }

    /// Signs `claims` (a JSON object) as an access token in compact serialization (RFC 7515 §7.1).
    pub fn sign_access_token(&self, claims: &[u8]) -> Result<String, SigningFault> {
        self.sign(&self.access_token_header, claims)
    }

    /// Signs `claims` as a JWT of another type: `JWT` for an ID token. Types keep tokens from being taken for one
    /// another (RFC 8725 §3.11), so none of ours goes without.
    pub fn sign_jwt(&self, typ: &str, claims: &[u8]) -> Result<String, SigningFault> {
        self.sign(&compact::header(typ, self.algorithm, &self.kid), claims)
    }

    fn sign(&self, header: &str, claims: &[u8]) -> Result<String, SigningFault> {
        compact::jwt(header, claims, |input| match &self.signer {
            Signer::Ed25519(pair) => Ok(pair.sign(input).as_ref().to_vec()),
            Signer::Josekit(signer) => signer.sign(input).map_err(|_| SigningFault::Library("used")),
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm, self.kid)
    }
}

/// The members that RFC 7638 §3.2 and RFC 8037 §2 require of the public key, in alphabetical order.
fn public_members(algorithm: Algorithm, private: &Map<String, Value>) -> Option<Map<String, Value>> {
    let names: &[&str] = match algorithm {
        Algorithm::EdDSA => &["crv", "kty", "x"],
        Algorithm::ES256 => &["crv", "kty", "x", "y"],
        _ => &["e", "kty", "n"],
    };
    names
        .iter()
        .map(|name| Some(((*name).to_owned(), private.get(*name)?.clone())))
        .collect()
}

fn ed25519(private: &Map<String, Value>) -> Result<Ed25519KeyPair, SigningFault> {
    let member = |name| {
        private
            .get(name)
            .and_then(Value::as_str)
            .and_then(decode_base64url)
    };
    let (seed, public) = member("d")
        .map(Zeroizing::new)
        .zip(member("x"))
        .ok_or(SigningFault::Library("read"))?;
    Ed25519KeyPair::from_seed_and_public_key(&seed, &public).map_err(|_| SigningFault::Library("read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::KeySet;

    #[test]
    fn what_is_signed_verifies_with_the_published_key_and_no_other() {
        for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
            let key =
                SigningKey::from_private_jwk(algorithm, &SigningKey::generate(algorithm).unwrap()).unwrap();
            let set = KeySet::parse(json!({"keys": [key.public_jwk()]}).to_string().as_bytes()).unwrap();
            let token = key.sign_access_token(br#"{"sub":"x"}"#).unwrap();
            let (input, signature) = token.rsplit_once('.').unwrap();
            let signature = decode_base64url(signature).unwrap();
            let public = set.find(key.kid()).unwrap();
            assert_eq!(public.algorithm(), algorithm);
            assert!(public.verifies(input.as_bytes(), &signature));
            assert!(!public.verifies(b"other", &signature));
            assert!(!key.public_jwk().contains_key("d"));
        }
    }

    #[test]
    fn another_jwt_names_its_type_algorithm_and_key() {
        let private = SigningKey::generate(Algorithm::ES256).unwrap();
        let key = SigningKey::from_private_jwk(Algorithm::ES256, &private).unwrap();
        let token = key.sign_jwt("JWT", br#"{"sub":"x"}"#).unwrap();
        let header = decode_base64url(token.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header, json!({"typ": "JWT", "alg": "ES256", "kid": key.kid()}));
    }
}
