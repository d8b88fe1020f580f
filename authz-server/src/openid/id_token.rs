//! The ID token (OpenID Connect Core §2): that a person signed in, told to one client.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::Serialize;
use shared::clock::UnixSeconds;

use super::ID_TOKEN_ALGORITHM;
use crate::error::Failure;
use crate::keys::KeyRing;

/// A client reads it once, when it gets it.
const LIFE: Duration = Duration::from_secs(3600);

/// Who signed in, when and how, and who is told.
#[derive(Debug)]
pub(crate) struct SignIn<'a> {
    pub(crate) subject: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) auth_time: UnixSeconds,
    /// Space separated (RFC 8176).
    pub(crate) methods: &'a str,
    /// Of the authorization request.
    pub(crate) nonce: Option<&'a str>,
}

/// The claims of OpenID Connect Core §2 and, for the code flow, §3.1.3.6.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    azp: &'a str,
    exp: UnixSeconds,
    iat: UnixSeconds,
    auth_time: UnixSeconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    at_hash: String,
    amr: Vec<&'a str>,
}

/// Mints the ID token that goes with `access_token`.
pub(crate) fn mint(
    keys: &KeyRing,
    issuer: &str,
    sign_in: &SignIn<'_>,
    access_token: &str,
    now: UnixSeconds,
) -> Result<String, Failure> {
    let signer = keys
        .signer(ID_TOKEN_ALGORITHM)
        .ok_or_else(|| Failure::Internal(format!("there is no {ID_TOKEN_ALGORITHM} key")))?;
    let claims = Claims {
        iss: issuer,
        sub: sign_in.subject,
        aud: sign_in.client_id,
        azp: sign_in.client_id,
        exp: now + LIFE,
        iat: now,
        auth_time: sign_in.auth_time,
        nonce: sign_in.nonce,
        at_hash: at_hash(access_token),
        amr: sign_in.methods.split(' ').filter(|m| !m.is_empty()).collect(),
    };
    let claims = serde_json::to_vec(&claims).map_err(|e| Failure::Internal(e.to_string()))?;
    signer
        .sign_jwt("JWT", &claims)
        .map_err(|e| Failure::Internal(e.to_string()))
}

/// The left half of the hash that goes with RS256 (OpenID Connect Core §3.1.3.6).
fn at_hash(access_token: &str) -> String {
    let hash = digest(&SHA256, access_token.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_hash_is_that_of_the_standard() {
        // OpenID Connect Core, appendix A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(at_hash(token), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
