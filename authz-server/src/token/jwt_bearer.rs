//! The JWT bearer grant (RFC 7523 §2.1): an assertion of somebody whom the operator believes. Its `typ` says which of
//! the two kinds it is, and each kind has its own issuers and its own rules (RFC 8725 §3.11):
//!
//! - `oauth-id-jag+jwt`: an enterprise's identity provider speaks for a person ([`super::id_jag`])
//! - anything else: a platform speaks for a program that runs there ([`super::workload`])

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::Secret;
use shared::signed_jwt::{JwtFault, SignedJwt};

use super::request::{GrantType, TokenRequest};
use super::{Permit, assertion, id_jag, workload};
use crate::app::App;
use crate::client::authenticate::AuthenticatedClient;
use crate::error::Failure;
use crate::params::Params;

/// What an ID-JAG calls itself.
const ID_JAG: &str = "oauth-id-jag+jwt";
/// JWTs that were made for another purpose and say so. None of them is an assertion, whoever signed it.
const OTHER_TYPES: [&str; 13] = [
    "at+jwt",
    "client-authentication+jwt",
    "dpop+jwt",
    "entity-statement+jwt",
    "kb+jwt",
    "logout+jwt",
    "oauth-authz-req+jwt",
    "openid4vci-proof+jwt",
    "secevent+jwt",
    "statuslist+jwt",
    "token-introspection+jwt",
    "wit+jwt",
    "wpt+jwt",
];

/// Whether the assertion alone speaks for a workload: nobody tries to authenticate, which RFC 7523 §3.1 leaves open.
/// A `client_id` beside it names nobody who could be asked for more. An ID-JAG never comes alone.
pub(super) fn comes_alone(request: &HttpRequest, params: &Params) -> bool {
    let is_shown = |name: &str| params.peek(name).is_some();
    let is_id_jag = || {
        let assertion = params.peek("assertion").unwrap_or_default();
        SignedJwt::parse(assertion, assertion::MAX_BYTES).is_ok_and(|jwt| jwt.has_type(&[ID_JAG], false))
    };
    params.peek("grant_type") == Some(GrantType::JwtBearer.as_str())
        && !request.headers().contains_key(AUTHORIZATION)
        && !["client_secret", "client_assertion", "client_assertion_type"]
            .into_iter()
            .any(is_shown)
        && !is_id_jag()
}

/// For a client that has authenticated.
pub(super) async fn decide(
    app: &App,
    client: &AuthenticatedClient,
    asked: &TokenRequest,
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    let jwt = read(asked)?;
    if jwt.has_type(&[ID_JAG], false) {
        return id_jag::decide(app, client, (jwt, asked), now).await;
    }
    let permit = workload::decide(app, (check_type(jwt)?, asked), now).await?;
    if permit.client.client_id != client.client().client_id {
        let reason = format!(
            "the workload acts as {}, but {} authenticated",
            permit.client.client_id,
            client.client().client_id
        );
        return Err(workload::not_allowed().because(reason).into());
    }
    Ok(permit)
}

/// For a workload that shows nothing but its assertion.
pub(super) async fn decide_alone(
    app: &App,
    asked: &TokenRequest,
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    workload::decide(app, (check_type(read(asked)?)?, asked), now).await
}

fn read(asked: &TokenRequest) -> Result<SignedJwt<'_>, OAuthError> {
    let missing = || OAuthError::new(ErrorCode::InvalidRequest, "assertion is missing");
    let text: &Secret = asked.assertion.as_ref().ok_or_else(missing)?;
    assertion::parse(text)
}

fn check_type(jwt: SignedJwt<'_>) -> Result<SignedJwt<'_>, OAuthError> {
    if jwt.has_type(&OTHER_TYPES, false) {
        return Err(assertion::not_valid(JwtFault(
            "its typ is that of another purpose",
        )));
    }
    Ok(jwt)
}
