//! TLS for both programs: rustls on ring, TLS 1.3 only, HTTP/1.1 by ALPN.

mod client_authorities;
mod client_certificate;
mod self_signed;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use self::client_authorities::ClientAuthorities;
use self::client_certificate::AnyCertificate;
pub use self::client_certificate::{ClientCertificate, client_certificate_header};
use crate::config::Reader;
use crate::secret::random_bytes;

/// How the listen addresses speak TLS (`[tls]`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsMode {
    /// Plain HTTP; only on loopback.
    Off,
    /// A local certificate authority and a certificate for `names`, kept in `folder`.
    SelfSigned {
        /// Where `ca.pem`, `cert.pem` and their keys are.
        folder: PathBuf,
        /// DNS names and addresses of the certificate.
        names: Vec<String>,
    },
    /// PEM files that somebody else renews.
    Files {
        /// The chain, our certificate first.
        cert_file: PathBuf,
        /// The private key.
        key_file: PathBuf,
    },
}

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
#[derive(Debug)]
struct InUse(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for InUse {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
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
        self.in_use.0.load().cert != self.read.cert
    }

    /// Uses it from the next connection on.
    pub fn apply(self) {
        self.in_use.0.store(Arc::new(self.read));
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
    in_use: Arc<InUse>,
    cert_file: PathBuf,
    key_file: PathBuf,
}

impl ServerTls {
    /// Reads the files again. What is not in order changes nothing.
    pub fn read_again(&self) -> Result<Renewal, TlsFault> {
        Ok(Renewal {
            read: certified_key(&self.cert_file, &self.key_file)?,
            in_use: Arc::clone(&self.in_use),
        })
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

/// Reads `[tls]`. `names` are what a self-signed certificate is made for.
pub fn read_mode(reader: &mut Reader, data_dir: &Path, names: Vec<String>) -> TlsMode {
    let mut section = reader.section("tls");
    let mode: Option<String> = section.value("mode", "off");
    let (cert_file, key_file) = (
        section.optional::<PathBuf>("cert_file"),
        section.optional::<PathBuf>("key_file"),
    );
    match mode.as_deref() {
        Some("self-signed") => TlsMode::SelfSigned {
            folder: data_dir.join("tls"),
            names,
        },
        Some("files") => match (cert_file, key_file) {
            (Some(cert_file), Some(key_file)) => TlsMode::Files { cert_file, key_file },
            _ => {
                section.fault("mode", "\"files\" needs cert_file and key_file");
                TlsMode::Off
            }
        },
        Some("acme") => {
            section.fault(
                "mode",
                "\"acme\" is not built into this version; use \"files\" or a proxy that ends TLS",
            );
            TlsMode::Off
        }
        Some("off") | None => TlsMode::Off,
        Some(_) => {
            section.fault("mode", "must be \"off\", \"self-signed\" or \"files\"");
            TlsMode::Off
        }
    }
}

impl TlsMode {
    /// Reads or makes what the mode needs; `None` for plain HTTP.
    pub fn prepare(&self) -> Result<Option<ServerTls>, TlsFault> {
        match self {
            Self::Off => Ok(None),
            Self::SelfSigned { folder, names } => {
                let made = self_signed::ensure(folder, names)?;
                server_tls(&made.cert_file, &made.key_file, Some(made.ca_file)).map(Some)
            }
            Self::Files { cert_file, key_file } => server_tls(cert_file, key_file, None).map(Some),
        }
    }
}

fn server_tls(cert_file: &Path, key_file: &Path, local_ca: Option<PathBuf>) -> Result<ServerTls, TlsFault> {
    let provider = rustls::crypto::ring::default_provider();
    let any = Arc::new(AnyCertificate {
        algorithms: provider.signature_verification_algorithms,
    });
    let in_use = Arc::new(InUse(ArcSwap::from_pointee(certified_key(cert_file, key_file)?)));
    Ok(ServerTls {
        config: server_config(&in_use, WebPkiClientVerifier::no_client_auth())?,
        asking: server_config(&in_use, any)?,
        local_ca,
        in_use,
        cert_file: cert_file.to_owned(),
        key_file: key_file.to_owned(),
    })
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

fn server_config(
    in_use: &Arc<InUse>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, TlsFault> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| TlsFault::Refused(e.to_string()))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::clone(in_use) as Arc<dyn ResolvesServerCert>);
    // HTTP/2 waits for an h2 without open advisory (docs/decisions/0004).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
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

/// Writes a file that only its owner can read, and that is there wholly or not at all, even after a power cut.
/// Refuses to replace an existing file unless `replace`.
pub fn write_private(path: &Path, content: &[u8], replace: bool) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // Not the process id: in two containers that share the folder it is 1 in both, and each would hold a key that the
    // other has overwritten.
    let unique = random_bytes::<12>().map_err(std::io::Error::other)?;
    let temporary = folder.join(format!(
        ".{}.{}",
        path.file_name().unwrap_or_default().display(),
        URL_SAFE_NO_PAD.encode(unique)
    ));
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            // A hard link fails if the name is taken, a rename would win over another process's file.
            if replace {
                std::fs::rename(&temporary, path)
            } else {
                std::fs::hard_link(&temporary, path)
            }
        });
    if written.is_err() || !replace {
        std::fs::remove_file(&temporary).ok();
    }
    written?;
    File::open(folder)?.sync_all()
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
        let served = || tls.in_use.0.load().cert[0].clone();
        let before = served();
        assert!(!tls.read_again().unwrap().is_new());
        for bad in [(&*second.0, &*first.1), ("", &*first.1), (&*second.0, "nothing")] {
            write(bad);
            assert!(tls.read_again().is_err(), "{bad:?}");
            assert_eq!(served(), before);
        }
        write((&second.0, &second.1));
        let renewal = tls.read_again().unwrap();
        assert!(renewal.is_new() && served() == before);
        renewal.apply();
        assert_ne!(served(), before);
    }

    #[test]
    fn writers_at_once_agree_on_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let write = |content: u8| write_private(&path, &[content; 4096], false).is_ok();
        let winners: Vec<u8> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..16).map(|n| (n, scope.spawn(move || write(n)))).collect();
            let ends = writers.into_iter().map(|(n, writer)| (n, writer.join().unwrap()));
            ends.filter_map(|(n, won)| won.then_some(n)).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), [winners[0]; 4096]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_private_file_is_not_replaced_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_private(&path, b"one", false).unwrap();
        assert_eq!(
            write_private(&path, b"two", false).unwrap_err().kind(),
            std::io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_private(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
