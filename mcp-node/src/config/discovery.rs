//! `[discovery]`: how the node finds others, and lets itself be found, on the local network.

use shared::config::Reader;

/// Interfaces that can be named at most.
const MAX_INTERFACES: usize = 16;
/// An interface's name is shorter than this (netdevice(7), `IFNAMSIZ`).
const MAX_NAME: usize = 16;

/// Discovery, as it is configured.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryConfig {
    /// Whether the node takes part in multicast DNS.
    pub enabled: bool,
    /// Whether it tells of itself, or only listens.
    pub announce: bool,
    /// On which interfaces, by name; every one but loopback when none is named.
    pub interfaces: Vec<String>,
    /// The port of multicast DNS; another one makes a network of its own.
    pub port: u16,
}

impl DiscoveryConfig {
    /// Reads the section; without a word about it, nodes discover each other where they also speak to each other. Faults
    /// stay in the reader.
    pub(super) fn read(reader: &mut Reader, has_peers: bool) -> Option<Self> {
        let mut section = reader.section("discovery");
        let usual = if has_peers { "true" } else { "false" };
        let enabled = section.value("enabled", usual);
        let announce = section.value("announce", "true");
        let interfaces: Vec<String> = section.list("interfaces", "");
        let port = section.value("port", "5353");
        if port == Some(0) {
            section.fault("port", "every node must know it: write a number from 1 to 65535");
        }
        if interfaces.len() > MAX_INTERFACES {
            section.fault("interfaces", format!("name at most {MAX_INTERFACES}"));
        }
        for name in interfaces.iter().filter(|name| !is_interface(name)) {
            section.fault(
                "interfaces",
                format!("{name:?}: write the name of a network interface, eth0 for example"),
            );
        }
        Some(Self {
            enabled: enabled?,
            announce: announce?,
            interfaces,
            port: port?,
        })
    }
}

/// Whether Linux could call an interface so.
fn is_interface(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    !name.is_empty() && name.len() < MAX_NAME && name.bytes().all(is_plain)
}
