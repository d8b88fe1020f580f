//! `authz-server client invite` and `invites`.

use clap::Args;
use shared::clock::UnixSeconds;
use shared::config::Span;

use super::Outcome;
use super::print::{Report, day};
use crate::client::invite;
use crate::db::Db;

#[derive(Args)]
pub(super) struct Invite {
    /// How many clients it registers
    #[arg(long, default_value_t = 1, value_name = "N")]
    uses: u32,
    /// How long it can be used
    #[arg(long, default_value = "1d", value_name = "TIME")]
    ttl: Span,
    /// What to call it [default: made up]
    #[arg(long)]
    name: Option<String>,
    /// Let its clients have tokens without a person (`client_credentials`)
    #[arg(long)]
    client_credentials: bool,
    /// End the invite of this name; the clients that it registered stay
    #[arg(long, value_name = "NAME", conflicts_with_all = ["uses", "ttl", "name", "client_credentials"])]
    revoke: Option<String>,
}

impl Invite {
    pub(super) async fn run(self, db: &Db, now: UnixSeconds) -> Outcome {
        if let Some(name) = self.revoke {
            invite::revoke(db, &name, now).await?;
            return Ok(Report::line("the invite is revoked"));
        }
        let invite = invite::Invite {
            name: self.name,
            uses: self.uses,
            ttl: self.ttl.0,
            may_act_alone: self.client_credentials,
        };
        Report::record(&invite::create(db, invite, now).await?)
    }
}

/// Every invite that has not been forgotten.
pub(super) async fn list(db: &Db, now: UnixSeconds) -> Outcome {
    Report::rows(&invite::list(db).await?, |invite| {
        let state = if invite.revoked_at.is_some() {
            "revoked"
        } else if invite.uses_left == 0 {
            "used up"
        } else if invite.expires_at <= now.0 {
            "expired"
        } else {
            "open"
        };
        vec![
            invite.name.clone(),
            state.to_owned(),
            format!("{} left", invite.uses_left),
            format!("until {}", day(Some(invite.expires_at))),
        ]
    })
}
