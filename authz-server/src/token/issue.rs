//! The single mint: every access token of this server is made here (RFC 9068).

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use shared::access_token::{Claims, MAX_TOKEN_BYTES};
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::random_bytes;

use super::{Permit, end_of};
use crate::app::App;
use crate::error::Failure;

/// A successful answer (RFC 6749 §5.1).
#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    scope: &'a str,
}

/// Mints the access token that `permit` allows and answers with it.
pub(super) async fn issue(app: &App, permit: &Permit, now: UnixSeconds) -> Result<HttpResponse, Failure> {
    let Permit {
        client,
        subject,
        scope,
        resource,
    } = permit;
    let keys = app.keys().await?;
    let signer = keys.signer(resource.algorithm);
    let signer =
        signer.ok_or_else(|| Failure::Internal(format!("there is no {} key", resource.algorithm)))?;
    let token_id = URL_SAFE_NO_PAD.encode(random_bytes::<16>()?);
    let scope = scope.to_string();
    let claims = Claims {
        iss: app.config.issuer.as_str(),
        sub: subject,
        aud: &resource.uri,
        exp: end_of(resource, now),
        iat: now,
        jti: &token_id,
        client_id: &client.client_id,
        scope: &scope,
        client_name: &client.name,
        client_type: client.client_type.as_str(),
    };
    let claims = serde_json::to_vec(&claims).map_err(|e| Failure::Internal(e.to_string()))?;
    let token = signer
        .sign_access_token(&claims)
        .map_err(|e| Failure::Internal(e.to_string()))?;
    if token.len() > MAX_TOKEN_BYTES {
        // Every node would refuse it.
        let refusal = OAuthError::new(
            ErrorCode::InvalidScope,
            "the scope makes the token too long; ask for less of it",
        );
        return Err(refusal.into());
    }
    tracing::debug!(
        client_id = client.client_id,
        resource = resource.uri,
        token_id,
        scope,
        "token issued"
    );
    let expires_in = resource.access_ttl.as_secs();
    let answer = TokenAnswer {
        access_token: &token,
        token_type: "Bearer",
        expires_in,
        scope: &scope,
    };
    let body = serde_json::to_vec(&answer).map_err(|e| Failure::Internal(e.to_string()))?;
    let mut response = HttpResponse::Ok();
    Ok(response
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body))
}
