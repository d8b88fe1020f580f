//! TLS for both programs: rustls on ring, TLS 1.3 only, HTTP/1.1 by ALPN.

pub mod acme;
mod client_authorities;
mod client_certificate;
mod mode;
mod private_file;
mod self_signed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_acme::acme::ACME_TLS_ALPN_NAME;
use rustls_acme::{ResolvesServerCertAcme, is_tls_alpn_challenge};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use self::acme::{AcmeSettings, Orders};
pub use self::client_authorities::ClientAuthorities;
use self::client_certificate::AnyCertificate;
pub use self::client_certificate::{ClientCertificate, client_certificate_header};
pub use self::mode::{TlsMode, read_mode, read_redirect};
pub use self::private_file::write_private;
use crate::clock::UnixSeconds;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read, written or understood.
    #[error("TLS: {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The certificate or key was refused.
    #[error("TLS: {0}")]
    Refused(String),
}

/// The certificate in use. Connections that begin after it was replaced get the new one.
#[derive(Debug, Default)]
struct InUse {
    /// `None` as long as no certificate could be had.
    certificate: ArcSwapOption<CertifiedKey>,
    /// Answers an authority that looks whether a domain is ours, while it does.
    challenges: ArcSwapOption<ResolvesServerCertAcme>,
}

impl InUse {
    /// From when and until when the certificate counts.
    fn validity(&self) -> Option<(UnixSeconds, UnixSeconds)> {
        validity_of(self.certificate.load().as_ref()?)
    }
}

/// From when and until when a certificate counts.
fn validity_of(key: &CertifiedKey) -> Option<(UnixSeconds, UnixSeconds)> {
    let (_, parsed) = parse_x509_certificate(key.cert.first()?).ok()?;
    let validity = parsed.validity();
    let seconds = |time: x509_parser::time::ASN1Time| UnixSeconds(time.timestamp());
    Some((seconds(validity.not_before), seconds(validity.not_after)))
}

impl ResolvesServerCert for InUse {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if is_tls_alpn_challenge(&hello) {
            return self.challenges.load_full()?.resolve(hello);
        }
        self.certificate.load_full()
    }
}

/// Where a certificate comes from.
#[derive(Clone, Debug)]
enum Origin {
    /// The chain and its key, as PEM.
    Files(PathBuf, PathBuf),
    /// An authority.
    Acme(Box<AcmeSettings>),
}

/// A certificate that was read again, and is in order.
#[must_use = "it is not used before `apply`"]
#[derive(Debug)]
pub struct Renewal {
    in_use: Arc<InUse>,
    read: CertifiedKey,
}

impl Renewal {
    /// Whether it is another one than that in use.
    pub fn is_new(&self) -> bool {
        let in_use = self.in_use.certificate.load();
        in_use.as_ref().is_none_or(|in_use| in_use.cert != self.read.cert)
    }

    /// Uses it from the next connection on.
    pub fn apply(self) {
        self.in_use.certificate.store(Some(Arc::new(self.read)));
    }
}

/// A server's TLS, ready to listen.
#[derive(Clone)]
pub struct ServerTls {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// For a listener that asks clients for a certificate (RFC 8705).
    pub asking: Arc<ServerConfig>,
    /// The certificate authority that clients must trust, when we made it ourselves.
    pub local_ca: Option<PathBuf>,
    /// What keeps the certificate fresh, when an authority makes it for us.
    pub orders: Option<Arc<Orders>>,
    in_use: Arc<InUse>,
    origin: Origin,
}

impl ServerTls {
    fn of(origin: Origin, local_ca: Option<PathBuf>) -> Result<Self, TlsFault> {
        let provider = rustls::crypto::ring::default_provider();
        let any = Arc::new(AnyCertificate {
            algorithms: provider.signature_verification_algorithms,
        });
        let in_use = Arc::new(InUse::default());
        let orders = match &origin {
            Origin::Files(cert_file, key_file) => {
                let read = certified_key(cert_file, key_file)?;
                in_use.certificate.store(Some(Arc::new(read)));
                None
            }
            Origin::Acme(settings) => Some(Arc::new(Orders::prepare(settings, &in_use)?)),
        };
        let is_ordered = orders.is_some();
        Ok(Self {
            config: server_config(&in_use, WebPkiClientVerifier::no_client_auth(), is_ordered)?,
            asking: server_config(&in_use, any, is_ordered)?,
            local_ca,
            orders,
            in_use,
            origin,
        })
    }

