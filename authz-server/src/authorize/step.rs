//! What comes next for a person: to sign in, to be asked, or to be sent back with a code.

use shared::clock::UnixSeconds;
use shared::scope::Scope;

use super::interaction::{Interaction, Purpose};
use super::request::{AuthorizationRequest, Stop};
use crate::account::SignedIn;
use crate::app::App;
use crate::client::Origin;
use crate::console;
use crate::db::access_grant::{self, GrantRow};
use crate::error::Failure;

/// The next step of a request.
#[derive(Debug)]
pub(super) enum Step<'p> {
    /// Nobody is signed in, or not recently enough.
    SignIn,
    /// The person must decide; with the grant that stands already.
    Ask(&'p SignedIn, Option<GrantRow>),
    /// They have decided before and want it remembered: this grant covers it.
    Remembered(&'p SignedIn, GrantRow),
    /// An administrator enters the console: nobody asks them whether this server may do what it does. With the grant
    /// that stands already.
    Enter(&'p SignedIn, Option<GrantRow>),
}

/// Finds the next step. `since` is the interaction that the request opened; `None`
/// when it is new.
pub(super) async fn next<'p>(
    app: &App,
    asked: &AuthorizationRequest,
    person: Option<&'p SignedIn>,
    since: Option<&Interaction>,
    now: UnixSeconds,
) -> Result<Step<'p>, Stop> {
    let Some(person) = person.filter(|person| is_fresh(asked, person, since, now)) else {
        return Ok(Step::SignIn);
    };
    let is_console = console::is_it(&asked.client);
    if is_console {
        console::admit(person).map_err(|(code, sentence)| asked.refuse(code, sentence))?;
    }
    let (user, client) = (&person.user.user_id, &asked.client.client_id);
    let grant = access_grant::live(&app.db, user, client, &asked.resource.uri)
        .await
        .map_err(Failure::from)?;
    let grant = grant.filter(|grant| is_for(grant, asked, now));
    match grant {
        grant if is_console => Ok(Step::Enter(person, grant)),
        Some(grant) if covers(&grant, asked) => Ok(Step::Remembered(person, grant)),
        grant => Ok(Step::Ask(person, grant)),
    }
}

/// Whether an interaction cannot go on with this sign-in (`prompt=login`, `max_age`): the sign-in page must be shown
/// although somebody is signed in.
pub(crate) async fn wants_sign_in(
    app: &App,
    interaction: &Interaction,
    person: &SignedIn,
    now: UnixSeconds,
) -> Result<bool, Failure> {
    let Purpose::Authorize { arrival, .. } = &interaction.purpose else {
        return Ok(false);
    };
    match AuthorizationRequest::read(app, arrival).await {
        Ok(asked) => Ok(!is_fresh(&asked, person, Some(interaction), now)),
        Err(Stop::Page(Failure::Db(fault))) => Err(fault.into()),
        // Whatever is wrong with it is said where it is used.
        Err(_) => Ok(false),
    }
}

/// Whether the client wants the person to prove who they are, and not only that they are signed in somewhere.
pub(crate) async fn wants_proof(app: &App, interaction: &Interaction) -> Result<bool, Failure> {
    let Purpose::Authorize { arrival, .. } = &interaction.purpose else {
        return Ok(false);
    };
    match AuthorizationRequest::read(app, arrival).await {
        Ok(asked) => Ok(asked.prompt.login || asked.max_age.is_some()),
        Err(Stop::Page(Failure::Db(fault))) => Err(fault.into()),
        Err(_) => Ok(false),
    }
}

/// Whether the person proved who they are recently enough (OpenID Connect Core §3.1.2.1, `prompt`, `max_age`). A
/// sign-in that the request itself brought about always is.
pub(super) fn is_fresh(
    asked: &AuthorizationRequest,
    person: &SignedIn,
    since: Option<&Interaction>,
    now: UnixSeconds,
) -> bool {
    since.is_some_and(|since| since.brought_about(person))
        || (!asked.prompt.login && asked.is_recent(person.authenticated_at, now))
}

/// Whether the person said yes to all of this before they were sent to sign in elsewhere, and came back from there. A
/// yes from before anybody was signed in is not that of somebody who has signed in here instead.
pub(super) fn was_allowed(asked: &AuthorizationRequest, person: &SignedIn, since: &Interaction) -> bool {
    let Purpose::Authorize {
        allowed: Some(shown), ..
    } = &since.purpose
    else {
        return false;
    };
    let shown: Scope = shown.parse().unwrap_or_default();
    since.brought_about(person) && person.is_from_elsewhere() && asked.scope.is_subset(&shown)
}

/// Whether a grant has not expired, and is for the resource that is asked for: one that was forgotten and registered
/// again is another, about which nobody was asked.
pub(super) fn is_for(grant: &GrantRow, asked: &AuthorizationRequest, now: UnixSeconds) -> bool {
    stands(grant, now) && grant.updated_at >= asked.resource.created_at.0
}

/// Whether a grant has not expired.
pub(super) fn stands(grant: &GrantRow, now: UnixSeconds) -> bool {
    grant.expires_at.is_none_or(|end| now.0 < end)
}

/// Whether everything asked for was granted before.
pub(super) fn allows(grant: &GrantRow, asked: &AuthorizationRequest) -> bool {
    let granted: Scope = grant.scopes.parse().unwrap_or_default();
    asked.scope.is_subset(&granted)
}

/// Whether everything asked for is remembered, and the client does not want the person to be asked all the same. A
/// program on loopback or behind a private scheme could be anybody (RFC 8252 §8.6), so only what the person has
/// explicitly let us remember counts, for every client alike. Authorization details are never remembered: each list is a
/// question of its own (RFC 9396 §11.2).
pub(super) fn covers(grant: &GrantRow, asked: &AuthorizationRequest) -> bool {
    let remembered: Scope = grant.remembered_scopes.parse().unwrap_or_default();
    // Whose client nobody vouches for is asked each time, and sees that nobody does (OAuth 2.1 §7.3.1).
    asked.client.origin != Origin::Registration
        && !asked.prompt.consent
        && !asked.prompt.select_account
        && asked.authorization_details.is_none()
        && asked.scope.is_subset(&remembered)
}

/// What a code carries: what was asked for; when that adds to a standing grant, what was granted before as well, so
/// that a client which comes back for one more scope does not lose the others.
pub(super) fn code_scope(asked: &AuthorizationRequest, grant: Option<&GrantRow>) -> Scope {
    let Some(grant) = grant else {
        return asked.scope.clone();
    };
    let before: Scope = grant.scopes.parse().unwrap_or_default();
    if asked.scope.is_subset(&before) {
        return asked.scope.clone();
    }
    // What the client or the resource has lost meanwhile is lost here too.
    let allowed = asked.client.scopes.intersection(&asked.resource.scopes);
    asked.scope.union(&before.intersection(&allowed))
}
