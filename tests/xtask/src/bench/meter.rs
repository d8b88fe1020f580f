//! Processor time and memory as the kernel counts them.

use xtask::{Explain, Outcome};

/// Linux reports processor time in hundredths of a second (`USER_HZ`) on every architecture we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time of these programs, with their ended children. One that has ended counts nothing.
pub(crate) fn processor_seconds(ids: &[u32]) -> f64 {
    ids.iter().filter_map(|id| ticks(*id)).sum::<u64>() as f64 / TICKS_PER_SECOND
}

/// Resident memory in megabytes.
pub(crate) fn resident_mb(id: u32) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .explain("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().explain("VmRSS")?;
    Ok(kilobytes / 1024.0)
}

fn ticks(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The program's name stands in parentheses and may hold spaces; utime, stime, cutime, cstime are fields 14 to 17.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse::<u64>().ok())
        .sum()
}
