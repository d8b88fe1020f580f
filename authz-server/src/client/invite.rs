//! Initial access tokens (RFC 7591 §3): what an operator gives to somebody who is to register clients.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use shared::secret::{Secret, SecretKind, random_bytes};
use utoipa::ToSchema;

use super::register::RegisterFault;
use crate::db::initial_access_token::{self, InviteRow};
use crate::db::{DbFault, Tx};

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

/// What is shown of an invite.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ClientInvite)]
pub(crate) struct InviteView {
    /// What operators call it; not a secret.
    pub(crate) name: String,
    /// `open`, `used`, `expired` or `revoked`.
    pub(crate) state: String,
    /// The token with which clients register, in the answer that makes the invite and in no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) initial_access_token: Option<String>,
    /// How many clients it can still register.
    pub(crate) uses_left: i64,
    /// Whether its clients may have tokens without a person.
    pub(crate) may_act_alone: bool,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<i64>,
}

impl InviteView {
    pub(crate) fn of(row: InviteRow, now: UnixSeconds) -> Self {
        let state = if row.revoked_at.is_some() {
            "revoked"
        } else if row.uses_left == 0 {
            "used"
        } else if row.expires_at <= now.0 {
            "expired"
        } else {
            "open"
        };
        Self {
            name: row.name,
            state: state.to_owned(),
            initial_access_token: None,
            uses_left: row.uses_left,
            may_act_alone: row.may_act_alone,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// An invite that is not in the database yet.
pub(crate) struct Prepared {
    token: Secret,
    row: InviteRow,
}

/// Checks what is said of an invite.
pub(crate) fn prepare(invite: Invite, now: UnixSeconds) -> Result<Prepared, RegisterFault> {
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
    Ok(Prepared {
        token: Secret::generate(SecretKind::Invite)?,
        row: InviteRow {
            name,
            uses_left: invite.uses.into(),
            may_act_alone: invite.may_act_alone,
            created_at: now.0,
            expires_at: (now + invite.ttl).0,
            revoked_at: None,
        },
    })
}

impl Prepared {
    pub(crate) fn name(&self) -> &str {
        &self.row.name
    }

    /// Writes it, as a part of something larger.
    pub(crate) async fn write(&self, tx: &mut Tx) -> Result<(), DbFault> {
        initial_access_token::insert(tx, &self.token.hash(), &self.row).await
    }

    /// What is shown of it now, with its token, and from now on.
    pub(crate) fn views(&self, now: UnixSeconds) -> (InviteView, InviteView) {
        let seen = || InviteView::of(self.row.clone(), now);
        let shown = InviteView {
            initial_access_token: Some(self.token.reveal().to_owned()),
            ..seen()
        };
        (shown, seen())
    }
}
