//! The device code grant (RFC 8628 §3.4): a device asks whether a person has let it in.

use std::net::IpAddr;

use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::SecretHash;

use super::family::{self, Granted, NewFamily};
use super::request::TokenRequest;
use super::{Lineage, Permit, sender};
use crate::app::App;
use crate::audit::{Event, Name};
use crate::authorization_details::AuthorizationDetails;
use crate::client::authenticate::AuthenticatedClient;
use crate::db;
use crate::db::device_authorization::PolledRow;
use crate::db::token_family::Of;
use crate::error::Failure;

/// What a poll finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// Nobody has decided.
    Waiting,
    /// A person said yes, and nobody has used it yet.
    Approved,
    /// A person said no, or what they said stands no more.
    Denied,
    /// Too late.
    Expired,
    /// It was used already.
    Redeemed,
}

/// Load, judge, and use the code up in one transaction.
pub(super) async fn decide(
    app: &App,
    client: &AuthenticatedClient,
    asked: &TokenRequest,
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    let missing = || OAuthError::new(ErrorCode::InvalidRequest, "device_code is missing");
    let hash = asked.device_code.as_ref().ok_or_else(missing)?.hash();
    let row = db::device_authorization::find(&app.db, &hash, now).await?;
    // Another client's code stays as it was, and the answer tells nothing about it.
    let row = row
        .filter(|row| row.client_id == client.client().client_id)
        .ok_or_else(|| not_valid("the device code is unknown, or another client's"))?;
    match judge(&row, now) {
        Found::Approved => redeem(app, client, (&hash, &row), asked, now).await,
        Found::Waiting => Err(if db::device_authorization::poll(&app.db, &hash, now).await? {
            refusal(ErrorCode::AuthorizationPending, "nobody has decided yet")
        } else {
            let sentence = "that was too soon; wait five seconds longer from now on";
            refusal(ErrorCode::SlowDown, sentence)
        }),
        Found::Denied => Err(refusal(ErrorCode::AccessDenied, "the device was not let in")),
        Found::Expired => Err(refusal(
            ErrorCode::ExpiredToken,
            "the device code has expired; begin again",
        )),
        Found::Redeemed => {
            replayed(app, &row, asked.source, now).await?;
            Err(not_valid("the device code was used before"))
        }
    }
}

/// What has become of the request.
fn judge(row: &PolledRow, now: UnixSeconds) -> Found {
    match row.state.as_str() {
        "redeemed" => Found::Redeemed,
        "denied" => Found::Denied,
        _ if row.expires_at <= now.0 => Found::Expired,
        "approved" if row.stands => Found::Approved,
        "approved" => Found::Denied,
        _ => Found::Waiting,
    }
}

/// Right client, right code, a second time: one of the two who had it was not the device.
async fn replayed(
    app: &App,
    row: &PolledRow,
    source: Option<IpAddr>,
    now: UnixSeconds,
) -> Result<(), Failure> {
    let (Some(family_id), Some(user_id)) = (&row.family_id, &row.user_id) else {
        return Ok(());
    };
    let why = "its device code was replayed";
    let written = app.db.write(async |tx| {
        let ended = db::token_family::revoke(tx, Of::Family(family_id), why, now).await?;
        if ended > 0 {
            let whose = (&*row.client_id, &**user_id, &**family_id);
            let event = Event::of_replay(Name::DeviceCodeReplayed, whose, source, why);
            db::audit_event::append(tx, &event, now).await?;
        }
        Ok(ended)
    });
    if written.await? > 0 {
        tracing::warn!(
            event = "device_code_replayed",
            client_id = row.client_id,
            user_id,
            family_id,
            "security: a device code was replayed; everything that came of it has ended"
        );
    }
    Ok(())
}

