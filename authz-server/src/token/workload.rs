//! Workload identity federation: a platform (Kubernetes, SPIFFE, GitHub Actions, …) vouches for a program that runs
//! there, and the operator's rules say what that is worth. No registration, no secret.
//!
//! The workload acts as the registered client that its rule names: that client bounds what it gets, and whoever revokes
//! the client ends its tokens. What a rule has matched is all of the assertion that reaches the token.

use std::sync::Arc;

use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::signed_jwt::{JwtFault, SignedJwt};

use super::request::{GrantType, TokenRequest};
use super::{Permit, assertion};
use crate::app::App;
use crate::client::Client;
use crate::config::Platform;
use crate::error::Failure;
use crate::policy::workload::Rule;
use crate::registry::Resource;

/// Verify the assertion, find the rule, and let client and resource bound it. There is nothing to record: platforms
/// hand their workloads one token for many requests, so it may come again.
pub(super) async fn decide(
    app: &App,
    (jwt, asked): (SignedJwt<'_>, &TokenRequest),
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    let in_force = app.in_force();
    let platforms = &in_force.changeable.assertions.workloads;
    let platform = assertion::claimed_issuer(&jwt, platforms, |known| &known.trust)?;
    let keys = in_force.assertion_keys.of_workload(&platform.trust);
    let shown = assertion::verify(jwt, &platform.trust, keys, None, now).await?;
    let token_endpoint = app.config.issuer.endpoint("/oauth/token");
    if !assertion::is_for_us(&shown.jwt, &app.config, &[&token_endpoint]) {
        return Err(assertion::not_valid(JwtFault("aud is not this server alone")).into());
    }
    let fitting: Vec<&Rule> = platform
        .rules
        .iter()
        .filter(|rule| rule.fits(shown.jwt.claims()))
        .collect();
    if fitting.is_empty() {
        let reason = format!("no rule of {} is about {}", platform.name, shown.subject);
        return Err(not_allowed().because(reason).into());
    }
    let bound = assertion::confirmation(&shown.jwt)?;
    let (rule, resource) = choose(app, &fitting, asked.resource.as_deref()).await?;
    let subject = rule.subject(&platform.name, shown.jwt.claims());
    let subject = subject.ok_or_else(|| assertion::not_valid(JwtFault("it makes no subject")))?;
    let client = acting(app, platform, rule, &resource).await?;
    let scope = granted(asked.scope.as_ref(), rule, &client, &resource)?;
    tracing::info!(
        event = "workload_admitted",
        platform = platform.name,
        subject,
        assertion_id = shown.id,
        client_id = client.client_id,
        resource = resource.uri,
        "a workload was admitted"
    );
    Ok(Permit {
        client,
        subject,
        scope,
        resource,
        lineage: None,
        confirmation: bound,
        actor: None,
        authorization_details: None,
        place: None,
    })
}

/// The first rule for the resource that is asked for; without one, all that fit must be about the same.
async fn choose<'r>(
    app: &App,
    fitting: &[&'r Rule],
    asked: Option<&str>,
) -> Result<(&'r Rule, Arc<Resource>), Failure> {
    let refusal = |sentence| OAuthError::new(ErrorCode::InvalidTarget, sentence);
    let resources = app.resources().await?;
    let wanted = match (asked, fitting) {
        (Some(name), _) => name,
        (None, [first, rest @ ..]) if rest.iter().all(|rule| rule.resource == first.resource) => {
            &first.resource
        }
        (None, _) => return Err(refusal("name the resource that the token is for").into()),
    };
    let found = resources
        .find(wanted)
        .ok_or_else(|| refusal("the resource is not known to this server"))?;
    let is_about = |rule: &&&Rule| {
        resources
            .find(&rule.resource)
            .is_some_and(|known| known.uri == found.uri)
    };
    let rule = fitting
        .iter()
        .find(is_about)
        .ok_or_else(|| refusal("the workload may not ask for that resource"))?;
    Ok((rule, Arc::clone(found)))
}

/// The client as which the workload acts: registered, not revoked, and itself allowed to do this.
async fn acting(
    app: &App,
    platform: &Platform,
    rule: &Rule,
    resource: &Resource,
) -> Result<Arc<Client>, Failure> {
    let client = app.client(&rule.client).await?;
    let fault = match &client {
        None => "is not registered",
        Some(client) if client.is_revoked => "is revoked",
        Some(client) if !client.has_grant(GrantType::JwtBearer.as_str()) => {
            "is not registered for this grant"
        }
        Some(client) if !client.resources.is_empty() && !client.resources.contains(&resource.uri) => {
            "may not ask for that resource"
        }
        Some(_) => "",
    };
    match client {
        Some(client) if fault.is_empty() => Ok(client),
        _ => {
            let reason = format!(
                "a rule of {} names the client {}, which {fault}",
                platform.name, rule.client
            );
            Err(not_allowed().because(reason).into())
        }
    }
}

/// What rule, client and resource all allow. More than that is refused, not cut: nobody is there to be told.
fn granted(
    asked: Option<&Scope>,
    rule: &Rule,
    client: &Client,
    resource: &Resource,
) -> Result<Scope, OAuthError> {
    let most = rule
        .scopes
        .intersection(&client.scopes)
        .intersection(&resource.scopes);
    let scope = asked.unwrap_or(&most);
    if scope.is_empty() || !scope.is_subset(&most) {
        let sentence = "the rules for this workload do not allow that scope";
        return Err(OAuthError::new(ErrorCode::InvalidScope, sentence));
    }
    Ok(scope.clone())
}

/// RFC 6749 §5.2 `unauthorized_client`: it is known who it is, and it may not.
pub(super) fn not_allowed() -> OAuthError {
    OAuthError::new(
        ErrorCode::UnauthorizedClient,
        "this workload may not have a token here",
    )
}
