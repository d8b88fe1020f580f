//! Alerts: what an operator wants to know at once, told to a webhook (docs/alerts.md).
//!
//! [`watch`] raises them: a row in the database, so that none is lost and each is told once, whatever instance saw it.
//! [`deliver`] sends what waits, signed, and again until the webhook takes it.

mod deliver;
mod silence;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::UnixSeconds;
use shared::jose::sha256_base64url;

pub(crate) use self::deliver::KEPT;
use crate::app::App;
use crate::db::{self, DbFault};

/// So many alerts an hour are raised at most of those that anybody can have by the dozen, with a client each: nobody reads
/// more. The others have few subjects.
const MOST: i64 = 200;
/// Of these, each client is one.
const REPLAY: &str = "replay";
const HOUR: Duration = Duration::from_secs(3600);

/// Raises and sends alerts, if there is a webhook, until the program ends.
pub(crate) async fn run(app: Arc<App>) {
    if app.config.alerts.is_some() {
        tokio::join!(watch::run(&app), deliver::run(&app));
    }
}

/// Raises an alert of this kind about `subject`, once an hour.
async fn raise(
    app: &App,
    (kind, subject): (&'static str, &str),
    details: Value,
    now: UnixSeconds,
) -> Result<(), DbFault> {
    let hour = now.0.div_euclid(3600);
    // Subjects may be longer than ids should be.
    let topic = sha256_base64url(format!("{kind} {subject}").as_bytes());
    let id = sha256_base64url(format!("{topic} {hour}").as_bytes());
    let body = body(app, (kind, &id), details, now);
    let bounds = (now - HOUR, if kind == REPLAY { MOST } else { i64::MAX });
    if db::alert::raise(&app.db, (&id, &topic, &body), bounds, now).await? {
        tracing::warn!(event = "alert", kind, subject, "an alert is raised");
    }
    Ok(())
}

/// What is sent.
fn body(app: &App, (kind, id): (&str, &str), details: Value, now: UnixSeconds) -> String {
    let body = json!({
        "id": id, "type": kind, "timestamp": now.to_rfc3339(), "issuer": app.config.issuer.as_str(), "data": details,
    });
    body.to_string()
}
