//! Who is asking: the only place that makes an [`AuthenticatedClient`].
//!
//! 1. find the credentials: header or body, never both (RFC 6749 §2.3)
//! 2. find the client; an unknown one gets the same answer as a wrong secret (ids have 128 random bits and are no secret)
//! 3. compare, in constant time
//! 4. was it the method that the client is registered for?
//! 5. count it against the client's rate

use std::sync::Arc;

use ::web::address::ClientAddress;
use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, SecretHash};

use super::{AuthMethod, Client, document};
use crate::app::App;
use crate::error::Failure;
use crate::params::{Params, decode};

/// The parameters that this step reads; endpoints add their own.
pub(crate) const PARAMETERS: [&str; 4] = [
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

/// A client that proved who it is, or a public one that cannot.
pub(crate) struct AuthenticatedClient {
    client: Arc<Client>,
    method: AuthMethod,
}

impl AuthenticatedClient {
    /// The client.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whether nothing was proven: the client is public.
    pub(crate) fn is_public(&self) -> bool {
        self.method == AuthMethod::None
    }

    /// A client that is taken to have proven itself, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn assumed(client: Arc<Client>) -> Self {
        Self {
            client,
            method: AuthMethod::ClientSecretBasic,
        }
    }
}

/// What the request shows.
struct Credentials {
    client_id: String,
    secret: Option<Secret>,
    method: AuthMethod,
}

/// Authenticates the client of `request`. Call [`App::catch_up`] before.
pub(crate) async fn authenticate(
    app: &App,
    request: &HttpRequest,
    params: &mut Params,
    now: UnixSeconds,
) -> Result<AuthenticatedClient, Failure> {
    let verdict = match credentials(request, params) {
        Ok(credentials) => {
            document::admit(app, &credentials.client_id, ClientAddress::of(request)).await?;
            check(app, credentials, now).await?
        }
        Err(refusal) => Err(refusal),
    };
    match verdict {
        Ok(authenticated) => {
            let id = &authenticated.client.client_id;
            if authenticated.is_public() {
                // Nothing was proven: a stranger who knows the id must not use the client's allowance up.
                app.per_client
                    .check((id, ClientAddress::of(request).limit_key()))?;
            } else {
                app.per_client.check(id)?;
            }
            Ok(authenticated)
        }
        Err(refusal) => {
            // Whoever fails often is told to wait, by address: to count by client would let a stranger lock it out. A
            // secret of 256 bits needs no other protection from guessing.
            if refusal.code == ErrorCode::InvalidClient {
                app.per_ip_failures
                    .check(ClientAddress::of(request).limit_key())?;
            }
            Err(refusal.into())
        }
    }
}

async fn check(
    app: &App,
    credentials: Credentials,
    now: UnixSeconds,
) -> Result<Result<AuthenticatedClient, OAuthError>, Failure> {
    let Credentials {
        client_id,
        secret,
        method,
    } = credentials;
    let client = document::current(app, &client_id, now).await?;
    let hash = secret
        .as_ref()
        .map(Secret::hash)
        .unwrap_or_else(|| SecretHash::of(b""));
    let Some(client) = client else {
        return Ok(Err(refused(format!(
            "there is no client {}",
            printable(&client_id)
        ))));
    };
    let proven = method == AuthMethod::None || client.has_secret(&hash, now);
    if client.is_revoked {
        return Ok(Err(refused(format!("client {client_id} is revoked"))));
    }
    if !client.auth_methods.contains(&method) {
        return Ok(Err(refused(format!(
            "client {client_id} is not registered for {method}"
        ))));
    }
    if !proven {
        return Ok(Err(refused(format!(
            "client {client_id} showed a wrong or expired secret"
        ))));
    }
    Ok(Ok(AuthenticatedClient { client, method }))
}

fn credentials(request: &HttpRequest, params: &mut Params) -> Result<Credentials, OAuthError> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (header, more) = (headers.next(), headers.next());
    let (id, secret) = (
        params.take("client_id"),
        params.take("client_secret").map(Secret::from),
    );
    if more.is_some() {
        return Err(malformed("there are two Authorization headers"));
    }
    if params.take("client_assertion").is_some() || params.take("client_assertion_type").is_some() {
        return Err(refused(
            "a client assertion was shown, which no client here is registered for".to_owned(),
        ));
    }
    let Some(header) = header else {
        let client_id = id.ok_or_else(|| match secret {
            Some(_) => malformed("client_id is missing"),
            None => refused("no credentials were shown".to_owned()),
        })?;
        let method = if secret.is_some() {
            AuthMethod::ClientSecretPost
        } else {
            AuthMethod::None
        };
        return Ok(Credentials {
            client_id,
            secret,
            method,
        });
    };
    if secret.is_some() {
        return Err(malformed("the client authenticates in two ways at once"));
    }
    let (client_id, secret) = header.to_str().ok().and_then(basic).ok_or_else(|| {
        refused("the Authorization header is not Basic with a client id and a secret".to_owned())
    })?;
    if id.is_some_and(|id| id != client_id) {
        return Err(malformed("client_id is not the client that authenticates"));
    }
    Ok(Credentials {
        client_id,
        secret: Some(secret),
        method: AuthMethod::ClientSecretBasic,
    })
}

/// RFC 6749 §2.3.1: base64 of `id:secret`, both form-encoded first. Our ids and secrets read the same with and
/// without that encoding, so clients that forget it work too.
fn basic(header: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = zeroize::Zeroizing::new(STANDARD.decode(encoded.trim_start_matches(' ')).ok()?);
    let text = std::str::from_utf8(&decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    if id.is_empty() || secret.is_empty() {
        return None;
    }
    let secret = decode(secret.as_bytes()).ok()?.into_owned();
    // No id of ours has control characters, and Postgres takes no NUL in a text.
    let id = decode(id.as_bytes())
        .ok()
        .filter(|id| !id.contains(char::is_control))?;
    Some((id.into_owned(), Secret::from(secret)))
}

fn refused(reason: String) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClient, "client authentication failed").because(reason)
}

fn malformed(sentence: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, sentence)
}

/// At most 64 plain characters of what a stranger calls itself.
fn printable(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn basic_is_read_with_and_without_form_encoding() {
        for (scheme, text, secret) in [
            ("Basic", "c_1:ehs_x-y", "ehs_x-y"),
            ("bAsIc", "c_1:a%2Bb%3A", "a+b:"),
            ("BASIC", "c_1:a:b", "a:b"),
        ] {
            let value = format!("{scheme} {}", STANDARD.encode(text));
            let (id, found) = basic(&value).unwrap();
            assert_eq!((id.as_str(), found.reveal()), ("c_1", secret));
        }
    }

    #[test]
    fn loosely_written_basic_is_refused() {
        let good = header("c_1:s");
        for bad in [
            "Basic",
            "Basic ",
            "Bearer x",
            "Basic !!!!",
            &header("c_1"),
            &header("c_1:"),
            &header(":s"),
            &header("c_1:%zz"),
            &format!("{good} x"),
            &format!("{good}\t"),
        ] {
            assert!(basic(bad).is_none(), "{bad}");
        }
        assert!(basic(&good).is_some());
    }
}
