//! A certificate authority that speaks ACME: it takes a nonce once, verifies every signature, really comes to the domain to
//! look, and issues. Written from RFC 8555 and RFC 8737; what it lets pass, an authority of the world would too.

mod der;
mod look;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};

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
    /// Has had enough of the account (RFC 8555 §6.6).
    Limiting,
    /// Does not know the domain (`rejectedIdentifier`).
    Rejecting,
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

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) {
    let Ok(session) = ServerConnection::new(config) else {
        return;
    };
    let mut tls = StreamOwned::new(session, stream);
    let Some((head, body)) = read(&mut tls) else {
        return;
    };
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_jose = head
        .to_ascii_lowercase()
        .contains("content-type: application/jose+json");
    let (status, media_type, headers, body) = match shared.answer((method, path), is_jose, &body) {
        Ok((status, headers, Value::String(pem))) => {
            (status, "application/pem-certificate-chain", headers, pem)
        }
        Ok((status, headers, value)) => (status, "application/json", headers, value.to_string()),
        Err((status, kind, detail)) => {
            let problem = json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail});
            (
                status,
                "application/problem+json",
                String::new(),
                problem.to_string(),
            )
        }
    };
    let nonce = shared.lock().nonce();
    // RFC 8555 §7.2: an answer to HEAD is empty; a length that is another's confuses small clients.
    let sent = if method == "HEAD" { "" } else { &body };
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nReplay-Nonce: {nonce}\r\n{headers}Connection: close\r\n\r\n{sent}",
        sent.len()
    );
    // A client that has gone away does not interest an authority.
    tls.write_all(text.as_bytes()).ok();
    tls.conn.send_close_notify();
    tls.flush().ok();
}

