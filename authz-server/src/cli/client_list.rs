//! `authz-server client list`.

use std::collections::HashMap;

use clap::Args;
use shared::clock::UnixSeconds;
use shared::config::Span;

use super::Outcome;
use super::place::Place;
use super::print::{Report, day};
use crate::admin::clients;
use crate::client::view::ClientView;

#[derive(Args)]
pub(super) struct List {
    /// Only living clients that got no token for so long, or never, and are as old
    #[arg(long, value_name = "TIME")]
    unused_for: Option<Span>,
    /// Only living clients of which there are several with one name and the same redirect URIs
    #[arg(long)]
    duplicates: bool,
}

impl List {
    pub(super) async fn run(self, place: &Place, now: UnixSeconds) -> Outcome {
        let mut clients: Vec<ClientView> = place.all(&clients::LIST, &[]).await?;
        if let Some(span) = self.unused_for {
            let before = (now - span.0).0;
            clients.retain(|client| {
                client.revoked_at.is_none()
                    && client.last_used_at.unwrap_or(client.client_id_issued_at) < before
            });
        }
        if self.duplicates {
            clients.retain(|client| client.revoked_at.is_none());
            let mut counts: HashMap<_, usize> = HashMap::new();
            for client in &clients {
                *counts.entry(likeness(client)).or_default() += 1;
            }
            clients.retain(|client| counts.get(&likeness(client)).is_some_and(|count| *count > 1));
            clients.sort_by_key(likeness);
        }
        Report::rows(&clients, row)
    }
}

/// What makes two registrations look like one program.
fn likeness(client: &ClientView) -> (String, Vec<String>) {
    let mut uris = client.redirect_uris.clone();
    uris.sort_unstable();
    (client.client_name.clone(), uris)
}

fn row(client: &ClientView) -> Vec<String> {
    let state = if client.revoked_at.is_some() {
        "revoked"
    } else {
        "active"
    };
    vec![
        client.client_id.clone(),
        state.to_owned(),
        client.origin.clone(),
        client.client_type.clone(),
        format!("used {}", day(client.last_used_at)),
        format!("expires {}", day(client.expires_at)),
        client.scope.clone(),
        client.client_name.clone(),
    ]
}
