//! Which hosts are near. Whoever is on the local network can put any address into a record, and must not make the node call
//! other networks, nor itself.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mdns_sd::{InterfaceId, ScopedIp};

/// Interfaces come and go.
const COUNTS_FOR: Duration = Duration::from_secs(5);

/// The networks that this host is on.
#[derive(Default)]
pub(super) struct Near {
    networks: Vec<Network>,
    read_at: Option<Instant>,
}

/// An address of this host, and the network that it is in.
struct Network {
    interface: Option<u32>,
    network: IpNet,
}

impl Near {
    /// Those of `found` that are in a network of the interface on which they were heard, and not this host's own.
    pub(super) fn hosts<'a>(&mut self, found: impl IntoIterator<Item = &'a ScopedIp>) -> Vec<IpAddr> {
        if self.read_at.is_none_or(|at| at.elapsed() > COUNTS_FOR) {
            (self.networks, self.read_at) = (networks(), Some(Instant::now()));
        }
        let near = found.into_iter().filter(|ip| self.has(ip));
        near.map(ScopedIp::to_ip_addr).collect()
    }

    fn has(&self, found: &ScopedIp) -> bool {
        let heard_on = match found {
            ScopedIp::V4(ip) => ip.interface_ids(),
            ScopedIp::V6(ip) => std::slice::from_ref(ip.scope_id()),
            _ => return false,
        };
        self.is_near(found.to_ip_addr(), heard_on)
    }

    fn is_near(&self, ip: IpAddr, heard_on: &[InterfaceId]) -> bool {
        // Loopback is called on the operator's word only, so it may be told.
        let is_own = !ip.is_loopback() && self.networks.iter().any(|near| near.network.addr() == ip);
        let is_in = |near: &Network| {
            let is_heard_there = |on: &InterfaceId| near.interface.is_some_and(|index| index == on.index);
            near.network.contains(&ip) && heard_on.iter().any(is_heard_there)
        };
        !is_own && self.networks.iter().any(is_in)
    }
}

fn networks() -> Vec<Network> {
    // Without them nothing is near.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let networks = interfaces.into_iter().filter_map(|interface| {
        let length = match &interface.addr {
            if_addrs::IfAddr::V4(address) => address.prefixlen,
            if_addrs::IfAddr::V6(address) => address.prefixlen,
        };
        Some(Network {
            interface: interface.index,
            network: IpNet::new(interface.ip(), length).ok()?,
        })
    });
    networks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2p_16_a_stranger_names_hosts_of_its_own_network_only() {
        let network = |index, text: &str| Network {
            interface: Some(index),
            network: text.parse().unwrap(),
        };
        let near = Near {
            networks: vec![
                network(1, "127.0.0.1/8"),
                network(2, "192.168.7.10/24"),
                network(2, "fd00:7::10/64"),
                network(3, "10.1.0.1/16"),
            ],
            read_at: None,
        };
        let is_near = |ip: &str, index| {
            let heard_on = [InterfaceId {
                name: String::new(),
                index,
            }];
            near.is_near(ip.parse().unwrap(), &heard_on)
        };
        for (ip, index) in [
            ("192.168.7.11", 2),
            ("fd00:7::11", 2),
            ("10.1.2.3", 3),
            ("127.0.0.1", 1),
        ] {
            assert!(is_near(ip, index), "{ip}");
        }
        for (ip, index) in [
            // Another network, another interface's, its own, and one that was heard nowhere.
            ("192.168.8.11", 2),
            ("10.1.2.3", 2),
            ("fd00:8::11", 2),
            ("9.9.9.9", 2),
            ("127.0.0.1", 2),
            ("192.168.7.10", 2),
            ("10.1.0.1", 2),
            ("192.168.7.11", 0),
        ] {
            assert!(!is_near(ip, index), "{ip} on {index}");
        }
        assert!(!near.is_near("192.168.7.11".parse().unwrap(), &[]));
        // Of this very host, one network at least is known.
        assert!(!networks().is_empty());
    }
}
