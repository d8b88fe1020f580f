//! SIGHUP: the configuration and the certificate are read again, and what can change without a restart changes. A file with
//! a fault changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use shared::clock::{self, UnixSeconds};
use shared::config::Setting;
use shared::tls::{Renewal, ServerTls};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::audit::{Event, Name, Target};
use crate::config::Config;
use crate::db::audit_event;

/// What a new configuration changes at once. Everything else waits for a restart.
const AT_ONCE: [&str; 5] = [
    "limits.per_client",
    "limits.per_ip_failures",
    "limits.device_codes",
    "clients.registrations_per_address",
    "log.filter",
];

/// Where the configuration comes from.
pub(crate) struct Source {
    pub(crate) file: Option<PathBuf>,
    pub(crate) flags: Vec<(&'static str, String)>,
}

impl Source {
    /// Reads all of it.
    pub(crate) fn read(&self) -> Result<Config, shared::config::ConfigFaults> {
        Config::load(self.file.as_deref(), &self.flags)
    }
}

/// What is other than before.
#[derive(PartialEq, Eq, Debug)]
struct Difference {
    path: String,
    before: Option<String>,
    after: Option<String>,
}

impl Difference {
    fn is_at_once(&self) -> bool {
        AT_ONCE.contains(&self.path.as_str())
    }
}

/// Reads the configuration again whenever the process gets SIGHUP, until the program ends.
pub(crate) async fn run(app: Arc<App>, source: Source, tls: Option<ServerTls>) {
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be received: changes wait for a restart");
        return;
    };
    let source = Arc::new(source);
    while hang_up.recv().await.is_some() {
        match read(&source, tls.as_ref()).await {
            Ok(read) => Box::pin(apply(&app, read, clock::now())).await,
            Err(reason) => tracing::error!(reason, "nothing is changed: the new configuration has faults"),
        }
    }
}

/// Everything, before anything is changed.
async fn read(source: &Arc<Source>, tls: Option<&ServerTls>) -> Result<(Config, Option<Renewal>), String> {
    let (source, tls) = (Arc::clone(source), tls.cloned());
    let reading = tokio::task::spawn_blocking(move || {
        let config = source.read().map_err(|faults| faults.to_string())?;
        let renewal = tls.map(|tls| tls.read_again()).transpose();
        Ok((config, renewal.map_err(|fault| fault.to_string())?.flatten()))
    });
    reading.await.map_err(|e| e.to_string())?
}

async fn apply(app: &App, (config, renewal): (Config, Option<Renewal>), now: UnixSeconds) {
    let mut in_force = app.settings().as_ref().clone();
    let (changed, waiting): (Vec<_>, Vec<_>) = differences(&in_force, &config.settings)
        .into_iter()
        .partition(Difference::is_at_once);
    let renewal = renewal.filter(Renewal::is_new);
    let has_certificate = renewal.is_some();
    if changed.is_empty() && waiting.is_empty() && !has_certificate {
        tracing::info!("the configuration was read again, and is as before");
        return;
    }
    // First what is remembered: a change that nobody can look up later is not made.
    if let Err(fault) = remember(app, (&changed, &waiting, has_certificate), now).await {
        tracing::error!(reason = %fault, "nothing is changed: it could not be written to the audit log");
        return;
    }
    if let Some(renewal) = renewal {
        renewal.apply();
    }
    app.per_client.set_rate(config.per_client);
    app.per_ip_failures.set_rate(config.per_ip_failures);
    app.sign_ins.set_address_rate(config.per_ip_failures);
    app.device_codes.set_rate(config.device_codes);
    app.registrations
        .set_rate(config.clients.registration.per_address);
    if changed.iter().any(|difference| difference.path == "log.filter") {
        follow_filter(&config);
    }
    let named = |all: &[Difference]| {
        all.iter()
            .map(|one| one.path.clone())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (now_in_force, after_restart) = (named(&changed), named(&waiting));
    tracing::info!(
        changed = now_in_force,
        certificate = has_certificate,
        "the configuration was read again"
    );
    if !waiting.is_empty() {
        tracing::warn!(after_restart, "what these say is in force after a restart only");
    }
    in_force.retain(|setting| !AT_ONCE.contains(&setting.path.as_str()));
    let at_once = config.settings.into_iter();
    in_force.extend(at_once.filter(|setting| AT_ONCE.contains(&setting.path.as_str())));
    app.set_settings(in_force);
}

/// Logs as the configuration says, unless the environment says otherwise.
pub(crate) fn follow_filter(config: &Config) {
    if !shared::config::environment().contains_key("RUST_LOG") {
        shared::telemetry::set_filter(config.log_filter.as_deref());
    }
}

fn differences(before: &[Setting], after: &[Setting]) -> Vec<Difference> {
    let by_path = |settings: &[Setting]| {
        let pairs = settings.iter().map(|one| (one.path.clone(), one.value.clone()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let (mut old, new) = (by_path(before), by_path(after));
    let mut all = Vec::new();
    for (path, value) in new {
        let before = old.remove(&path);
        if before.as_ref() != Some(&value) {
            all.push(Difference {
                path,
                before,
                after: Some(value),
            });
        }
    }
    all.extend(old.into_iter().map(|(path, value)| Difference {
        path,
        before: Some(value),
        after: None,
    }));
    all
}

async fn remember(
    app: &App,
    (changed, waiting, has_certificate): (&[Difference], &[Difference], bool),
    now: UnixSeconds,
) -> Result<(), crate::db::DbFault> {
    let object = |all: &[Difference]| {
        let members = all.iter().map(|one| {
            (
                one.path.clone(),
                json!({"before": one.before, "after": one.after}),
            )
        });
        Value::Object(members.collect::<Map<_, _>>())
    };
    let mut event = Event::of_operator(Name::ConfigurationReloaded, Target::Configuration);
    event.details.insert("changed".to_owned(), object(changed));
    event.details.insert("after_restart".to_owned(), object(waiting));
    event
        .details
        .insert("certificate_renewed".to_owned(), Value::from(has_certificate));
    app.db
        .write(async |tx| audit_event::append(tx, &event, now).await)
        .await
}

#[cfg(test)]
mod tests {
    use shared::config::Source as Origin;

    use super::*;

    fn settings(all: &[(&str, &str)]) -> Vec<Setting> {
        all.iter()
            .map(|(path, value)| Setting {
                path: (*path).to_owned(),
                value: (*value).to_owned(),
                source: Origin::File,
            })
            .collect()
    }

    #[test]
    fn what_is_other_is_told_with_both_values() {
        let before = settings(&[("a", "1"), ("limits.per_client", "2"), ("gone", "3")]);
        let after = settings(&[("a", "1"), ("limits.per_client", "4"), ("new", "5")]);
        let all = differences(&before, &after);
        let told: Vec<_> = all
            .iter()
            .map(|one| {
                (
                    one.path.as_str(),
                    one.before.as_deref(),
                    one.after.as_deref(),
                    one.is_at_once(),
                )
            })
            .collect();
        let expected = [
            ("limits.per_client", Some("2"), Some("4"), true),
            ("new", None, Some("5"), false),
            ("gone", Some("3"), None, false),
        ];
        assert_eq!(told, expected);
        assert!(differences(&after, &after).is_empty());
    }
}
