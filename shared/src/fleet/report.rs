//! What an enrolled node tells its server of itself, again and again (docs/fleet.md). The server knows who says it by how the
//! node's client authenticates; nothing in a report says who it is of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name::is_node_id;
use crate::json;

/// A longer report, as JSON, is refused.
pub const MAX_BYTES: usize = 16 * 1024;
/// Nodes that one is said to see, at most.
pub const MAX_SEEN: usize = 128;
/// Addresses at which it says that it is reached, and the bytes of one, at most.
pub const MAX_ADDRESSES: (usize, usize) = (8, 256);
/// Words for how calls ended, and the letters of one, at most.
pub const MAX_OUTCOMES: (usize, usize) = (16, 32);
/// Bytes of a version, at most.
const MAX_VERSION: usize = 100;
/// Numbers up to here are the same to every reader of JSON (RFC 8259 §6).
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// What is wrong with a report. The sentence is for whoever wrote the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReportFault(pub &'static str);

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The version of its program.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The ids of nodes that have proved themselves to it on a connection that stands.
    #[serde(default)]
    pub sees: Vec<String>,
    /// Where it believes to be reached by other nodes, as multiaddrs.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Calls of its tools since it started, by how they ended.
    #[serde(default)]
    pub calls: BTreeMap<String, u64>,
}

/// What the server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heard {
    /// Seconds until the next report is expected.
    pub interval: u64,
}

impl Report {
    /// The same within bounds: of too much, what comes last is left out.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let mut seen = BTreeSet::new();
        self.sees.retain(|id| seen.insert(id.clone()));
        self.sees.truncate(MAX_SEEN);
        self.addresses.retain(|address| is_address(address));
        self.addresses.truncate(MAX_ADDRESSES.0);
        self
    }

    /// The text of a parameter.
    pub fn to_json(&self) -> String {
        serde_json::to_value(self).unwrap_or(Value::Null).to_string()
    }

    /// Reads a report that somebody sent. Members that are not known are nothing: a newer node may say more.
    pub fn read(text: &str) -> Result<Self, ReportFault> {
        if text.len() > MAX_BYTES {
            return Err(ReportFault("report has 16 KiB at most"));
        }
        let members = json::object(text.as_bytes())
            .map_err(|_| ReportFault("report is one JSON object without repeated members"))?;
        let report: Self = serde_json::from_value(Value::Object(members))
            .map_err(|_| ReportFault("report lacks a member, or one is of the wrong type"))?;
        report.check().map(|()| report)
    }

    fn check(&self) -> Result<(), ReportFault> {
        if self.version.is_empty()
            || self.version.len() > MAX_VERSION
            || self.version.chars().any(char::is_control)
        {
            return Err(ReportFault("version is a line of 100 bytes at most"));
        }
        if self.sees.len() > MAX_SEEN || !self.sees.iter().all(|id| is_node_id(id)) {
            return Err(ReportFault("sees has 128 ids of nodes at most"));
        }
        if self.sees.iter().collect::<BTreeSet<_>>().len() != self.sees.len() {
            return Err(ReportFault("sees names a node twice"));
        }
        if self.addresses.len() > MAX_ADDRESSES.0 || !self.addresses.iter().all(|text| is_address(text)) {
            return Err(ReportFault("addresses has 8 addresses of 256 bytes at most"));
        }
        let is_word = |word: &str| {
            !word.is_empty()
                && word.len() <= MAX_OUTCOMES.1
                && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        if self.calls.len() > MAX_OUTCOMES.0 || !self.calls.keys().all(|word| is_word(word)) {
            return Err(ReportFault("calls has 16 words of 32 letters at most"));
        }
        if self.uptime_seconds > MAX_NUMBER || self.calls.values().any(|count| *count > MAX_NUMBER) {
            return Err(ReportFault("a number is too large"));
        }
        Ok(())
    }
}

