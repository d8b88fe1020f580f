//! A certificate authority that speaks ACME: it takes a nonce once, verifies every signature, really comes to the domain to
//! look, and issues. Written from RFC 8555 and RFC 8737; what it lets pass, an authority of the world would too.

mod der;
mod look;
mod orders;
mod served;
mod signed;

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;

use self::served::serve;
use crate::forge;

/// What the authority does with orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Issues what is in order.
    Good,
    /// Answers nothing but 503.
    Away,
    /// As [`Mood::Good`], but the look at the domain waits until the mood changes.
    Holding,
    /// Has had enough of the account (RFC 8555 §6.6) until this time, which is written as [`in_days`] writes it.
    Limiting(String),
    /// Does not know the domain (`rejectedIdentifier`).
    Rejecting,
}

/// What a clock shows in so many days, in UTC: `2026-12-05 06:21:45`.
#[must_use]
pub fn in_days(days: u64) -> String {
    let now = Duration::from_secs(forge::now().unsigned_abs());
    let then = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(days * 86_400);
    let (hour, minute, second) = then.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}", then.date())
}

/// A running authority; it stops with this value.
pub struct Authority {
    /// Its directory.
    pub directory: String,
    /// What to trust at the directory (PEM).
    pub directory_ca: PathBuf,
    /// What to trust at whom it certified (PEM).
    pub ca: PathBuf,
    port: u16,
    shared: Arc<Shared>,
    _folder: tempfile::TempDir,
}

struct Shared {
    url: String,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mood: Mood,
    over: bool,
    /// Where the domains' TLS and plain HTTP are found: `None` for the second looks at the first (RFC 8737).
    ports: (u16, Option<u16>),
    life: (Duration, Duration),
    nonces: HashSet<String>,
    accounts: Vec<(Vec<u8>, String)>,
    orders: Vec<Order>,
}

struct Order {
    account: usize,
    domains: Vec<(String, &'static str, String)>,
    certificate: Option<String>,
}

/// A problem document: status, type and detail.
type Refused = (u16, &'static str, String);

impl Authority {
    /// An authority that is away for now, and looks at the domains' TLS on `tls_port`.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(tls_port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, pem: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "ACME authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&ca_key).unwrap().pem();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("https://localhost:{port}");
        let shared = Arc::new(Shared {
            url: url.clone(),
            issuer: Issuer::new(params, ca_key),
            pem: pem.clone(),
            state: Mutex::new(State {
                mood: Mood::Away,
                over: false,
                ports: (tls_port, None),
                life: (Duration::from_secs(60), Duration::from_secs(90 * 86_400)),
                nonces: HashSet::new(),
                accounts: Vec::new(),
                orders: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let (serving, config) = (shared.clone(), Arc::new(config));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.lock().over {
                    return;
                }
                let (shared, config) = (serving.clone(), config.clone());
                std::thread::spawn(move || serve(stream, config, &shared));
            }
        });
        Self {
            directory: format!("{url}/directory"),
            directory_ca: write("directory.pem", &own.pem()),
            ca: write("ca.pem", &pem),
            port,
            shared,
            _folder: folder,
        }
    }

    /// Behaves so from now on.
    pub fn is(&self, mood: Mood) {
        self.shared.lock().mood = mood;
        self.shared.changed.notify_all();
    }

    /// Looks for domains over plain HTTP at this port (`http-01`), and not at their TLS.
    pub fn looks_in_clear(&self, port: u16) {
        self.shared.lock().ports.1 = Some(port);
    }

    /// Certificates began so long ago, and end so long from now.
    pub fn issues_for(&self, before: Duration, after: Duration) {
        self.shared.lock().life = (before, after);
    }

    /// How many orders came.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.shared.lock().orders.len()
    }

    /// How many accounts there are.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.shared.lock().accounts.len()
    }

    /// The TOML of `[tls]` and `[tls.acme]` for these domains.
    #[must_use]
    pub fn section(&self, domains: &[&str], tls: &str, more: &str) -> String {
        format!(
            "\n[tls]\nmode = \"acme\"\n{tls}\n[tls.acme]\nterms_agreed = true\ndirectory = \"{}\"\nca_file = \"{}\"\n\
             contact = [\"operator@edge.example\"]\ndomains = {domains:?}\n{more}\n",
            self.directory,
            self.directory_ca.display()
        )
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

impl State {
    fn nonce(&mut self) -> String {
        let nonce = forge::fresh_id();
        self.nonces.insert(nonce.clone());
        nonce
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
