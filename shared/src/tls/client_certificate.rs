//! Certificates that clients show (RFC 8705).
//!
//! The handshake takes any certificate whose private key the client has, and none at all: what a certificate is worth
//! is decided where it is known who the client claims to be. For one client that is a chain to an authority, for
//! another the very key that it registered.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::config::Section;
use crate::jose::sha256_base64url;

/// More certificates than any chain has.
const MAX_CHAIN: usize = 8;

/// The certificate of a client that has the private key to it, with what it sent along to build a chain.
#[derive(Clone, Debug)]
pub struct ClientCertificate(Arc<[CertificateDer<'static>]>);

impl ClientCertificate {
    /// From the certificates of a handshake or of a trusted proxy, the client's own first.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Option<Self> {
        (!chain.is_empty() && chain.len() <= MAX_CHAIN).then(|| Self(chain.into()))
    }

    /// The client's own certificate.
    pub fn own(&self) -> &CertificateDer<'static> {
        &self.0[0]
    }

    /// What may lead from it to an authority.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.0[1..]
    }

    /// The `x5t#S256` that binds a token to it (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> String {
        sha256_base64url(self.own())
    }
}

/// Takes whatever certificate is shown, if the client has its private key.
#[derive(Debug)]
pub(super) struct AnyCertificate {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // There is no TLS 1.2 here.
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Reads `client_certificate_header`: whether trusted proxies pass the certificates of clients on, and how.
pub fn client_certificate_header(section: &mut Section<'_>, has_proxies: bool) -> bool {
    match section.optional::<String>("client_certificate_header").as_deref() {
        None => false,
        Some("client-cert") if has_proxies => true,
        Some("client-cert") => {
            section.fault(
                "client_certificate_header",
                "needs server.trusted_proxies: from anybody else the header means nothing",
            );
            false
        }
        Some(_) => {
            section.fault("client_certificate_header", "must be \"client-cert\" (RFC 9440)");
            false
        }
    }
}
