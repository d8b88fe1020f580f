//! Processor time and memory of this program, from Linux's `/proc`; zeroes where there is none.

use std::time::{Duration, Instant};

use super::Load;

/// Asked more often than this, the meter repeats itself: reading `/proc` costs more than a tool call.
const INTERVAL: Duration = Duration::from_secs(1);
/// Linux counts processor time in hundredths of a second for every program (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
/// Linux on every architecture that we build for.
const PAGE_BYTES: u64 = 4096;

/// The name of this program there.
const SELF: &str = "self";

/// The processor time that another program has used since it began.
pub(crate) fn processor_time_of(id: u32) -> Option<Duration> {
    let ticks = processor_ticks(&id.to_string())?;
    Some(Duration::from_millis(ticks.saturating_mul(1000) / 100))
}

/// The memory that another program uses, in bytes.
pub(crate) fn resident_bytes_of(id: u32) -> Option<u64> {
    resident_bytes(&id.to_string())
}

/// Measures the load since it was last asked.
pub(super) struct LoadMeter {
    measured_at: Instant,
    ticks: u64,
    latest: Option<Load>,
}

impl LoadMeter {
    pub(super) fn new() -> Self {
        Self {
            measured_at: Instant::now(),
            ticks: processor_ticks(SELF).unwrap_or(0),
            latest: None,
        }
    }

    pub(super) fn measure(&mut self) -> Load {
        let elapsed = self.measured_at.elapsed();
        match self.latest {
            Some(latest) if elapsed < INTERVAL => latest,
            _ => self.measure_now(elapsed),
        }
    }

    fn measure_now(&mut self, elapsed: Duration) -> Load {
        let ticks = processor_ticks(SELF).unwrap_or(self.ticks);
        let used = u32::try_from(ticks.saturating_sub(self.ticks)).unwrap_or(u32::MAX);
        let seconds = elapsed.as_secs_f64().max(0.01);
        let percent = f64::from(used) / TICKS_PER_SECOND / seconds * 100.0;
        let load = Load {
            cpu_percent: (percent * 10.0).round() / 10.0,
            memory_bytes: resident_bytes(SELF).unwrap_or(0),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        };
        (self.measured_at, self.ticks, self.latest) = (Instant::now(), ticks, Some(load));
        load
    }
}

/// `utime` and `stime`, fields 14 and 15 of proc_pid_stat(5). The program's name, field 2, may contain spaces.
fn processor_ticks(program: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{program}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// `resident`, field 2 of proc_pid_statm(5).
fn resident_bytes(program: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{program}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_measures_and_then_repeats_itself() {
        let mut meter = LoadMeter::new();
        let first = meter.measure();
        assert!(
            first.memory_bytes > 100_000 && first.cores >= 1 && first.cpu_percent >= 0.0,
            "{first:?}"
        );
        assert_eq!(meter.measure(), first);
    }
}
