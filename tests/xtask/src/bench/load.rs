//! One run of wrk on its own core.

use std::time::Duration;

use xtask::shell;
use xtask::{Explain, Fault, Outcome};

use super::{SERVER_CORE, scripts};

/// What to send, to where.
pub(crate) struct Shot {
    pub(crate) script: &'static str,
    pub(crate) url: String,
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// What came back.
pub(crate) struct Load {
    pub(crate) answers: u64,
    pub(crate) elapsed: Duration,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load {
    /// Answers per second of wall clock.
    pub(crate) fn per_second(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }
}

impl Shot {
    /// Sends for `seconds`; any answer that is not 2xx fails the row.
    pub(crate) fn fire(&self, seconds: u64) -> Outcome<Load> {
        let mut wrk = shell::command("taskset");
        wrk.args([
            "-c",
            &(SERVER_CORE + 1).to_string(),
            "wrk",
            "-t1",
            "-c32",
            "--latency",
        ]);
        wrk.arg(format!("-d{seconds}s"))
            .arg("-s")
            .arg(scripts().join(self.script))
            .arg(&self.url);
        wrk.env("BENCH", scripts())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let text = shell::read(&mut wrk)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("BENCH "))
            .explain(format!("wrk said:\n{text}"))?;
        let figure = |name: &str| -> Outcome<u64> {
            let field = line
                .split(' ')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            field
                .and_then(|digits| digits.parse().ok())
                .explain(format!("no {name} in {line}"))
        };
        if figure("failed")? > 0 {
            return Err(Fault::new(format!(
                "{} of {} answers failed",
                figure("failed")?,
                figure("requests")?
            )));
        }
        Ok(Load {
            answers: figure("requests")?,
            elapsed: Duration::from_micros(figure("microseconds")?),
            p50_ms: figure("p50")? as f64 / 1000.0,
            p99_ms: figure("p99")? as f64 / 1000.0,
        })
    }
}
