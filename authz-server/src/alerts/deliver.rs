//! Sending what waits: a POST of JSON, signed as Standard Webhooks says, again and again until it is taken.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use shared::clock::{self, UnixSeconds};
use shared::http_client::HeaderMap;

use crate::app::App;
use crate::config::Alerts;
use crate::db::alert::AlertRow;
use crate::db::{self, DbFault};

/// How often it is looked whether something waits.
const EVERY: Duration = Duration::from_secs(2);
/// Nobody else sends what one instance is sending.
const LEASE: Duration = Duration::from_secs(60);
/// The webhook has so long to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause after the first failed try, in seconds; it doubles up to the second value.
const BACK_OFF: (i64, i64) = (5, 3600);
/// After that long it is not news any more.
const TRIED: Duration = Duration::from_secs(86_400);
/// So long an alert is known, so that it is not raised again.
pub(crate) const KEPT: Duration = Duration::from_secs(2 * 86_400);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Sends until the program ends.
pub(super) async fn run(app: &Arc<App>) {
    let Some(alerts) = &app.config.alerts else {
        return;
    };
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        if let Err(fault) = send_waiting(app, alerts).await {
            tracing::warn!(reason = %fault, "alerts could not be looked for; it will be tried again");
        }
    }
}

async fn send_waiting(app: &App, alerts: &Alerts) -> Result<(), DbFault> {
    loop {
        let now = clock::now();
        let Some(alert) = db::alert::claim(&app.db, (now + LEASE, now - TRIED), now).await? else {
            return Ok(());
        };
        match send(alerts, &alert, now).await {
            Ok(()) => db::alert::sent(&app.db, &alert.alert_id, clock::now()).await?,
            Err(reason) => {
                let doublings = u32::try_from(alert.tries - 1).unwrap_or(0).min(16);
                let pause = (BACK_OFF.0 << doublings).min(BACK_OFF.1);
                tracing::warn!(
                    alert_id = alert.alert_id,
                    tries = alert.tries,
                    pause,
                    reason,
                    "the webhook has not taken an alert"
                );
                db::alert::retry(&app.db, &alert.alert_id, UnixSeconds(clock::now().0 + pause)).await?;
            }
        }
    }
}

async fn send(alerts: &Alerts, alert: &AlertRow, now: UnixSeconds) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    let signature = signature(&alerts.key, &alert.alert_id, now, &alert.body);
    for (name, value) in [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", alert.alert_id.clone()),
        ("webhook-timestamp", now.to_string()),
        ("webhook-signature", signature),
    ] {
        let value = value.parse().map_err(|_| format!("{name} is no header"))?;
        headers.insert(name, value);
    }
    let sending = alerts
        .http
        .post_bytes(&alerts.url, &headers, alert.body.clone().into_bytes(), MAX_ANSWER);
    match tokio::time::timeout(PATIENCE, sending).await {
        Ok(Ok((status, _))) if (200..300).contains(&status) => Ok(()),
        Ok(Ok((status, _))) => Err(format!("it answered with status {status}")),
        Ok(Err(fault)) => Err(fault.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// Standard Webhooks, "Signature scheme": over id, time and body, so that none is another's.
fn signature(key: &hmac::Key, id: &str, now: UnixSeconds, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{now}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's reference libraries.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            UnixSeconds(1_614_265_330),
            "{\"test\": 2432232314}",
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
