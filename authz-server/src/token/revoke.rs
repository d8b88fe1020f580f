//! Token revocation (RFC 7009). A 200 is a promise: from then on no instance calls the token active.

use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock;
use shared::oauth_error::{ErrorCode, OAuthError};

use super::own;
use crate::app::App;
use crate::client::authenticate::authenticate;
use crate::db;
use crate::db::revoked_token::Revocation;
use crate::error::{self, Failure};
use crate::params::{MAX_FORM_BYTES, Params};

/// `POST /oauth/revoke`.
pub(crate) async fn revoke(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    match take_back(&app, &request, body).await {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(failure) => error::answer(&app, &request, failure),
    }
}

async fn take_back(app: &App, request: &HttpRequest, body: web::Payload) -> Result<(), Failure> {
    let body = ::web::body::read(request, body, MAX_FORM_BYTES).await?;
    let mut params = Params::form(request, &body, &own::PARAMETERS)?;
    let now = clock::now();
    app.catch_up().await?;
    let caller = authenticate(app, request, &mut params, now).await?;
    let token = params
        .take("token")
        .ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "token is missing"))?;
    // RFC 7009 §2.2: unknown, malformed and expired tokens are as revoked as can be.
    let Some(claims) = own::verify(app, &token, now).await? else {
        return Ok(());
    };
    let client = caller.client();
    if claims.client_id() != client.client_id {
        // RFC 7009 §2.1 refuses. A caller who proved nothing learns nothing.
        if caller.is_public() {
            return Ok(());
        }
        let refusal = OAuthError::new(
            ErrorCode::InvalidRequest,
            "the token was not issued to this client",
        );
        return Err(refusal
            .because(format!(
                "client {} tried to revoke another's token",
                client.client_id
            ))
            .into());
    }
    let revocation = Revocation {
        token_id: claims.token_id(),
        client_id: &client.client_id,
        expires_at: claims.expires_at(),
    };
    db::revoked_token::insert(&app.db, &revocation, now).await?;
    tracing::info!(
        client_id = client.client_id,
        token_id = claims.token_id(),
        "token revoked"
    );
    Ok(())
}
