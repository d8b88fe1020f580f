//! HTTPS requests that trust exactly one certificate file, and a greeting of the past.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SignatureScheme, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use xtask::Outcome;
use xtask::fault::Explain as _;
use xtask::http::{Answer, Connection, Request};

use crate::certificate::Identity;

/// What a TLS conversation showed.
pub struct Seen {
    /// The HTTP answer.
    pub answer: Answer,
    /// The negotiated TLS version.
    pub version: Option<ProtocolVersion>,
    /// The negotiated application protocol (ALPN); `h2` and `http/1.1` were offered.
    pub protocol: Option<Vec<u8>>,
    /// Whether the server asked for a certificate.
    pub was_asked: bool,
}

/// The certificate that is shown when the server asks for one, if there is one; and whether it asked.
#[derive(Debug)]
struct Shown {
    certificate: Option<Arc<CertifiedKey>>,
    was_asked: AtomicBool,
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        self.certificate.clone()
    }

    fn has_certs(&self) -> bool {
        self.certificate.is_some()
    }
}

/// Sends a request to `localhost:port` over TLS, trusting the certificates in the PEM file `ca`.
///
/// # Errors
/// When the handshake or the request fails.
pub fn send(request: &Request, port: u16, ca: &Path) -> Outcome<Seen> {
    send_as(request, port, ca, None)
}

/// As [`send`], showing a certificate to a server that asks for one.
///
/// # Errors
/// When the handshake or the request fails.
pub fn send_as(request: &Request, port: u16, ca: &Path, identity: Option<&Identity>) -> Outcome<Seen> {
    let (mut connection, shown) = begin("localhost", port, ca, identity)?;
    let answer = connection.exchange(&request.bytes(false), false)?;
    let session = &connection.stream().conn;
    let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
    Ok(Seen {
        answer,
        version: session.protocol_version(),
        protocol,
        was_asked: shown.was_asked.load(Ordering::Relaxed),
    })
}

/// A connection to `name`, which is on this machine at `port`, trusting the certificates in the PEM file `ca`. It is kept
/// for many requests.
///
/// # Errors
/// When nobody listens, or the certificate is not believed.
pub fn connect(name: &str, port: u16, ca: &Path) -> Outcome<Kept> {
    let (mut connection, _) = begin(name, port, ca, None)?;
    connection.stream().flush().explain("no handshake")?;
    Ok(connection)
}

/// A kept connection.
pub type Kept = Connection<StreamOwned<ClientConnection, TcpStream>>;

fn begin(name: &str, port: u16, ca: &Path, identity: Option<&Identity>) -> Outcome<(Kept, Arc<Shown>)> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).explain("cannot read the CA file")? {
        roots
            .add(certificate.explain("not a certificate")?)
            .explain("not a CA")?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = identity.map(|identity| {
        let key = provider.key_provider.load_private_key(identity.private_key());
        key.map(|key| Arc::new(CertifiedKey::new(vec![identity.certificate.clone()], key)))
    });
    let shown = Arc::new(Shown {
        certificate: certificate.transpose().explain("not a private key")?,
        was_asked: AtomicBool::new(false),
    });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .explain("versions")?
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesClientCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).explain("a server name")?;
    let client = ClientConnection::new(Arc::new(config), name).explain("cannot begin TLS")?;
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok((Connection::over(StreamOwned::new(client, stream)), shown))
}

/// Offers TLS 1.2 and nothing newer (RFC 5246 §7.4.1.2) and returns the description of the alert that came back.
/// Written by hand because the TLS library of this workspace is built without TLS 1.2.
///
/// # Errors
/// When nobody listens, or the answer is no alert.
pub fn alert_for_tls_1_2(port: u16) -> Outcome<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    // ECDHE_ECDSA and ECDHE_RSA with AES-128-GCM, no compression, and the extensions that such a client must send.
    hello.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 29, 0, 11, 0, 2, 1, 0, 0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1,
    ];
    hello.extend([0, extensions.len() as u8]);
    hello.extend(extensions);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    record.extend(hello);
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&record)?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).explain("no alert")?;
    // Record type 21 is an alert; its last byte is the description (RFC 8446 §6).
    (answer[0] == 21)
        .then_some(answer[6])
        .explain(format!("not an alert: {answer:?}"))
}
