//! `[[upstream]]`: one table for each MCP server behind this node.

mod transport;

use std::time::Duration;

use shared::config::{Reader, Section, Span};

pub(crate) use self::transport::header_value;
pub use self::transport::{Program, UpstreamTransport, User};
use super::size::ByteCount;

/// The longest name of an upstream, and the longest prefix, in characters: with the tool's own name they must fit the
/// 128 that MCP allows (2025-11-25, "Tool Names").
const MAX_NAME: usize = 32;

/// One MCP server behind this node.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// What the operator calls it, in the log and in the status.
    pub name: String,
    /// What stands before its names and URIs; empty for none.
    pub prefix: String,
    /// Where it is.
    pub transport: UpstreamTransport,
    /// How it gets to know who calls.
    pub identity: IdentityForm,
    /// How long it may take to start and to tell what it has.
    pub start_timeout: Duration,
    /// How long a request may stay without an answer and without progress.
    pub call_timeout: Duration,
    /// How long a request may take, whatever progress it tells of.
    pub call_limit: Duration,
    /// The largest message that it may send.
    pub message_limit: ByteCount,
    /// How many requests it gets at a time.
    pub concurrency: usize,
}

/// How an upstream gets to know who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdentityForm {
    /// Not at all.
    None,
    /// In the member `edge-hive/caller` of `_meta`.
    Meta,
    /// In headers of the HTTP request.
    Headers,
}

/// Reads every `[[upstream]]`. Faults stay in the reader.
pub(super) fn read_all(reader: &mut Reader) -> Vec<UpstreamConfig> {
    let mut upstreams: Vec<UpstreamConfig> = Vec::new();
    for index in 0..reader.count("upstream") {
        let mut section = reader.section(&format!("upstream.{index}"));
        let Some(upstream) = read(&mut section) else {
            continue;
        };
        if upstreams.iter().any(|known| known.name == upstream.name) {
            section.fault("name", format!("{:?} is named twice", upstream.name));
        }
        if upstreams.iter().any(|known| known.prefix == upstream.prefix) {
            let reason = match &*upstream.prefix {
                "" => "only one upstream can be without a prefix".to_owned(),
                prefix => format!("{prefix:?} is used twice"),
            };
            section.fault("prefix", reason);
        }
        upstreams.push(upstream);
    }
    upstreams
}

fn read(section: &mut Section<'_>) -> Option<UpstreamConfig> {
    let name: Option<String> = section.optional("name");
    match name.as_deref() {
        Some(name) if is_name(name) => {}
        Some(name) => section.fault("name", not_a_name(name)),
        None if section.has("name") => {}
        None => section.fault("name", "the name is missing: name = \"files\", for example"),
    }
    let prefix: Option<String> = section.value("prefix", name.as_deref().unwrap_or_default());
    if let Some(prefix) = prefix
        .as_deref()
        .filter(|prefix| !prefix.is_empty() && !is_name(prefix))
    {
        section.fault("prefix", not_a_name(prefix));
    }
    let transport = transport::read(section);
    let is_program = matches!(transport, Some(UpstreamTransport::Program(_)));
    let identity = section
        .value::<String>("identity", "meta")
        .and_then(|form| match &*form {
            "meta" => Some(IdentityForm::Meta),
            "none" => Some(IdentityForm::None),
            "headers" if is_program => {
                section.fault("identity", "a program has no headers: write \"meta\" or \"none\"");
                None
            }
            "headers" => Some(IdentityForm::Headers),
            _ => {
                section.fault("identity", "write \"meta\", \"headers\" or \"none\"");
                None
            }
        });
    let start_timeout = span(section, "start_timeout", "60s");
    let call_timeout = span(section, "call_timeout", "60s");
    let call_limit = span(section, "call_limit", "10m");
    if let (Some(timeout), Some(limit)) = (call_timeout, call_limit)
        && limit < timeout
    {
        section.fault("call_limit", "it must not be shorter than call_timeout");
    }
    let message_limit = section.value("message_limit", "4MiB");
    let concurrency: Option<usize> = section.value("concurrency", "64");
    if concurrency == Some(0) {
        section.fault("concurrency", "write 1 or more");
    }
    Some(UpstreamConfig {
        name: name?,
        prefix: prefix?,
        transport: transport?,
        identity: identity?,
        start_timeout: start_timeout?,
        call_timeout: call_timeout?,
        call_limit: call_limit?,
        message_limit: message_limit?,
        concurrency: concurrency?,
    })
}

fn span(section: &mut Section<'_>, key: &str, default: &str) -> Option<Duration> {
    let span: Span = section.value(key, default)?;
    if span.0.is_zero() {
        section.fault(key, "write 1s or more");
    }
    Some(span.0)
}

/// A name can stand before a tool's name, and as the beginning of a URI's scheme (RFC 3986 §3.1).
fn is_name(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= MAX_NAME && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(is_plain)
}

fn not_a_name(text: &str) -> String {
    format!("{text:?}: small letters, digits and -, a letter first, {MAX_NAME} characters at most")
}

#[cfg(test)]
mod tests;
