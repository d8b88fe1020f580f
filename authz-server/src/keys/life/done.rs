//! What happened to keys, for the log and the audit log.

use serde_json::{Value, json};
use shared::clock::UnixSeconds;

use crate::admin::By;
use crate::audit::{Name, Target};
use crate::db::signing_key::NewKey;
use crate::db::{DbFault, Tx, audit_event};

/// What happened to one key.
pub(super) struct Done {
    name: Name,
    kid: String,
    details: Value,
}

impl Done {
    pub(super) fn new(name: Name, kid: &str, details: Value) -> Self {
        Self {
            name,
            kid: kid.to_owned(),
            details,
        }
    }

    pub(super) fn published(key: &NewKey, signs_from: UnixSeconds) -> Self {
        let details = json!({ "alg": key.algorithm.as_str(), "signs_from": signs_from.0 });
        Self::new(Name::KeyPublished, &key.kid, details)
    }

    pub(super) fn log(&self) {
        let (event, kid, details) = (self.name.as_str(), &self.kid, &self.details);
        if self.name == Name::KeyCompromised {
            tracing::error!(
                event,
                kid,
                "a signing key is no longer good, nor is anything that it signed"
            );
        } else {
            tracing::info!(event, kid, %details, "signing key");
        }
    }
}

/// Tells the audit log, as a part of what was done.
pub(super) async fn write_events(
    tx: &mut Tx,
    done: &[Done],
    by: &By,
    now: UnixSeconds,
) -> Result<(), DbFault> {
    for Done { name, kid, details } in done {
        let mut event = by.event(*name, Target::Key(kid));
        event
            .details
            .extend(details.as_object().cloned().unwrap_or_default());
        audit_event::append(tx, &event, now).await?;
    }
    Ok(())
}
