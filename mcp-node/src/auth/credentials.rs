//! The `Authorization` header (RFC 6750 §2.1, RFC 9449 §7.1).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use shared::access_token::{Check, MAX_TOKEN_BYTES, TokenFault};
use shared::oauth_error::AuthScheme;

use crate::error::Refusal;

/// A token, and how it is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credentials<'a> {
    pub(super) scheme: AuthScheme,
    pub(super) token: &'a str,
}

impl<'a> Credentials<'a> {
    /// Those of the one `Authorization` header.
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(AUTHORIZATION);
        let Some(value) = values.next() else {
            return Err(Refusal::NoToken);
        };
        if values.next().is_some() {
            return Err(Refusal::TwoCredentials);
        }
        let text =
            str::from_utf8(value.as_bytes()).map_err(|_| malformed("the Authorization header is no text"))?;
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        // Another scheme is no token at all: the answer says which one is wanted, and no error code.
        let scheme = AuthScheme::named(scheme).ok_or(Refusal::NoToken)?;
        check_size(token.trim_matches(' '))
            .map(|token| Self { scheme, token })
            .map_err(|refusal| refusal.in_scheme(scheme))
    }
}

/// Whether `token` is one by its characters (RFC 6750 §2.1, without padding: a JWT has none). Of a token that was taken
/// before, that is known.
pub(super) fn check_characters(token: &str) -> Result<(), Refusal> {
    if token.is_empty() || !token.bytes().all(|byte| OF_TOKENS[usize::from(byte)]) {
        return Err(malformed("there is no token of the Bearer alphabet"));
    }
    Ok(())
}

/// A table, for a token has a thousand of them.
const OF_TOKENS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        byte += 1;
    }
    table
};

fn malformed(reason: &str) -> Refusal {
    Refusal::Token(TokenFault::new(Check::Structure, reason))
}

fn check_size(token: &str) -> Result<&str, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::Token(TokenFault::new(
            Check::Size,
            format!("it has {} bytes", token.len()),
        )));
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
        let read = Credentials::read(&headers).and_then(|read| check_characters(read.token).map(|()| read));
        match read {
            Ok(Credentials { scheme, token }) => format!("{} {token}", scheme.as_str()),
            Err(Refusal::NoToken) => "none".to_owned(),
            Err(Refusal::TwoCredentials) => "two".to_owned(),
            Err(Refusal::Token(fault) | Refusal::BoundToken(fault)) => fault.check.to_string(),
            Err(other) => panic!("unexpected: {other:?}"),
        }
    }

    #[test]
    fn the_scheme_has_no_case() {
        for value in ["Bearer a.b-c", "bearer a.b-c", "BEARER   a.b-c "] {
            assert_eq!(verdict(&[value.as_bytes()]), "Bearer a.b-c", "{value}");
        }
        for value in ["DPoP a.b-c", "dpop a.b-c"] {
            assert_eq!(verdict(&[value.as_bytes()]), "DPoP a.b-c", "{value}");
        }
    }

    #[test]
    fn what_is_no_token() {
        assert_eq!(verdict(&[]), "none");
        assert_eq!(verdict(&[b""]), "none");
        assert_eq!(verdict(&[b"Basic YTpi"]), "none");
        assert_eq!(verdict(&[b"Bearer a.b.c", b"Bearer a.b.c"]), "two");
        assert_eq!(verdict(&[b"Bearer a.b.c", b"DPoP a.b.c"]), "two");
        for malformed in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer \t",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer a=",
            b"Bearer \xff",
            "Bearer \u{e9}".as_bytes(),
            b"DPoP ",
        ] {
            assert_eq!(verdict(&[malformed]), "structure", "{malformed:?}");
        }
        assert_eq!(
            verdict(&[format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1)).as_bytes()]),
            "size"
        );
    }
}
