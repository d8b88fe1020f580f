//! Token exchange (RFC 8693): a client that was called turns the caller's token into one for the next resource.
//!
//! Only along an edge that the operator wrote ([`crate::policy::exchange`]). The new token carries no more scope, lives
//! no longer, and is taken back when the shown one is.

use std::sync::Arc;

use shared::access_token::{Confirmation, VerifiedClaims};
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::secret::Secret;

use super::request::{ExchangeRequest, TokenRequest};
use super::{Descent, Permit, family, introspect, own, parties, target};
use crate::app::App;
use crate::client::Client;
use crate::client::authenticate::AuthenticatedClient;
use crate::db;
use crate::error::Failure;
use crate::policy::exchange::{self as policy, Actor, Consent, Edge, MAX_DEPTH, Mode, Refusal};
use crate::status_list::Place;

/// What is issued here (RFC 8693 §3).
pub(super) const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// What an access token of ours is besides.
const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Load both tokens and everything that they rest on, then decide. There is nothing to record: the new token names the
/// one that it came of.
pub(super) async fn decide(
    app: &App,
    client: &AuthenticatedClient,
    asked: &TokenRequest,
    now: UnixSeconds,
) -> Result<(Permit, Descent), Failure> {
    if client.is_public() {
        // RFC 8693 §2.1: whoever found somebody's token could exchange it.
        let sentence = "a public client may not exchange tokens";
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, sentence).into());
    }
    let (client, proof) = (client.client(), asked.confirmation.as_ref());
    let in_force = app.in_force();
    let edges = &in_force.changeable.exchange;
    if !edges.iter().any(|edge| edge.from_client == client.client_id) {
        // Before anything is said about a token: who may not exchange may not probe tokens either.
        return Err(refuse(Refusal::NoEdges));
    }
    let request = &asked.exchange;
    check_types(request)?;
    let subject = load(app, request.subject_token.as_ref(), now).await?;
    check_proof(client, proof, &subject)?;
    let actor_token = match &request.actor_token {
        Some(token) => Some(actor_of(app, (client, proof), token, now).await?),
        None => None,
    };
    let actor = Actor {
        issuer: app.config.issuer.as_str(),
        subject: actor_token
            .as_ref()
            .map_or(&client.client_id, |token| token.subject()),
        client_id: &client.client_id,
    };
    let resource = match named(asked)? {
        Some(name) => Some(target(app, client, Some(name)).await?),
        None => None,
    };
    let to = resource.as_ref().map(|resource| resource.uri.as_str());
    let edge = policy::edge(edges, &client.client_id, subject.audience(), to).map_err(refuse)?;
    if edge.mode == Mode::Impersonation && actor_token.is_some() {
        let sentence = "this exchange names no actor; leave actor_token out";
        return Err(OAuthError::new(ErrorCode::InvalidRequest, sentence).into());
    }
    let resource = match resource {
        Some(resource) => resource,
        None => target(app, client, Some(&edge.to_resource)).await?,
    };
    policy::may_act(subject.may_act(), actor).map_err(refuse)?;
    let act = policy::act(edge.mode, actor, subject.actor()).map_err(refuse)?;
    if family::exchanges_behind(subject.token_id()) >= MAX_DEPTH {
        return Err(refuse(Refusal::Depth));
    }
    let bounds = [subject.scope(), &edge.scopes, &client.scopes, &resource.scopes];
    let scope = policy::scope(asked.scope.as_ref(), bounds).map_err(refuse)?;
    let grant = agreed(app, edge, &subject, &scope, now).await?;
    let grant_ends = grant.as_ref().and_then(|grant| grant.expires_at).map(UnixSeconds);
    let grant_id = grant.map(|grant| grant.grant_id);
    tracing::info!(
        event = "token_exchanged",
        client_id = client.client_id,
        subject = subject.subject(),
        actor = actor.subject,
        subject_token_id = subject.token_id(),
        from = subject.audience(),
        to = resource.uri,
        mode = ?edge.mode,
        "a token was exchanged"
    );
    let permit = Permit {
        client: Arc::clone(client),
        subject: subject.subject().to_owned(),
        scope,
        resource,
        lineage: None,
        confirmation: None,
        actor: act,
        // They speak of the first resource.
        authorization_details: None,
        place: None,
    };
    // Who acts by a token that ends acts no more.
    let shown = [Some(&subject), actor_token.as_ref()].into_iter().flatten();
    let places = shown.filter_map(|token| Place::named(&app.config.issuer, token.status()?));
    let descent = Descent {
        token_id: subject.token_id().to_owned(),
        places: places.collect(),
        rests_on: parties::rests_on(&subject, grant_id.as_deref()),
        grant_id,
        // Nodes that judge by themselves do not know the grant: its end must stand in the token.
        ends: grant_ends.map_or(subject.expires_at(), |end| end.min(subject.expires_at())),
    };
    Ok((permit, descent))
}

/// RFC 8693 §2.1 and §3: what the tokens are said to be, and what is asked for.
fn check_types(request: &ExchangeRequest) -> Result<(), OAuthError> {
    let refusal = |sentence| Err(OAuthError::new(ErrorCode::InvalidRequest, sentence));
    let is_ours = |name: &str| [ACCESS_TOKEN_TYPE, JWT_TYPE].contains(&name);
    match request.subject_token_type.as_deref() {
        None => return refusal("subject_token_type is missing"),
        Some(name) if !is_ours(name) => {
            return refusal("subject_token_type is none that can be exchanged here");
        }
        Some(_) => {}
    }
    match (&request.actor_token, request.actor_token_type.as_deref()) {
        (None, Some(_)) => return refusal("actor_token_type stands without actor_token"),
        (Some(_), None) => return refusal("actor_token_type is missing"),
        (Some(_), Some(name)) if !is_ours(name) => {
            return refusal("actor_token_type is none that is understood here");
        }
        _ => {}
    }
    match request.requested_token_type.as_deref() {
        None | Some(ACCESS_TOKEN_TYPE) => Ok(()),
        Some(_) => refusal("only access tokens are issued here"),
    }
}

