//! A client that has a key and signs proofs with it (RFC 9449).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use shared::jose::{sha256_base64url, thumbprint};

use super::{AUDIENCE, NOW};

/// A client with a key.
pub(crate) struct Holder(Ed25519KeyPair);

impl Holder {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.0.public_key())})
    }

    /// What stands in the `cnf` of its tokens.
    pub(crate) fn confirmation(&self) -> Value {
        json!({"jkt": thumbprint(self.jwk().as_object().unwrap()).unwrap()})
    }

    /// A good proof for `token`, but for `change`.
    pub(crate) fn proof(&self, token: &str, jti: &str, change: impl FnOnce(&mut Value)) -> String {
        let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self.jwk()});
        let ath = sha256_base64url(token.as_bytes());
        let mut claims = json!({"jti": jti, "htm": "POST", "htu": AUDIENCE, "iat": NOW.0, "ath": ath});
        change(&mut claims);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
