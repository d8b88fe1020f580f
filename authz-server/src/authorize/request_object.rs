//! Request objects (RFC 9101): an authorization request as a JWT that the client signed. By value only: nothing that
//! a request names is fetched.

use std::time::Duration;

use ::web::address::ClientAddress;
use serde_json::{Map, Value};
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::signed_jwt::{SignedJwt, Times, VerifiedJwt};
use url::form_urlencoded::Serializer;

use super::raw::PARAMETERS;
use crate::app::App;
use crate::client::Client;
use crate::error::Failure;
use crate::params::MAX_FORM_BYTES;

/// The type of a request object (RFC 9101 §4), and what JWTs of older libraries say of themselves.
const TYPES: [&str; 2] = ["oauth-authz-req+jwt", "JWT"];
/// An object is made for this very request: one that would be good for longer could be shown by whoever finds it.
const TIMES: Times = Times {
    leeway: Duration::from_secs(60),
    longest: Some(Duration::from_secs(3600)),
    oldest: None,
};

/// The parameters inside of `object`, which `from` shows, form-encoded; those beside it count for nothing (RFC 9101
/// §6.3).
pub(super) async fn read(
    app: &App,
    client: &Client,
    (object, from): (&str, ClientAddress),
    now: UnixSeconds,
) -> Result<String, Failure> {
    // RFC 7516 §9: five parts are an encrypted one. We have no key for that.
    if object.split('.').count() == 5 {
        return Err(refused("it is encrypted").into());
    }
    let jwt = SignedJwt::parse(object, MAX_FORM_BYTES).map_err(|fault| refused(fault.0))?;
    if !jwt.has_type(&TYPES, true) {
        return Err(refused("it is a JWT of another type").into());
    }
    let pinned = client.details.request_object_signing_alg.as_deref();
    if pinned.is_some_and(|alg| alg != jwt.algorithm().as_str()) {
        return Err(refused("the client is registered for another algorithm").into());
    }
    let verified = match app.in_force().client_keys.verify(client, jwt, from).await {
        Ok(verified) => verified,
        Err(fault) => {
            return Err(refused("its signature is wrong")
                .because(fault.unproven(client)?)
                .into());
        }
    };
    check(&verified, client, app.config.issuer.as_str(), now)?;
    Ok(parameters(verified.claims())?)
}

/// Who made it, for whom and when (RFC 9101 §4, §5). It must say all of that: JWTs of other purposes are signed with
/// the same keys, and not every library gives a type (§10.8).
fn check(jwt: &VerifiedJwt, client: &Client, issuer: &str, now: UnixSeconds) -> Result<(), OAuthError> {
    let wrong = |fault: shared::signed_jwt::JwtFault| refused(fault.0);
    let id = Some(client.client_id.as_str());
    if jwt.text("iss").map_err(wrong)? != id {
        return Err(refused("iss is not the client"));
    }
    if jwt.text("client_id").map_err(wrong)? != id {
        return Err(refused("client_id inside is not the client"));
    }
    if !jwt.is_only_for(issuer) {
        return Err(refused("aud is not this server alone"));
    }
    // A client assertion names itself there (RFC 7523 §3), a request object has no subject.
    if jwt.claims().contains_key("sub") {
        return Err(refused("it has a subject, as a client assertion"));
    }
    jwt.check_times(TIMES, now).map_err(wrong)?;
    Ok(())
}

/// The claims as the parameters that they stand for (RFC 9101 §4).
fn parameters(claims: &Map<String, Value>) -> Result<String, OAuthError> {
    let mut query = Serializer::new(String::new());
    for (name, value) in claims {
        if matches!(name.as_str(), "request" | "request_uri") {
            return Err(refused("it contains a request or request_uri"));
        }
        if name != "resource" && !PARAMETERS.contains(&name.as_str()) {
            continue;
        }
        let values = match value {
            Value::Array(list) if name == "resource" => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                // RFC 9101 §4: numbers and JSON values may stand as what they are.
                Value::Number(number) if name == "max_age" => number.to_string(),
                Value::Array(_) if name == "authorization_details" => value.to_string(),
                _ => return Err(refused("a parameter in it has the wrong type")),
            };
            query.append_pair(name, &text);
        }
    }
    Ok(query.finish())
}

/// RFC 9101 §6.3.
fn refused(reason: &'static str) -> OAuthError {
    let sentence = "the request object is not valid: see what it must contain";
    OAuthError::new(ErrorCode::InvalidRequestObject, sentence).because(reason)
}
