//! The one error of these commands: a sentence for the person in front of the terminal.

use std::fmt;

/// A sentence that says what went wrong and, where possible, what to do.
#[derive(Debug, Clone)]
pub struct Fault(String);

/// The result of everything here that can fail.
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// Wraps a sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Puts what was being tried in front of what went wrong.
pub trait Explain<T> {
    /// Turns an error or an absent value into a [`Fault`] that begins with `what`.
    ///
    /// # Errors
    /// Returns the explained fault where there was one.
    fn explain(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> Explain<T> for Result<T, E> {
    fn explain(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Fault(format!("{what}: {error}")))
    }
}

impl<T> Explain<T> for Option<T> {
    fn explain(self, what: impl fmt::Display) -> Outcome<T> {
        self.ok_or_else(|| Fault(what.to_string()))
    }
}
