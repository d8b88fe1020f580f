//! Enterprise-managed authorization: an identity provider says, in an Identity Assertion JWT Authorization Grant
//! (ID-JAG), that a person lets a client act for them at a resource. Nobody is asked here: the enterprise has decided.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::jose::sha256_base64url;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::signed_jwt::{JwtFault, SignedJwt, VerifiedJwt};

use super::assertion::{self, Assertion, LEEWAY, not_valid};
use super::parties::{self, ELSEWHERE};
use super::request::TokenRequest;
use super::{Permit, target};
use crate::app::App;
use crate::client::Client;
use crate::client::authenticate::AuthenticatedClient;
use crate::config::IdentityProvider;
use crate::db;
use crate::db::status_list::BlockOwner;
use crate::error::Failure;
use crate::registry::Resource;

/// An ID-JAG is exchanged at once: one that lives longer than this is a standing key.
const LONGEST: Duration = Duration::from_secs(3600);

/// Verify, let everybody narrow it, and use it up.
pub(super) async fn decide(
    app: &App,
    client: &AuthenticatedClient,
    (jwt, asked): (SignedJwt<'_>, &TokenRequest),
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    if client.is_public() {
        let sentence = "a public client cannot prove that the assertion was meant for it";
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, sentence).into());
    }
    let client = client.client();
    let in_force = app.in_force();
    let settings = &in_force.changeable.assertions;
    let provider = assertion::claimed_issuer(&jwt, &settings.id_jag, |known| &known.trust)?;
    let keys = in_force.assertion_keys.of_id_jag(&provider.trust);
    let shown = assertion::verify(jwt, &provider.trust, keys, Some(LONGEST), now).await?;
    if !assertion::is_for_us(&shown.jwt, &app.config, &[]) {
        return Err(not_valid(JwtFault("aud is not this server alone")).into());
    }
    check_client(provider, client, &shown.jwt)?;
    check_bounds(&shown.jwt)?;
    let bound = assertion::confirmation(&shown.jwt)?;
    assertion::check_proof(bound.as_ref(), asked.confirmation.as_ref())?;
    let resource = destination(app, client, &shown.jwt, asked.resource.as_deref()).await?;
    let scope = granted(asked.scope.as_ref(), &shown.jwt, client, &resource)?;
    let subject = subject(app, &provider.trust.issuer, &shown.subject).await?;
    let owner = BlockOwner {
        client_id: &client.client_id,
        user_id: parties::is_user(&subject).then_some(subject.as_str()),
    };
    let place = app.status_lists.allot(app, &resource, Some(owner), now).await?;
    if !settings.id_jag_replay {
        use_up(app, &provider.trust.issuer, &shown).await?;
    }
    tracing::info!(
        event = "id_jag_exchanged",
        issuer = provider.trust.issuer,
        subject,
        assertion_id = shown.id,
        client_id = client.client_id,
        resource = resource.uri,
        "an identity provider spoke for a person"
    );
    Ok(Permit {
        client: Arc::clone(client),
        subject,
        scope,
        resource,
        lineage: None,
        confirmation: bound,
        actor: None,
        authorization_details: None,
        place: Some(place),
    })
}

/// The assertion is this client's: whoever found it at another cannot use it.
fn check_client(provider: &IdentityProvider, client: &Client, jwt: &VerifiedJwt) -> Result<(), OAuthError> {
    if jwt.text("client_id").map_err(not_valid)? != Some(&client.client_id) {
        return Err(not_valid(JwtFault(
            "client_id is not the client that authenticated",
        )));
    }
    if !provider.clients.is_empty() && !provider.clients.contains(&client.client_id) {
        let sentence = "this client may not bring assertions of that issuer";
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, sentence));
    }
    Ok(())
}

/// What would bound the person's yes, and is not honoured here: passing over it would make the assertion say more than
/// it does.
fn check_bounds(jwt: &VerifiedJwt) -> Result<(), OAuthError> {
    let unheard = ["act", "authorization_details"]
        .into_iter()
        .any(|claim| jwt.claims().contains_key(claim));
    if unheard {
        return Err(not_valid(JwtFault(
            "act and authorization_details are not taken from assertions",
        )));
    }
    Ok(())
}

