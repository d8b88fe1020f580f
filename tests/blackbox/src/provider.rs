//! An OpenID Provider that is not ours: it exchanges codes that a test makes up, once, and remembers how it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::forge::{self, Key};
use crate::location::query;
use crate::people::Pkce;
use crate::person::Redirect;

/// Our client id there.
pub const CLIENT_ID: &str = "edge-hive";

/// A running provider; it stops with this value.
pub struct Provider {
    /// Its identifier and address.
    pub url: String,
    /// What it signs with.
    pub key: Key,
    state: Arc<Mutex<State>>,
}

struct State {
    metadata: Value,
    keys: Value,
    /// By code: the challenge and the redirect URI that it was asked with, and the answer.
    codes: HashMap<String, (String, String, Value)>,
    asked: Vec<Exchange>,
    over: bool,
}

/// How the token endpoint was asked.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The `Authorization` header; empty without one.
    pub authorization: String,
    /// The form.
    pub form: Vec<(String, String)>,
    /// Whether it was answered with tokens.
    pub granted: bool,
}

impl Provider {
    /// A provider with one key.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(key: Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let metadata = json!({
            "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/keys"), "response_types_supported": ["code"],
        });
        let state = Arc::new(Mutex::new(State {
            metadata,
            keys: forge::key_set(&[&key]),
            codes: HashMap::new(),
            asked: Vec::new(),
            over: false,
        }));
        let serving = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if lock(&serving).over {
                    return;
                }
                let state = serving.clone();
                std::thread::spawn(move || answer(&stream, &state));
            }
        });
        Self { url, key, state }
    }

    /// TOML that makes a server use it.
    #[must_use]
    pub fn section(&self, more: &str) -> String {
        format!(
            "\n[federation]\nissuer = \"{}\"\nclient_id = \"{CLIENT_ID}\"\nname = \"Example\"\n{more}\n",
            self.url
        )
    }

    /// Replaces a member of the metadata.
    pub fn set_metadata(&self, name: &str, value: Value) {
        lock(&self.state).metadata[name] = value;
    }

    /// Publishes this key beside its own.
    pub fn publish(&self, other: &Key) {
        lock(&self.state).keys = forge::key_set(&[&self.key, other]);
    }

    /// The claims of a good ID token for the request that `there` is.
    ///
    /// # Panics
    /// When the request has no nonce.
    #[must_use]
    pub fn claims(&self, there: &Redirect, subject: &str) -> Value {
        let now = forge::now();
        json!({
            "iss": self.url, "aud": CLIENT_ID, "sub": subject, "iat": now, "exp": now + 300,
            "nonce": there.param("nonce").unwrap(), "name": "Ada Lovelace",
        })
    }

    /// A code for the request that `there` is; its exchange brings these claims, signed.
    #[must_use]
    pub fn code(&self, there: &Redirect, claims: &Value) -> String {
        let header = json!({"alg": self.key.algorithm(), "kid": self.key.kid, "typ": "JWT"});
        self.code_for(there, json!({"id_token": self.key.sign(&header, claims)}))
    }

    /// A code whose exchange brings this answer.
    ///
    /// # Panics
    /// When the request has no challenge or redirect URI.
    #[must_use]
    pub fn code_for(&self, there: &Redirect, mut answer: Value) -> String {
        answer["access_token"] = json!("at");
        answer["token_type"] = json!("Bearer");
        let code = forge::fresh_id();
        let asked = (
            there.param("code_challenge").unwrap(),
            there.param("redirect_uri").unwrap(),
            answer,
        );
        lock(&self.state).codes.insert(code.clone(), asked);
        code
    }

    /// Every exchange so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Exchange> {
        lock(&self.state).asked.clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        lock(&self.state).over = true;
        // One last connection wakes the accepting thread.
        TcpStream::connect(self.url.trim_start_matches("http://")).ok();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(stream: &TcpStream, state: &Mutex<State>) {
    let Some((path, authorization, body)) = read(stream) else {
        return;
    };
    let (status, body) = respond(&mut lock(state), &path, authorization, &body);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    // A client that has gone away does not interest a provider.
    stream.write_all((head + &body).as_bytes()).ok();
}

fn respond(state: &mut State, path: &str, authorization: String, body: &str) -> (u16, Value) {
    match path {
        "/.well-known/openid-configuration" => (200, state.metadata.clone()),
        "/keys" => (200, state.keys.clone()),
        "/token" => {
            let form = query(&format!("?{body}"));
            let value = |name: &str| {
                form.iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone())
            };
            let found = state.codes.remove(&value("code").unwrap_or_default());
            let found = found.filter(|(challenge, redirect_uri, _)| {
                let verifier = value("code_verifier").unwrap_or_default();
                Pkce::of(&verifier).challenge == *challenge
                    && value("redirect_uri").as_ref() == Some(redirect_uri)
            });
            state.asked.push(Exchange {
                authorization,
                form,
                granted: found.is_some(),
            });
            match found {
                Some((_, _, answer)) => (200, answer),
                None => (400, json!({"error": "invalid_grant"})),
            }
        }
        _ => (404, json!({})),
    }
}

/// Path, `Authorization` header and body of a request.
fn read(stream: &TcpStream) -> Option<(String, String, String)> {
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
    Some((path, authorization, String::from_utf8(body).ok()?))
}
