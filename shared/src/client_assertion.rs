//! What a client signs to prove to an authorization server who it is (RFC 7523 §2.2, §3).

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::UnixSeconds;
use crate::jose::sha256_base64url;
use crate::secret::{NoRandomness, random_bytes};

/// `client_assertion_type` (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// An assertion is made for one request and shown at once.
const LIFE: Duration = Duration::from_secs(60);

/// The claims of a fresh assertion of `client_id` for `audience`, good once.
///
/// # Errors
/// When the system gives no randomness.
pub fn claims(client_id: &str, audience: &str, now: UnixSeconds) -> Result<Value, NoRandomness> {
    Ok(json!({
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": now,
        "exp": now + LIFE,
        "jti": sha256_base64url(&random_bytes::<32>()?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_speaks_of_its_client_for_a_minute_and_is_never_the_same() {
        let now = UnixSeconds(1_800_000_000);
        let [one, other] = [(); 2].map(|()| claims("c_x", "https://as.example", now).unwrap());
        assert_eq!((&one["iss"], &one["sub"]), (&json!("c_x"), &json!("c_x")));
        assert_eq!(one["aud"], "https://as.example");
        assert_eq!((&one["iat"], &one["exp"]), (&json!(now.0), &json!(now.0 + 60)));
        assert_ne!(one["jti"], other["jti"]);
    }
}
