//! The refresh token grant (OAuth 2.1 §4.3): every use rotates, and a used token that comes back ends its family,
//! but for the answer that was lost (docs/decisions/0010).
//!
//! Everything of a family happens one after another: its row is written first. oxide-auth's machine for this grant is
//! not driven, because it reads a clock of its own and knows no families (docs/decisions/0005).

use std::net::IpAddr;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, SecretKind};

use super::family::{self, Granted};
use super::request::TokenRequest;
use super::{Lineage, Permit, sender, successor};
use crate::app::App;
use crate::audit::{Event, Name};
use crate::authorization_details::AuthorizationDetails;
use crate::client::authenticate::AuthenticatedClient;
use crate::db;
use crate::db::refresh_token::{RefreshTokenRow, ReplacedRow};
use crate::db::token_family::Of;
use crate::db::{DbFault, Tx};
use crate::error::Failure;
use crate::status_list::Place;

/// What became of a token that was shown.
enum Rotation {
    /// It is used now; the successor that was offered is the family's next.
    Rotated,
    /// It had just been used: this is its successor, sealed, and the place of the access token that went with it, with the
    /// end of the window of its list.
    Retried(Vec<u8>, Option<(Place, UnixSeconds)>),
    /// It had been used: its family is ended.
    Replayed,
    /// The family has ended, or nobody used the token in time.
    Ended,
}

pub(super) async fn decide(
    app: &App,
    client: &AuthenticatedClient,
    asked: &TokenRequest,
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    let (caller, client) = (client, client.client());
    let shown = asked
        .refresh_token
        .as_ref()
        .ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "refresh_token is missing"))?;
    let refusal = |reason: &'static str| Failure::from(family::no_longer().because(reason));
    let known = db::refresh_token::find(&app.db, &shown.hash(), now).await?;
    let known = known.ok_or_else(|| refusal("there is no such refresh token"))?;
    if known.client_id != client.client_id {
        return Err(refusal("the refresh token is another client's"));
    }
    if !known.stands {
        return Err(refusal("the grant, the person or the family has ended"));
    }
    // Before anything is used: without the key, a stolen token can neither be redeemed nor end the family.
    sender::check(known.confirmation.as_deref(), caller, asked)?;
    let granted = Granted {
        resource: &known.resource,
        scopes: &known.scopes,
        grant_scopes: &known.grant_scopes,
        at: UnixSeconds(known.granted_at),
    };
    let narrowed = (asked.scope.as_ref(), asked.resource.as_deref());
    let (resource, scope) = family::settle(app, client, &granted, narrowed).await?;
    let granted = known.authorization_details.as_deref();
    let asked_details = asked.authorization_details.as_deref();
    let details = AuthorizationDetails::left(granted, asked_details, (client, &resource), &scope)?;
    let next = Secret::generate(SecretKind::RefreshToken)?;
    let fresh = app.status_lists.allot(app, &resource, None, now).await?;
    let end = UnixSeconds(known.ends_at);
    let (refresh_token, place, ends) =
        match rotate(app, (shown, &known), (&next, &fresh), asked.source, now).await? {
            Rotation::Rotated => (next, fresh, end),
            Rotation::Retried(sealed, kept) => {
                let sealed = successor::open(shown, &sealed)
                    .ok_or_else(|| Failure::Internal("a sealed refresh token is damaged".to_owned()))?;
                match kept {
                    // Whoever lost the answer has one of the two tokens; neither may outlive the list.
                    Some((place, window_end)) => (sealed, place, end.min(window_end)),
                    None => (sealed, fresh, end),
                }
            }
            Rotation::Replayed => {
                tracing::warn!(
                    event = "refresh_token_replayed",
                    client_id = known.client_id,
                    user_id = known.user_id,
                    family_id = known.family_id,
                    "security: a refresh token was replayed; its family has ended"
                );
                return Err(refusal("the refresh token was used before"));
            }
            Rotation::Ended => return Err(refusal("the refresh token or its family has expired")),
        };
    Ok(Permit {
        client: client.clone(),
        subject: known.user_id,
        scope,
        resource,
        lineage: Some(Lineage {
            family_id: known.family_id,
            ends,
            refresh_token: Some(refresh_token),
            auth_time: UnixSeconds(known.auth_time),
            methods: known.methods,
            // OpenID Connect Core §12.2: an ID token of a refresh should have none.
            nonce: None,
        }),
        confirmation: None,
        actor: None,
        authorization_details: details.as_ref().map(AuthorizationDetails::value),
        place: Some(place),
    })
}

/// Uses `shown` up in favour of `next`, or finds out what happened to it before.
async fn rotate(
    app: &App,
    (shown, known): (&Secret, &RefreshTokenRow),
    (next, place): (&Secret, &Place),
    source: Option<IpAddr>,
    now: UnixSeconds,
) -> Result<Rotation, Failure> {
    let config = &app.config;
    let (shown_hash, next_hash) = (shown.hash(), next.hash());
    let sealed = successor::seal(shown, next)?;
    let family_id = &known.family_id;
    let idle_end = family::idle_end(config, UnixSeconds(known.ends_at), now);
    let written = app.db.write(async |tx| {
        if !db::token_family::use_now(tx, family_id, now).await? {
            return Ok(Rotation::Ended);
        }
        if db::refresh_token::replace(tx, &shown_hash, (&next_hash, &sealed), now).await? {
            let status = Some(place.stored());
            db::refresh_token::insert(tx, &next_hash, family_id, (now, idle_end), status).await?;
            return Ok(Rotation::Rotated);
        }
        let Some(replaced) = db::refresh_token::replaced(tx, &shown_hash).await? else {
            return Ok(Rotation::Ended);
        };
        if is_retry(&replaced, config.refresh_retry_window, now) {
            let kept = kept_place(tx, &replaced, now).await?;
            if kept.is_none() {
                db::refresh_token::move_successor(tx, &shown_hash, place.stored()).await?;
            }
            return Ok(Rotation::Retried(replaced.successor_sealed, kept));
        }
        let why = "a refresh token was replayed";
        db::token_family::revoke(tx, Of::Family(family_id), why, now).await?;
        let whose = (&*known.client_id, &*known.user_id, &**family_id);
        let event = Event::of_replay(Name::RefreshTokenReplayed, whose, source, why);
        db::audit_event::append(tx, &event, now).await?;
        Ok::<_, DbFault>(Rotation::Replayed)
    });
    Ok(written.await?)
}

/// The place of the access token that was in the answer that was lost, while its list says anything. Later that token has
/// expired, and the one of the new answer needs a place of its own.
async fn kept_place(
    tx: &mut Tx,
    replaced: &ReplacedRow,
    now: UnixSeconds,
) -> Result<Option<(Place, UnixSeconds)>, DbFault> {
    let (Some(list_id), Some(index)) = (&replaced.status_list, replaced.status_index) else {
        return Ok(None);
    };
    let end = db::status_list::window_end(tx, list_id).await?;
    let place = Place {
        list_id: list_id.as_str().into(),
        index,
    };
    Ok(end.filter(|end| *end > now).map(|end| (place, end)))
}

/// Whether a used token is shown again by someone who may not have got the answer: soon, and while nobody has used
/// what the answer held.
fn is_retry(replaced: &ReplacedRow, window: Duration, now: UnixSeconds) -> bool {
    let is_soon = !window.is_zero() && now <= UnixSeconds(replaced.replaced_at) + window;
    is_soon && replaced.successor_replaced_at.is_none()
}

#[cfg(test)]
mod tests;
