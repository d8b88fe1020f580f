//! The certificate that a client showed: in the handshake with us, or in the one with a proxy that the operator named
//! and that passes it on (RFC 9440). What anybody else writes into those headers is not even looked at.

use std::any::Any;
use std::net::IpAddr;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::http::header::HeaderMap;
use actix_web::rt::net::TcpStream;
use actix_web::{HttpMessage, HttpRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use shared::tls::ClientCertificate;

/// The certificate of the client of `request`.
pub fn of(request: &HttpRequest) -> Option<ClientCertificate> {
    request.extensions().get::<ClientCertificate>().cloned()
}

/// Keeps the certificate of a handshake with the connection, for every request on it: `HttpServer::on_connect`.
pub fn keep(connection: &dyn Any, kept: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else {
        return;
    };
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().map(<[_]>::to_vec);
    if let Some(certificate) = shown.and_then(ClientCertificate::new) {
        kept.insert(certificate);
    }
}

/// The client's certificate, if it showed one. `from_header` says that trusted proxies pass it on.
pub(crate) fn resolve(
    request: &ServiceRequest,
    trusted_proxies: &[IpNet],
    from_header: bool,
) -> Option<ClientCertificate> {
    let peer = request.peer_addr()?.ip();
    if is_trusted(peer, trusted_proxies) {
        // A proxy's own certificate is nobody's behind it.
        return from_header.then(|| passed_on(request.headers())).flatten();
    }
    request.conn_data::<ClientCertificate>().cloned()
}

fn is_trusted(peer: IpAddr, trusted_proxies: &[IpNet]) -> bool {
    trusted_proxies
        .iter()
        .any(|network| network.contains(&peer.to_canonical()))
}

/// RFC 9440 §2: the certificate in `Client-Cert`, and those that the client sent along in `Client-Cert-Chain`.
fn passed_on(headers: &HeaderMap) -> Option<ClientCertificate> {
    let mut own = headers.get_all("client-cert");
    // Two would mean that the proxy let the client write one.
    let (Some(first), None) = (own.next(), own.next()) else {
        return None;
    };
    let mut chain = vec![byte_sequence(first.to_str().ok()?)?];
    for line in headers.get_all("client-cert-chain") {
        for item in line.to_str().ok()?.split(',') {
            chain.push(byte_sequence(item)?);
        }
    }
    ClientCertificate::new(chain.into_iter().map(Into::into).collect())
}

/// RFC 8941 §3.3.5: base64 between colons.
fn byte_sequence(item: &str) -> Option<Vec<u8>> {
    let encoded = item
        .trim_matches([' ', '\t'])
        .strip_prefix(':')?
        .strip_suffix(':')?;
    STANDARD.decode(encoded).ok().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Option<Vec<Vec<u8>>> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let certificate = passed_on(&headers)?;
        let all = std::iter::once(certificate.own()).chain(certificate.intermediates());
        Some(all.map(|one| one.to_vec()).collect())
    }

    #[test]
    fn the_headers_of_rfc_9440_are_read() {
        assert_eq!(read(&[("client-cert", ":AQI=:")]), Some(vec![vec![1, 2]]));
        assert_eq!(
            read(&[
                ("client-cert", " :AQI=: "),
                ("client-cert-chain", ":Aw==:, :BA==:"),
                ("client-cert-chain", ":BQ==:")
            ]),
            Some(vec![vec![1, 2], vec![3], vec![4], vec![5]])
        );
    }

    #[test]
    fn what_is_not_exactly_one_certificate_is_none() {
        for bad in [
            &[][..],
            &[("client-cert", "AQI=")],
            &[("client-cert", "::")],
            &[("client-cert", ":AQI=")],
            &[("client-cert", ":!!:")],
            &[("client-cert", ":AQI=:, :AQI=:")],
            &[("client-cert", ":AQI=:"), ("client-cert", ":AQI=:")],
            &[("client-cert", ":AQI=:"), ("client-cert-chain", "x")],
            &[("client-cert-chain", ":AQI=:")],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn proxies_are_those_that_are_named() {
        let named = ["10.0.0.0/8".parse().unwrap()];
        assert!(is_trusted("10.1.2.3".parse().unwrap(), &named));
        assert!(is_trusted("::ffff:10.1.2.3".parse().unwrap(), &named));
        assert!(!is_trusted("11.1.2.3".parse().unwrap(), &named));
        assert!(!is_trusted("10.1.2.3".parse().unwrap(), &[]));
    }
}