/// Everything that the approval rested on is looked at once more, then the code is used up.
async fn redeem(
    app: &App,
    client: &AuthenticatedClient,
    (hash, row): (&SecretHash, &PolledRow),
    asked: &TokenRequest,
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    let (Some(grant_id), Some(user_id), Some(auth_time), Some(grant_scopes)) =
        (&row.grant_id, &row.user_id, row.auth_time, &row.grant_scopes)
    else {
        return Err(Failure::Internal("an approved device has no person".to_owned()));
    };
    let kept = sender::kept_for(client, asked)?;
    let client = client.client();
    let granted = Granted {
        resource: &row.resource,
        scopes: &row.scopes,
        grant_scopes,
        at: UnixSeconds(row.created_at),
    };
    let wish = (asked.scope.as_ref(), asked.resource.as_deref());
    let (resource, scope) = family::settle(app, client, &granted, wish).await?;
    let granted_details = row.authorization_details.as_deref();
    let asked_details = asked.authorization_details.as_deref();
    let details = AuthorizationDetails::left(granted_details, asked_details, (client, &resource), &scope)?;
    let given = row
        .scopes
        .parse()
        .map_err(|_| Failure::Internal("a device's scope is damaged".to_owned()))?;
    let (family_id, refresh_token) = (family::new_id()?, family::new_refresh_token(client)?);
    let methods = row.methods.clone().unwrap_or_default();
    let place = app.status_lists.allot(app, &resource, None, now).await?;
    let new = NewFamily {
        grant_id,
        client,
        user_id,
        resource: &resource.uri,
        scopes: &given,
        auth_time: UnixSeconds(auth_time),
        methods: &methods,
        nonce: None,
        authorization_details: granted_details,
        confirmation: kept.as_deref(),
        place: &place,
    };
    let redeemed = app.db.write(async |tx| {
        if !db::access_grant::lock(tx, grant_id, now).await?
            || !db::device_authorization::redeem(tx, hash, &family_id, now).await?
        {
            return Ok(None);
        }
        let ids = (family_id.as_str(), refresh_token.as_ref());
        family::open(tx, &app.config, &new, ids, now).await.map(Some)
    });
    let Some(ends) = redeemed.await? else {
        // Revoked since, or another poll was faster by a moment: no replay, whose first answer lies further back.
        return Err(not_valid(
            "the grant was revoked, or the code was used, a moment ago",
        ));
    };
    Ok(Permit {
        client: client.clone(),
        subject: user_id.clone(),
        scope,
        resource,
        lineage: Some(Lineage {
            family_id,
            ends,
            refresh_token,
            auth_time: UnixSeconds(auth_time),
            methods,
            nonce: None,
        }),
        confirmation: None,
        actor: None,
        authorization_details: details.as_ref().map(AuthorizationDetails::value),
        place: Some(place),
    })
}

fn refusal(code: ErrorCode, sentence: &'static str) -> Failure {
    OAuthError::new(code, sentence).into()
}

fn not_valid(reason: &'static str) -> Failure {
    let refusal = OAuthError::new(ErrorCode::InvalidGrant, "the device code is not valid");
    refusal.because(reason).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(state: &str, stands: bool, expires_at: i64) -> Found {
        let row = PolledRow {
            client_id: "c_x".to_owned(),
            resource: "https://rs/mcp".to_owned(),
            scopes: "a".to_owned(),
            authorization_details: None,
            state: state.to_owned(),
            grant_id: None,
            user_id: None,
            auth_time: None,
            methods: None,
            family_id: None,
            created_at: 0,
            expires_at,
            grant_scopes: None,
            stands,
        };
        judge(&row, UnixSeconds(100))
    }

    #[test]
    fn a_poll_finds_what_became_of_the_request() {
        assert_eq!(found("pending", true, 101), Found::Waiting);
        assert_eq!(found("pending", true, 100), Found::Expired);
        assert_eq!(found("approved", true, 101), Found::Approved);
        assert_eq!(found("approved", true, 100), Found::Expired);
        // Disabled or revoked since.
        assert_eq!(found("approved", false, 101), Found::Denied);
        assert_eq!(found("denied", true, 100), Found::Denied);
        assert_eq!(found("redeemed", false, 100), Found::Redeemed);
    }
}
