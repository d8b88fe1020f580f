//! Userinfo (OpenID Connect Core §5.3): what a client may know of the person whose access token it has.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use shared::clock;
use shared::oauth_error::{AuthScheme, Challenge, ErrorCode, OAuthError};
use shared::scope::Scope;

use crate::account::User;
use crate::app::App;
use crate::db;
use crate::dpop;
use crate::error::{self, Failure};
use crate::token::own;
use crate::token::scopes::OPENID;

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
    let challenge = challenge(&failure, request.headers());
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
    let shown = credentials(request.headers())?;
    let now = clock::now();
    app.catch_up().await?;
    let refused = |reason: &'static str| Failure::from(invalid_token().because(reason));
    let claims = match own::verify(app, shown.1, now).await? {
        Some(claims) if crate::token::is_active(app, &claims, now).await? => claims,
        _ => return Err(refused("the token is not an active one of ours")),
    };
    dpop::check_binding(app, request, shown, (&claims, now)).await?;
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

/// The one `Authorization` header: a bearer token (RFC 6750 §2.1), or one bound to a key (RFC 9449 §7.1).
fn credentials(headers: &HeaderMap) -> Result<(AuthScheme, &str), OAuthError> {
    let mut values = headers.get_all(AUTHORIZATION);
    let value = values
        .next()
        .ok_or_else(|| invalid_token().because("no token was shown"))?;
    if values.next().is_some() {
        return Err(OAuthError::new(
            ErrorCode::InvalidRequest,
            "there are two Authorization headers",
        ));
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .unwrap_or_default();
    let scheme = AuthScheme::named(scheme)
        .ok_or_else(|| invalid_token().because("the Authorization header is not Bearer, nor DPoP"))?;
    Ok((scheme, token.trim_matches(' ')))
}

fn invalid_token() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidToken,
        "the access token is missing, malformed, expired or revoked",
    )
}

/// RFC 6750 §3, in the scheme that was used; without a code when nothing was shown (§3.1).
fn challenge(failure: &Failure, headers: &HeaderMap) -> Option<String> {
    let Failure::Refused(refusal) = failure else {
        return None;
    };
    let shown = headers.contains_key(AUTHORIZATION);
    let challenge = Challenge {
        scheme: credentials(headers).map_or_else(|_| AuthScheme::default(), |(scheme, _)| scheme),
        error: shown.then_some(refusal.code),
        error_description: shown.then_some(&*refusal.description),
        scope: Some(OPENID),
        resource_metadata: None,
    };
    Some(challenge.to_string())
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

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_header_of_two_schemes_and_nothing_else() {
        let read = |values: &[&'static str]| {
            let headers = headers(values);
            credentials(&headers)
                .map(|(scheme, token)| (scheme, token.to_owned()))
                .map_err(|e| e.code)
        };
        assert_eq!(read(&["Bearer x.y"]), Ok((AuthScheme::Bearer, "x.y".to_owned())));
        assert_eq!(read(&["bearer  x"]), Ok((AuthScheme::Bearer, "x".to_owned())));
        assert_eq!(read(&["dpop x"]), Ok((AuthScheme::Dpop, "x".to_owned())));
        assert_eq!(read(&[]), Err(ErrorCode::InvalidToken));
        assert_eq!(read(&["Basic eA=="]), Err(ErrorCode::InvalidToken));
        assert_eq!(read(&["Bearer"]), Err(ErrorCode::InvalidToken));
        assert_eq!(read(&["Bearer x", "DPoP y"]), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_challenge_names_an_error_only_when_something_was_shown() {
        let failure = Failure::from(invalid_token());
        assert_eq!(
            challenge(&failure, &headers(&[])).unwrap(),
            r#"Bearer scope="openid""#
        );
        let bearer = challenge(&failure, &headers(&["Bearer x"])).unwrap();
        assert!(bearer.starts_with(r#"Bearer error="invalid_token""#), "{bearer}");
        let bound = challenge(&failure, &headers(&["DPoP x"])).unwrap();
        assert!(bound.starts_with(r#"DPoP error="invalid_token""#), "{bound}");
        assert!(bound.contains("algs="), "{bound}");
        let ours = Failure::Internal(String::new());
        assert_eq!(challenge(&ours, &headers(&["Bearer x"])), None);
    }
}
