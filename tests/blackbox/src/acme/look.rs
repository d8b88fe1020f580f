//! Looking whether a domain is its account's, by really going there.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use xtask::http::Request;

use super::der::{contains, dns_name, point};

/// RFC 8737 §3: a certificate for this name alone, in a handshake for `acme-tls/1` alone, that has the digest of the key
/// authorization in a critical extension.
pub(super) fn over_tls(port: u16, name: &str, key_authorization: &str) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let name_there = ServerName::try_from(name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::new(config), name_there).unwrap();
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut tls = StreamOwned::new(client, stream);
    if tls.flush().is_err() || tls.conn.alpn_protocol() != Some(b"acme-tls/1") {
        return false;
    }
    let Some([certificate]) = tls.conn.peer_certificates() else {
        return false;
    };
    let digest = digest(&SHA256, key_authorization.as_bytes());
    // id-pe-acmeIdentifier, critical, an octet string in an octet string.
    let begin = [
        0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20,
    ];
    contains(certificate, &[&begin, digest.as_ref()].concat()) && contains(certificate, &dns_name(name))
}

/// RFC 8555 §8.3.
pub(super) fn over_http(port: u16, name: &str, token: &str, key_authorization: &str) -> bool {
    let url = format!("http://127.0.0.1:{port}/.well-known/acme-challenge/{token}");
    let answer = Request::new("GET", &url).unwrap().header("Host", name).send();
    answer.is_ok_and(|answer| answer.status == 200 && answer.text().trim_end() == key_authorization)
}

/// The certificate of a challenge is signed by nobody who counts.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("there is no TLS 1.2 here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Not by the library's way, which refuses a certificate with a critical extension that it does not know.
        let point = point(certificate).ok_or_else(|| Error::General("no P-256 key".to_owned()))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message, signed.signature())
            .map_err(|_| Error::General("the key is another's".to_owned()))?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
