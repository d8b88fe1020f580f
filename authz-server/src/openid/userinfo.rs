//! Userinfo (OpenID Connect Core §5.3): what a client may know of the person whose access token it has.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use shared::clock;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;

use crate::account::User;
use crate::app::App;
use crate::db;
use crate::dpop;
use crate::error::{self, Failure};
use crate::token::scopes::OPENID;
use crate::token::shown;

/// Standard claims (OpenID Connect Core §5.1), each only with the scope that asks for it (§5.4).
#[derive(Serialize)]
struct UserInfo<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    /// Always false: this server sends no mail, so it cannot know.
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

/// `GET` and `POST /oauth/userinfo`. The token comes in the header and nowhere else (OAuth 2.1 §5.1.1).
pub(crate) async fn userinfo(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let failure = match tell(&app, &request).await {
        Ok(answer) => return dpop::with_nonce(&app, answer),
        Err(failure) => failure,
    };
    let challenge = shown::challenge(&failure, request.headers(), (OPENID, None));
    let wants_proof = matches!(&failure, Failure::Refused(refusal)
        if matches!(refusal.code, ErrorCode::InvalidDpopProof | ErrorCode::UseDpopNonce));
    let mut answer = error::answer(&app, &request, failure);
    if let Some(value) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    if wants_proof {
        // RFC 9449 §7.1, §9: here the proof belongs to the credentials. At a token endpoint it is a part of the request.
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
    }
    dpop::with_nonce(&app, answer)
}

async fn tell(app: &App, request: &HttpRequest) -> Result<HttpResponse, Failure> {
    let claims = shown::active(app, request, clock::now()).await?;
    let refused = |reason: &'static str| Failure::from(shown::invalid_token().because(reason));
    if !claims.scope().contains(OPENID) {
        let refusal = OAuthError::new(
            ErrorCode::InsufficientScope,
            "the token was not granted the scope openid",
        );
        return Err(refusal.into());
    }
    let user = db::user_account::find(&app.db, claims.subject()).await?;
    let user = user.map(User::from).filter(|user| !user.is_disabled);
    let user = user.ok_or_else(|| refused("the token's subject is no person who can sign in"))?;
    let body = serde_json::to_vec(&described(&user, claims.scope()));
    let body = body.map_err(|e| Failure::Internal(e.to_string()))?;
    let mut response = HttpResponse::Ok();
    Ok(response
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body))
}

fn described<'a>(user: &'a User, scope: &Scope) -> UserInfo<'a> {
    let has_profile = scope.contains("profile");
    let email = user.email.as_deref().filter(|_| scope.contains("email"));
    UserInfo {
        sub: &user.user_id,
        name: has_profile.then_some(&*user.display_name),
        preferred_username: has_profile.then_some(&*user.username),
        email,
        email_verified: email.map(|_| false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(scope: &str, email: Option<&str>) -> String {
        let user = User {
            user_id: "u_1".to_owned(),
            username: "ada".to_owned(),
            display_name: "Ada".to_owned(),
            email: email.map(str::to_owned),
            is_admin: false,
            is_disabled: false,
        };
        serde_json::to_string(&described(&user, &scope.parse().unwrap())).unwrap()
    }

    #[test]
    fn a_client_learns_what_its_scope_asks_for() {
        let mail = Some("ada@example.com");
        assert_eq!(told("openid", mail), r#"{"sub":"u_1"}"#);
        assert_eq!(
            told("openid profile", mail),
            r#"{"sub":"u_1","name":"Ada","preferred_username":"ada"}"#
        );
        assert_eq!(
            told("openid email", mail),
            r#"{"sub":"u_1","email":"ada@example.com","email_verified":false}"#
        );
        assert_eq!(told("openid email", None), r#"{"sub":"u_1"}"#);
    }
}
