//! The token endpoint (OAuth 2.1 §3.2): the corridor that every grant passes.
//!
//! ```text
//! body → params → catch up → authenticate → request → may this client? → grant → issue → answer
//! ```
//!
//! A grant is one file. It decides what may be granted and returns a [`Permit`]; what all grants share is done here,
//! so that none can forget it.

pub(crate) mod assertion;
mod authorization_code;
mod client_credentials;
pub(crate) mod device_authorization;
mod device_code;
mod exchange;
pub(crate) mod family;
mod id_jag;
mod introspect;
mod introspection_jwt;
mod issue;
mod jwt_bearer;
mod named;
pub(crate) mod own;
mod parties;
mod refresh_token;
mod request;
mod revoke;
pub(crate) mod scopes;
mod sender;
pub(crate) mod shown;
mod successor;
#[cfg(test)]
pub(crate) mod testing;
mod workload;

use std::sync::Arc;

use ::web::address::ClientAddress;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use shared::access_token::Confirmation;
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::secret::Secret;

pub(crate) use self::device_authorization::device_authorization;
pub(crate) use self::introspect::{introspect, is_active, look_up};
pub(crate) use self::named::warn_of_unknown;
pub(crate) use self::request::GrantType;
use self::request::{PARAMETERS, TokenRequest};
pub(crate) use self::revoke::{Found, revoke};
use crate::app::App;
use crate::client::authenticate::{AuthenticatedClient, authenticate};
use crate::client::{Client, Origin};
use crate::dpop;
use crate::error::{self, Failure};
use crate::params::{MAX_FORM_BYTES, Params};
use crate::registry::Resource;
use crate::status_list::Place;

