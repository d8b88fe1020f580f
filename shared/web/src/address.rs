//! Who is calling: the socket's address, unless the peer is a proxy that the operator named. Forwarding headers of
//! anyone else are not even looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpMessage, HttpRequest};
use ipnet::IpNet;

/// The caller's address; in the request's extensions once the frame has seen the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The address of the caller of `request`.
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().copied().unwrap_or(UNKNOWN)
    }

    /// What a rate limit counts by: the address, or the /64 network that one IPv6 customer has.
    pub fn limit_key(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(v4) => IpAddr::V4(v4),
                None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
            },
        }
    }

    pub(crate) fn resolve(request: &ServiceRequest, trusted_proxies: &[IpNet]) -> Self {
        let Some(peer) = request.peer_addr() else {
            return UNKNOWN;
        };
        Self(forwarded_for(peer.ip(), request.headers(), trusted_proxies))
    }
}

/// A request without a socket exists in unit tests only; it shares one bucket of the rate limit.
const UNKNOWN: ClientAddress = ClientAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

/// Whether a proxy, named or not, says that it passed this request on.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    ["x-forwarded-for", "forwarded", "x-real-ip"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// Walks `X-Forwarded-For` from the right, the end that the nearest proxy wrote, past every trusted proxy.
fn forwarded_for(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| {
        trusted_proxies
            .iter()
            .any(|network| network.contains(&address.to_canonical()))
    };
    if trusted_proxies.is_empty() || !is_trusted(peer) {
        return peer;
    }
    let lines: Vec<_> = headers.get_all("x-forwarded-for").collect();
    let mut nearest = peer;
    // Bytes, not text: a caller who writes what is no text must not make the proxy's own entry unreadable.
    for entry in lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|b| *b == b','))
    {
        // What is not an address ends the walk: nothing left of it can be believed.
        let Some(address) = read_address(entry) else {
            break;
        };
        nearest = address;
        if !is_trusted(address) {
            break;
        }
    }
    nearest
}

/// An address, in brackets or not; some proxies add the caller's port.
fn read_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip()),
        Err(_) => text.trim_matches(['[', ']']).parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn from(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        from_bytes(peer, &lines)
    }

    fn from_bytes(peer: &str, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_bytes(line).unwrap(),
            );
        }
        forwarded_for(peer.parse().unwrap(), &headers, &["10.0.0.0/8".parse().unwrap()]).to_string()
    }

    #[test]
    fn only_a_named_proxy_is_believed() {
        assert_eq!(from("203.0.113.9", &["7.7.7.7"]), "203.0.113.9");
        assert_eq!(from("10.0.0.1", &["7.7.7.7"]), "7.7.7.7");
        assert_eq!(from("10.0.0.1", &["6.6.6.6, 7.7.7.7, 10.0.0.2"]), "7.7.7.7");
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "7.7.7.7"]), "7.7.7.7");
        assert_eq!(from("10.0.0.1", &["7.7.7.7, garbage, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["7.7.7.7:4711"]), "7.7.7.7");
        assert_eq!(from("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
    }

    #[test]
    fn bytes_that_are_no_text_hide_nobody() {
        assert_eq!(from_bytes("10.0.0.1", &[b"\xff, 7.7.7.7"]), "7.7.7.7");
        assert_eq!(from_bytes("10.0.0.1", &[b"6.6.6.6", b"\xff"]), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_customer_is_one_bucket() {
        let key = |text: &str| ClientAddress(text.parse().unwrap()).limit_key();
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
