//! Parameters of the OAuth endpoints, parsed once and strictly: a known parameter that stands twice is an error, an
//! empty one is absent, an unknown one is nothing (RFC 6749 §3.2). actix's own form reader keeps the last duplicate.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use serde_json::Value;
use shared::oauth_error::{ErrorCode, OAuthError};

/// Largest form body.
pub(crate) const MAX_FORM_BYTES: usize = 16 * 1024;

/// The known parameters of one request.
#[derive(Default)]
pub(crate) struct Params {
    single: Vec<(&'static str, String)>,
    resources: Vec<String>,
}

/// `resource` may stand several times (RFC 8707 §2). More than this is not a request.
const MAX_RESOURCES: usize = 16;

impl Params {
    /// Parses a form. `known` are the names that this endpoint understands, besides `resource`.
    pub(crate) fn form(
        request: &HttpRequest,
        body: &[u8],
        known: &[&'static str],
    ) -> Result<Self, OAuthError> {
        nothing_in_query(request, known)?;
        if !has_media_type(request, "application/x-www-form-urlencoded") {
            return Err(malformed("the body must be application/x-www-form-urlencoded"));
        }
        let mut params = Self::default();
        for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            params.add(&decode(name)?, decode(value)?, known)?;
        }
        Ok(params)
    }

    /// A form as text, for the endpoint that takes the same parameters in its query.
    pub(crate) fn text<'b>(request: &HttpRequest, body: &'b [u8]) -> Result<&'b str, OAuthError> {
        if !request.query_string().is_empty() {
            return Err(malformed("parameters belong in the body, not in the URL"));
        }
        if !has_media_type(request, "application/x-www-form-urlencoded") {
            return Err(malformed("the body must be application/x-www-form-urlencoded"));
        }
        std::str::from_utf8(body).map_err(|_| malformed("a parameter is not form-encoded UTF-8"))
    }

    /// Parses a JSON object of strings, for the endpoint that takes it. `resource` may be a list.
    pub(crate) fn json(
        request: &HttpRequest,
        body: &[u8],
        known: &[&'static str],
    ) -> Result<Self, OAuthError> {
        nothing_in_query(request, known)?;
        let object = shared::json::object(body).map_err(|e| {
            malformed("the body must be one JSON object without repeated members").because(e.to_string())
        })?;
        let mut params = Self::default();
        for (name, value) in object {
            let values = match value {
                Value::Array(list) if name == "resource" => list,
                other => vec![other],
            };
            for value in values {
                match value {
                    Value::String(text) => params.add(&name, Cow::Owned(text), known)?,
                    Value::Null => {}
                    _ if known.contains(&name.as_str()) || name == "resource" => {
                        return Err(malformed("every parameter must be a string"));
                    }
                    _ => {}
                }
            }
        }
        Ok(params)
    }

    /// Whether the request is `application/json`.
    pub(crate) fn is_json(request: &HttpRequest) -> bool {
        has_media_type(request, "application/json")
    }

    /// Takes a parameter out.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.single.iter().position(|(known, _)| *known == name)?;
        Some(self.single.swap_remove(at).1)
    }

    /// A parameter that stays where it is.
    pub(crate) fn peek(&self, name: &str) -> Option<&str> {
        let mut single = self.single.iter();
        single
            .find(|(known, _)| *known == name)
            .map(|(_, value)| &**value)
    }

    /// Takes the `resource` parameters out.
    pub(crate) fn take_resources(&mut self) -> Vec<String> {
        std::mem::take(&mut self.resources)
    }

    fn add(&mut self, name: &str, value: Cow<'_, str>, known: &[&'static str]) -> Result<(), OAuthError> {
        if value.is_empty() {
            return Ok(());
        }
        if value.contains('\0') {
            return Err(malformed("a parameter contains a NUL character"));
        }
        if name == "resource" {
            if self.resources.len() == MAX_RESOURCES {
                return Err(OAuthError::new(
                    ErrorCode::InvalidTarget,
                    "too many resource parameters",
                ));
            }
            self.resources.push(value.into_owned());
            return Ok(());
        }
        let Some(name) = known.iter().find(|known| **known == name) else {
            return Ok(());
        };
        if self.single.iter().any(|(seen, _)| seen == name) {
            return Err(malformed("a parameter stands twice").because(format!("{name} stands twice")));
        }
        self.single.push((name, value.into_owned()));
        Ok(())
    }
}

