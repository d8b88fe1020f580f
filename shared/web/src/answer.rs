//! Answers that every endpoint may need: an error as OAuth JSON, a wrong method, an unknown path.

use actix_web::dev::HttpServiceFactory;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpResponse, Resource, guard, web};
use serde::Serialize;

/// The body of an OAuth error (RFC 6749 §5.2).
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    /// The code.
    pub error: &'a str,
    /// One sentence for the caller's developer.
    pub error_description: &'a str,
    /// Where the code is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_uri: Option<&'a str>,
}

/// A JSON error that nobody may cache.
pub fn error(status: StatusCode, code: &str, sentence: &str) -> HttpResponse {
    error_with(
        status,
        &ErrorBody {
            error: code,
            error_description: sentence,
            error_uri: None,
        },
    )
}

/// As [`error`], with every member given.
pub fn error_with(status: StatusCode, body: &ErrorBody<'_>) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body)
}

/// 503 with `Retry-After`: a part that we need is away. Trying again is safe.
pub fn unavailable(sentence: &str, retry_after_seconds: u64) -> HttpResponse {
    let mut answer = error(
        StatusCode::SERVICE_UNAVAILABLE,
        "temporarily_unavailable",
        sentence,
    );
    answer
        .headers_mut()
        .insert(RETRY_AFTER, retry_after_seconds.into());
    answer
}

/// A JSON document with its bytes ready.
pub fn json_bytes(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(body)
}

/// A resource that answers methods it does not have with 405 and `Allow` (RFC 9110 §15.5.6). `allow` lists them;
/// add the routes to what is returned. A `GET` route made by [`get`] serves `HEAD` too.
pub fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path.to_owned()).default_service(web::to(move || async move {
        let mut answer = error(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request",
            "this address does not know the method",
        );
        answer
            .headers_mut()
            .insert(ALLOW, actix_web::http::header::HeaderValue::from_static(allow));
        answer
    }))
}

/// A route for `GET` and `HEAD`: some clients probe metadata with the latter.
pub fn get() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// The answer for paths that do not exist.
pub fn nothing() -> HttpResponse {
    error(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this address",
    )
}

/// As [`nothing`], for a route.
pub async fn not_found() -> HttpResponse {
    nothing()
}

/// A GET resource, for the common case of [`resource`] and [`get`] together.
pub fn document<F, Args>(path: &str, answer: F) -> impl HttpServiceFactory + 'static
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    resource(path, "GET, HEAD").route(get().to(answer))
}
