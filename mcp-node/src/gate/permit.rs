//! What the gate gives to those it lets in.

use super::seats::Seat;

/// How a permitted operation ended. A permit that is dropped without an outcome was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// As asked.
    Done,
    /// The tool ran and says itself that it failed.
    ToolError,
    /// There is no such thing, or the parameters are wrong, or something of ours failed.
    Failed,
}

/// The right to one operation. What it holds is given back when it ends, however it ends.
#[derive(Debug)]
#[must_use = "an operation without its permit is one that nobody counts"]
pub(crate) struct Permit {
    _stream: Option<Seat>,
}

impl Permit {
    pub(super) fn new(stream: Option<Seat>) -> Self {
        Self { _stream: stream }
    }

    /// The operation has ended.
    pub(crate) fn end(self, _outcome: Outcome) {}
}
