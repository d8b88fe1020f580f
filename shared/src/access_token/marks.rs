//! What shows that a JWT is an access token and not an ID token, a refresh token or a logout token of the same issuer.
//!
//! | kind | an access token | the ID token of the same sign-in |
//! | --- | --- | --- |
//! | RFC 9068 | `typ: at+jwt` | `typ: JWT`, or none |
//! | Auth0 | `at+jwt`; or `JWT` with `azp`, for somebody else than that client | no `azp`, for the client; perhaps `nonce` |
//! | Okta | `jti` begins with `AT.`, and `cid` | `jti` begins with `ID.`, no `cid` |
//! | Cognito | `token_use: access` | `token_use: id` |
//! | Entra | `azp` or `appid`, by version | neither; perhaps `nonce` |
//! | Keycloak | the *claim* `typ` is `Bearer` or `DPoP` | `ID` (`Refresh`, `Logout`) |
//! | others | `at+jwt`; else as Auth0's, with any of the known names of the client | no client; `nonce`, `at_hash` … |
//!
//! Nothing here is believed before the signature was verified; a mark can only refuse.

use serde_json::{Map, Value};

use super::shape::TokenType;
use super::{Check, EntraVersion, Expectation, Shape, TokenFault, printable};

/// Claims that ID tokens and logout tokens have, and access tokens have not (OpenID Connect Core §2, §3.3.2.11,
/// Financial-grade API `s_hash`, RFC 8417 §2.2).
const NEVER: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];

pub(super) fn check(
    claims: &Map<String, Value>,
    typ: &TokenType,
    expectation: &Expectation,
) -> Result<(), TokenFault> {
    if !expectation.shape.takes(typ) {
        return Err(fault(match typ {
            TokenType::AtJwt => "typ is at+jwt".to_owned(),
            TokenType::Jwt => "typ is JWT, as that of ID tokens".to_owned(),
            TokenType::Missing => "typ is missing".to_owned(),
            TokenType::Other(other) => format!("typ is {}", printable(other)),
        }));
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    match &expectation.shape {
        Shape::EdgeHive | Shape::Rfc9068 => Ok(()),
        Shape::Plain(_) | Shape::Auth0 if *typ == TokenType::AtJwt => Ok(()),
        Shape::Plain(_) | Shape::Auth0 => {
            never(claims)?;
            let client = client(claims, typ, expectation)?;
            if *client == *expectation.audience {
                return Err(fault("it is for its own client, as ID tokens are"));
            }
            Ok(())
        }
        Shape::Okta => {
            client(claims, typ, expectation)?;
            match text("jti") {
                Some(jti) if jti.starts_with("AT.") => Ok(()),
                _ => Err(fault("jti does not begin with AT., as in Okta's access tokens")),
            }
        }
        Shape::Cognito => match text("token_use") {
            Some("access") => Ok(()),
            Some(other) => Err(fault(format!("token_use is {}", printable(other)))),
            None => Err(fault("token_use is missing")),
        },
        Shape::Entra { tenant, version } => {
            never(claims)?;
            client(claims, typ, expectation)?;
            let expected = match version {
                EntraVersion::V1 => "1.0",
                EntraVersion::V2 => "2.0",
            };
            if text("ver") != Some(expected) {
                return Err(fault(format!("ver is not {expected}")));
            }
            if text("tid") != Some(tenant) {
                return Err(TokenFault::new(Check::Issuer, "tid is another tenant"));
            }
            Ok(())
        }
        Shape::Keycloak => match text("typ") {
            Some("Bearer") => Ok(()),
            // Bound to a key, which the claim `cnf` must then name.
            Some("DPoP") if claims.get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some()) => Ok(()),
            Some("DPoP") => Err(TokenFault::new(
                Check::Binding,
                "its claim typ is DPoP, and cnf names no key",
            )),
            Some(other) => Err(fault(format!("its claim typ is {}", printable(other)))),
            None => Err(fault("its claim typ is missing")),
        },
    }
}

fn fault(reason: impl Into<String>) -> TokenFault {
    TokenFault::new(Check::Type, reason)
}

fn never(claims: &Map<String, Value>) -> Result<(), TokenFault> {
    match NEVER.iter().find(|name| claims.contains_key(**name)) {
        Some(name) => Err(fault(format!("it has {name}, as access tokens never have"))),
        None => Ok(()),
    }
}

/// The client, which ID tokens for one audience do not name.
fn client<'c>(
    claims: &'c Map<String, Value>,
    typ: &TokenType,
    expectation: &Expectation,
) -> Result<&'c str, TokenFault> {
    let names = expectation.shape.rules(typ).clients;
    let found = names
        .iter()
        .find_map(|name| claims.get(*name).and_then(Value::as_str));
    found.ok_or_else(|| {
        fault(format!(
            "it names no client ({}), as access tokens do",
            names.join(", ")
        ))
    })
}
