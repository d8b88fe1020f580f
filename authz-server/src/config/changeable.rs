//! What a reload changes (docs/configuration.md): limits, who is believed, and what the policies say.

use ::web::rates::Rate;
use shared::config::{Reader, is_among};
use shared::http_client::GuardRule;

use super::assertions::Assertions;
use super::clients::Clients;
use super::federation::Federation;
use super::{exchange, fetch_rule};
use crate::policy::exchange::Edge;

/// Keys whose values count from the next request on ([`is_among`]).
const AT_ONCE: [&str; 8] = [
    "admin.rate",
    "clients.",
    "exchange.",
    "federation.",
    "fetch_rule.",
    "limits.",
    "log.filter",
    "login.per_account",
];

/// The part of the configuration that needs no restart.
#[derive(Clone, Debug)]
pub(crate) struct Changeable {
    pub(crate) limits: Limits,
    /// What is logged; `None`: as usual. `RUST_LOG` outweighs it.
    pub(crate) log_filter: Option<String>,
    /// The OpenID Provider with whose accounts people may sign in.
    pub(crate) federation: Option<Federation>,
    /// Whose assertions are worth a token.
    pub(crate) assertions: Assertions,
    /// Along what tokens may be exchanged.
    pub(crate) exchange: Vec<Edge>,
    /// How clients come to be known.
    pub(crate) clients: Clients,
    /// What may be fetched at addresses that clients name, besides the public Internet.
    pub(crate) fetch_rules: Vec<GuardRule>,
}

/// How often something may be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Requests by address, before authentication.
    pub(crate) per_ip: Rate,
    /// Requests by authenticated client.
    pub(crate) per_client: Rate,
    /// Failed authentications by address.
    pub(crate) per_ip_failures: Rate,
    /// Device codes asked for by address.
    pub(crate) device_codes: Rate,
    /// Failed sign-ins of one account before it is slowed down, whoever tries.
    pub(crate) per_account: Rate,
    /// Requests for the admin API by who asks.
    pub(crate) administration: Rate,
}

impl Changeable {
    /// Whether the value of the key `path` is a part of it.
    pub(crate) fn contains(path: &str) -> bool {
        is_among(path, &AT_ONCE)
    }

    /// Reads its sections. `is_local` tells whether every listen address is this machine's alone.
    pub(super) fn read(reader: &mut Reader, is_local: bool) -> Self {
        let mut log = reader.section("log");
        let log_filter: Option<String> = log.optional("filter");
        if let Some(Err(reason)) = log_filter.as_deref().map(shared::telemetry::check_filter) {
            log.fault("filter", reason);
        }
        Self {
            limits: Limits::read(reader),
            log_filter,
            federation: Federation::read(reader),
            assertions: Assertions::read(reader),
            exchange: exchange::read(reader),
            clients: Clients::read(reader),
            fetch_rules: fetch_rule::read(reader, is_local),
        }
    }

    /// What cannot count while the server listens at more than this machine's addresses, whatever the file says of them:
    /// they change with a restart only.
    pub(crate) fn faults_in_public(&self) -> Vec<String> {
        let rules = self.fetch_rules.iter().enumerate();
        let ranges =
            rules.flat_map(|(index, rule)| rule.allow_ranges.iter().map(move |range| (index, range)));
        let faults = ranges.filter_map(|(index, range)| {
            let fault = GuardRule::check_range(range, false).err()?;
            Some(format!("fetch_rule.{index}.allow_ranges: {range}: {fault}"))
        });
        faults.collect()
    }
}

impl Limits {
    fn read(reader: &mut Reader) -> Self {
        let mut rate = |section: &str, key: &str, default: &str| {
            let rate = reader.section(section).value(key, default);
            rate.unwrap_or_else(Rate::unlimited)
        };
        Self {
            per_ip: rate("limits", "per_ip", "1200/min"),
            per_client: rate("limits", "per_client", "100/min"),
            per_ip_failures: rate("limits", "per_ip_failures", "30/min"),
            device_codes: rate("limits", "device_codes", "30/min"),
            per_account: rate("login", "per_account", "10/min"),
            administration: rate("admin", "rate", "600/min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_sections_change_and_single_keys_do() {
        for path in [
            "exchange.0.mode",
            "limits.per_ip",
            "federation.issuer",
            "log.filter",
            "admin.rate",
        ] {
            assert!(Changeable::contains(path), "{path}");
        }
        for path in [
            "admin.rates",
            "exchanges.0",
            "server.listen",
            "log.filters",
            "admin.listen",
            "login.passkeys",
        ] {
            assert!(!Changeable::contains(path), "{path}");
        }
    }
}
