//! What the gate gives to those it lets in.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::scope::Scope;

use super::limits::Held;
use super::uses::Uses;
use crate::approval::Notes;
use crate::audit::{Entry, Slot};

/// How a permitted operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// As asked.
    Done,
    /// The tool ran and says itself that it failed.
    ToolError,
    /// There is no such thing, or the parameters are wrong, or something of ours failed.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// The caller went away, or the program stopped.
    Cancelled,
}

/// The code of a JSON-RPC error for a tool that took too long: MCP leaves codes outside of JSON-RPC's range to
/// applications, and ours is the HTTP status.
pub(crate) const TIMED_OUT: i32 = 504;

impl Outcome {
    /// The word for the audit log and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::ToolError => "tool_error",
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
            Self::Cancelled => "cancelled",
        }
    }

    /// What a message to the client says of it; `None` when it does not end a request.
    pub(crate) fn of_message(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Message<R> {
            result: Option<R>,
            error: Option<Error>,
        }
        #[derive(Deserialize)]
        struct Error {
            code: i32,
        }
        /// Of tools; what else there is has no such member.
        #[derive(Deserialize, Default)]
        struct OfTool {
            #[serde(rename = "isError", default)]
            is_error: bool,
        }
        // A result may be anything. Nearly all are objects, and are read once and without copies.
        let message: Message<OfTool> = serde_json::from_slice(json)
            .or_else(|_| {
                let Message { result, error } = serde_json::from_slice::<Message<IgnoredAny>>(json)?;
                let result = result.map(|_| OfTool::default());
                Ok::<_, serde_json::Error>(Message { result, error })
            })
            .ok()?;
        match (message.result, message.error) {
            (_, Some(Error { code: TIMED_OUT })) => Some(Self::TimedOut),
            (_, Some(_)) => Some(Self::Failed),
            (Some(OfTool { is_error: true }), None) => Some(Self::ToolError),
            (Some(_), None) => Some(Self::Done),
            (None, None) => None,
        }
    }
}

/// The right to one operation. What it holds is given back when it ends, however it ends; then the audit log gets its
/// line.
#[derive(Debug)]
#[must_use = "an operation without its permit is one that nobody counts"]
pub(crate) struct Permit {
    #[expect(dead_code, reason = "held for what happens when it is dropped")]
    held: Held,
    rules: Scope,
    begun: Instant,
    line: Option<(Slot, Entry)>,
    uses: Arc<Uses>,
    /// Of a tool call.
    tool: Option<String>,
    /// What is known of the end so far. Until then, an end is a cancellation.
    outcome: Outcome,
    notes: Arc<Notes>,
}

impl Permit {
    pub(super) fn new(
        held: Held,
        line: Option<(Slot, Entry)>,
        uses: Arc<Uses>,
        (rules, tool): (Scope, Option<String>),
    ) -> Self {
        Self {
            held,
            rules,
            begun: Instant::now(),
            line,
            uses,
            tool,
            outcome: Outcome::Cancelled,
            notes: Arc::default(),
        }
    }

    /// The scopes that rules asked for.
    pub(crate) fn rules(&self) -> &Scope {
        &self.rules
    }

    /// What the operation itself has to say for the audit log.
    pub(crate) fn notes(&self) -> Arc<Notes> {
        Arc::clone(&self.notes)
    }

    /// The operation has ended.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Whether anybody wants to know how it ends.
    fn is_watched(&self) -> bool {
        self.line.is_some() || self.tool.is_some()
    }

    /// The whole answer is this JSON.
    pub(crate) fn end_with(self, json: &[u8]) {
        let outcome = if self.is_watched() {
            Outcome::of_message(json).unwrap_or(Outcome::Failed)
        } else {
            Outcome::Done
        };
        self.end(outcome);
    }

    /// A piece of a stream of events goes to the client.
    pub(crate) fn saw(&mut self, piece: &[u8]) {
        if !self.is_watched() {
            return;
        }
        for line in piece.split(|b| *b == b'\n') {
            if let Some(outcome) = line.strip_prefix(b"data:").and_then(Outcome::of_message) {
                self.outcome = outcome;
            }
        }
    }

    /// A stream that ends only when somebody ends it: that is then no cancellation.
    pub(crate) fn is_endless(&mut self) {
        self.outcome = Outcome::Done;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(tool) = self.tool.take() {
            self.uses.ended(tool, self.outcome);
        }
        if let Some((slot, entry)) = self.line.take() {
            let entry = entry.approved_by(self.notes.approval());
            slot.put(entry.ended(self.outcome.as_str(), self.begun.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_how_it_ended() {
        let of = |text: &str| Outcome::of_message(text.as_bytes());
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some(Outcome::Done)),
            (
                r#"{"result":{"isError":false,"content":[]}}"#,
                Some(Outcome::Done),
            ),
            (
                r#"{"result":{"content":[{"text":"\"isError\":true"}]}}"#,
                Some(Outcome::Done),
            ),
            (
                r#"{"result":{"structuredContent":{"isError":true}}}"#,
                Some(Outcome::Done),
            ),
            (
                r#"{"result":{"content":[],"isError":true}}"#,
                Some(Outcome::ToolError),
            ),
            (
                r#"{"result":{"isError":"of something else"}}"#,
                Some(Outcome::Done),
            ),
            (r#"{"result":"text"}"#, Some(Outcome::Done)),
            (
                r#"{"error":{"code":-32602,"message":"x"}}"#,
                Some(Outcome::Failed),
            ),
            (r#"{"error":{"code":504,"message":"x"}}"#, Some(Outcome::TimedOut)),
            (r#"{"method":"notifications/progress","params":{}}"#, None),
            ("", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }
}
