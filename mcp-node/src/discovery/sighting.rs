//! What a record of another host says, read with suspicion, and what of it is passed on.

use std::net::IpAddr;

use shared::fleet::name;

use crate::peers::MAX_ADDRESSES;

/// Transports of one node that are looked at.
const MAX_TRANSPORTS: usize = 4;

/// The peer that a record speaks of, if its ids are those of one key.
pub(super) fn peer_of<'t>(peer_id: Option<&'t str>, node_id: Option<&str>) -> Option<&'t str> {
    let peer_id = peer_id?;
    let key = name::public_key(peer_id)?;
    let is_own = node_id.is_none_or(|node_id| node_id == name::node_id(&key));
    is_own.then_some(peer_id)
}

/// The addresses of a node that listens at `transports` (`tcp/4001,udp/4001/quic-v1`) on a host with these addresses.
pub(super) fn addresses(ips: &[IpAddr], transports: &str) -> Vec<String> {
    let transports: Vec<&str> = transports
        .split(',')
        .filter(|text| is_transport(text))
        .take(MAX_TRANSPORTS)
        .collect();
    // IPv4 first: addresses of IPv6 that change every day are many.
    let mut ips: Vec<IpAddr> = ips.iter().copied().filter(|ip| is_host(*ip)).collect();
    ips.sort();
    ips.dedup();
    let all = ips.iter().flat_map(|ip| {
        let kind = if ip.is_ipv4() { "ip4" } else { "ip6" };
        transports
            .iter()
            .map(move |transport| format!("/{kind}/{ip}/{transport}"))
    });
    all.take(MAX_ADDRESSES).collect()
}

/// The transports of a node's own addresses, as they are told: hosts are in records of their own.
pub(super) fn transports(addresses: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for address in addresses {
        let mut parts = address.trim_start_matches('/').splitn(3, '/');
        let is_ip = matches!(parts.next(), Some("ip4" | "ip6"));
        let transport = parts.nth(1).unwrap_or_default();
        if is_ip && is_transport(transport) && !all.iter().any(|known| known == transport) {
            all.push(transport.to_owned());
        }
    }
    all.truncate(MAX_TRANSPORTS);
    all
}

fn is_transport(text: &str) -> bool {
    let is_port = |port: &str| {
        port.parse::<u16>().is_ok_and(|port| port > 0) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split('/').collect::<Vec<_>>().as_slice() {
        ["tcp", port] | ["udp", port, "quic-v1"] => is_port(port),
        _ => false,
    }
}

/// Whether a host can have the address, and it can be written without the name of an interface.
fn is_host(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_unspecified() && !ip.is_multicast() && !is_link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_speaks_of_one_key_or_of_nobody() {
        let (one, other) = ([7; 32], [8; 32]);
        let peer_id = name::peer_id(&one);
        assert_eq!(
            peer_of(Some(&peer_id), Some(&name::node_id(&one))),
            Some(&*peer_id)
        );
        assert_eq!(peer_of(Some(&peer_id), None), Some(&*peer_id));
        assert_eq!(peer_of(Some(&peer_id), Some(&name::node_id(&other))), None);
        assert_eq!(peer_of(Some("12D3KooW"), None), None);
        assert_eq!(peer_of(None, Some(&name::node_id(&one))), None);
    }

    #[test]
    fn addresses_are_those_of_hosts() {
        let ips: Vec<IpAddr> = [
            "10.0.0.1",
            "fd00::1",
            "fe80::1",
            "0.0.0.0",
            "224.0.0.1",
            "ff02::1",
            "10.0.0.1",
        ]
        .iter()
        .map(|ip| ip.parse().unwrap())
        .collect();
        assert_eq!(
            addresses(&ips, "tcp/4001,udp/4001/quic-v1"),
            [
                "/ip4/10.0.0.1/tcp/4001",
                "/ip4/10.0.0.1/udp/4001/quic-v1",
                "/ip6/fd00::1/tcp/4001",
                "/ip6/fd00::1/udp/4001/quic-v1"
            ]
        );
        for bad in [
            "",
            "tcp/0",
            "tcp/65536",
            "tcp/+1",
            "tcp/4001/p2p-circuit",
            "udp/1",
            "tcp/1/../x",
            "dns/x",
        ] {
            assert!(addresses(&ips, bad).is_empty(), "{bad}");
        }
        let many: Vec<IpAddr> = (0..200).map(|n| IpAddr::from([10, 0, 1, n])).collect();
        assert_eq!(addresses(&many, &"tcp/1,".repeat(10_000)).len(), MAX_ADDRESSES);
    }

    #[test]
    fn a_node_tells_its_transports_once() {
        let own = [
            "/ip4/10.0.0.1/tcp/4001",
            "/ip6/::1/tcp/4001",
            "/ip4/10.0.0.1/udp/4001/quic-v1",
            "/dns/north.example/tcp/4002",
            "/ip4/10.0.0.1/tcp/4003/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
        ]
        .map(str::to_owned);
        assert_eq!(transports(&own), ["tcp/4001", "udp/4001/quic-v1"]);
    }
}
