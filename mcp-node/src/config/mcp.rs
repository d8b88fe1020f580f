//! `[mcp]`: how the protocol is served.

use std::path::PathBuf;
use std::time::Duration;

use shared::config::{Reader, Section, Span};

use super::ByteCount;

/// How MCP is served.
#[derive(Clone, Debug)]
pub struct McpConfig {
    /// The keys that seal what a call remembers with its client; the node's own when not set.
    pub state_key_file: Option<PathBuf>,
    /// Whether clients of older revisions get sessions.
    pub sessions: bool,
    /// How much sessions may take.
    pub session: SessionLimits,
    /// Whether the transport of 2024-11-05 is served.
    pub http_sse: bool,
}

/// How long sessions last, how many there are, and how much each keeps.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// How long one lives in which nothing happens.
    pub idle: Duration,
    /// How long one lives at most.
    pub lasts: Duration,
    /// How many a client has for one subject.
    pub per_caller: usize,
    /// How many there are in all.
    pub in_all: usize,
    /// How much of what was said each keeps, so that a stream that broke can go on.
    pub replay: ByteCount,
}

impl McpConfig {
    /// Reads the section. Faults stay in the reader.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let mut section = reader.section("mcp");
        let sessions = section.value::<String>("sessions", "off");
        if sessions
            .as_deref()
            .is_some_and(|word| !matches!(word, "off" | "on"))
        {
            section.fault("sessions", "write \"off\" or \"on\"");
        }
        let session = SessionLimits::read(&mut section);
        Some(Self {
            state_key_file: section.optional("state_key_file"),
            http_sse: section.value("http_sse", "false")?,
            sessions: sessions.as_deref() == Some("on"),
            session: session?,
        })
    }
}

impl SessionLimits {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let idle: Option<Span> = section.value("session_idle", "30m");
        let lasts: Option<Span> = section.value("session_ttl", "8h");
        let per_caller = section.value("sessions_per_caller", "16");
        let in_all = section.value("max_sessions", "1024");
        for (key, span) in [("session_idle", &idle), ("session_ttl", &lasts)] {
            if span.as_ref().is_some_and(|span| span.0.is_zero()) {
                section.fault(key, "a session without time is none; set sessions = \"off\"");
            }
        }
        for (key, count) in [("sessions_per_caller", per_caller), ("max_sessions", in_all)] {
            if count == Some(0) {
                section.fault(key, "write at least 1; without sessions, set sessions = \"off\"");
            }
        }
        let replay = section.value("session_replay", "256KiB");
        Some(Self {
            idle: idle?.0,
            lasts: lasts?.0,
            per_caller: per_caller?,
            in_all: in_all?,
            replay: replay?,
        })
    }
}