    /// Reads the files again, if they are somebody else's to renew. What is not in order changes nothing.
    pub fn read_again(&self) -> Result<Option<Renewal>, TlsFault> {
        match &self.origin {
            Origin::Acme(_) => Ok(None),
            Origin::Files(cert_file, key_file) => Ok(Some(Renewal {
                read: certified_key(cert_file, key_file)?,
                in_use: Arc::clone(&self.in_use),
            })),
        }
    }

    /// Until when the certificate in use counts; `None` when there is none yet.
    pub fn expires(&self) -> Option<UnixSeconds> {
        self.in_use.validity().map(|(_, until)| until)
    }

    /// One word for the certificate: `valid`, `expired`, `missing`, or `not_renewed` for one that counts still, and would have
    /// been replaced by now.
    pub fn standing(&self, now: UnixSeconds) -> &'static str {
        match self.expires() {
            None => "missing",
            Some(until) if until <= now => "expired",
            Some(_) if self.orders.as_ref().is_some_and(|orders| orders.are_failing()) => "not_renewed",
            Some(_) => "valid",
        }
    }
}

/// Names ring as the process's cryptography. Call it first in `main`: with two providers in the graph, rustls
/// panics when nobody has chosen.
pub fn install_provider() {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a TLS provider had been installed before");
    }
}

/// A chain and its key, which belong together.
fn certified_key(cert_file: &Path, key_file: &Path) -> Result<CertifiedKey, TlsFault> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert_file)
        .map_err(|e| file_fault(cert_file, e))?
        .collect();
    let chain = chain.map_err(|e| file_fault(cert_file, e))?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| file_fault(key_file, e))?;
    if chain.is_empty() {
        return Err(file_fault(cert_file, "there is no certificate in it"));
    }
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|e| TlsFault::Refused(format!("{}: {e}", cert_file.display())))
}

/// The same from one text that holds both.
fn certified_key_of_pem(pem: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|e| e.to_string())?;
    if chain.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map_err(|e| e.to_string())
}

fn server_config(
    in_use: &Arc<InUse>,
    clients: Arc<dyn ClientCertVerifier>,
    is_ordered: bool,
) -> Result<Arc<ServerConfig>, TlsFault> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| TlsFault::Refused(e.to_string()))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::clone(in_use) as Arc<dyn ResolvesServerCert>);
    // HTTP/2 waits for an h2 without open advisory (docs/decisions/0004).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if is_ordered {
        config.alpn_protocols.push(ACME_TLS_ALPN_NAME.to_vec());
    }
    // A token request in early data could be replayed (RFC 8470 §3); it stays off, and this says so.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn file_fault(path: &Path, reason: impl std::fmt::Display) -> TlsFault {
    TlsFault::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn self_signed_makes_an_authority_once_and_serves_tls_13_only() {
        let folder = tempfile::tempdir().unwrap();
        let mode = TlsMode::SelfSigned {
            folder: folder.path().join("tls"),
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let first = mode.prepare().unwrap().unwrap();
        let ca = std::fs::read(first.local_ca.unwrap()).unwrap();
        let key = folder.path().join("tls/key.pem");
        assert_eq!(
            std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(first.config.alpn_protocols, [b"http/1.1".to_vec()]);
        let again = mode.prepare().unwrap().unwrap();
        assert_eq!(std::fs::read(again.local_ca.unwrap()).unwrap(), ca);
    }

    #[test]
    fn a_certificate_is_replaced_by_a_good_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let (cert_file, key_file) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let write = |(cert, key): (&str, &str)| {
            std::fs::write(&cert_file, cert).unwrap();
            std::fs::write(&key_file, key).unwrap();
        };
        let (first, second) = (make("a.example"), make("b.example"));
        write((&first.0, &first.1));
        let mode = TlsMode::Files {
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
        };
        let tls = mode.prepare().unwrap().unwrap();
        let served = || tls.in_use.certificate.load_full().unwrap().cert[0].clone();
        let before = served();
        assert!(!tls.read_again().unwrap().unwrap().is_new());
        for bad in [(&*second.0, &*first.1), ("", &*first.1), (&*second.0, "nothing")] {
            write(bad);
            assert!(tls.read_again().is_err(), "{bad:?}");
            assert_eq!(served(), before);
        }
        write((&second.0, &second.1));
        let renewal = tls.read_again().unwrap().unwrap();
        assert!(renewal.is_new() && served() == before);
        renewal.apply();
        assert_ne!(served(), before);
    }
}
