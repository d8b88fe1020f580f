//! The device code grant (RFC 8628 §3.4): a device asks whether a person has let it in.

use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::secret::{Secret, SecretHash};

use super::request::TokenRequest;
use super::{Permit, family, scopes, target};
use crate::app::App;
use crate::client::Client;
use crate::client::authenticate::AuthenticatedClient;
use crate::db;
use crate::db::device_authorization::DeviceRow;
use crate::error::Failure;

/// What a poll finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// Nobody has decided.
    Waiting,
    /// A person said yes, and nobody has used it yet.
    Approved,
    /// A person said no.
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
    let client = client.client();
    let code = asked.device_code.as_ref().ok_or_else(|| {
        OAuthError::new(ErrorCode::InvalidRequest, "device_code is missing")
    })?;
    let hash = code.hash();
    let row = db::device_authorization::find(&app.db, &hash).await?;
    // Another client's code stays as it was, and the answer tells nothing about it.
    let row = row
        .filter(|row| row.client_id == client.client_id)
        .ok_or_else(|| not_valid("the device code is unknown, or another client's"))?;
    match judge(&row, now) {
        Found::Approved => redeem(app, client, (&hash, &row), asked, now).await,
        Found::Waiting if db::device_authorization::poll(&app.db, &hash, now).await? => {
            Err(refusal(ErrorCode::AuthorizationPending, "nobody has decided yet"))
        }
        Found::Waiting => Err(refusal(
            ErrorCode::SlowDown,
            "asked too soon; wait five seconds longer from now on",
        )),
        Found::Denied => Err(denied("a person said no")),
        Found::Expired => Err(refusal(ErrorCode::ExpiredToken, "the device code has expired; begin again")),
        Found::Redeemed => {
            // Right client, right code, a second time: one of the two who had it was not the device.
            if let Some(family_id) = &row.family_id {
                tracing::warn!(client_id = client.client_id, family_id, "device code replayed");
                app.db
                    .write(async |tx| family::revoke(tx, family_id, "device code replayed", now).await)
                    .await?;
            }
            Err(not_valid("the device code was used before"))
        }
    }
}

/// What has become of the request.
fn judge(row: &DeviceRow, now: UnixSeconds) -> Found {
    match row.state.as_str() {
        "redeemed" => Found::Redeemed,
        "denied" => Found::Denied,
        _ if row.expires_at <= now.0 => Found::Expired,
        "approved" => Found::Approved,
        _ => Found::Waiting,
    }
}

/// Everything that the approval rested on is looked at once more, then the code is used up.
async fn redeem(
    app: &App,
    client: &std::sync::Arc<Client>,
    (hash, row): (&SecretHash, &DeviceRow),
    asked: &TokenRequest,
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    let damaged = || Failure::Internal(format!("the approved device {} has no person", row.user_code));
    let (Some(grant_id), Some(user_id), Some(auth_time)) = (&row.grant_id, &row.user_id, row.auth_time) else {
        return Err(damaged());
    };
    let user = db::user_account::find(&app.db, user_id).await?;
    if user.is_none_or(|user| user.disabled_at.is_some()) {
        return Err(denied("the person who let it in is gone or disabled"));
    }
    if asked.resource.as_ref().is_some_and(|asked| *asked != row.resource) {
        return Err(refusal(ErrorCode::InvalidTarget, "the device was let in for another resource"));
    }
    let resource = target(app, client, Some(&row.resource)).await?;
    if resource.created_at.0 > row.created_at {
        return Err(not_valid("the resource is another one of that name now"));
    }
    let approved: Scope = row.scopes.parse().map_err(|_| damaged())?;
    let scope = approved.intersection(&scopes::grantable(client, &resource));
    if scope.is_empty() {
        return Err(not_valid("nothing of the approved scope is left"));
    }
    let methods = row.methods.as_deref().unwrap_or_default();
    let begun = family::begin(client)?;
    let new = family::NewFamily {
        grant_id,
        client,
        user_id,
        resource: &resource.uri,
        scopes: &scope,
        auth_time: UnixSeconds(auth_time),
        methods,
        nonce: None,
    };
    let redeemed = app.db.write(async |tx| {
        if !db::access_grant::lock(tx, grant_id, now).await? {
            return Ok(false);
        }
        if !db::device_authorization::redeem(tx, hash, &begun.0, now).await? {
            return Ok(false);
        }
        family::open(tx, &app.config, &new, (&begun.0, begun.1.as_ref()), now).await?;
        Ok(true)
    });
    if !redeemed.await? {
        // Revoked since, or another poll was faster by a moment: no replay, whose first answer lies longer back.
        return Err(not_valid("the grant was revoked, or the code was used a moment ago"));
    }
    todo!()
}

fn refusal(code: ErrorCode, sentence: &'static str) -> Failure {
    OAuthError::new(code, sentence).into()
}

fn denied(reason: &'static str) -> Failure {
    let refusal = OAuthError::new(ErrorCode::AccessDenied, "the device was not let in");
    refusal.because(reason).into()
}

fn not_valid(reason: &'static str) -> Failure {
    let refusal = OAuthError::new(ErrorCode::InvalidGrant, "the device code is not valid");
    refusal.because(reason).into()
}
