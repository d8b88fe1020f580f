//! Tokens of ours that come back: to be introspected or revoked.

use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use shared::access_token::{Expectation, Shape, UnverifiedToken, VerifiedClaims};
use shared::clock::UnixSeconds;
use shared::secret::SecretKind;

use crate::app::App;
use crate::client::authenticate;
use crate::error::Failure;
use crate::keys::ALGORITHMS;

/// The parameters of the endpoints that take a token of ours (RFC 7662 §2.1, RFC 7009 §2.1).
pub(super) const PARAMETERS: [&str; 6] = [
    "token",
    "token_type_hint",
    authenticate::PARAMETERS[0],
    authenticate::PARAMETERS[1],
    authenticate::PARAMETERS[2],
    authenticate::PARAMETERS[3],
];

/// How far the clocks of our instances may differ. A revocation that arrives at an instance whose clock is behind, or
/// ahead, of the one that minted the token must still find it: its 200 is a promise (RFC 7009 §2.2).
pub(super) const CLOCKS: Duration = Duration::from_secs(60);

/// A token of ours whose signature has been checked.
pub(crate) struct OwnToken {
    claims: Arc<VerifiedClaims>,
    /// The key that signed it. When that is taken out, so is the token.
    kid: Box<str>,
}

/// Whether `token` is a refresh token by its looks. Everything else is taken for an access token: hints are not
/// needed (RFC 7009 §2.1).
pub(super) fn is_refresh_token(token: &str) -> bool {
    token.starts_with(SecretKind::RefreshToken.prefix())
}

/// The claims of `token` if we signed it and it has not been expired for longer than clocks may differ. Whether it
/// is current to the second, and whether it was revoked, are other questions.
pub(crate) async fn verify(
    app: &App,
    token: &str,
    now: UnixSeconds,
) -> Result<Option<Arc<VerifiedClaims>>, Failure> {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    let keys = app.keys().await?;
    if let Some(known) = app.verified.get(&key) {
        let counts = keys.published.find(&known.kid).is_some() && known.claims.is_current(now, CLOCKS);
        return Ok(counts.then(|| Arc::clone(&known.claims)));
    }
    let Ok(unverified) = UnverifiedToken::parse(token) else {
        return Ok(None);
    };
    let (Some(audience), Some(signer)) = (
        unverified.claimed_audience(),
        unverified.kid().and_then(|kid| keys.published.find(kid)),
    ) else {
        return Ok(None);
    };
    let expectation = expectation(app.config.issuer.as_str(), audience);
    match unverified.verify(signer, &expectation, now) {
        Ok(claims) => {
            let claims = Arc::new(claims);
            let known = OwnToken {
                claims: Arc::clone(&claims),
                kid: signer.kid().into(),
            };
            app.verified.insert(key, Arc::new(known));
            Ok(Some(claims))
        }
        Err(fault) => {
            tracing::debug!(check = %fault.check, reason = fault.reason, "a token is not an active one of ours");
            Ok(None)
        }
    }
}

fn expectation(issuer: &str, audience: &str) -> Expectation {
    Expectation {
        issuer: issuer.into(),
        // Whoever the token is for: our own signature vouches for it.
        audience: audience.into(),
        algorithms: ALGORITHMS.to_vec(),
        leeway: CLOCKS,
        shape: Shape::EdgeHive,
        clients: Vec::new(),
        scope_claim: None,
        scope_prefix: None,
        kept_claims: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use shared::access_token::Claims;
    use shared::jose::{Algorithm, KeySet, SigningKey};

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const ISSUER: &str = "https://as.example";
    const RESOURCE: &str = "https://rs.example/mcp";

    /// Whether an instance whose clock shows `now` knows a token of its sibling, minted at [`NOW`] for ten seconds.
    fn is_known_at(now: UnixSeconds) -> bool {
        let claims = Claims {
            iss: ISSUER,
            sub: "c_x",
            aud: RESOURCE,
            exp: NOW + Duration::from_secs(10),
            iat: NOW,
            jti: "j",
            client_id: "c_x",
            scope: "a",
            client_name: "x",
            client_type: "service",
            auth_time: None,
            cnf: None,
            act: None,
            authorization_details: None,
            status: None,
        };
        let private = SigningKey::generate(Algorithm::EdDSA).unwrap();
        let key = SigningKey::from_private_jwk(Algorithm::EdDSA, &private).unwrap();
        let document = serde_json::json!({ "keys": [key.public_jwk()] }).to_string();
        let set = KeySet::parse(document.as_bytes()).unwrap();
        let token = key
            .sign_access_token(&serde_json::to_vec(&claims).unwrap())
            .unwrap();
        let unverified = UnverifiedToken::parse(&token).unwrap();
        let signer = set.find(unverified.kid().unwrap()).unwrap();
        unverified
            .verify(signer, &expectation(ISSUER, RESOURCE), now)
            .is_ok()
    }

    #[test]
    fn an_instance_whose_clock_differs_a_little_still_knows_the_token() {
        assert!(is_known_at(NOW));
        assert!(is_known_at(NOW - CLOCKS));
        assert!(is_known_at(NOW + Duration::from_secs(10 + 59)));
        assert!(!is_known_at(NOW - CLOCKS - Duration::from_secs(1)));
        assert!(!is_known_at(NOW + Duration::from_secs(10) + CLOCKS));
    }
}
