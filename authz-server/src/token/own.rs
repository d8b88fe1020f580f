//! Tokens of ours that come back: to be introspected or revoked.

use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use shared::access_token::{Expectation, UnverifiedToken, VerifiedClaims};
use shared::clock::UnixSeconds;

use crate::app::App;
use crate::error::Failure;
use crate::keys::ALGORITHMS;

/// The claims of `token` if we signed it and it has not expired; whether it was revoked is another question.
pub(super) async fn verify(
    app: &App,
    token: &str,
    now: UnixSeconds,
) -> Result<Option<Arc<VerifiedClaims>>, Failure> {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    if let Some(claims) = app.verified.get(&key) {
        return Ok(Some(claims).filter(|claims| claims.is_current(now, Duration::ZERO)));
    }
    let keys = app.keys().await?;
    let Ok(unverified) = UnverifiedToken::parse(token) else {
        return Ok(None);
    };
    let (Some(audience), Some(signer)) = (
        unverified.claimed_audience(),
        keys.published.find(unverified.kid()),
    ) else {
        return Ok(None);
    };
    let expectation = Expectation {
        issuer: app.config.issuer.as_str().to_owned(),
        // Whoever the token is for: our own signature vouches for it.
        audience: audience.to_owned(),
        algorithms: ALGORITHMS.to_vec(),
        // The clock that wrote the times is the one that reads them, or one beside it that may run ahead a little.
        leeway: Duration::ZERO,
        single_audience: true,
        scope_claims: Vec::new(),
    };
    match unverified.verify(signer, &expectation, now) {
        Ok(claims) => {
            let claims = Arc::new(claims);
            app.verified.insert(key, Arc::clone(&claims));
            Ok(Some(claims))
        }
        Err(fault) => {
            tracing::debug!(check = %fault.check, reason = fault.reason, "a token is not an active one of ours");
            Ok(None)
        }
    }
}
