//! The table at the end: name, seconds, verdict; then what was not checked, in plain words.

use xtask::Outcome;
use xtask::shell::say;

use super::Verdict;

/// One part that has run.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) seconds: f64,
    pub(crate) outcome: Outcome<Verdict>,
}

pub(crate) fn print(rows: &[Row]) {
    say("\npart                   seconds  verdict");
    for row in rows {
        say(format!("{:<22} {:>7.1}  {}", row.name, row.seconds, verdict(row)));
    }
    say(format!(
        "{:<22} {:>7.1}",
        "all",
        rows.iter().map(|row| row.seconds).sum::<f64>()
    ));
    for row in rows {
        if let Ok(Verdict::NotChecked(reason)) = &row.outcome {
            say(format!("NOT CHECKED ({}): {reason}", row.name));
        }
    }
}

fn verdict(row: &Row) -> String {
    match &row.outcome {
        Ok(Verdict::Passed) => "passed".into(),
        Ok(Verdict::NotChecked(_)) => "passed, but see NOT CHECKED below".into(),
        Err(fault) => format!("FAILED: {}", fault.to_string().lines().next().unwrap_or_default()),
    }
}
