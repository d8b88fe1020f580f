//! Request objects (RFC 9101): an authorization request as a JWT that the client signed. By value only: nothing that
//! a request names is fetched.

use serde_json::{Map, Value};
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use url::form_urlencoded::Serializer;

use super::request::PARAMETERS;
use crate::app::App;
use crate::client::Client;
use crate::error::Failure;

/// The parameters inside `object`, form-encoded; those beside it count for nothing (RFC 9101 §6.3).
#[expect(clippy::unused_async, reason = "keys may have to be fetched")]
pub(super) async fn read(
    _app: &App,
    _client: &Client,
    _object: &str,
    _now: UnixSeconds,
) -> Result<String, Failure> {
    Err(refused("no key of the client is known", "the client has no keys").into())
}

/// The claims as the parameters that they stand for (RFC 9101 §4).
fn parameters(claims: &Map<String, Value>) -> Result<String, OAuthError> {
    let mut query = Serializer::new(String::new());
    for (name, value) in claims {
        if matches!(name.as_str(), "request" | "request_uri") {
            // RFC 9101 §4.
            return Err(refused(
                "a request object cannot contain another",
                "it contains a request or request_uri",
            ));
        }
        let values = match value {
            Value::Array(list) if name == "resource" => list.as_slice(),
            other => std::slice::from_ref(other),
        };
        if name != "resource" && !PARAMETERS.contains(&name.as_str()) {
            continue;
        }
        for value in values {
            match value {
                Value::String(text) => query.append_pair(name, text),
                Value::Number(number) if name == "max_age" => query.append_pair(name, &number.to_string()),
                Value::Array(_) if name == "authorization_details" => {
                    query.append_pair(name, &value.to_string())
                }
                _ => {
                    return Err(refused(
                        "a parameter in the request object has the wrong type",
                        "a parameter in it has the wrong type",
                    ));
                }
            };
        }
    }
    Ok(query.finish())
}

fn refused(sentence: &'static str, reason: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequestObject, sentence).because(reason)
}
