//! What a request must show before anything is done for it.

use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

use super::{Refused, Shared};
use crate::forge;

/// What a signed request is worth.
pub(super) struct Signed {
    /// The account; `None` for one that shows its key.
    pub(super) account: Option<usize>,
    pub(super) point: Vec<u8>,
    pub(super) thumbprint: String,
    pub(super) payload: Vec<u8>,
}

impl Shared {
    /// RFC 8555 §6.2 to §6.5.
    pub(super) fn verified(&self, path: &str, body: &[u8]) -> Result<Signed, Refused> {
        let bad = |kind: &'static str, detail: &str| (400, kind, detail.to_owned());
        let jws: Value = serde_json::from_slice(body).map_err(|_| bad("malformed", "no JSON"))?;
        let text = |name: &str| jws[name].as_str().unwrap_or_default().to_owned();
        let (protected, payload) = (text("protected"), text("payload"));
        let header: Value =
            serde_json::from_slice(&decode(&protected)).map_err(|_| bad("malformed", "no header"))?;
        if header["alg"] != "ES256" {
            return Err(bad("badSignatureAlgorithm", "ES256 only"));
        }
        if header["url"] != format!("{}{path}", self.url) {
            return Err((401, "unauthorized", "the URL is another".to_owned()));
        }
        let mut state = self.lock();
        if !state.nonces.remove(header["nonce"].as_str().unwrap_or_default()) {
            return Err(bad("badNonce", "not a nonce of ours, or not any more"));
        }
        let (account, point, thumbprint) = match (header["kid"].as_str(), &header["jwk"]) {
            (Some(kid), Value::Null) => {
                let number = kid
                    .rsplit('/')
                    .next()
                    .and_then(|number| number.parse::<usize>().ok());
                let known = number.and_then(|number| Some((number, state.accounts.get(number)?.clone())));
                let (number, (point, thumbprint)) =
                    known.ok_or_else(|| bad("accountDoesNotExist", "no such account"))?;
                (Some(number), point, thumbprint)
            }
            (None, jwk) => {
                let member = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
                let (x, y) = (member("x"), member("y"));
                let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
                let thumbprint = forge::encode(digest(&SHA256, canonical.as_bytes()));
                (None, [&[4][..], &decode(&x), &decode(&y)].concat(), thumbprint)
            }
            _ => return Err(bad("malformed", "kid and jwk exclude each other")),
        };
        let input = format!("{protected}.{payload}");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
            .verify(input.as_bytes(), &decode(&text("signature")))
            .map_err(|_| bad("malformed", "the signature is wrong"))?;
        Ok(Signed {
            account,
            point,
            thumbprint,
            payload: decode(&payload),
        })
    }
}

pub(super) fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap_or_default()
}
