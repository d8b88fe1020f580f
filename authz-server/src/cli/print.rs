//! What commands print: JSON for programs, columns for people, one line on standard error for refusals.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use shared::clock::UnixSeconds;

use crate::pages;

/// What a command has to say.
pub(super) struct Report {
    json: Value,
    text: String,
    has_failed: bool,
}

impl Report {
    pub(super) fn nothing() -> Self {
        Self {
            json: Value::Null,
            text: String::new(),
            has_failed: false,
        }
    }

    pub(super) fn line(text: &str) -> Self {
        Self {
            json: serde_json::json!({ "status": text }),
            text: format!("{text}\n"),
            has_failed: false,
        }
    }

    /// What is printed is bad news, unless `good`: the process ends with 1.
    pub(super) fn failed_unless(self, good: bool) -> Self {
        Self {
            has_failed: !good,
            ..self
        }
    }

    /// Data, and a sentence for people.
    pub(super) fn told(json: Value, text: String) -> Self {
        Self {
            json,
            text,
            has_failed: false,
        }
    }

    /// One thing, member by member.
    pub(super) fn record(value: &impl Serialize) -> super::Outcome {
        let json = serde_json::to_value(value)?;
        let mut text = String::new();
        for (name, value) in json.as_object().into_iter().flatten() {
            text.push_str(&format!("{name:<40}{}\n", plain(value)));
        }
        Ok(Self::told(json, text))
    }

    /// Several things, each as a line of columns.
    pub(super) fn rows<T: Serialize>(list: &[T], columns: impl Fn(&T) -> Vec<String>) -> super::Outcome {
        Self::columns(list, list.iter().map(columns).collect())
    }

    /// The same, where the columns are made already.
    pub(super) fn columns<T: Serialize>(list: &[T], rows: Vec<Vec<String>>) -> super::Outcome {
        let count = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(String::len)
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..count).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        Ok(Self::told(serde_json::to_value(list)?, text))
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A day as people write it (ISO 8601), or `never`.
pub(super) fn day(at: Option<i64>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| pages::iso_day(UnixSeconds(at)))
}

pub(super) struct Printer {
    pub(super) json: bool,
}

impl Printer {
    /// Prints and says how the process ends.
    pub(super) fn finish(&self, outcome: super::Outcome) -> ExitCode {
        let (text, code) = match outcome {
            Ok(report) if report.json.is_null() => return ExitCode::SUCCESS,
            Ok(report) => {
                let code = if report.has_failed {
                    ExitCode::FAILURE
                } else {
                    ExitCode::SUCCESS
                };
                let text = if self.json {
                    format!("{:#}\n", report.json)
                } else {
                    report.text
                };
                (text, code)
            }
            Err(fault) => {
                let written = writeln!(std::io::stderr(), "authz-server: {fault}");
                // Nobody reads: nothing is left to do about it.
                return written.map_or(ExitCode::FAILURE, |()| ExitCode::FAILURE);
            }
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => code,
            Err(_) => ExitCode::FAILURE,
        }
    }
}
