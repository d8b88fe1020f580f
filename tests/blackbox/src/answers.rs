//! The exact form of each refusal. A test names the code; everything else about the answer is checked here.

use serde_json::Value;
use xtask::http::Answer;
use xtask::journey::parameter;

/// An OAuth error answer (RFC 6749 §5.2): status 400, JSON, not stored, this code, no token.
///
/// # Panics
/// When anything about the answer is different.
#[track_caller]
pub fn refused_400(answer: &Answer, code: &str) {
    oauth_error(answer, 400, code);
}

/// `invalid_client` with 401; with a Basic challenge if the request used the Authorization header (RFC 6749 §5.2).
///
/// # Panics
/// When anything about the answer is different.
#[track_caller]
pub fn refused_client(answer: &Answer, used_header: bool) {
    oauth_error(answer, 401, "invalid_client");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(
        !used_header || challenge.starts_with("Basic realm=\""),
        "challenge {challenge:?} in {answer}"
    );
}

/// An OAuth error with any status.
///
/// # Panics
/// When anything about the answer is different.
#[track_caller]
pub fn oauth_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer}");
    let body = json(answer);
    assert_eq!(body["error"], code, "{answer}");
    not_stored(answer);
    if let Some(sentence) = body.get("error_description") {
        // RFC 6749 §5.2: no quotes, backslashes or control characters.
        let allowed = |c: char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
        assert!(
            sentence.as_str().is_some_and(|text| text.chars().all(allowed)),
            "{sentence}"
        );
    }
    for token in ["access_token", "refresh_token", "id_token"] {
        assert!(body.get(token).is_none(), "a refusal with a token: {answer}");
    }
    boring(answer);
}

/// A node's 401: one Bearer challenge with the metadata's address and, if a token was shown, its error (RFC 6750 §3).
///
/// # Panics
/// When anything about the answer is different.
#[track_caller]
pub fn refused_401(answer: &Answer, error: Option<&str>) -> String {
    assert_eq!(answer.status, 401, "{answer}");
    let challenge = challenge(answer);
    assert_eq!(parameter(&challenge, "error").as_deref(), error, "{challenge}");
    assert!(
        parameter(&challenge, "scope").is_some(),
        "no scope in {challenge}"
    );
    challenge
}

/// A node's 403 with the scopes that the operation needs (RFC 6750 §3.1).
///
/// # Panics
/// When anything about the answer is different.
#[track_caller]
pub fn refused_403(answer: &Answer, scope: &str) {
    assert_eq!(answer.status, 403, "{answer}");
    let challenge = challenge(answer);
    assert_eq!(
        parameter(&challenge, "error").as_deref(),
        Some("insufficient_scope"),
        "{challenge}"
    );
    assert_eq!(
        parameter(&challenge, "scope").as_deref(),
        Some(scope),
        "{challenge}"
    );
}

/// 503 with `Retry-After` in seconds: nothing was decided, come again.
///
/// # Panics
/// When anything about the answer is different.
#[track_caller]
pub fn refused_503(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer}");
    retry_after(answer);
}

/// The seconds of `Retry-After`.
///
/// # Panics
/// When there is none, or it is not a positive whole number.
#[track_caller]
pub fn retry_after(answer: &Answer) -> u64 {
    let seconds = answer
        .header("retry-after")
        .unwrap_or_else(|| panic!("no Retry-After in {answer}"));
    let seconds: u64 = seconds
        .parse()
        .unwrap_or_else(|_| panic!("Retry-After: {seconds}"));
    assert!(seconds > 0, "Retry-After: 0");
    seconds
}

/// 200 with JSON.
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn granted(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer}");
    json(answer)
}

/// The JSON of an answer that says it is JSON.
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn json(answer: &Answer) -> Value {
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(
        kind.starts_with("application/json"),
        "content type {kind:?} of {answer}"
    );
    answer.json().unwrap_or_else(|fault| panic!("{fault}"))
}

/// Neither caches nor content sniffers may touch the answer (RFC 6749 §5.1).
///
/// # Panics
/// When a header is missing.
#[track_caller]
pub fn not_stored(answer: &Answer) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer}");
    assert_eq!(
        answer.header("x-content-type-options"),
        Some("nosniff"),
        "{answer}"
    );
}

/// No stack trace, SQL, path or version in an answer, and no `Server` line.
///
/// # Panics
/// When something of the inside shows.
#[track_caller]
pub fn boring(answer: &Answer) {
    let text = answer.text();
    for inside in [
        "panicked",
        ".rs:",
        "sqlx",
        "SELECT ",
        "INSERT ",
        "/root",
        "/home",
        "backtrace",
        "actix",
    ] {
        assert!(!text.contains(inside), "{inside:?} in {answer}");
    }
    assert_eq!(answer.header("server"), None);
}

fn challenge(answer: &Answer) -> String {
    let all: Vec<&str> = answer.all("www-authenticate").collect();
    assert_eq!(all.len(), 1, "challenges {all:?}");
    let challenge = all[0];
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    assert!(
        parameter(challenge, "resource_metadata").is_some(),
        "no resource_metadata in {challenge}"
    );
    challenge.to_owned()
}