/// How often a node is to report so that its silence is noticed after `silent_after`: several times in it, but once a minute
/// is enough. Zero is never noticed.
pub fn interval(silent_after: Duration) -> Duration {
    const MOST: Duration = Duration::from_secs(60);
    match silent_after {
        Duration::ZERO => MOST,
        after => (after / 5).clamp(Duration::from_secs(1), MOST),
    }
}

fn is_address(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ADDRESSES.1 && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "version": "1.2.3", "uptime_seconds": 7, "sees": ["swift-fox-0dd9b9"],
            "addresses": ["/ip4/192.0.2.7/tcp/4001"], "calls": {"ok": 3},
        })
    }

    #[test]
    fn what_is_written_is_read_and_more_is_nothing() {
        let report = Report::read(&good().to_string()).unwrap();
        assert_eq!(Report::read(&report.to_json()).unwrap(), report);
        let mut more = good();
        more["mood"] = "fine".into();
        assert_eq!(Report::read(&more.to_string()).unwrap(), report);
        let least = Report::read(r#"{"version":"1","uptime_seconds":0}"#).unwrap();
        assert!(least.sees.is_empty() && least.calls.is_empty());
    }

    #[test]
    fn what_is_too_much_or_of_another_form_is_refused() {
        let ids = |count: usize| (0..count).map(|n| format!("n-{n}")).collect::<Vec<_>>();
        let words = |count: u8| {
            (0..count)
                .map(|n| (char::from(b'a' + n).to_string(), 1))
                .collect::<BTreeMap<_, _>>()
        };
        for (member, edge) in [
            ("sees", json!(ids(MAX_SEEN))),
            ("calls", json!(words(16))),
            ("uptime_seconds", json!(MAX_NUMBER)),
        ] {
            let mut report = good();
            report[member] = edge;
            Report::read(&report.to_string()).unwrap();
        }
        for (member, bad) in [
            ("version", json!("")),
            ("version", json!("a\nb")),
            ("version", json!("x".repeat(101))),
            ("version", Value::Null),
            ("uptime_seconds", json!(-1)),
            ("uptime_seconds", json!(1.5)),
            ("uptime_seconds", json!(MAX_NUMBER + 1)),
            ("sees", json!(ids(MAX_SEEN + 1))),
            ("sees", json!(["a-1", "a-1"])),
            ("sees", json!(["<b>"])),
            ("sees", json!(["A-1"])),
            ("sees", json!("a-1")),
            ("addresses", json!(["with space"])),
            ("addresses", json!(["x".repeat(257)])),
            ("addresses", json!(vec!["/ip4/192.0.2.7"; 9])),
            ("calls", json!({"Bad": 1})),
            ("calls", json!({"x".repeat(33): 1})),
            ("calls", json!({"ok": -1})),
            ("calls", json!(words(17))),
        ] {
            let mut report = good();
            report[member] = bad.clone();
            assert!(Report::read(&report.to_string()).is_err(), "{member}: {bad}");
        }
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"version":"1","version":"2","uptime_seconds":0}"#,
        ] {
            assert!(Report::read(bad).is_err(), "{bad}");
        }
        assert!(Report::read(&format!("{}{}", good(), " ".repeat(MAX_BYTES))).is_err());
    }

    #[test]
    fn a_node_leaves_out_what_is_too_much() {
        let report = Report {
            version: "1".to_owned(),
            sees: (0..500).map(|n| format!("n-{n}")).collect(),
            addresses: vec!["x".repeat(300), "/ip4/192.0.2.7".to_owned()],
            ..Report::default()
        };
        let sent = Report::read(&report.bounded().to_json()).unwrap();
        assert_eq!((sent.sees.len(), sent.addresses.len()), (MAX_SEEN, 1));
    }

    #[test]
    fn reports_come_several_times_before_silence_is_noticed() {
        for (after, every) in [(0, 60), (3, 1), (30, 6), (300, 60), (86_400, 60)] {
            assert_eq!(interval(Duration::from_secs(after)), Duration::from_secs(every));
        }
    }
}
