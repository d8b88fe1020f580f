//! A small HTTP/1.1 client for the loopback, so that these commands need no TLS stack and no curl.
//!
//! It follows no redirects, keeps header names as they came and never retries: the tests want to see every answer raw.

mod answer;
mod url;

pub use answer::Answer;
pub use url::Url;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::fault::{Explain, Outcome};

/// No answer within this time is a failure of the program, not of the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request, built step by step.
#[derive(Clone)]
pub struct Request {
    method: String,
    url: Url,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// Asks for `url` with GET.
///
/// # Errors
/// When the address is not plain HTTP, nobody listens, or the answer is not HTTP.
pub fn get(url: &str) -> Outcome<Answer> {
    Request::new("GET", url)?.send()
}

impl Request {
    /// A request without headers or body.
    ///
    /// # Errors
    /// When `url` is not an absolute `http` or `https` URL.
    pub fn new(method: &str, url: &str) -> Outcome<Self> {
        Ok(Self {
            method: method.into(),
            url: Url::parse(url)?,
            headers: Vec::new(),
            body: None,
        })
    }

    /// Shorthand for a POST.
    ///
    /// # Errors
    /// As [`Request::new`].
    pub fn post(url: &str) -> Outcome<Self> {
        Self::new("POST", url)
    }

    /// Adds a header; a second one of the same name is sent too.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds HTTP Basic credentials, form-encoded first (RFC 6749 §2.3.1).
    #[must_use]
    pub fn basic(self, id: &str, secret: &str) -> Self {
        let pair = format!("{}:{}", form_encode(id), form_encode(secret));
        self.header("Authorization", &format!("Basic {}", base64(pair.as_bytes())))
    }

    /// Adds a Bearer token (RFC 6750 §2.1).
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Sets the raw body; the caller adds the content type.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Some(bytes.into());
        self
    }

    /// Sets a form body from name and value pairs, in order and with their duplicates.
    #[must_use]
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let body: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", form_encode(name), form_encode(value)))
            .collect();
        self.header("Content-Type", "application/x-www-form-urlencoded")
            .body(body.join("&"))
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(value.to_string())
    }

    /// Sends on a connection of its own and reads the whole answer.
    ///
    /// # Errors
    /// When nobody listens, the time is up, or the answer is not HTTP.
    pub fn send(&self) -> Outcome<Answer> {
        Connection::open(&self.url)?.exchange(&self.bytes(true), self.method == "HEAD")
    }

    /// The request as it goes over the wire.
    #[must_use]
    pub fn bytes(&self, close: bool) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.url.target());
        if !self.has("host") {
            text.push_str(&format!("Host: {}\r\n", self.url.authority()));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if close {
            text.push_str("Connection: close\r\n");
        }
        if let Some(body) = &self.body
            && !self.has("content-length")
            && !self.has("transfer-encoding")
        {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    fn has(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

/// A kept connection, over TCP or anything else that reads and writes.
pub struct Connection<S> {
    stream: S,
}

impl Connection<TcpStream> {
    /// Connects to the host and port of `url`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(url: &Url) -> Outcome<Self> {
        let stream = TcpStream::connect(url.socket()).explain(format!("cannot reach {}", url.authority()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }
}

impl<S: Read + Write> Connection<S> {
    /// Speaks over a stream that is already there, for example a TLS one.
    pub fn over(stream: S) -> Self {
        Self { stream }
    }

    /// Sends a request and keeps the connection for the next one.
    ///
    /// # Errors
    /// When the time is up, the peer closes early, or the answer is not HTTP.
    pub fn send(&mut self, request: &Request) -> Outcome<Answer> {
        self.exchange(&request.bytes(false), request.method == "HEAD")
    }

    /// Sends raw bytes and reads one answer.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn exchange(&mut self, bytes: &[u8], bodiless: bool) -> Outcome<Answer> {
        // A server may refuse and close while a large body is still being written: its answer counts, not the broken pipe.
        let written = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        match (Answer::read(&mut self.stream, bodiless), written) {
            (Ok(answer), _) => Ok(answer),
            (Err(_), Err(error)) => Err(error.into()),
            (Err(fault), Ok(())) => Err(fault),
        }
    }

    /// The stream itself, for tests that misbehave on purpose.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

/// Percent-encodes a form value (WHATWG URL, application/x-www-form-urlencoded; a space becomes `+`).
#[must_use]
pub fn form_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                encoded.push(char::from(byte))
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Base64 with padding (RFC 4648 §4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0u32, |sum, (i, byte)| sum | u32::from(*byte) << (16 - 8 * i));
        for position in 0..4 {
            let index = (group >> (18 - 6 * position)) as usize & 63;
            text.push(if position <= chunk.len() {
                char::from(ALPHABET[index])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_form_keeps_order_and_duplicates() {
        let request = Request::post("http://h/p?q=1")
            .unwrap()
            .form(&[("a b", "1&2"), ("a b", "ü")]);
        let text = String::from_utf8(request.bytes(true)).unwrap();
        assert!(text.starts_with("POST /p?q=1 HTTP/1.1\r\nHost: h\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\na+b=1%262&a+b=%C3%BC"), "{text}");
        assert!(text.contains("\r\nContent-Length: 20\r\n"), "{text}");
    }
}
