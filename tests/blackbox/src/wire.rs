//! Bytes on a socket, for requests that no well-behaved client would send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use xtask::http::Answer;

/// Longer than any deadline of the programs under test.
const PATIENCE: Duration = Duration::from_secs(40);

/// Connects to a loopback port.
///
/// # Panics
/// When nobody listens.
#[must_use]
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads one answer.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn send(port: u16, bytes: &[u8]) -> Answer {
    let mut stream = connect(port);
    // A server may refuse and close before everything is written: then its answer counts.
    stream.write_all(bytes).ok();
    Answer::read(&mut stream, false).unwrap()
}

/// Sends bytes and returns everything that comes until the server closes, with the time that took.
///
/// # Panics
/// When the server does not close.
#[must_use]
pub fn until_closed(port: u16, bytes: &[u8]) -> (String, Duration) {
    let mut stream = connect(port);
    let start = Instant::now();
    stream.write_all(bytes).unwrap();
    let mut text = Vec::new();
    // A reset is a way to close too; a timeout is not.
    if let Err(error) = stream.read_to_end(&mut text) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "the server does not close"
        );
    }
    (String::from_utf8_lossy(&text).into_owned(), start.elapsed())
}
