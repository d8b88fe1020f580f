//! `[limits]`, the part about what goes on at the same time and how long it takes, and `[[limits.tool]]`.

use std::time::Duration;

use ::web::rates::Rate;
use shared::config::{Reader, Span};

use super::ByteCount;
use crate::gate::Pattern;

/// How much may go on at the same time, and for how long.
#[derive(Clone, Debug)]
pub struct CallLimits {
    /// Requests that are being answered.
    pub calls: Share,
    /// Open streams of news.
    pub streams: Share,
    /// How long a tool may take.
    pub time: Duration,
    /// What holds for some tools only.
    pub tools: Vec<ToolLimit>,
}

/// How many of something there may be at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// In all.
    pub all: usize,
    /// Of one client.
    pub per_client: usize,
    /// Of one subject.
    pub per_subject: usize,
}

/// What holds for the tools whose name fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolLimit {
    /// Their names.
    pub tool: Pattern,
    /// Calls of one client.
    pub rate: Rate,
    /// Calls that are being answered, of all clients together.
    pub calls: Option<usize>,
    /// How long one may take.
    pub time: Option<Duration>,
    /// The largest request body.
    pub body: Option<ByteCount>,
}

impl CallLimits {
    /// Reads the keys. Faults stay in the reader.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let calls = Share::read(reader, "calls", ["1024", "512", "256"]);
        let streams = Share::read(reader, "streams", ["256", "256", "16"]);
        let time: Option<Span> = reader.section("limits").value("call_time", "5m");
        if time.is_some_and(|time| time.0.is_zero()) {
            reader.fault("limits.call_time", "a tool needs some time");
        }
        let count = reader.count("limits.tool");
        let tools = (0..count)
            .filter_map(|index| ToolLimit::read(reader, index))
            .collect();
        Some(Self {
            calls: calls?,
            streams: streams?,
            time: time?.0,
            tools,
        })
    }
}

impl Share {
    fn read(reader: &mut Reader, what: &str, defaults: [&str; 3]) -> Option<Self> {
        let mut section = reader.section("limits");
        let keys = [
            what.to_owned(),
            format!("{what}_per_client"),
            format!("{what}_per_subject"),
        ];
        let mut numbers = keys.iter().zip(defaults).map(|(key, default)| {
            let number: Option<usize> = section.value(key, default);
            if number == Some(0) {
                section.fault(
                    key,
                    "0 would let nobody in; leave the key out for the usual number",
                );
            }
            number
        });
        let read = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(Self {
            all: read.0?,
            per_client: read.1?,
            per_subject: read.2?,
        })
    }
}

impl ToolLimit {
    fn read(reader: &mut Reader, index: usize) -> Option<Self> {
        let mut section = reader.section(&format!("limits.tool.{index}"));
        let tool = section.optional("tool");
        if tool.is_none() {
            section.fault("tool", "say for which tools: tool = \"fs_*\"");
        }
        let rate = section.value("rate", "off");
        let calls: Option<usize> = section.optional("calls");
        if calls == Some(0) {
            section.fault(
                "calls",
                "0 would let nobody in; write a rule of [scopes] to forbid a tool",
            );
        }
        let time: Option<Span> = section.optional("time");
        let body = section.optional("body");
        Some(Self {
            tool: tool?,
            rate: rate?,
            calls,
            time: time.map(|span| span.0),
            body,
        })
    }
}