/// Credentials in a URL end up in logs, so parameters there are refused rather than ignored.
fn nothing_in_query(request: &HttpRequest, known: &[&'static str]) -> Result<(), OAuthError> {
    let query = request.query_string().as_bytes();
    for pair in query.split(|b| *b == b'&') {
        let name = decode(pair.split(|b| *b == b'=').next().unwrap_or_default())?;
        if known.contains(&&*name) || name == "resource" {
            return Err(malformed("parameters belong in the body, not in the URL"));
        }
    }
    Ok(())
}

fn has_media_type(request: &HttpRequest, expected: &str) -> bool {
    let Some(value) = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let is_expected = parts
        .next()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case(expected));
    is_expected
        && parts.all(|parameter| {
            let (name, charset) = parameter.split_once('=').unwrap_or((parameter, ""));
            !name.eq_ignore_ascii_case("charset") || charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

/// Decodes `application/x-www-form-urlencoded` (RFC 6749 appendix B). A broken escape is an error, not a guess.
pub(crate) fn decode(text: &[u8]) -> Result<Cow<'_, str>, OAuthError> {
    let broken = || malformed("a parameter is not form-encoded UTF-8");
    if !text.iter().any(|b| matches!(b, b'%' | b'+')) {
        return std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| broken());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
                let digit = |b: u8| char::from(b).to_digit(16).ok_or_else(broken);
                bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
                rest = tail;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| broken())
}

fn malformed(sentence: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, sentence)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const KNOWN: &[&str] = &["grant_type", "scope"];

    fn form(body: &[u8]) -> Result<Params, ErrorCode> {
        let request = TestRequest::post()
            .insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded; charset=UTF-8"));
        Params::form(&request.to_http_request(), body, KNOWN).map_err(|e| e.code)
    }

    #[test]
    fn known_once_empty_absent_unknown_ignored() {
        let mut params = form(b"grant_type=a+b%2Bc&scope=&x=1&x=2&&resource=r1&resource=r2").unwrap();
        assert_eq!(params.take("grant_type").unwrap(), "a b+c");
        assert_eq!(params.take("scope"), None);
        assert_eq!(params.take_resources(), ["r1", "r2"]);
    }

    #[test]
    fn what_cannot_be_read_in_one_way_is_refused() {
        for body in [
            &b"scope=a&scope=a"[..],
            b"scope=%",
            b"scope=%zz",
            b"scope=%2",
            b"scope=%ff",
            b"scope=\xff",
            b"scope=a%00b",
            b"scope=%c0%af",
        ] {
            assert_eq!(form(body).err(), Some(ErrorCode::InvalidRequest), "{body:?}");
        }
        let many = "resource=x&".repeat(17);
        assert_eq!(form(many.as_bytes()).err(), Some(ErrorCode::InvalidTarget));
    }

    #[test]
    fn the_media_type_is_checked_and_the_url_is_empty() {
        for media_type in [
            "application/json",
            "multipart/form-data",
            "application/x-www-form-urlencoded; charset=utf-16",
        ] {
            let request = TestRequest::post()
                .insert_header((CONTENT_TYPE, media_type))
                .to_http_request();
            assert!(Params::form(&request, b"", KNOWN).is_err(), "{media_type}");
        }
        let request = TestRequest::post()
            .uri("/t?scope=x")
            .insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded"));
        assert!(Params::form(&request.to_http_request(), b"", KNOWN).is_err());
        let request = TestRequest::post()
            .uri("/t?other=x")
            .insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded"));
        assert!(Params::form(&request.to_http_request(), b"", KNOWN).is_ok());
    }

    #[test]
    fn json_is_an_object_of_strings() {
        let request = TestRequest::post()
            .insert_header((CONTENT_TYPE, "application/json"))
            .to_http_request();
        let mut params =
            Params::json(&request, br#"{"scope":"a","resource":["r"],"other":7}"#, KNOWN).unwrap();
        assert_eq!(
            (params.take("scope").unwrap(), params.take_resources()),
            ("a".to_owned(), vec!["r".to_owned()])
        );
        for body in [
            &br#"{"scope":7}"#[..],
            br#"{"scope":"a","scope":"b"}"#,
            b"[]",
            b"null",
            b"{",
        ] {
            assert!(Params::json(&request, body, KNOWN).is_err());
        }
    }
}
