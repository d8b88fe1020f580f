//! Signed JWTs in compact serialization (RFC 7515 §7.1), whatever signs them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::Algorithm;

/// A protected header (RFC 7515 §4), base64url.
pub(super) fn header(typ: &str, algorithm: Algorithm, kid: &str) -> String {
    let members = json!({"typ": typ, "alg": algorithm.as_str(), "kid": kid});
    URL_SAFE_NO_PAD.encode(members.to_string())
}

/// `claims`, a JSON object, behind a [`header`], as `sign` signs them.
pub(super) fn jwt<S: AsRef<[u8]>, E>(
    header: &str,
    claims: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<S, E>,
) -> Result<String, E> {
    // Header, claims in base64, the longest signature (RS256), two dots.
    let mut token = String::with_capacity(header.len() + claims.len() * 4 / 3 + 350);
    token.push_str(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}
