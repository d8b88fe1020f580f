//! Introspection answers as signed JWTs (RFC 9701), for a resource server that must be able to show later what it was
//! told. What may be told is decided before, in one place for both forms.

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::jose::Algorithm;

use crate::app::App;
use crate::client::Client;
use crate::error::Failure;

/// RFC 9701 §5.
const MEDIA_TYPE: &str = "application/token-introspection+jwt";
/// The same without `application/`, as RFC 7515 §4.1.9 recommends.
const TYPE: &str = "token-introspection+jwt";
/// RFC 9701 §6.
const DEFAULT_ALGORITHM: Algorithm = Algorithm::RS256;

/// RFC 9701 §5. No `sub` and no `exp`, so that nobody takes it for an access token.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: UnixSeconds,
    token_introspection: &'a Value,
}

/// With what the answer to `caller` must be signed: when the request asks for the form, or the caller is registered for
/// it and does not ask for JSON.
pub(super) fn wanted(request: &HttpRequest, caller: &Client) -> Option<Algorithm> {
    let registered = caller.details.introspection_signed_response_alg.as_deref();
    let registered: Option<Algorithm> = registered.and_then(|name| name.parse().ok());
    if accepts(request, MEDIA_TYPE) {
        return Some(registered.unwrap_or(DEFAULT_ALGORITHM));
    }
    registered.filter(|_| !accepts(request, "application/json"))
}

/// Whether `Accept` names `media_type` itself (RFC 9110 §12.5.1); a star does not ask for anything in particular.
fn accepts(request: &HttpRequest, media_type: &str) -> bool {
    let lines = request.headers().get_all(ACCEPT);
    let mut ranges = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        let is_refused = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
        };
        is_named && !parts.any(is_refused)
    })
}

/// Signs `answer`, the JSON object that would have been the body.
pub(super) async fn sign(
    app: &App,
    caller: &Client,
    algorithm: Algorithm,
    answer: &[u8],
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let internal = |reason: String| Failure::Internal(reason);
    let keys = app.keys().await?;
    let signer = keys
        .signer(algorithm)
        .ok_or_else(|| Failure::Internal(format!("there is no {algorithm} key")))?;
    let answer: Value = serde_json::from_slice(answer).map_err(|e| internal(e.to_string()))?;
    let claims = Claims {
        iss: app.config.issuer.as_str(),
        aud: &caller.client_id,
        iat: now,
        token_introspection: &answer,
    };
    let claims = serde_json::to_vec(&claims).map_err(|e| internal(e.to_string()))?;
    let jwt = signer
        .sign_jwt(TYPE, &claims)
        .map_err(|e| internal(e.to_string()))?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, MEDIA_TYPE))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(jwt))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_form_is_asked_for_by_its_name() {
        let accepted = |header: &str| {
            let request = TestRequest::default()
                .insert_header((ACCEPT, header))
                .to_http_request();
            accepts(&request, MEDIA_TYPE)
        };
        for yes in [
            MEDIA_TYPE,
            "Application/Token-Introspection+JWT",
            "application/json;q=0.5, application/token-introspection+jwt;q=1",
        ] {
            assert!(accepted(yes), "{yes}");
        }
        for no in [
            "*/*",
            "application/*",
            "application/jwt",
            "application/token-introspection+jwt;q=0.0",
        ] {
            assert!(!accepted(no), "{no}");
        }
    }
}
