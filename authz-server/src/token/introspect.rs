//! Token introspection (RFC 7662). One function decides whether the caller may know; whoever may not gets the same
//! answer as for a token that never was.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use shared::access_token::VerifiedClaims;
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};

use super::own;
use crate::app::App;
use crate::client::Client;
use crate::client::authenticate::authenticate;
use crate::error::{self, Failure};
use crate::params::{MAX_FORM_BYTES, Params};

/// The answer for an active token (RFC 7662 §2.2).
#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: UnixSeconds,
    iat: UnixSeconds,
    jti: &'a str,
    client_id: &'a str,
    scope: String,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_type: Option<&'a str>,
}

/// `POST /oauth/introspect`.
pub(crate) async fn introspect(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let answered = look(&app, &request, body).await;
    answered.unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

async fn look(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let body = ::web::body::read(request, body, MAX_FORM_BYTES).await?;
    let mut params = Params::form(request, &body, &own::PARAMETERS)?;
    let now = clock::now();
    app.catch_up().await?;
    let caller = authenticate(app, request, &mut params, now).await?;
    if caller.is_public() {
        let refusal = OAuthError::new(ErrorCode::InvalidClient, "client authentication failed");
        return Err(refusal.because("a public client may not introspect").into());
    }
    let token = params
        .take("token")
        .ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "token is missing"))?;
    let claims = match own::verify(app, &token, now).await? {
        Some(claims)
            if is_active(app, &claims, now).await? && may_know(app, caller.client(), &claims).await? =>
        {
            Some(claims)
        }
        _ => None,
    };
    answer(claims.as_ref())
}

/// Whether the token still stands: not expired, not revoked, its client neither, its resource still registered.
async fn is_active(app: &App, claims: &VerifiedClaims, now: UnixSeconds) -> Result<bool, Failure> {
    if !claims.is_current(now, Duration::ZERO) {
        return Ok(false);
    }
    let Some(client) = app.client(claims.client_id()).await? else {
        return Ok(false);
    };
    if !client.honours(claims.issued_at()) || app.is_revoked(claims.token_id()).await? {
        return Ok(false);
    }
    let resources = app.resources().await?;
    Ok(resources.find(claims.audience()).is_some_and(|resource| {
        // A resource that was forgotten and registered again is another one.
        resource.uri == claims.audience() && claims.issued_at() + own::CLOCKS >= resource.created_at
    }))
}

/// A client may ask about its own tokens, and a resource server about those that are for it.
async fn may_know(app: &App, caller: &Client, claims: &VerifiedClaims) -> Result<bool, Failure> {
    if caller.client_id == claims.client_id() {
        return Ok(true);
    }
    let resources = app.resources().await?;
    let resource = resources.find(claims.audience());
    Ok(resource.is_some_and(|resource| resource.client_id.as_deref() == Some(&caller.client_id)))
}

fn answer(claims: Option<&Arc<VerifiedClaims>>) -> Result<HttpResponse, Failure> {
    let body = match claims {
        None => br#"{"active":false}"#.to_vec(),
        Some(claims) => {
            let active = Active {
                active: true,
                iss: claims.issuer(),
                sub: claims.subject(),
                aud: claims.audience(),
                exp: claims.expires_at(),
                iat: claims.issued_at(),
                jti: claims.token_id(),
                client_id: claims.client_id(),
                scope: claims.scope().to_string(),
                token_type: "Bearer",
                client_name: claims.client_name(),
                client_type: claims.client_type(),
            };
            serde_json::to_vec(&active).map_err(|e| Failure::Internal(e.to_string()))?
        }
    };
    let mut response = HttpResponse::Ok();
    Ok(response
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body))
}
