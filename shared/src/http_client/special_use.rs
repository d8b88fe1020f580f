//! Which addresses belong to nobody on the public Internet (RFC 6890 and the IANA special-purpose registries).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 ranges and what they are for.
const V4: [(Ipv4Net, &str); 15] = [
    (v4([0, 0, 0, 0], 8), "this network"),
    (v4([10, 0, 0, 0], 8), "private"),
    (v4([100, 64, 0, 0], 10), "carrier-grade NAT"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([172, 16, 0, 0], 12), "private"),
    (v4([192, 0, 0, 0], 24), "protocol assignments"),
    (v4([192, 0, 2, 0], 24), "documentation"),
    (v4([192, 88, 99, 0], 24), "6to4 relay"),
    (v4([192, 168, 0, 0], 16), "private"),
    (v4([198, 18, 0, 0], 15), "benchmarking"),
    (v4([198, 51, 100, 0], 24), "documentation"),
    (v4([203, 0, 113, 0], 24), "documentation"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([240, 0, 0, 0], 4), "reserved, broadcast"),
];

/// IPv6 ranges inside of global unicast, and what they are for. Whatever is outside is special anyway.
const V6: [(Ipv6Net, &str); 4] = [
    // With Teredo (2001::/32), benchmarking and ORCHID.
    (v6([0x2001, 0], 23), "protocol assignments"),
    (v6([0x2001, 0xdb8], 32), "documentation"),
    // Carries an IPv4 address of anybody's choice.
    (v6([0x2002, 0], 16), "6to4"),
    (v6([0x3fff, 0], 20), "documentation"),
];

/// All that has ever been given out to networks (RFC 4291 §2.4).
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0], 3);
/// IPv4 behind a translator (RFC 6052 §2.1).
const NAT64: Ipv6Net = v6([0x64, 0xff9b], 96);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([first, second]: [u16; 2], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

/// The address that is reached in the end: IPv4 where it is written as IPv6 (RFC 4291 §2.5.5, RFC 6052).
pub fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    if NAT64.contains(&v6) {
        let [.., a, b, c, d] = v6.octets();
        return IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    }
    address
}

/// What `address` is for, if it is special.
pub fn purpose(address: IpAddr) -> Option<&'static str> {
    match reached(address) {
        IpAddr::V4(v4) => V4
            .iter()
            .find(|(range, _)| range.contains(&v4))
            .map(|(_, purpose)| *purpose),
        IpAddr::V6(v6) if !GLOBAL_UNICAST.contains(&v6) => Some("outside of global unicast"),
        IpAddr::V6(v6) => V6
            .iter()
            .find(|(range, _)| range.contains(&v6))
            .map(|(_, purpose)| *purpose),
    }
}

/// Whether no rule may open `range`: nothing in it is a host of a network, or it is where clouds keep the credentials
/// of their machines.
pub(super) fn is_never_opened(range: &IpNet) -> bool {
    const NEVER: [IpNet; 6] = [
        IpNet::V4(v4([0, 0, 0, 0], 8)),
        IpNet::V4(v4([169, 254, 0, 0], 16)),
        IpNet::V4(v4([224, 0, 0, 0], 3)),
        IpNet::V6(v6([0, 0], 128)),
        IpNet::V6(v6([0xfe80, 0], 10)),
        IpNet::V6(v6([0xff00, 0], 8)),
    ];
    NEVER.iter().any(|never| overlap(never, range))
}

/// Whether `range` has addresses of this very machine.
pub(super) fn touches_loopback(range: &IpNet) -> bool {
    const LOOPBACK: [IpNet; 2] = [
        IpNet::V4(v4([127, 0, 0, 0], 8)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    ];
    LOOPBACK.iter().any(|loopback| overlap(loopback, range))
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssrf_01_to_20_no_special_address_is_public() {
        for address in [
            "127.0.0.1",
            "127.255.255.255",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(purpose(address.parse().unwrap()).is_some(), "{address}");
        }
    }

    #[test]
    fn public_addresses_are() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.167.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:200::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            assert_eq!(purpose(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn what_a_rule_may_open() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        for never in [
            "0.0.0.0/0",
            "169.254.169.254/32",
            "224.0.0.0/4",
            "255.255.255.255/32",
            "::/0",
            "fe80::/64",
            "ff02::1/128",
        ] {
            assert!(is_never_opened(&net(never)), "{never}");
        }
        for may in [
            "10.0.0.0/8",
            "192.168.1.0/24",
            "127.0.0.1/32",
            "fd00::/8",
            "::1/128",
            "100.64.0.0/10",
        ] {
            assert!(!is_never_opened(&net(may)), "{may}");
        }
        assert!(touches_loopback(&net("127.0.0.1/32")) && touches_loopback(&net("::/64")));
        assert!(!touches_loopback(&net("10.0.0.0/8")) && !touches_loopback(&net("fd00::/8")));
    }
}
