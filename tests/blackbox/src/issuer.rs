//! An authorization server that is not ours: it publishes metadata and keys, counts who asks, and misbehaves on request.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// What the issuer does when it is asked for its keys.
#[derive(Clone)]
pub enum Manner {
    /// Answers with the key set.
    Good,
    /// Answers with this status and nothing useful.
    Status(u16),
    /// Accepts the connection and never answers.
    Silent,
    /// Sends the client elsewhere.
    Redirect(String),
    /// Answers 200 with these bytes.
    Bytes(Vec<u8>),
}

/// A running issuer; it stops with this value.
pub struct Issuer {
    /// Its identifier and address.
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    keys: Value,
    manner: Manner,
    metadata: Value,
    asked: HashMap<String, usize>,
    over: bool,
}

impl Issuer {
    /// An issuer with this key set.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve(listener, keys)
    }

    /// The same on an address of one's choice, for an issuer that comes up late.
    ///
    /// # Panics
    /// When the port is taken.
    #[must_use]
    pub fn start_on(port: u16, keys: Value) -> Self {
        Self::serve(TcpListener::bind(("127.0.0.1", port)).unwrap(), keys)
    }

    fn serve(listener: TcpListener, keys: Value) -> Self {
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let metadata = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"), "token_endpoint": format!("{url}/token"),
            "authorization_endpoint": format!("{url}/authorize"), "response_types_supported": ["code"],
        });
        let state = State {
            keys,
            manner: Manner::Good,
            metadata,
            asked: HashMap::new(),
            over: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.lock().over {
                    return;
                }
                let shared = serving.clone();
                std::thread::spawn(move || answer(&stream, &shared));
            }
        });
        Self { url, shared }
    }

    /// The port it listens on.
    ///
    /// # Panics
    /// Never: the address was built with a port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Publishes other keys from now on.
    pub fn set_keys(&self, keys: Value) {
        self.shared.lock().keys = keys;
    }

    /// Changes its manner from now on; whoever waits for a silent issuer is let go.
    pub fn set_manner(&self, manner: Manner) {
        self.shared.lock().manner = manner;
        self.shared.changed.notify_all();
    }

    /// Replaces a member of the metadata.
    pub fn set_metadata(&self, name: &str, value: Value) {
        self.shared.lock().metadata[name] = value;
    }

    /// How often the keys were asked for.
    #[must_use]
    pub fn key_requests(&self) -> usize {
        self.requests("/keys")
    }

    /// How often a path was asked for.
    #[must_use]
    pub fn requests(&self, path: &str) -> usize {
        self.shared.lock().asked.get(path).copied().unwrap_or(0)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        // One last connection wakes the accepting thread, so that the port is free for a successor.
        TcpStream::connect(self.url.trim_start_matches("http://")).ok();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(stream: &TcpStream, shared: &Shared) {
    let Some(path) = read_path(stream) else { return };
    let mut state = shared.lock();
    *state.asked.entry(path.clone()).or_default() += 1;
    if path == "/keys" {
        while matches!(state.manner, Manner::Silent) && !state.over {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
    let (status, more, body) = respond(&state, &path);
    drop(state);
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    let mut stream = stream;
    // A client that has gone away does not interest an issuer.
    stream
        .write_all(format!("{head}{more}Connection: close\r\n\r\n").as_bytes())
        .ok();
    stream.write_all(&body).ok();
}

fn respond(state: &State, path: &str) -> (u16, String, Vec<u8>) {
    let nothing = String::new();
    if path.starts_with("/.well-known/") {
        return (200, nothing, state.metadata.to_string().into_bytes());
    }
    if path != "/keys" {
        return (404, nothing, b"{}".to_vec());
    }
    match &state.manner {
        Manner::Good | Manner::Silent => (200, nothing, state.keys.to_string().into_bytes()),
        Manner::Status(status) => (*status, nothing, b"{}".to_vec()),
        Manner::Redirect(address) => (302, format!("Location: {address}\r\n"), b"{}".to_vec()),
        Manner::Bytes(bytes) => (200, nothing, bytes.clone()),
    }
}

fn read_path(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    first.split(' ').nth(1).map(str::to_owned)
}
