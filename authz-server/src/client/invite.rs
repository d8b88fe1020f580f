//! Initial access tokens (RFC 7591 §3): what an operator gives to somebody who is to register clients.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use shared::clock::UnixSeconds;
use shared::secret::{Secret, SecretKind, random_bytes};

use super::register::RegisterFault;
use crate::db::initial_access_token::{self, InviteRow};
use crate::db::{Db, DbFault};

/// Longest name of an invite.
const MAX_NAME: usize = 100;

/// What an operator says of an invite.
#[derive(Clone, Debug)]
pub(crate) struct Invite {
    /// What to call it; made up when nothing is said.
    pub(crate) name: Option<String>,
    /// How many clients it registers.
    pub(crate) uses: u32,
    /// How long it can be used.
    pub(crate) ttl: Duration,
    /// Whether its clients may have tokens without a person (`client_credentials`).
    pub(crate) may_act_alone: bool,
}

/// A new invite with the token, which is shown once.
#[derive(Debug, Serialize)]
pub(crate) struct NewInvite {
    pub(crate) initial_access_token: String,
    #[serde(flatten)]
    pub(crate) invite: InviteRow,
}

/// Makes an invite.
pub(crate) async fn create(db: &Db, invite: Invite, now: UnixSeconds) -> Result<NewInvite, RegisterFault> {
    let asked = |text: &str| Err(RegisterFault::Asked(text.to_owned()));
    let name = match invite.name {
        Some(name) if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) => {
            return asked("the name must have 1 to 100 bytes without control characters");
        }
        Some(name) => name,
        None => format!("i_{}", URL_SAFE_NO_PAD.encode(random_bytes::<6>()?)),
    };
    if invite.uses == 0 || invite.ttl.is_zero() {
        return asked("an invite is for one use at least, and for some time");
    }
    let token = Secret::generate(SecretKind::Invite)?;
    let row = InviteRow {
        name,
        uses_left: invite.uses.into(),
        may_act_alone: invite.may_act_alone,
        created_at: now.0,
        expires_at: (now + invite.ttl).0,
        revoked_at: None,
    };
    match initial_access_token::insert(db, &token.hash(), &row).await {
        Err(DbFault::Constraint(_)) => return asked("there is an invite of that name already"),
        written => written?,
    }
    Ok(NewInvite {
        initial_access_token: token.reveal().to_owned(),
        invite: row,
    })
}

/// Every invite that has not been forgotten.
pub(crate) async fn list(db: &Db) -> Result<Vec<InviteRow>, RegisterFault> {
    Ok(initial_access_token::list(db).await?)
}

/// Ends an invite; clients that it registered stay.
pub(crate) async fn revoke(db: &Db, name: &str, now: UnixSeconds) -> Result<(), RegisterFault> {
    if initial_access_token::revoke(db, name, now).await? {
        return Ok(());
    }
    Err(RegisterFault::Asked(format!(
        "there is no invite {name}; see: authz-server client invites"
    )))
}
