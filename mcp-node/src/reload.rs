//! SIGHUP: the node reads its configuration and its certificate again, and what can change without a restart changes. A
//! file with a fault changes nothing.

use std::sync::Arc;

use shared::config::{ConfigFaults, Difference, Setting, differences, is_among};
use shared::tls::{Renewal, ServerTls, TlsMode};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::Node;
use crate::config::{NodeConfig, Place};
use crate::logs::Ring;
use crate::origin::Origins;

/// Keys whose values count from the next request on ([`is_among`]).
const AT_ONCE: [&str; 4] = ["cors.", "limits.", "log.filter", "server.allowed_origins"];
/// What stands among them and does not: the transport was made for it.
const NOT_AT_ONCE: &str = "limits.body";
/// Files that are read again by themselves: with the certificate, and every minute.
const FOLLOWED: [&str; 3] = ["tls.cert_file", "tls.key_file", "mcp.state_key_file"];

/// The configuration that is in force.
pub(crate) struct Standing {
    /// Where it is read again; `None`: a program of somebody else has made it up.
    place: Option<Place>,
    settings: Vec<Setting>,
    /// Values of `Host` that are ours until a restart.
    hosts: Vec<String>,
    hang_ups: Signal,
}

impl Standing {
    /// Call it first: until then SIGHUP ends the program, and whoever keeps programs running takes that for an end that was
    /// wished for. `None` where nothing can be read again: then the signal means what it means to the program around us.
    pub(crate) fn of(config: &NodeConfig) -> Option<Self> {
        if config.place.is_none() && config.tls == TlsMode::Off {
            return None;
        }
        let hang_ups = signal(SignalKind::hangup())
            .inspect_err(|_| tracing::error!("SIGHUP cannot be received: changes wait for a restart"));
        Some(Self {
            place: config.place.clone(),
            settings: config.settings.clone(),
            hosts: config.hosts(),
            hang_ups: hang_ups.ok()?,
        })
    }
}

fn is_at_once(path: &str) -> bool {
    path != NOT_AT_ONCE && is_among(path, &AT_ONCE)
}

/// Reads everything again whenever the process gets SIGHUP, until the program ends.
pub(crate) async fn run(node: Arc<Node>, mut standing: Standing, tls: Option<ServerTls>) {
    while standing.hang_ups.recv().await.is_some() {
        let (place, shown) = (standing.place.clone(), tls.clone());
        let reading = tokio::task::spawn_blocking(move || read(place.as_ref(), shown.as_ref()));
        match reading.await.unwrap_or_else(|e| Err(vec![e.to_string()])) {
            Ok((config, renewal)) => apply(&node, &mut standing, config, renewal),
            Err(faults) => {
                let reason = ConfigFaults(faults);
                tracing::error!(%reason, "nothing is changed: the configuration is not taken");
            }
        }
    }
}

/// Everything, before anything is changed; or every fault.
fn read(
    place: Option<&Place>,
    tls: Option<&ServerTls>,
) -> Result<(Option<NodeConfig>, Option<Renewal>), Vec<String>> {
    let (config, mut faults) = match place.map(Place::read).transpose() {
        Ok(config) => (config, Vec::new()),
        Err(ConfigFaults(faults)) => (None, faults),
    };
    let renewal = tls.map(ServerTls::read_again).transpose();
    let renewal = renewal.unwrap_or_else(|fault| {
        faults.push(format!("tls: {fault}"));
        None
    });
    match faults.is_empty() {
        true => Ok((config, renewal.flatten().filter(Renewal::is_new))),
        false => Err(faults),
    }
}

fn apply(node: &Node, standing: &mut Standing, config: Option<NodeConfig>, renewal: Option<Renewal>) {
    if let Some(renewal) = renewal {
        renewal.apply();
        tracing::info!("another certificate is shown from now on");
    }
    let Some(config) = config else { return };
    let is_told = |one: &Difference| !(one.is_content && FOLLOWED.contains(&one.path.as_str()));
    let (changed, after_restart): (Vec<_>, Vec<_>) =
        differences(&standing.settings, &config.settings, is_at_once)
            .into_iter()
            .filter(is_told)
            .partition(|one| is_at_once(&one.path));
    if !changed.is_empty() {
        node.per_ip.set_rate(config.per_ip);
        node.per_client.set_rate(config.per_client);
        node.gate.change_limits(&config);
        let origins = Origins::new(&config.allowed_origins, &standing.hosts, &config.cors);
        node.origins.store(Arc::new(origins));
        if changed.iter().any(|one| one.path == "log.filter") {
            Ring::follow_filter(config.log_filter.as_deref());
        }
        standing.settings.retain(|setting| !is_at_once(&setting.path));
        let read = config.settings.into_iter();
        standing
            .settings
            .extend(read.filter(|setting| is_at_once(&setting.path)));
    }
    tracing::info!(changed = in_words(&changed), "the configuration was read again");
    if !after_restart.is_empty() {
        // By name only: callers may read the node's log, and a variable of an upstream's program is nobody else's.
        let paths: Vec<_> = after_restart.iter().map(|one| one.path.as_str()).collect();
        let after_restart = paths.join(", ");
        tracing::warn!(after_restart, "what these say is in force after a restart only");
    }
}

/// Every key, with both values.
fn in_words(all: &[Difference]) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    let one = |one: &Difference| match one.is_content {
        true => format!("{}: another content", one.path),
        false => format!(
            "{}: {:?} instead of {:?}",
            one.path,
            value(&one.after),
            value(&one.before)
        ),
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_change_at_once_and_what_was_built_for_a_value_does_not() {
        for path in [
            "limits.per_ip",
            "limits.tool.0.rate",
            "cors.max_age",
            "log.filter",
            "server.allowed_origins",
        ] {
            assert!(is_at_once(path), "{path}");
        }
        for path in [
            "limits.body",
            "server.allowed_hosts",
            "scopes.lists",
            "issuer.0.url",
            "tls.mode",
        ] {
            assert!(!is_at_once(path), "{path}");
        }
    }
}