/// The resource of the assertion, which the request may repeat. One without leaves it to the request, as in any grant.
async fn destination(
    app: &App,
    client: &Client,
    jwt: &VerifiedJwt,
    asked: Option<&str>,
) -> Result<Arc<Resource>, Failure> {
    let named = resources(jwt)?;
    let resources = app.resources().await?;
    // `aud` and `resource` belong together: a resource that is not ours was meant for another server.
    let known: Option<Vec<_>> = named.iter().map(|name| resources.find(name)).collect();
    let known = known.ok_or_else(|| not_valid(JwtFault("resource is not registered here")))?;
    let wanted = match (known.as_slice(), asked) {
        ([], asked) => return target(app, client, asked).await,
        ([only], None) => only,
        (_, None) => {
            let sentence = "the assertion is for several resources; name one";
            return Err(OAuthError::new(ErrorCode::InvalidTarget, sentence).into());
        }
        (several, Some(asked)) => {
            let asked = resources.find(asked);
            let chosen = several
                .iter()
                .find(|known| asked.is_some_and(|asked| asked.uri == known.uri));
            let sentence = "the assertion is for another resource";
            chosen.ok_or_else(|| OAuthError::new(ErrorCode::InvalidTarget, sentence))?
        }
    };
    target(app, client, Some(&wanted.uri)).await
}

/// `resource`: text, or a list of texts.
fn resources(jwt: &VerifiedJwt) -> Result<Vec<&str>, OAuthError> {
    let fault = || not_valid(JwtFault("resource is neither text nor a list of texts"));
    match jwt.claims().get("resource") {
        None => Ok(Vec::new()),
        Some(Value::String(only)) => Ok(vec![only]),
        Some(Value::Array(list)) if (1..=16).contains(&list.len()) => {
            list.iter().map(|one| one.as_str().ok_or_else(fault)).collect()
        }
        Some(_) => Err(fault()),
    }
}

/// What is asked for, as far as the assertion, the client and the resource all allow it.
fn granted(
    asked: Option<&Scope>,
    jwt: &VerifiedJwt,
    client: &Client,
    resource: &Resource,
) -> Result<Scope, OAuthError> {
    let stated: Option<Scope> = jwt
        .text("scope")
        .map_err(not_valid)?
        .map(str::parse)
        .transpose()
        .map_err(|_| not_valid(JwtFault("scope is malformed")))?;
    let mut scope = client.scopes.intersection(&resource.scopes);
    for bound in [stated.as_ref(), asked].into_iter().flatten() {
        scope = scope.intersection(bound);
    }
    if scope.is_empty() {
        let sentence = "the assertion, the client or the resource allows none of that scope";
        return Err(OAuthError::new(ErrorCode::InvalidScope, sentence));
    }
    Ok(scope)
}

/// Who the person is here: the account that is linked to theirs, if there is one, else a name that only issuer and
/// subject make, so that it stays the same and is nobody else's.
async fn subject(app: &App, issuer: &str, subject: &str) -> Result<String, Failure> {
    let Some(user_id) = db::federated_identity::find(&app.db, issuer, subject).await? else {
        return Ok(derived(issuer, subject));
    };
    let user = db::user_account::find(&app.db, &user_id).await?;
    if user.is_some_and(|user| user.disabled_at.is_none()) {
        Ok(user_id)
    } else {
        Err(assertion::refusal()
            .because(format!("the person {user_id} is disabled here"))
            .into())
    }
}

fn derived(issuer: &str, subject: &str) -> String {
    // With its length before it, no issuer runs into a subject.
    let both = format!("{}:{issuer}{subject}", issuer.len());
    format!("{ELSEWHERE}{}", sha256_base64url(both.as_bytes()))
}

/// Once, and never again while it lives (RFC 7523 §3, rule 7). Last of all checks: what is refused is not used up.
async fn use_up(app: &App, issuer: &str, shown: &Assertion) -> Result<(), Failure> {
    let key = db::used_proof::key("id-jag", issuer, &shown.id);
    if db::used_proof::consume(&app.db, &key, shown.expires_at + LEEWAY).await? {
        return Ok(());
    }
    tracing::warn!(
        event = "id_jag_replayed",
        issuer,
        assertion_id = shown.id,
        "security: an assertion came a second time"
    );
    Err(not_valid(JwtFault("it was used before")).into())
}
