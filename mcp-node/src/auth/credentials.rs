//! The `Authorization` header (RFC 6750 §2.1).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use shared::access_token::{Check, MAX_TOKEN_BYTES, TokenFault};

use crate::error::Refusal;

/// The token of the one `Authorization: Bearer …` header. The scheme is compared without case (RFC 9110 §11.1).
pub(super) fn bearer_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION);
    let Some(value) = values.next() else {
        return Err(Refusal::NoToken);
    };
    if values.next().is_some() {
        return Err(Refusal::TwoCredentials);
    }
    let malformed = |reason: &str| Refusal::Token(TokenFault::new(Check::Structure, reason));
    let text = value
        .to_str()
        .map_err(|_| malformed("the Authorization header is not ASCII"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        // Another scheme is no token at all: the answer says which one is wanted, and no error code.
        return Err(Refusal::NoToken);
    }
    let token = token.trim_matches(' ');
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::Token(TokenFault::new(
            Check::Size,
            format!("it has {} bytes", token.len()),
        )));
    }
    // The alphabet of RFC 6750 §2.1, without padding: a JWT has none.
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    if token.is_empty() || !token.bytes().all(is_token) {
        return Err(malformed("there is no token of the Bearer alphabet"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn verdict(values: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        match bearer_token(&headers) {
            Ok(token) => token.to_owned(),
            Err(Refusal::NoToken) => "none".to_owned(),
            Err(Refusal::TwoCredentials) => "two".to_owned(),
            Err(Refusal::Token(fault)) => fault.check.to_string(),
            Err(other) => panic!("unexpected: {other:?}"),
        }
    }

    #[test]
    fn the_scheme_has_no_case() {
        for value in ["Bearer a.b-c", "bearer a.b-c", "BEARER   a.b-c "] {
            assert_eq!(verdict(&[value.as_bytes()]), "a.b-c", "{value}");
        }
    }

    #[test]
    fn what_is_no_bearer_token() {
        assert_eq!(verdict(&[]), "none");
        assert_eq!(verdict(&[b""]), "none");
        assert_eq!(verdict(&[b"Basic YTpi"]), "none");
        assert_eq!(verdict(&[b"DPoP a.b.c"]), "none");
        assert_eq!(verdict(&[b"Bearer a.b.c", b"Bearer a.b.c"]), "two");
        for malformed in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer \t",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer a=",
            b"Bearer \xff",
        ] {
            assert_eq!(verdict(&[malformed]), "structure", "{malformed:?}");
        }
        assert_eq!(
            verdict(&[format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1)).as_bytes()]),
            "size"
        );
    }
}
