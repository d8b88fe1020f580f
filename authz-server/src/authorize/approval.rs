//! A person's yes: written in one place, whether it was said on a consent page, for a device, or through the testing
//! door.

use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::scope::Scope;

use super::step::stands;
use crate::db::access_grant::{self, GrantRow};
use crate::db::{DbFault, Tx};

/// For how long an approval holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lasts {
    /// Until the person revokes it.
    UntilRevoked,
    /// The person chose an end.
    For(Duration),
    /// Nobody was offered a choice: what was chosen for the grant before still holds.
    AsBefore,
}

/// What a person allows.
#[derive(Debug)]
pub(crate) struct Approval<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) scopes: &'a Scope,
    /// Whether they need not be asked for these scopes again.
    pub(crate) remember: bool,
    pub(crate) lasts: Lasts,
}

/// Adds the approval to the living grant of this person, client and resource, or makes one under `new_grant_id`.
/// Returns the id that it has. The grant is held until the transaction ends, so of two approvals at once neither loses
/// what the other added.
pub(crate) async fn approve(
    tx: &mut Tx,
    approval: &Approval<'_>,
    new_grant_id: &str,
    now: UnixSeconds,
) -> Result<String, DbFault> {
    let grant = record(tx, approval, new_grant_id, now).await?;
    Ok(grant.grant_id)
}

/// As [`approve`]; returns the grant as it is now.
pub(super) async fn record(
    tx: &mut Tx,
    approval: &Approval<'_>,
    new_grant_id: &str,
    now: UnixSeconds,
) -> Result<GrantRow, DbFault> {
    let fresh = GrantRow {
        grant_id: new_grant_id.to_owned(),
        user_id: approval.user_id.to_owned(),
        client_id: approval.client_id.to_owned(),
        resource: approval.resource.to_owned(),
        scopes: String::new(),
        remembered_scopes: String::new(),
        created_at: now.0,
        updated_at: now.0,
        expires_at: None,
    };
    let mut grant = access_grant::hold(tx, &fresh).await?;
    if !stands(&grant, now) {
        // It has expired: what came of it ends, or a refresh token of then would live again with the new grant.
        access_grant::revoke(tx, &grant.grant_id, approval.user_id, now).await?;
        grant = access_grant::hold(tx, &fresh).await?;
    }
    let end = match approval.lasts {
        Lasts::UntilRevoked => None,
        Lasts::For(duration) => Some((now + duration).0),
        Lasts::AsBefore => grant.expires_at,
    };
    // What was to be remembered for a day is not remembered for longer because something else is allowed for longer.
    let is_longer = grant
        .expires_at
        .is_some_and(|old| end.is_none_or(|new| new > old));
    let mut remembered = scope(&grant.remembered_scopes)?;
    if is_longer {
        remembered = Scope::default();
    }
    if approval.remember {
        remembered = remembered.union(approval.scopes);
    }
    grant.scopes = scope(&grant.scopes)?.union(approval.scopes).to_string();
    grant.remembered_scopes = remembered.to_string();
    grant.updated_at = now.0;
    grant.expires_at = end;
    access_grant::amend(tx, &grant).await?;
    Ok(grant)
}

fn scope(text: &str) -> Result<Scope, DbFault> {
    text.parse()
        .map_err(|_| DbFault::Unexpected("a grant's scopes are damaged".to_owned()))
}
