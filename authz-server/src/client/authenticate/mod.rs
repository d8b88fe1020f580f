//! Who is asking: the only place that makes an [`AuthenticatedClient`].
//!
//! 1. find the credentials: one way to authenticate, never two (RFC 6749 §2.3)
//! 2. find the client; an unknown one gets the same answer as a wrong secret (ids are no secret)
//! 3. is it registered for that method? What it showed besides does not count
//! 4. check the proof: the secret, the assertion or the certificate
//! 5. count it against the client's rate

mod assertion;
mod certificate;
mod distinguished_name;
mod secret;

use std::sync::Arc;

use ::web::address::ClientAddress;
use ::web::client_certificate;
use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, SecretHash};

use self::assertion::Assertion;
pub(crate) use self::assertion::SIGNING_ALGORITHMS;
use self::certificate::Shown;
pub(crate) use self::distinguished_name::DistinguishedName;
use super::{AuthMethod, Client, document};
use crate::app::App;
use crate::error::Failure;
use crate::params::Params;

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

    /// The client as which a workload acts whose assertion was verified ([`crate::token`]): whoever vouches for the
    /// workload has proven what the client itself would have to.
    pub(crate) fn vouched_for(client: Arc<Client>) -> Self {
        Self {
            client,
            method: AuthMethod::PrivateKeyJwt,
        }
    }

    /// A client that is taken to have proven itself, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn assumed(client: Arc<Client>) -> Self {
        Self {
            client,
            method: AuthMethod::ClientSecretBasic,
        }
    }

    /// A client that came without a proof, for the same tests.
    #[cfg(test)]
    pub(crate) fn assumed_public(client: Arc<Client>) -> Self {
        Self {
            client,
            method: AuthMethod::None,
        }
    }
}

/// What the request shows.
struct Credentials<'a> {
    client_id: String,
    proof: Proof<'a>,
}

enum Proof<'a> {
    Basic(Secret),
    Post(Secret),
    Assertion(Assertion<'a>),
    /// Nothing in the request itself; there may be a certificate around it.
    Nothing,
}

/// Authenticates the client of `request`. Call [`App::catch_up`] before.
pub(crate) async fn authenticate(
    app: &App,
    request: &HttpRequest,
    params: &mut Params,
    now: UnixSeconds,
) -> Result<AuthenticatedClient, Failure> {
    let assertion = assertion::take(params)?;
    let verdict = match credentials(request, params, assertion.as_deref()) {
        Ok(credentials) => {
            document::admit(app, &credentials.client_id, ClientAddress::of(request)).await?;
            check(app, request, credentials, now).await?
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
                    .check(ClientAddress::of(request).limit_key())
                    .inspect_err(|_| app.metrics.refused(refusal.code.as_str()))?;
            }
            Err(refusal.into())
        }
    }
}

/// Why a proof is not believed, for the log; or we cannot tell.
type Checked = Result<Result<(), String>, Failure>;

async fn check(
    app: &App,
    request: &HttpRequest,
    credentials: Credentials<'_>,
    now: UnixSeconds,
) -> Result<Result<AuthenticatedClient, OAuthError>, Failure> {
    let Credentials { client_id, proof } = credentials;
    let Some(client) = document::current(app, &client_id, now).await? else {
        return Ok(Err(refused(format!(
            "there is no client {}",
            printable(&client_id)
        ))));
    };
    if client.is_revoked {
        return Ok(Err(refused(format!("client {client_id} is revoked"))));
    }
    let shown = Shown {
        certificate: client_certificate::of(request),
        from: ClientAddress::of(request),
    };
    let method = match &proof {
        Proof::Basic(_) => AuthMethod::ClientSecretBasic,
        Proof::Post(_) => AuthMethod::ClientSecretPost,
        Proof::Assertion(_) => AuthMethod::PrivateKeyJwt,
        Proof::Nothing => shown.method(&client, |method| app.takes(method)),
    };
    if !client.auth_methods.contains(&method) {
        return Ok(Err(refused(format!(
            "client {client_id} is not registered for {method}"
        ))));
    }
    let proven = match proof {
        Proof::Basic(secret) | Proof::Post(secret) => has_secret(&client, &secret.hash(), now),
        Proof::Assertion(assertion) => Box::pin(assertion.check(app, &client, shown.from, now)).await?,
        Proof::Nothing if method == AuthMethod::None => Ok(()),
        Proof::Nothing => Box::pin(certificate::check(app, &client, (method, &shown), now)).await?,
    };
    Ok(match proven {
        Ok(()) => Ok(AuthenticatedClient { client, method }),
        Err(reason) => Err(refused(format!("client {client_id}: {reason}"))),
    })
}

fn has_secret(client: &Client, secret: &SecretHash, now: UnixSeconds) -> Result<(), String> {
    let reason = || "it showed a wrong or expired secret".to_owned();
    client.has_secret(secret, now).then_some(()).ok_or_else(reason)
}

fn credentials<'a>(
    request: &HttpRequest,
    params: &mut Params,
    assertion: Option<&'a str>,
) -> Result<Credentials<'a>, OAuthError> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (header, more) = (headers.next(), headers.next());
    let (id, secret) = (
        params.take("client_id"),
        params.take("client_secret").map(Secret::from),
    );
    if more.is_some() {
        return Err(malformed("there are two Authorization headers"));
    }
    if usize::from(header.is_some()) + usize::from(secret.is_some()) + usize::from(assertion.is_some()) > 1 {
        return Err(malformed("the client authenticates in two ways at once"));
    }
    if let Some(text) = assertion {
        let assertion = Assertion::parse(text).map_err(refused)?;
        if id.is_some_and(|id| id != assertion.client_id()) {
            return Err(refused(
                "client_id is not the subject of the assertion".to_owned(),
            ));
        }
        return Ok(Credentials {
            client_id: assertion.client_id().to_owned(),
            proof: Proof::Assertion(assertion),
        });
    }
    let Some(header) = header else {
        let client_id = id.ok_or_else(|| match secret {
            Some(_) => malformed("client_id is missing"),
            None => refused("no credentials were shown".to_owned()),
        })?;
        return Ok(Credentials {
            client_id,
            proof: secret.map_or(Proof::Nothing, Proof::Post),
        });
    };
    let (client_id, secret) = header.to_str().ok().and_then(secret::basic).ok_or_else(|| {
        refused("the Authorization header is not Basic with a client id and a secret".to_owned())
    })?;
    if id.is_some_and(|id| id != client_id) {
        return Err(malformed("client_id is not the client that authenticates"));
    }
    Ok(Credentials {
        client_id,
        proof: Proof::Basic(secret),
    })
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
