//! Nodes that were heard of, and are not any more.
//!
//! Each silence is told once: whoever raises the alert notes it with the node's last contact in the same transaction, and the
//! node's next report takes that note away.

use serde_json::json;
use shared::clock::UnixSeconds;
use shared::jose::sha256_base64url;

use super::{HOUR, MOST, body};
use crate::app::App;
use crate::db::node_contact::{self, SilentRow};
use crate::db::{DbFault, alert};

const KIND: &str = "node.silent";
/// Nodes that are read at once.
const PAGE: u32 = 100;
/// A fleet that falls silent leaves room for replays, which nobody is told of twice.
const ROOM: i64 = MOST / 2;

/// Raises an alert about each node that has said nothing for the time that the operator allows, if there was somebody to hear
/// it all that time, from `listening_since` on.
pub(super) async fn look(app: &App, listening_since: UnixSeconds, now: UnixSeconds) -> Result<(), DbFault> {
    let after = app.config.node_silent_after;
    if after.is_zero() || now < listening_since + after {
        return Ok(());
    }
    loop {
        let rows = node_contact::silent(&app.db, now - after, PAGE).await?;
        for row in &rows {
            if !tell(app, row, now).await? {
                // There were alerts enough. It is told when there is room again.
                return Ok(());
            }
        }
        if rows.len() < PAGE as usize {
            return Ok(());
        }
    }
}

/// `false` when there is no room for an alert.
async fn tell(app: &App, silent: &SilentRow, now: UnixSeconds) -> Result<bool, DbFault> {
    let topic = sha256_base64url(format!("{KIND} {} {}", silent.client_id, silent.heard_at).as_bytes());
    let details = json!({
        "node_id": silent.node_id, "client_id": silent.client_id, "last_contact_at": silent.heard_at,
    });
    let body = body(app, (KIND, &topic), details, now);
    let told = app.db.write_unless(async |tx| {
        if !node_contact::tell(tx, silent, now).await? {
            return Ok(Ok(false));
        }
        match alert::raise_in(tx, (&topic, &topic, &body), (now - HOUR, ROOM), now).await? {
            true => Ok(Ok(true)),
            false => Ok(Err(())),
        }
    });
    if let Ok(is_new) = told.await? {
        if is_new {
            let node_id = &silent.node_id;
            tracing::warn!(
                event = "alert",
                kind = KIND,
                subject = node_id,
                "an alert is raised"
            );
        }
        return Ok(true);
    }
    Ok(false)
}
