//! Token introspection (RFC 7662). One function decides whether the caller may know; whoever may not gets the same
//! answer as for a token that never was.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use shared::access_token::{Confirmation, VerifiedClaims};
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::Secret;

use super::family::{self, Granted};
use super::issue::token_type;
use super::request::GrantType;
use super::{introspection_jwt, own, parties};
use crate::app::App;
use crate::client::Client;
use crate::client::authenticate::authenticate;
use crate::db;
use crate::error::{self, Failure};
use crate::params::{MAX_FORM_BYTES, Params};
use crate::status_list::Place;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<&'a Confirmation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<&'a Value>,
}

/// The answer for an active refresh token: what a client may ask about its own.
#[derive(Serialize)]
struct ActiveRefreshToken<'a> {
    active: bool,
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    scope: String,
    iat: UnixSeconds,
    exp: UnixSeconds,
}

/// The answer for every token that is not active, or not the caller's business (RFC 7662 §2.2).
const INACTIVE: &[u8] = br#"{"active":false}"#;

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
    if own::is_refresh_token(&token) {
        let body = refresh_token(app, caller.client(), &Secret::from(token), now).await?;
        return respond(app, request, caller.client(), body, now).await;
    }
    let claims = match own::verify(app, &token, now).await? {
        Some(claims)
            if is_active(app, &claims, now).await? && may_know(app, caller.client(), &claims).await? =>
        {
            Some(claims)
        }
        _ => None,
    };
    let body = answer(claims.as_ref())?;
    respond(app, request, caller.client(), body, now).await
}

/// Whether the token still stands: not expired, not revoked, its client neither, its resource still registered.
pub(crate) async fn is_active(app: &App, claims: &VerifiedClaims, now: UnixSeconds) -> Result<bool, Failure> {
    if !claims.is_current(now, Duration::ZERO) {
        return Ok(false);
    }
    let Some(client) = app.client(claims.client_id()).await? else {
        return Ok(false);
    };
    if !client.honours(claims.issued_at())
        || app.is_revoked(claims.token_id()).await?
        || !parties::stand(app, claims, now).await?
        || ended_with_a_parent(app, claims).await?
    {
        return Ok(false);
    }
    let resources = app.resources().await?;
    Ok(resources.find(claims.audience()).is_some_and(|resource| {
        // A resource that was forgotten and registered again is another one.
        resource.uri == claims.audience() && claims.issued_at() + own::CLOCKS >= resource.created_at
    }))
}

/// Whether the bit of an exchanged token is set: not everything that it ends with stands in its `jti`, above all not the
/// token of whoever acts.
async fn ended_with_a_parent(app: &App, claims: &VerifiedClaims) -> Result<bool, Failure> {
    let was_exchanged = family::exchanges_behind(claims.token_id()) > 0;
    let Some(status) = claims.status().filter(|_| was_exchanged) else {
        return Ok(false);
    };
    match Place::named(&app.config.issuer, status) {
        Some(place) => Ok(db::status_list::is_set(&app.db, place.stored()).await?),
        None => Ok(false),
    }
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

/// The answer for an operator, who may know of any token.
pub(crate) async fn look_up(app: &App, token: Secret, now: UnixSeconds) -> Result<Vec<u8>, Failure> {
    if !own::is_refresh_token(token.reveal()) {
        let claims = match own::verify(app, token.reveal(), now).await? {
            Some(claims) if is_active(app, &claims, now).await? => Some(claims),
            _ => None,
        };
        return answer(claims.as_ref());
    }
    let known = db::refresh_token::find(&app.db, &token.hash(), now).await?;
    let client = match &known {
        Some(known) => app.client(&known.client_id).await?,
        None => None,
    };
    match client.filter(|client| !client.is_revoked) {
        Some(client) => refresh_token(app, &client, &token, now).await,
        None => Ok(INACTIVE.to_vec()),
    }
}

/// The answer for a refresh token: active for its own client alone, while it is the newest of a living family and a
/// refresh would give something. The scope is what it would give.
async fn refresh_token(
    app: &App,
    caller: &Client,
    token: &Secret,
    now: UnixSeconds,
) -> Result<Vec<u8>, Failure> {
    let found = db::refresh_token::find(&app.db, &token.hash(), now).await?;
    let newest = found.filter(|row| {
        row.client_id == caller.client_id
            && caller.has_grant(GrantType::RefreshToken.as_str())
            && row.stands
            && row.replaced_at.is_none()
            && now.0 < row.expires_at
    });
    let Some(row) = newest else {
        return Ok(INACTIVE.to_vec());
    };
    let granted = Granted {
        resource: &row.resource,
        scopes: &row.scopes,
        grant_scopes: &row.grant_scopes,
        at: UnixSeconds(row.granted_at),
    };
    let scope = match family::settle(app, caller, &granted, (None, None)).await {
        Ok((_, left)) => left,
        Err(Failure::Refused(_)) => return Ok(INACTIVE.to_vec()),
        Err(failure) => return Err(failure),
    };
    let active = ActiveRefreshToken {
        active: true,
        iss: app.config.issuer.as_str(),
        sub: &row.user_id,
        client_id: &row.client_id,
        scope: scope.to_string(),
        iat: UnixSeconds(row.created_at),
        exp: UnixSeconds(row.expires_at),
    };
    serde_json::to_vec(&active).map_err(|e| Failure::Internal(e.to_string()))
}

fn answer(claims: Option<&Arc<VerifiedClaims>>) -> Result<Vec<u8>, Failure> {
    let body = match claims {
        None => INACTIVE.to_vec(),
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
                token_type: token_type(claims.confirmation()),
                client_name: claims.client_name(),
                client_type: claims.client_type(),
                cnf: claims.confirmation(),
                act: claims.actor(),
                authorization_details: claims.authorization_details(),
            };
            serde_json::to_vec(&active).map_err(|e| Failure::Internal(e.to_string()))?
        }
    };
    Ok(body)
}

async fn respond(
    app: &App,
    request: &HttpRequest,
    caller: &Client,
    body: Vec<u8>,
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    if let Some(algorithm) = introspection_jwt::wanted(request, caller) {
        return introspection_jwt::sign(app, caller, algorithm, &body, now).await;
    }
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body))
}
