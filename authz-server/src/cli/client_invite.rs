//! `authz-server client invite` and `invites`.

use clap::Args;
use serde_json::{Map, Value};
use shared::config::Span;

use super::Outcome;
use super::place::{Place, of, saying};
use super::print::{Report, day};
use crate::admin::client_invites::{CREATE, LIST, REVOKE};
use crate::client::invite::InviteView;

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
    pub(super) async fn run(self, place: &Place) -> Outcome {
        if let Some(name) = self.revoke {
            place.ask(&REVOKE, of(&name)).await?;
            return Ok(Report::line("the invite is revoked"));
        }
        let mut body = Map::from_iter([
            ("uses".to_owned(), Value::from(self.uses)),
            ("ttl".to_owned(), format!("{}s", self.ttl.0.as_secs()).into()),
            ("may_act_alone".to_owned(), self.client_credentials.into()),
        ]);
        if let Some(name) = self.name {
            body.insert("name".to_owned(), Value::from(name));
        }
        Report::record(&place.ask(&CREATE, saying(body)).await?)
    }
}

/// Every invite that has not been forgotten.
pub(super) async fn list(place: &Place) -> Outcome {
    let invites: Vec<InviteView> = place.all(&LIST, &[]).await?;
    Report::rows(&invites, |invite| {
        vec![
            invite.name.clone(),
            invite.state.clone(),
            format!("{} left", invite.uses_left),
            format!("until {}", day(Some(invite.expires_at))),
        ]
    })
}
