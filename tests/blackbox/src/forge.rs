//! Keys and tokens of our own making, good and bad, written from RFC 7515, 7517, 7518, 8037 and 9068.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

/// A signing key with its key id.
pub struct Key {
    /// The key id in header and key set.
    pub kid: String,
    pair: Pair,
}

enum Pair {
    /// With its seed.
    Ed(Ed25519KeyPair, [u8; 32]),
    Ec(Box<EcdsaKeyPair>),
    Ec384(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>, &'static str),
}

impl Key {
    /// A new Ed25519 key.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn ed25519(kid: &str) -> Self {
        let mut seed = [0; 32];
        random().fill(&mut seed).unwrap();
        Self {
            kid: kid.into(),
            pair: Pair::Ed(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap(), seed),
        }
    }

    /// Seed and public half of an Ed25519 key, as libp2p takes it.
    ///
    /// # Panics
    /// When it is a key of another kind.
    #[must_use]
    pub fn ed25519_bytes(&self) -> [u8; 64] {
        let Pair::Ed(pair, seed) = &self.pair else {
            panic!("{} is no Ed25519 key", self.kid)
        };
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(seed);
        bytes[32..].copy_from_slice(pair.public_key().as_ref());
        bytes
    }

    /// A new P-256 key.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn p256(kid: &str) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random()).unwrap();
        Self {
            kid: kid.into(),
            pair: Pair::Ec(Box::new(pair)),
        }
    }

    /// A new P-384 key.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn p384(kid: &str) -> Self {
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random()).unwrap();
        Self {
            kid: kid.into(),
            pair: Pair::Ec384(Box::new(pair)),
        }
    }

    /// The RSA key of `keys/rsa-2048.pem` (ring does not make RSA keys).
    ///
    /// # Panics
    /// When the file is broken.
    #[must_use]
    pub fn rsa(kid: &str) -> Self {
        Self::rsa_for(kid, "RS256")
    }

    /// The same key for another algorithm, `PS384` for example.
    ///
    /// # Panics
    /// When the file is broken.
    #[must_use]
    pub fn rsa_for(kid: &str, algorithm: &'static str) -> Self {
        let text = include_str!("../keys/rsa-2048.pem");
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
        Self {
            kid: kid.into(),
            pair: Pair::Rsa(Box::new(pair), algorithm),
        }
    }

    /// The algorithm's name in JOSE.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed(..) => "EdDSA",
            Pair::Ec(_) => "ES256",
            Pair::Ec384(_) => "ES384",
            Pair::Rsa(_, algorithm) => algorithm,
        }
    }

    /// The public key as a JWK for signatures.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ed(pair, _) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())}),
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            Pair::Ec384(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-384", "x": encode(&point[1..49]), "y": encode(&point[49..])})
            }
            Pair::Rsa(pair, _) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": encode(public.n), "e": encode(public.e)})
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    /// The public key's bytes, which an attacker might use as an HMAC secret.
    #[must_use]
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ed(pair, _) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) | Pair::Ec384(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair, _) => pair.public().as_ref().to_vec(),
        }
    }

    /// The header of a good access token of this key (RFC 9068 §2.1).
    #[must_use]
    pub fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": self.algorithm(), "kid": self.kid})
    }

    /// A token with the good header.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// A token with any header.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// A token from texts that need not be JSON at all.
    #[must_use]
    pub fn sign_texts(&self, header: &str, claims: &str) -> String {
        self.sign_raw(&format!("{}.{}", encode(header), encode(claims)))
    }

    /// Signs what stands before the last dot, whatever it is.
    ///
    /// # Panics
    /// When signing fails.
    #[must_use]
    pub fn sign_raw(&self, input: &str) -> String {
        let bytes = input.as_bytes();
        let signature = match &self.pair {
            Pair::Ed(pair, _) => pair.sign(bytes).as_ref().to_vec(),
            Pair::Ec(pair) | Pair::Ec384(pair) => pair.sign(&random(), bytes).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair, algorithm) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn RsaEncoding = match *algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                pair.sign(padding, &random(), bytes, &mut signature).unwrap();
                signature
            }
        };
        format!("{input}.{}", encode(signature))
    }
}

/// A key set of these keys.
#[must_use]
pub fn key_set(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

/// An HS256 token, with whatever bytes as the secret.
#[must_use]
pub fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    hmac(ring::hmac::HMAC_SHA256, header, claims, secret)
}

/// A token with an HMAC, with whatever bytes as the secret and whatever the header says.
#[must_use]
pub fn hmac(hash: ring::hmac::Algorithm, header: &Value, claims: &Value, secret: &[u8]) -> String {
    let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let key = ring::hmac::Key::new(hash, secret);
    format!("{input}.{}", encode(ring::hmac::sign(&key, input.as_bytes())))
}

/// The claims of a good access token (RFC 9068 §2.2), alive for ten minutes.
#[must_use]
pub fn claims(issuer: &str, audience: &str) -> Value {
    let now = now();
    json!({
        "iss": issuer, "aud": audience, "sub": "client:c1", "client_id": "c1", "jti": fresh_id(),
        "iat": now, "exp": now + 600, "scope": "mcp:read mcp:call mcp:resources mcp:subscribe",
    })
}

/// `base` with one member replaced, or removed by null.
#[must_use]
pub fn with(base: &Value, name: &str, value: Value) -> Value {
    let mut changed = base.clone();
    if let Some(members) = changed.as_object_mut() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.into(), value);
        }
    }
    changed
}

/// Base64url without padding (RFC 7515 §2).
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The JSON of a token's part: 0 the header, 1 the claims.
///
/// # Panics
/// When the token has no such part, or it is not JSON.
#[must_use]
pub fn part(token: &str, index: usize) -> Value {
    let text = token
        .split('.')
        .nth(index)
        .unwrap_or_else(|| panic!("no part {index} in the token"));
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// Seconds since 1970.
///
/// # Panics
/// When the clock stands before 1970.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests live outside the programs and have their own clock"
)]
pub fn now() -> i64 {
    let elapsed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(elapsed.as_secs()).unwrap()
}

/// 128 random bits as text.
///
/// # Panics
/// When the system has no randomness.
#[must_use]
pub fn fresh_id() -> String {
    let mut bytes = [0; 16];
    random().fill(&mut bytes).unwrap();
    encode(bytes)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests forge their keys outside the programs"
)]
fn random() -> SystemRandom {
    SystemRandom::new()
}