fn read(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

impl State {
    fn nonce(&mut self) -> String {
        let nonce = forge::fresh_id();
        self.nonces.insert(nonce.clone());
        nonce
    }
}

/// What a signed request is worth.
struct Signed {
    /// The account; `None` for one that shows its key.
    account: Option<usize>,
    point: Vec<u8>,
    thumbprint: String,
    payload: Vec<u8>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        (method, path): (&str, &str),
        is_jose: bool,
        body: &[u8],
    ) -> Result<(u16, String, Value), Refused> {
        let url = &self.url;
        if self.lock().mood == Mood::Away {
            return Err((503, "serverInternal", "away".to_owned()));
        }
        match (method, path) {
            ("GET", "/directory") => {
                let directory = json!({
                    "newNonce": format!("{url}/nonce"), "newAccount": format!("{url}/account"),
                    "newOrder": format!("{url}/order"), "meta": {"termsOfService": format!("{url}/terms")},
                });
                return Ok((200, String::new(), directory));
            }
            ("HEAD", "/nonce") => return Ok((200, String::new(), Value::Null)),
            ("POST", _) if is_jose => {}
            _ => {
                return Err((
                    405,
                    "malformed",
                    "RFC 8555 §6.2: application/jose+json, by POST".to_owned(),
                ));
            }
        }
        let signed = self.verified(path, body)?;
        let mut parts = path.trim_start_matches('/').split('/');
        let (noun, id) = (parts.next().unwrap_or_default(), parts.next());
        let number = id.and_then(|id| id.parse::<usize>().ok());
        match (noun, number, signed.account) {
            ("account", None, None) => self.account(&signed),
            ("order", None, Some(account)) => self.order(account, &signed),
            ("order", Some(order), Some(_)) => Ok((200, String::new(), self.shown(order))),
            ("authz", Some(number), Some(_)) => Ok((200, String::new(), self.authorization(number))),
            ("challenge", Some(number), Some(_)) => self.challenge(number, &signed),
            ("finalize", Some(order), Some(account)) => self.finalize(order, account, &signed),
            ("certificate", Some(order), Some(_)) => {
                let state = self.lock();
                let pem = state.orders[order].certificate.clone().unwrap_or_default();
                Ok((200, String::new(), Value::String(pem)))
            }
            _ => Err((404, "malformed", "there is nothing here".to_owned())),
        }
    }

    /// RFC 8555 §6.2 to §6.5.
    fn verified(&self, path: &str, body: &[u8]) -> Result<Signed, Refused> {
        let bad = |kind: &'static str, detail: &str| (400, kind, detail.to_owned());
        let jws: Value = serde_json::from_slice(body).map_err(|_| bad("malformed", "no JSON"))?;
        let text = |name: &str| jws[name].as_str().unwrap_or_default().to_owned();
        let (protected, payload) = (text("protected"), text("payload"));
        let header: Value =
            serde_json::from_slice(&decode(&protected)).map_err(|_| bad("malformed", "no header"))?;
        if header["alg"] != "ES256" {
            return Err(bad("badSignatureAlgorithm", "ES256 only"));
        }
        if header["url"] != format!("{}{path}", self.url) {
            return Err((401, "unauthorized", "the URL is another".to_owned()));
        }
        let mut state = self.lock();
        if !state.nonces.remove(header["nonce"].as_str().unwrap_or_default()) {
            return Err(bad("badNonce", "not a nonce of ours, or not any more"));
        }
        let (account, point, thumbprint) = match (header["kid"].as_str(), &header["jwk"]) {
            (Some(kid), Value::Null) => {
                let number = kid
                    .rsplit('/')
                    .next()
                    .and_then(|number| number.parse::<usize>().ok());
                let known = number.and_then(|number| Some((number, state.accounts.get(number)?.clone())));
                let (number, (point, thumbprint)) =
                    known.ok_or_else(|| bad("accountDoesNotExist", "no such account"))?;
                (Some(number), point, thumbprint)
            }
            (None, jwk) => {
                let member = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
                let (x, y) = (member("x"), member("y"));
                let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
                let thumbprint = forge::encode(digest(&SHA256, canonical.as_bytes()));
                (None, [&[4][..], &decode(&x), &decode(&y)].concat(), thumbprint)
            }
            _ => return Err(bad("malformed", "kid and jwk exclude each other")),
        };
        let input = format!("{protected}.{payload}");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
            .verify(input.as_bytes(), &decode(&text("signature")))
            .map_err(|_| bad("malformed", "the signature is wrong"))?;
        Ok(Signed {
            account,
            point,
            thumbprint,
            payload: decode(&payload),
        })
    }

    fn account(&self, signed: &Signed) -> Result<(u16, String, Value), Refused> {
        let asked: Value = serde_json::from_slice(&signed.payload).unwrap_or_default();
        if asked["termsOfServiceAgreed"] != true
            || asked["contact"] != json!(["mailto:operator@edge.example"])
        {
            return Err((
                403,
                "userActionRequired",
                "agree to the terms, and say who you are".to_owned(),
            ));
        }
        let mut state = self.lock();
        let known = state
            .accounts
            .iter()
            .position(|(point, _)| *point == signed.point);
        let number = known.unwrap_or_else(|| {
            state
                .accounts
                .push((signed.point.clone(), signed.thumbprint.clone()));
            state.accounts.len() - 1
        });
        let location = format!("Location: {}/account/{number}\r\n", self.url);
        let status = if known.is_some() { 200 } else { 201 };
        Ok((status, location, json!({"status": "valid"})))
    }

    fn order(&self, account: usize, signed: &Signed) -> Result<(u16, String, Value), Refused> {
        let mut state = self.lock();
        match state.mood {
            Mood::Limiting => {
                let detail = "too many certificates already issued, retry after 2099-01-01 00:00:00 UTC: see https://ca.example";
                return Err((429, "rateLimited", detail.to_owned()));
            }
            Mood::Rejecting => {
                let detail = "policy forbids issuing for the name".to_owned();
                return Err((400, "rejectedIdentifier", detail));
            }
            _ => {}
        }
        let asked: Value = serde_json::from_slice(&signed.payload).unwrap_or_default();
        let identifiers = asked["identifiers"].as_array().cloned().unwrap_or_default();
        let domains = identifiers
            .iter()
            .filter(|identifier| identifier["type"] == "dns")
            .filter_map(|identifier| identifier["value"].as_str())
            .map(|name| (name.to_owned(), "pending", forge::fresh_id()))
            .collect();
        state.orders.push(Order {
            account,
            domains,
            certificate: None,
        });
        let number = state.orders.len() - 1;
        drop(state);
        let location = format!("Location: {}/order/{number}\r\n", self.url);
        Ok((201, location, self.shown(number)))
    }

    fn shown(&self, number: usize) -> Value {
        let (url, state) = (&self.url, self.lock());
        let order = &state.orders[number];
        let has = |status: &str| order.domains.iter().any(|(_, is, _)| *is == status);
        let status = match &order.certificate {
            Some(_) => "valid",
            None if has("invalid") => "invalid",
            None if has("pending") => "pending",
            None => "ready",
        };
        let authorizations: Vec<_> = (0..order.domains.len())
            .map(|domain| format!("{url}/authz/{}", number * 100 + domain))
            .collect();
        let mut shown = json!({
            "status": status, "authorizations": authorizations, "finalize": format!("{url}/finalize/{number}"),
        });
        if order.certificate.is_some() {
            shown["certificate"] = json!(format!("{url}/certificate/{number}"));
        }
        shown
    }

    fn authorization(&self, number: usize) -> Value {
        let state = self.lock();
        let (name, status, token) = &state.orders[number / 100].domains[number % 100];
        let url = format!("{}/challenge/{number}", self.url);
        let challenge = |kind: &str| {
            let mut challenge = json!({"type": kind, "url": url, "token": token, "status": status});
            if *status == "invalid" {
                challenge["error"] = json!({
                    "type": "urn:ietf:params:acme:error:unauthorized", "detail": "nobody there shows the token",
                });
            }
            challenge
        };
        let kind = if state.ports.1.is_some() {
            "http-01"
        } else {
            "tls-alpn-01"
        };
        json!({
            "status": status, "identifier": {"type": "dns", "value": name},
            "challenges": [{"type": "dns-01", "url": "https://localhost/none", "token": "x"}, challenge(kind)],
        })
    }

    /// RFC 8555 §7.5.1: the client says that it is ready, and we look.
    fn challenge(&self, number: usize, signed: &Signed) -> Result<(u16, String, Value), Refused> {
        if signed.payload != b"{}" {
            return Err((400, "malformed", "RFC 8555 §7.5.1: an empty object".to_owned()));
        }
        let mut state = self.lock();
        while state.mood == Mood::Holding && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (name, _, token) = state.orders[number / 100].domains[number % 100].clone();
        let ports = state.ports;
        drop(state);
        let key_authorization = format!("{token}.{}", signed.thumbprint);
        let is_there = match ports {
            (_, Some(port)) => look::over_http(port, &name, &token, &key_authorization),
            (port, None) => look::over_tls(port, &name, &key_authorization),
        };
        let status = if is_there { "valid" } else { "invalid" };
        self.lock().orders[number / 100].domains[number % 100].1 = status;
        Ok((
            200,
            String::new(),
            json!({"status": status, "url": self.url, "token": token}),
        ))
    }

    /// RFC 8555 §7.4: the request is for the names of the order, and whoever made it has the key.
    fn finalize(
        &self,
        number: usize,
        account: usize,
        signed: &Signed,
    ) -> Result<(u16, String, Value), Refused> {
        let asked: Value = serde_json::from_slice(&signed.payload).unwrap_or_default();
        let request = decode(asked["csr"].as_str().unwrap_or_default());
        let mut state = self.lock();
        let (before, after) = state.life;
        let order = &mut state.orders[number];
        if order.account != account || order.domains.iter().any(|(_, status, _)| *status != "valid") {
            return Err((403, "orderNotReady", "not yet".to_owned()));
        }
        let names: Vec<String> = order.domains.iter().map(|(name, ..)| name.clone()).collect();
        let key = der::public_key(&request, &names).ok_or((
            400,
            "badCSR",
            "not signed, or not for these names".to_owned(),
        ))?;
        let mut params = CertificateParams::new(names).unwrap();
        let now = Duration::from_secs(forge::now().unsigned_abs());
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + (now - before);
        params.not_after = epoch + (now + after);
        let leaf = params.signed_by(&key, &self.issuer).unwrap().pem();
        order.certificate = Some(format!("{leaf}{}", self.pem));
        drop(state);
        Ok((200, String::new(), self.shown(number)))
    }
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap_or_default()
}
