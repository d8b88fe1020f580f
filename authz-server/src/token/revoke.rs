//! Token revocation (RFC 7009). A 200 is a promise: from then on no instance calls the token active.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use shared::access_token::VerifiedClaims;
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::Secret;

use super::own;
use crate::app::App;
use crate::client::authenticate::{AuthenticatedClient, authenticate};
use crate::db;
use crate::db::revoked_token::Revocation;
use crate::db::token_family::Of;
use crate::db::{DbFault, Tx};
use crate::error::{self, Failure};
use crate::params::{MAX_FORM_BYTES, Params};
use crate::status_list::Place;

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
    if own::is_refresh_token(&token) {
        return end_family(app, &caller, &Secret::from(token), now).await;
    }
    // RFC 7009 §2.2: unknown, malformed and expired tokens are as revoked as can be.
    let Some(claims) = own::verify(app, &token, now).await? else {
        return Ok(());
    };
    let client = caller.client();
    if claims.client_id() != client.client_id {
        return not_its_own(&caller);
    }
    let place = place_of(app, &claims);
    let revocation = revocation(&claims, place.as_ref());
    db::revoked_token::insert(&app.db, &revocation, now).await?;
    tracing::info!(
        client_id = client.client_id,
        token_id = claims.token_id(),
        "token revoked"
    );
    Ok(())
}

fn place_of(app: &App, claims: &VerifiedClaims) -> Option<Place> {
    let status = claims.status()?;
    Place::named(&app.config.issuer, status)
}

fn revocation<'a>(claims: &'a VerifiedClaims, place: Option<&'a Place>) -> Revocation<'a> {
    Revocation {
        token_id: claims.token_id(),
        client_id: claims.client_id(),
        expires_at: claims.expires_at(),
        status: place.map(Place::stored),
    }
}

/// What an operator ends by the value of a token.
pub(crate) enum Found {
    /// A refresh token: its family ends with it.
    Family {
        family_id: String,
        client_id: String,
        user_id: String,
    },
    /// An access token, which ends alone.
    Token(Arc<VerifiedClaims>, Option<Place>),
}

impl Found {
    /// A token of ours, whoever has it, that has not expired.
    pub(crate) async fn find(app: &App, token: Secret, now: UnixSeconds) -> Result<Option<Self>, Failure> {
        if !own::is_refresh_token(token.reveal()) {
            let claims = own::verify(app, token.reveal(), now).await?;
            return Ok(claims.map(|claims| {
                let place = place_of(app, &claims);
                Self::Token(claims, place)
            }));
        }
        let known = db::refresh_token::find(&app.db, &token.hash(), now).await?;
        Ok(known.map(|known| Self::Family {
            family_id: known.family_id,
            client_id: known.client_id,
            user_id: known.user_id,
        }))
    }

    /// Ends it, as a part of something larger; `false` when it had ended.
    pub(crate) async fn end(&self, tx: &mut Tx, now: UnixSeconds) -> Result<bool, DbFault> {
        match self {
            Self::Family { family_id, .. } => {
                let why = "an operator revoked it";
                let ended = db::token_family::revoke(tx, Of::Family(family_id), why, now).await?;
                Ok(ended > 0)
            }
            Self::Token(claims, place) => {
                let revocation = revocation(claims, place.as_ref());
                db::revoked_token::insert_in(tx, &revocation, now).await
            }
        }
    }
}

/// A refresh token ends its family with it, access tokens included (RFC 7009 §2.1); so does one that was used before.
async fn end_family(
    app: &App,
    caller: &AuthenticatedClient,
    token: &Secret,
    now: UnixSeconds,
) -> Result<(), Failure> {
    let Some(known) = db::refresh_token::find(&app.db, &token.hash(), now).await? else {
        return Ok(());
    };
    if known.client_id != caller.client().client_id {
        return not_its_own(caller);
    }
    let why = "its client revoked it";
    let ended = app
        .db
        .write(async |tx| db::token_family::revoke(tx, Of::Family(&known.family_id), why, now).await);
    if ended.await? > 0 {
        tracing::info!(
            client_id = known.client_id,
            family_id = known.family_id,
            "refresh token revoked"
        );
    }
    Ok(())
}

/// RFC 7009 §2.1 refuses. A caller who proved nothing learns nothing.
fn not_its_own(caller: &AuthenticatedClient) -> Result<(), Failure> {
    if caller.is_public() {
        return Ok(());
    }
    let refusal = OAuthError::new(
        ErrorCode::InvalidRequest,
        "the token was not issued to this client",
    );
    let reason = format!(
        "client {} tried to revoke another's token",
        caller.client().client_id
    );
    Err(refusal.because(reason).into())
}