/// The claims of a token of ours that stands now: not expired or revoked, and everybody in it neither
/// (RFC 8693 §2.2.2: any fault of it is `invalid_request`).
async fn load(app: &App, token: Option<&Secret>, now: UnixSeconds) -> Result<Arc<VerifiedClaims>, Failure> {
    let refusal = |sentence| OAuthError::new(ErrorCode::InvalidRequest, sentence);
    let token = token.ok_or_else(|| refusal("subject_token is missing"))?;
    let claims = own::verify(app, token.reveal(), now).await?;
    let claims = claims.ok_or_else(|| not_ours().because("a shown token is no access token of ours"))?;
    if introspect::is_active(app, &claims, now).await? {
        Ok(claims)
    } else {
        let reason = format!("the shown token {} does not stand any more", claims.token_id());
        Err(not_ours().because(reason).into())
    }
}

/// The token of who acts: one that was issued to this very client, and for whom nobody else acts.
async fn actor_of(
    app: &App,
    (client, proof): (&Client, Option<&Confirmation>),
    token: &Secret,
    now: UnixSeconds,
) -> Result<Arc<VerifiedClaims>, Failure> {
    let claims = load(app, Some(token), now).await?;
    let refusal = |reason: &'static str| Failure::from(not_ours().because(reason));
    if claims.client_id() != client.client_id {
        return Err(refusal("the actor token is another client's"));
    }
    if claims.actor().is_some() {
        return Err(refusal("somebody acts for the actor"));
    }
    check_proof(client, proof, &claims)?;
    Ok(claims)
}

/// A token that is bound to a key is worth nothing without that key (RFC 7800 §3). The client shows its own: the very
/// one when the token is its own; when it was called with the token, any, so that what it gets is bound too.
fn check_proof(
    client: &Client,
    proof: Option<&Confirmation>,
    claims: &VerifiedClaims,
) -> Result<(), OAuthError> {
    let Some(bound) = claims.confirmation() else {
        return Ok(());
    };
    let is_own = claims.client_id() == client.client_id;
    if proof.is_some_and(|shown| !is_own || shown == bound) {
        return Ok(());
    }
    let sentence = "the shown token is bound to a key; show a proof of possession with this request";
    Err(OAuthError::new(ErrorCode::InvalidRequest, sentence))
}

/// The resource that is asked for: `resource` and `audience` mean the same here.
fn named(asked: &TokenRequest) -> Result<Option<&str>, OAuthError> {
    match (asked.resource.as_deref(), asked.exchange.audience.as_deref()) {
        (Some(resource), Some(audience)) if resource != audience => {
            let sentence = "resource and audience name two places; a token is for one";
            Err(OAuthError::new(ErrorCode::InvalidTarget, sentence))
        }
        (resource, audience) => Ok(resource.or(audience)),
    }
}

/// The grant with which the person has agreed to `scope`, if the edge leaves that to them: what they allow the client at
/// the new resource, on the page that asks. `None` where nobody is asked.
async fn agreed(
    app: &App,
    edge: &Edge,
    subject: &VerifiedClaims,
    scope: &Scope,
    now: UnixSeconds,
) -> Result<Option<db::access_grant::GrantRow>, Failure> {
    if edge.consent == Consent::Operator {
        return Ok(None);
    }
    let grant = db::access_grant::live(&app.db, subject.subject(), &edge.from_client, &edge.to_resource);
    let grant = grant
        .await?
        .filter(|grant| grant.expires_at.is_none_or(|end| now.0 < end));
    let allowed: Scope = match &grant {
        Some(grant) => grant
            .scopes
            .parse()
            .map_err(|_| Failure::Internal("a granted scope is damaged".to_owned()))?,
        None => Scope::default(),
    };
    if scope.is_subset(&allowed) {
        return Ok(grant);
    }
    let sentence = "the person has not agreed that this client acts for them there";
    let reason = format!(
        "{} has not granted {} to {}",
        subject.subject(),
        scope,
        edge.from_client
    );
    Err(OAuthError::new(ErrorCode::ConsentRequired, sentence)
        .because(reason)
        .into())
}

fn not_ours() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidRequest,
        "a shown token is not an active access token of this server that can be used so",
    )
}

fn refuse(refusal: Refusal) -> Failure {
    let (code, sentence) = match refusal {
        Refusal::NoEdges => (
            ErrorCode::UnauthorizedClient,
            "this client may not exchange tokens",
        ),
        Refusal::NoSuchEdge | Refusal::Ambiguous => (
            ErrorCode::InvalidTarget,
            "this client may not exchange that token for one for that resource",
        ),
        Refusal::Scope => (
            ErrorCode::InvalidScope,
            "the scope exceeds what the shown token, the client and the resource allow",
        ),
        Refusal::Depth => (
            ErrorCode::InvalidRequest,
            "too many exchanges lie behind the shown token",
        ),
        Refusal::MayAct | Refusal::Act => (
            ErrorCode::InvalidRequest,
            "the shown token does not let this client act",
        ),
    };
    OAuthError::new(code, sentence)
        .because(refusal.to_string())
        .into()
}
