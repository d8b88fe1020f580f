//! A web server that is not ours, with an authority of its own: it publishes documents under https on this machine,
//! counts who asks, and misbehaves on request.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use tempfile::TempDir;

/// What stands at a path.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Further header lines, each with its line end.
    pub headers: String,
    /// Its `Content-Type`.
    pub media_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the answer waits until [`Publisher::release`].
    pub is_held: bool,
}

impl Reply {
    /// 200 with this body.
    #[must_use]
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: String::new(),
            media_type: "application/json".to_owned(),
            body: body.into(),
            is_held: false,
        }
    }

    /// 200 with this document.
    #[must_use]
    pub fn json(document: &Value) -> Self {
        Self::bytes(document.to_string())
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same under another media type.
    #[must_use]
    pub fn media_type(mut self, media_type: &str) -> Self {
        media_type.clone_into(&mut self.media_type);
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The same, once it is released.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.is_held = true;
        self
    }
}

/// A running publisher; it stops with this value.
pub struct Publisher {
    port: u16,
    folder: TempDir,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    /// Each request as it came, head only.
    asked: Vec<String>,
    is_released: bool,
    over: bool,
}

impl Publisher {
    /// A publisher with nothing to publish.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let (config, shared) = (Arc::new(config), Arc::<Shared>::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.lock().over {
                    return;
                }
                let (config, shared) = (config.clone(), serving.clone());
                std::thread::spawn(move || serve(stream, config, &shared));
            }
        });
        Self { port, folder, shared }
    }

    /// The address of a path, by number: no name is looked up.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        self.at_host("127.0.0.1", path)
    }

    /// The address of a path under another name of this machine.
    #[must_use]
    pub fn at_host(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.port)
    }

    /// The certificate authority, as a file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// TOML that lets a server fetch from here.
    #[must_use]
    pub fn rule(&self) -> String {
        format!(
            "\n[[fetch_rule]]\nhosts = [\"127.0.0.1\", \"localhost\"]\nallow_ranges = [\"127.0.0.0/8\", \"::1/128\"]\n\
             ca_file = \"{}\"\n",
            self.ca_file().display()
        )
    }

    /// Publishes something, or something else.
    pub fn publish(&self, path: &str, reply: Reply) {
        self.shared.lock().replies.insert(path.to_owned(), reply);
    }

    /// Publishes a document whose `client_id` is its own address, and returns that.
    ///
    /// # Panics
    /// When `document` is no object.
    pub fn publish_client(&self, path: &str, mut document: Value) -> String {
        let address = self.at(path);
        document["client_id"] = Value::from(address.clone());
        self.publish(path, Reply::json(&document));
        address
    }

    /// Lets held answers go.
    pub fn release(&self) {
        self.shared.lock().is_released = true;
        self.shared.changed.notify_all();
    }

    /// The heads of the requests for a path.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<String> {
        let line = format!("GET {path} HTTP/1.1\r\n");
        let state = self.shared.lock();
        state
            .asked
            .iter()
            .filter(|head| head.starts_with(&line))
            .cloned()
            .collect()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        // One last connection wakes the accepting thread.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) {
    let Ok(session) = ServerConnection::new(config) else {
        return;
    };
    let mut tls = StreamOwned::new(session, stream);
    let Some(head) = read_head(&mut tls) else { return };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut state = shared.lock();
    state.asked.push(head);
    let reply = state.replies.get(&path).cloned();
    let reply = reply.unwrap_or_else(|| Reply::bytes("{}").status(404));
    while reply.is_held && !state.is_released && !state.over {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    drop(state);
    let head = format!(
        "HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n",
        reply.status,
        reply.media_type,
        reply.body.len(),
        reply.headers
    );
    // A client that has gone away does not interest a publisher.
    tls.write_all(&[head.as_bytes(), &reply.body].concat()).ok();
    tls.conn.send_close_notify();
    tls.flush().ok();
}

fn read_head(stream: &mut impl Read) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
