//! One request to the authority, and its answer (RFC 8555 §6.1).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::Shared;

pub(super) fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) {
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