/// [`Params::form`] or [`Params::json`].
type ParamsParser = fn(&HttpRequest, &[u8], &[&'static str]) -> Result<Params, OAuthError>;

/// What a grant allows: everything that [`issue`] needs to mint.
#[derive(Debug)]
struct Permit {
    client: Arc<Client>,
    subject: String,
    scope: Scope,
    resource: Arc<Resource>,
    /// `None` when the client acts for itself.
    lineage: Option<Lineage>,
    /// The key to which the access token is bound; from a grant, the key to which what was shown is bound.
    confirmation: Option<Confirmation>,
    /// Who acts for the subject (RFC 8693 §4.1).
    actor: Option<Value>,
    /// RFC 9396 §7: a list.
    authorization_details: Option<Value>,
    /// Of the access token, in a status list, where it had to be there before something was used up.
    place: Option<Place>,
}

/// What a permit has beyond the access token when a person stands behind it.
#[derive(Debug)]
struct Lineage {
    family_id: String,
    /// Nothing of the family lives longer.
    ends: UnixSeconds,
    /// What the client may come back with.
    refresh_token: Option<Secret>,
    /// When and how the person proved who they are (OpenID Connect Core §2, `auth_time` and `amr`).
    auth_time: UnixSeconds,
    methods: String,
    /// Of the authorization request; the first ID token repeats it.
    nonce: Option<String>,
}

/// What only assertions and exchanges add to a permit.
#[derive(Debug, Default)]
struct Terms {
    descent: Option<Descent>,
    /// Whether the answer says what the token is for: the client may not have known.
    names_resource: bool,
}

/// The token that was exchanged for the new one (RFC 8693).
#[derive(Debug)]
struct Descent {
    /// Its `jti`: to take it back takes back the new one too ([`family::ancestors_of`]).
    token_id: String,
    /// Its place in a status list, and that of the actor's token if one was shown. Tokens from before there were lists have
    /// none.
    places: Vec<Place>,
    /// The grant by which the person agreed, if they were asked.
    grant_id: Option<String>,
    /// What else the new one rests on ([`parties::rests_on`]).
    rests_on: String,
    /// The new one lives no longer.
    ends: UnixSeconds,
}

/// `POST /oauth/token`.
pub(crate) async fn token(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = Box::pin(exchange(&app, &request, body, Params::form)).await;
    let answer = answered.unwrap_or_else(|failure| error::answer(&app, &request, failure));
    dpop::with_nonce(&app, answer)
}

/// `POST /mcp/auth/token`: the same, as a form or as JSON.
pub(crate) async fn token_form_or_json(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let parse = if Params::is_json(&request) {
        Params::json
    } else {
        Params::form
    };
    let answered = Box::pin(exchange(&app, &request, body, parse)).await;
    let answer = answered.unwrap_or_else(|failure| error::answer(&app, &request, failure));
    dpop::with_nonce(&app, answer)
}

async fn exchange(
    app: &App,
    request: &HttpRequest,
    body: web::Payload,
    parse: ParamsParser,
) -> Result<HttpResponse, Failure> {
    let body = ::web::body::read(request, body, MAX_FORM_BYTES).await?;
    let mut params = parse(request, &body, &PARAMETERS)?;
    let now = clock::now();
    app.catch_up().await?;
    if jwt_bearer::comes_alone(request, &params) {
        // The rare ways are boxed: every request would carry room for them.
        return Box::pin(admit(app, request, params, now)).await;
    }
    let client = authenticate(app, request, &mut params, now).await?;
    let mut asked = TokenRequest::read(&mut params)?;
    may_use(&client, asked.grant_type)?;
    asked.source = Some(ClientAddress::of(request).0);
    asked.confirmation = sender::prove(app, request, &client, now).await?;
    // Before anything is used up: without keys nothing comes of it.
    let keys = app.keys().await?;
    let mut terms = Terms::default();
    let permit = match asked.grant_type {
        GrantType::AuthorizationCode => authorization_code::decide(app, &client, &asked, now).await?,
        GrantType::RefreshToken => refresh_token::decide(app, &client, &asked, now).await?,
        GrantType::ClientCredentials => client_credentials::decide(app, &client, &asked).await?,
        GrantType::DeviceCode => device_code::decide(app, &client, &asked, now).await?,
        GrantType::JwtBearer => {
            terms.names_resource = true;
            Box::pin(jwt_bearer::decide(app, &client, &asked, now)).await?
        }
        GrantType::TokenExchange => {
            let (permit, descent) = Box::pin(exchange::decide(app, &client, &asked, now)).await?;
            terms.descent = Some(descent);
            permit
        }
    };
    assertion::check_proof(permit.confirmation.as_ref(), asked.confirmation.as_ref())?;
    let permit = Permit {
        confirmation: asked.confirmation,
        ..permit
    };
    let answer = issue::issue(app, &keys, (&permit, &terms), now).await?;
    count(app, asked.grant_type, &permit);
    Ok(answer)
}

fn count(app: &App, grant: GrantType, permit: &Permit) {
    let whose = (permit.client.client_id.as_str(), permit.resource.uri.as_str());
    app.counts.issued(grant, whose, &permit.scope);
}

/// The same corridor for a workload, whose assertion is all that it shows. Failures count by address, as failed
/// authentications do, and successes as those of public clients do.
async fn admit(
    app: &App,
    request: &HttpRequest,
    mut params: Params,
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let asked = TokenRequest::read(&mut params)?;
    let address = ClientAddress::of(request).limit_key();
    let keys = app.keys().await?;
    let permit = match jwt_bearer::decide_alone(app, &asked, now).await {
        Ok(permit) => permit,
        Err(failure) => {
            // Not when we cannot tell, nor when a good assertion asks for too much.
            let is_guess = |code| matches!(code, ErrorCode::InvalidGrant | ErrorCode::UnauthorizedClient);
            if matches!(&failure, Failure::Refused(refusal) if is_guess(refusal.code)) {
                app.per_ip_failures.check(address)?;
            }
            return Err(failure);
        }
    };
    app.per_client.check((&permit.client.client_id, address))?;
    let client = AuthenticatedClient::vouched_for(Arc::clone(&permit.client));
    let confirmation = sender::prove(app, request, &client, now).await?;
    assertion::check_proof(permit.confirmation.as_ref(), confirmation.as_ref())?;
    let permit = Permit {
        confirmation,
        ..permit
    };
    let terms = Terms {
        names_resource: true,
        ..Terms::default()
    };
    let answer = issue::issue(app, &keys, (&permit, &terms), now).await?;
    count(app, GrantType::JwtBearer, &permit);
    Ok(answer)
}

/// RFC 6749 §5.2 `unauthorized_client`.
fn may_use(client: &AuthenticatedClient, grant_type: GrantType) -> Result<(), OAuthError> {
    if client.client().has_grant(grant_type.as_str()) {
        return Ok(());
    }
    let refusal = OAuthError::new(
        ErrorCode::UnauthorizedClient,
        "this client may not use that grant",
    );
    Err(refusal.because(format!(
        "client {} is not registered for {}",
        client.client().client_id,
        grant_type.as_str()
    )))
}

/// The resource that a token is asked for: the one named, or the only one that fits (RFC 8707 §2).
pub(crate) async fn target(
    app: &App,
    client: &Client,
    asked: Option<&str>,
) -> Result<Arc<Resource>, Failure> {
    let refusal = |sentence| OAuthError::new(ErrorCode::InvalidTarget, sentence);
    let resources = app.resources().await?;
    let found = match (asked, client.resources.as_slice()) {
        (Some(name), _) => resources
            .find(name)
            .ok_or_else(|| refusal("the resource is not known to this server"))?,
        (None, [only]) => resources
            .find(only)
            .ok_or_else(|| refusal("the client's resource is no longer registered"))?,
        (None, []) => resources
            .only()
            .ok_or_else(|| refusal("name the resource that the token is for"))?,
        (None, _) => return Err(refusal("name the resource that the token is for").into()),
    };
    if !client.resources.is_empty() && !client.resources.contains(&found.uri) {
        let reason = format!("client {} may not ask for {}", client.client_id, found.uri);
        return Err(refusal("this client may not ask for that resource")
            .because(reason)
            .into());
    }
    if found.is_built_in && client.origin != Origin::Operator {
        // Whoever registers itself, or publishes what it is, could ask any administrator for everything (ADM-09).
        let reason = format!("client {} was not made by an operator", client.client_id);
        return Err(refusal("this client may not ask for that resource")
            .because(reason)
            .into());
    }
    Ok(Arc::clone(found))
}

/// When an access token that is made now ends: after `access_ttl`, and never later than what it came of.
fn end_of(permit: &Permit, terms: &Terms, now: UnixSeconds) -> UnixSeconds {
    let ends = [
        permit.lineage.as_ref().map(|lineage| lineage.ends),
        terms.descent.as_ref().map(|descent| descent.ends),
    ];
    ends.into_iter()
        .flatten()
        .fold(now + permit.resource.access_ttl, UnixSeconds::min)
}
