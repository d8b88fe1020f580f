//! Proofs of possession (DPoP), good and bad, written from RFC 9449 §4.2 and RFC 7638.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use xtask::http::{Answer, Request};
use xtask::journey::modern;

use crate::forge::{self, Key, encode};

/// A client's key, and the proofs that it makes.
pub struct Holder(Key);

impl Holder {
    /// With a new P-256 key, as most clients have.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Key::p256("proof"))
    }

    /// With a new Ed25519 key.
    #[must_use]
    pub fn ed25519() -> Self {
        Self(Key::ed25519("proof"))
    }

    /// The public key without anything that a proof does not need.
    ///
    /// # Panics
    /// Never: a JWK is an object.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.0.jwk();
        jwk.as_object_mut()
            .unwrap()
            .retain(|name, _| !matches!(name.as_str(), "kid" | "use" | "alg"));
        jwk
    }

    /// RFC 7638 §3: what stands in `cnf.jkt` and `dpop_jkt`.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // RFC 7638 §3.3: members in alphabetical order, whatever order serde_json was built to keep; no white space.
        let mut jwk = self.jwk();
        jwk.sort_all_objects();
        encode(digest(&SHA256, jwk.to_string().as_bytes()))
    }

    /// A good proof for a request without access token.
    #[must_use]
    pub fn proof(&self, method: &str, url: &str) -> String {
        self.spoilt(method, url, |_, _| {})
    }

    /// A good proof for a request that shows `token`.
    #[must_use]
    pub fn proof_for(&self, method: &str, url: &str, token: &str) -> String {
        self.spoilt(method, url, |_, claims| claims["ath"] = json!(ath(token)))
    }

    /// A proof that is good but for `change` of its header and claims.
    #[must_use]
    pub fn spoilt(&self, method: &str, url: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": self.0.algorithm(), "jwk": self.jwk()});
        let mut claims = json!({"jti": forge::fresh_id(), "htm": method, "htu": url, "iat": forge::now()});
        change(&mut header, &mut claims);
        self.0.sign(&header, &claims)
    }

    /// Calls `get_status` with a token and a good proof.
    #[must_use]
    pub fn call(&self, node: &str, token: &str) -> Answer {
        call(
            node,
            &format!("DPoP {token}"),
            &[&self.proof_for("POST", node, token)],
        )
    }
}

/// RFC 9449 §4.2: the hash of a token that a proof names.
#[must_use]
pub fn ath(token: &str) -> String {
    encode(digest(&SHA256, token.as_bytes()))
}

/// Calls `get_status` with these two headers.
///
/// # Panics
/// When nobody answers.
#[must_use]
pub fn call(node: &str, authorization: &str, proofs: &[&str]) -> Answer {
    let parameters = json!({"name": "get_status", "arguments": {}});
    let request = modern(node, "tools/call", parameters)
        .unwrap()
        .header("Mcp-Name", "get_status")
        .header("Authorization", authorization);
    with_proofs(request, proofs).send().unwrap()
}

/// The request with a `DPoP` header for each proof.
#[must_use]
pub fn with_proofs(request: Request, proofs: &[&str]) -> Request {
    proofs
        .iter()
        .fold(request, |request, proof| request.header("DPoP", proof))
}
