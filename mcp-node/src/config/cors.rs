//! `[cors]`: what pages of allowed origins may send and read. Whose pages those are is `server.allowed_origins`.

use std::time::Duration;

use actix_web::http::header::HeaderName;
use shared::config::{Reader, Section, Span};

/// What pages may do, beside what MCP and OAuth need.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cors {
    /// Further headers that a page may send.
    pub request_headers: Vec<HeaderName>,
    /// Further headers that a page may read.
    pub answer_headers: Vec<HeaderName>,
    /// How long a browser remembers the answer to a preflight.
    pub max_age: Duration,
}

impl Cors {
    /// Reads the section. Faults stay in the reader.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut section = reader.section("cors");
        let request_headers = headers(&mut section, "headers");
        let answer_headers = headers(&mut section, "expose");
        let max_age: Option<Span> = section.value("max_age", "10m");
        Self {
            request_headers,
            answer_headers,
            max_age: max_age.map_or(Duration::ZERO, |span| span.0),
        }
    }
}

fn headers(section: &mut Section<'_>, key: &str) -> Vec<HeaderName> {
    let names: Vec<String> = section.list(key, "");
    let mut headers = Vec::new();
    for name in names {
        match name.parse::<HeaderName>() {
            // A star would let every header in, and leave Authorization out (Fetch §3.3.4).
            Ok(header) if name != "*" => headers.push(header),
            _ => section.fault(key, format!("{name:?} is no name of a header")),
        }
    }
    headers
}
