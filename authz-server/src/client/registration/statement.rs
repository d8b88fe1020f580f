//! Software statements (RFC 7591 §2.3): what somebody whom the operator trusts says about a client's software. It
//! overrides what the client says itself.

use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::http_client::{ClientFault, HttpClient};
use shared::jose::KeySet;
use shared::jwks::{DEFAULT_MAX_STALE, KeyLookup, KeySetSettings, RemoteKeySet};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::signed_jwt::{JwtFault, SignedJwt, Times, VerifiedJwt};
use shared::uri::Issuer;
use url::Url;

use super::Document;
use crate::app::App;
use crate::config::{StatementIssuer, StatementKeys};
use crate::error::Failure;

/// Longest statement.
const MAX_BYTES: usize = 16 * 1024;
/// Tolerated difference of clocks.
const LEEWAY: std::time::Duration = std::time::Duration::from_secs(60);
/// Claims about the statement, not about the software (RFC 7519 §4.1).
const ABOUT_IT: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
/// Members that no statement can set: each belongs to one registration, or would carry another statement.
const NEVER: [&str; 6] = [
    "client_id",
    "client_secret",
    "registration_access_token",
    "registration_client_uri",
    "rotate_client_secret",
    "software_statement",
];

/// Whose statements count, and with which keys.
pub(crate) struct StatementIssuers(Vec<(String, Keys)>);

enum Keys {
    Held(KeySet),
    Remote(Url, RemoteKeySet),
}

impl StatementIssuers {
    /// Key sets at addresses are fetched when they are first needed; those that were there `before` stay.
    pub(crate) fn new(configured: &[StatementIssuer], before: Option<&Self>) -> Result<Self, ClientFault> {
        let issuers = configured.iter().map(|configured| {
            let issuer = configured.issuer.as_str();
            let keys = match &configured.keys {
                StatementKeys::Held(set) => Keys::Held(set.clone()),
                StatementKeys::At(address) => {
                    let set = match before.and_then(|before| before.keys_of(issuer)) {
                        Some(Keys::Remote(known, set)) if known == address => set.clone(),
                        _ => key_set(configured.issuer.clone(), address.clone())?,
                    };
                    Keys::Remote(address.clone(), set)
                }
            };
            Ok((issuer.to_owned(), keys))
        });
        Ok(Self(issuers.collect::<Result<_, _>>()?))
    }

    fn keys_of(&self, issuer: &str) -> Option<&Keys> {
        let known = self.0.iter().find(|(known, _)| known == issuer);
        known.map(|(_, keys)| keys)
    }
}

fn key_set(issuer: Issuer, address: Url) -> Result<RemoteKeySet, ClientFault> {
    let settings = KeySetSettings {
        issuer,
        jwks_uri: Some(address),
        algorithms: Vec::new(),
        max_stale: DEFAULT_MAX_STALE,
        kept: None,
    };
    Ok(RemoteKeySet::new(HttpClient::new(None)?, settings))
}

/// A document under its statement.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) document: Document,
    /// The statement, if there is one, to be given back unmodified (RFC 7591 §3.2.1).
    pub(super) text: Option<String>,
}

/// Lays the claims of the document's statement, if it has one, over the document.
pub(super) async fn apply(app: &App, mut document: Document, now: UnixSeconds) -> Result<Applied, Failure> {
    let text = match document.remove("software_statement") {
        None | Some(Value::Null) => return Ok(Applied { document, text: None }),
        Some(Value::String(text)) => text,
        Some(_) => return Err(invalid(JwtFault("it is no string"))),
    };
    let verified = verify(&app.in_force().statements, &text, now).await?;
    if verified.claims().contains_key("aud") && !verified.is_for(app.config.issuer.as_str()) {
        return Err(invalid(JwtFault("it is for another server")));
    }
    for (name, value) in verified.into_claims() {
        let is_member = !ABOUT_IT.contains(&name.as_str()) && !NEVER.contains(&name.as_str());
        if is_member {
            document.insert(name, value);
        }
    }
    let text = Some(text);
    Ok(Applied { document, text })
}

async fn verify(issuers: &StatementIssuers, text: &str, now: UnixSeconds) -> Result<VerifiedJwt, Failure> {
    let statement = SignedJwt::parse(text, MAX_BYTES).map_err(invalid)?;
    // RFC 8725 §3.11: no JWT that was made for another purpose.
    if !statement.has_type(&["JWT"], true) {
        return Err(invalid(JwtFault("its typ is not JWT")));
    }
    let issuer = statement
        .unverified("iss")
        .ok_or_else(|| invalid(JwtFault("iss is missing")))?;
    let Some(keys) = issuers.keys_of(issuer) else {
        let sentence = "the software statement is of an issuer that is not trusted here";
        return Err(OAuthError::new(ErrorCode::UnapprovedSoftwareStatement, sentence).into());
    };
    let verified = match keys {
        Keys::Held(set) => statement.verify_with(set).map_err(invalid)?,
        Keys::Remote(_, set) => {
            let kid = statement
                .kid()
                .ok_or_else(|| invalid(JwtFault("it names no key")))?;
            match set.key(kid).await {
                KeyLookup::Key(key) => statement.verify(&key).map_err(invalid)?,
                KeyLookup::UnknownKid => return Err(invalid(JwtFault("its key is unknown"))),
                KeyLookup::Unavailable { retry_after } => {
                    return Err(::web::rates::Exceeded::come_back(retry_after).into());
                }
            }
        }
    };
    // RFC 7591 §2.3 asks for no end; one that is named counts.
    if verified.claims().contains_key("exp") {
        let times = Times {
            leeway: LEEWAY,
            longest: None,
            oldest: None,
        };
        verified.check_times(times, now).map_err(invalid)?;
    }
    Ok(verified)
}

fn invalid(fault: JwtFault) -> Failure {
    let sentence = "the software statement is not a valid statement of its issuer";
    OAuthError::new(ErrorCode::InvalidSoftwareStatement, sentence)
        .because(fault.0)
        .into()
}
