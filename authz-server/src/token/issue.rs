//! The single mint: every token of this server is answered here; access tokens are of the profile RFC 9068.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use shared::access_token::{Claims, Confirmation, MAX_TOKEN_BYTES, Status};
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, random_bytes};

use super::exchange::ACCESS_TOKEN_TYPE;
use super::scopes::OPENID;
use super::{Permit, Terms, end_of, family};
use crate::app::App;
use crate::db;
use crate::db::status_list::{BlockOwner, Heir};
use crate::error::Failure;
use crate::keys::KeyRing;
use crate::openid::id_token::{self, SignIn};
use crate::status_list::Place;

/// A successful answer (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    scope: &'a str,
    /// RFC 8693 §2.2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
}

/// Mints the tokens that `permit` allows and answers with them.
pub(super) async fn issue(
    app: &App,
    keys: &KeyRing,
    (permit, terms): (&Permit, &Terms),
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let scope = permit.scope.to_string();
    app.usage.note(&permit.client.client_id, now);
    let place = place_of(app, permit, terms, now).await?;
    let (algorithm, life) = (permit.resource.algorithm, end_of(permit, terms, now).since(now));
    if let Some((kid, longest)) = keys.life_to_add(algorithm, life) {
        db::signing_key::lengthen(&app.db, kid, longest, now).await?;
    }
    let access_token = access_token(app, keys, (permit, terms, &place), &scope, now)?;
    let lineage = permit.lineage.as_ref();
    let id_token = match lineage.filter(|_| permit.scope.contains(OPENID)) {
        Some(lineage) => {
            let sign_in = SignIn {
                subject: &permit.subject,
                client_id: &permit.client.client_id,
                auth_time: lineage.auth_time,
                methods: &lineage.methods,
                nonce: lineage.nonce.as_deref(),
            };
            let issuer = app.config.issuer.as_str();
            Some(id_token::mint(keys, issuer, &sign_in, &access_token, now)?)
        }
        None => None,
    };
    let answer = TokenAnswer {
        access_token: &access_token,
        token_type: token_type(permit.confirmation.as_ref()),
        expires_in: end_of(permit, terms, now).since(now).as_secs(),
        scope: &scope,
        issued_token_type: terms.descent.as_ref().map(|_| ACCESS_TOKEN_TYPE),
        resource: terms.names_resource.then_some(&permit.resource.uri),
        refresh_token: lineage
            .and_then(|lineage| lineage.refresh_token.as_ref())
            .map(Secret::reveal),
        authorization_details: permit.authorization_details.as_ref(),
        id_token: id_token.as_deref(),
    };
    let body = serde_json::to_vec(&answer).map_err(|e| Failure::Internal(e.to_string()))?;
    let mut response = HttpResponse::Ok();
    Ok(response
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body))
}

/// The token's place in a status list, unless its grant had to have it before: one of the client's. That of an exchanged
/// token is kept, so that it ends with the one that was shown (docs/decisions/0013).
async fn place_of(app: &App, permit: &Permit, terms: &Terms, now: UnixSeconds) -> Result<Place, Failure> {
    if let Some(place) = &permit.place {
        return Ok(place.clone());
    }
    let owner = BlockOwner {
        client_id: &permit.client.client_id,
        user_id: None,
    };
    let place = app
        .status_lists
        .allot(app, &permit.resource, Some(owner), now)
        .await?;
    if let Some(descent) = &terms.descent {
        let parents: Vec<_> = descent.places.iter().map(Place::stored).collect();
        let heir = Heir {
            place: place.stored(),
            parents: &parents,
            grant_id: descent.grant_id.as_deref(),
        };
        if !db::status_list::add_heir(&app.db, heir, now).await? {
            let sentence = "a shown token, or what the person granted, has just been revoked";
            return Err(OAuthError::new(ErrorCode::InvalidRequest, sentence).into());
        }
    }
    Ok(place)
}

/// How a token is to be shown. One bound to a certificate is a bearer token to the eye (RFC 8705 §3).
pub(super) fn token_type(confirmation: Option<&Confirmation>) -> &'static str {
    if confirmation.is_some_and(|bound| bound.jkt.is_some()) {
        "DPoP"
    } else {
        "Bearer"
    }
}

fn access_token(
    app: &App,
    keys: &KeyRing,
    (permit, terms, place): (&Permit, &Terms, &Place),
    scope: &str,
    now: UnixSeconds,
) -> Result<String, Failure> {
    let Permit {
        client,
        subject,
        resource,
        lineage,
        confirmation,
        actor,
        authorization_details,
        ..
    } = permit;
    let signer = keys.signer(resource.algorithm);
    let signer =
        signer.ok_or_else(|| Failure::Internal(format!("there is no {} key", resource.algorithm)))?;
    let own = format!(
        "{}{}",
        family::TOKEN,
        URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)
    );
    // One revocation of what it came of takes it back too (App::is_revoked).
    let token_id = match (lineage, &terms.descent) {
        (Some(lineage), _) => format!("{}.{own}", lineage.family_id),
        (None, Some(descent)) => format!("{}.{}.{own}", descent.token_id, descent.rests_on),
        (None, None) => own,
    };
    let status = place.reference(&app.config.issuer);
    let claims = Claims {
        iss: app.config.issuer.as_str(),
        sub: subject,
        aud: &resource.uri,
        exp: end_of(permit, terms, now),
        iat: now,
        jti: &token_id,
        client_id: &client.client_id,
        scope,
        client_name: &client.name,
        client_type: client.client_type.as_str(),
        auth_time: lineage.as_ref().map(|lineage| lineage.auth_time),
        cnf: confirmation.as_ref(),
        act: actor.as_ref(),
        authorization_details: authorization_details.as_ref(),
        status: Some(Status { status_list: &status }),
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
    Ok(token)
}
