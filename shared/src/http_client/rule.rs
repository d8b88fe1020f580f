//! What an operator opens for the guarded client: for these hosts, these private ranges and this authority.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use url::{Host, Url};

use super::special_use;

/// A host, `idp.lan.example` or `10.1.2.3`, or everything below a domain, `*.lan.example`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPattern {
    /// Without the star.
    name: String,
    is_below: bool,
}

/// The text is no host pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a host is written like idp.example, *.lan.example, 10.1.2.3 or [fd00::1], without scheme and port")]
pub struct HostPatternFault;

impl FromStr for HostPattern {
    type Err = HostPatternFault;

    fn from_str(text: &str) -> Result<Self, HostPatternFault> {
        let (name, is_below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let host = Host::parse(name).map_err(|_| HostPatternFault)?;
        // One label, `*.com` or `localhost`, may be named but not opened with all that is below it.
        let is_wide = !name.trim_end_matches('.').contains('.') || !matches!(host, Host::Domain(_));
        if host.to_string() != name || name.contains('*') || (is_below && is_wide) {
            return Err(HostPatternFault);
        }
        Ok(Self {
            name: name.to_owned(),
            is_below,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_below { "*." } else { "" })?;
        f.write_str(&self.name)
    }
}

impl HostPattern {
    /// Whether `host` is meant, as [`Url::host_str`] writes it.
    pub fn matches(&self, host: &str) -> bool {
        if !self.is_below {
            return host == self.name;
        }
        let label = host
            .strip_suffix(&self.name)
            .and_then(|rest| rest.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty())
    }
}

/// One exception from the rule that only public addresses are fetched from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuardRule {
    /// For whom it is.
    pub hosts: Vec<HostPattern>,
    /// Special-use ranges that these hosts may be in.
    pub allow_ranges: Vec<IpNet>,
    /// Certificate authorities (PEM) that these hosts may be certified by, besides the public ones.
    pub ca_file: Option<PathBuf>,
}

/// Why a rule is no good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleFault {
    /// A range that nothing is served from, or where clouds keep the credentials of their machines.
    #[error(
        "must not contain 0.0.0.0/8, link-local, multicast or reserved addresses; name the ranges of your network"
    )]
    Never,
    /// Loopback, while others than this machine are served.
    #[error("loopback can be opened only while the server itself listens on loopback alone")]
    Loopback,
}

impl GuardRule {
    /// Whether `range` may be opened by a server that listens on loopback alone (`is_local`), or by any other.
    pub fn check_range(range: &IpNet, is_local: bool) -> Result<(), RuleFault> {
        if special_use::is_never_opened(range) {
            return Err(RuleFault::Never);
        }
        if special_use::touches_loopback(range) && !is_local {
            return Err(RuleFault::Loopback);
        }
        Ok(())
    }

    /// Whether it is for the host of `url`.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        url.host_str()
            .is_some_and(|host| self.hosts.iter().any(|known| known.matches(host)))
    }

    /// Whether it opens `address`.
    pub(super) fn opens(&self, address: IpAddr) -> bool {
        let reached = special_use::reached(address);
        self.allow_ranges.iter().any(|range| range.contains(&reached))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_what_is_below_them() {
        let pattern = |text: &str| text.parse::<HostPattern>().unwrap();
        assert!(pattern("idp.example").matches("idp.example"));
        assert!(!pattern("idp.example").matches("a.idp.example"));
        assert!(pattern("127.0.0.1").matches("127.0.0.1") && pattern("[::1]").matches("[::1]"));
        let below = pattern("*.lan.example");
        assert_eq!(below.to_string(), "*.lan.example");
        for (host, is_below) in [
            ("a.lan.example", true),
            ("a.b.lan.example", true),
            ("lan.example", false),
            ("evillan.example", false),
            (".lan.example", false),
            ("a.lan.example.evil", false),
        ] {
            assert_eq!(below.matches(host), is_below, "{host}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "*.com",
            "*.localhost",
            "*.127.0.0.1",
            "a.*.example",
            "https://a.example",
            "a.example:443",
            "A.example",
            "0x7f.1",
            "a b",
        ] {
            assert_eq!(bad.parse::<HostPattern>(), Err(HostPatternFault), "{bad}");
        }
    }

    #[test]
    fn loopback_is_for_a_server_on_loopback() {
        let loopback: IpNet = "127.0.0.0/8".parse().unwrap();
        assert_eq!(GuardRule::check_range(&loopback, true), Ok(()));
        assert_eq!(GuardRule::check_range(&loopback, false), Err(RuleFault::Loopback));
        let (lan, all) = ("10.0.0.0/8".parse().unwrap(), "0.0.0.0/0".parse().unwrap());
        assert_eq!(GuardRule::check_range(&lan, false), Ok(()));
        assert_eq!(GuardRule::check_range(&all, true), Err(RuleFault::Never));
    }
}
