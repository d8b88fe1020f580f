//! An authorization server that is not ours: it publishes metadata and keys, counts who asks, and misbehaves on request.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::location::query;

/// What the issuer does when it is asked for its keys.
#[derive(Clone)]
pub enum Manner {
    /// Answers with the key set.
    Good,
    /// Answers with this status and nothing useful.
    Status(u16),
    /// Accepts the connection and never answers.
    Silent,
    /// Answers well, one byte in a while.
    Dripping,
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
    introspection: Manner,
    tokens: HashMap<String, Value>,
    questions: Vec<Question>,
    over: bool,
}

/// How the introspection endpoint was asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The `Authorization` header; empty without one.
    pub authorization: String,
    /// The form.
    pub form: Vec<(String, String)>,
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
            "introspection_endpoint": format!("{url}/introspect"),
        });
        let state = State {
            keys,
            manner: Manner::Good,
            metadata,
            asked: HashMap::new(),
            introspection: Manner::Good,
            tokens: HashMap::new(),
            questions: Vec::new(),
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

    /// Changes how it answers questions about tokens.
    pub fn set_introspection(&self, manner: Manner) {
        self.shared.lock().introspection = manner;
        self.shared.changed.notify_all();
    }

    /// What it says of a token from now on; of others, that they are not active.
    pub fn set_token(&self, token: &str, said: Value) {
        self.shared.lock().tokens.insert(token.into(), said);
    }

    /// Every question about a token so far.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.shared.lock().questions.clone()
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
    let Some((path, question)) = read(stream) else {
        return;
    };
    let mut state = shared.lock();
    *state.asked.entry(path.clone()).or_default() += 1;
    if path == "/introspect" {
        state.questions.push(question.clone());
    }
    let is_silent = |state: &State| match path.as_str() {
        "/keys" => matches!(state.manner, Manner::Silent),
        "/introspect" => matches!(state.introspection, Manner::Silent),
        _ => false,
    };
    while is_silent(&state) && !state.over {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    let (status, more, body) = respond(&state, &path, &question);
    let is_slow = path == "/keys" && matches!(state.manner, Manner::Dripping);
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
    if !is_slow {
        stream.write_all(&body).ok();
        return;
    }
    for byte in &body {
        if stream.write_all(&[*byte]).is_err() || shared.lock().over {
            return;
        }
        let state = shared.lock();
        drop(shared.changed.wait_timeout(state, Duration::from_millis(250)));
    }
}

fn respond(state: &State, path: &str, question: &Question) -> (u16, String, Vec<u8>) {
    let nothing = String::new();
    if path.starts_with("/.well-known/") {
        return (200, nothing, state.metadata.to_string().into_bytes());
    }
    let (manner, good) = match path {
        "/keys" => (&state.manner, state.keys.clone()),
        "/introspect" => {
            let token = question.form.iter().find(|(name, _)| name == "token");
            let said = token.and_then(|(_, token)| state.tokens.get(token));
            let inactive = json!({"active": false});
            (&state.introspection, said.cloned().unwrap_or(inactive))
        }
        _ => return (404, nothing, b"{}".to_vec()),
    };
    match manner {
        Manner::Good | Manner::Silent | Manner::Dripping => (200, nothing, good.to_string().into_bytes()),
        Manner::Status(status) => (*status, nothing, b"{}".to_vec()),
        Manner::Redirect(address) => (302, format!("Location: {address}\r\n"), b"{}".to_vec()),
        Manner::Bytes(bytes) => (200, nothing, bytes.clone()),
    }
}

/// The path of a request, and what it asks.
fn read(stream: &TcpStream) -> Option<(String, Question)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_lowercase().as_str() {
            "authorization" => value.trim().clone_into(&mut authorization),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let form = query(&format!("?{}", String::from_utf8(body).ok()?));
    Some((path, Question { authorization, form }))
}
