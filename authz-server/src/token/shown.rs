//! Access tokens of ours that are shown to this very server: to userinfo, and to the admin API.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use shared::access_token::VerifiedClaims;
use shared::clock::UnixSeconds;
use shared::oauth_error::{AuthScheme, Challenge, ErrorCode, OAuthError};

use super::{is_active, own};
use crate::app::App;
use crate::dpop;
use crate::error::Failure;

/// The claims of the token in the header, if it stands at this moment: signed by us, not expired, nothing of it taken
/// back, and shown by whoever it is bound to. The token comes in the header and nowhere else (OAuth 2.1 §5.1.1).
pub(crate) async fn active(
    app: &App,
    request: &HttpRequest,
    now: UnixSeconds,
) -> Result<Arc<VerifiedClaims>, Failure> {
    let shown = credentials(request.headers())?;
    app.catch_up().await?;
    let claims = match own::verify(app, shown.1, now).await? {
        Some(claims) if is_active(app, &claims, now).await? => claims,
        _ => {
            return Err(invalid_token()
                .because("the token is not an active one of ours")
                .into());
        }
    };
    dpop::check_binding(app, request, shown, (&claims, now)).await?;
    Ok(claims)
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

/// RFC 6750 §3.1.
pub(crate) fn invalid_token() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidToken,
        "the access token is missing, malformed, expired or revoked",
    )
}

/// RFC 6750 §3, in the scheme that was used; without a code when nothing was shown (§3.1). `scope` is what is needed,
/// and beside it may stand the address of the metadata (RFC 9728 §5.1).
pub(crate) fn challenge(
    failure: &Failure,
    headers: &HeaderMap,
    (scope, resource_metadata): (&str, Option<&str>),
) -> Option<String> {
    let Failure::Refused(refusal) = failure else {
        return None;
    };
    let shown = headers.contains_key(AUTHORIZATION);
    let challenge = Challenge {
        scheme: credentials(headers).map_or_else(|_| AuthScheme::default(), |(scheme, _)| scheme),
        error: shown.then_some(refusal.code),
        error_description: shown.then_some(&*refusal.description),
        scope: Some(scope),
        resource_metadata,
    };
    Some(challenge.to_string())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

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
        assert_eq!(told(&failure, &headers(&[])).unwrap(), r#"Bearer scope="openid""#);
        let bearer = told(&failure, &headers(&["Bearer x"])).unwrap();
        assert!(bearer.starts_with(r#"Bearer error="invalid_token""#), "{bearer}");
        let bound = told(&failure, &headers(&["DPoP x"])).unwrap();
        assert!(bound.starts_with(r#"DPoP error="invalid_token""#), "{bound}");
        assert!(bound.contains("algs="), "{bound}");
        let ours = Failure::Internal(String::new());
        assert_eq!(told(&ours, &headers(&["Bearer x"])), None);
    }

    fn told(failure: &Failure, headers: &HeaderMap) -> Option<String> {
        challenge(failure, headers, ("openid", None))
    }
}
