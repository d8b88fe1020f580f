//! How long fault tests last.

use std::time::Duration;

/// For how long each fault test goes on, when `cargo xtask faults` says so. Without it they are as short as every other
/// test.
#[must_use]
pub fn of_faults() -> Option<Duration> {
    let seconds = std::env::var_os("EDGE_HIVE_FAULT_SECONDS")?;
    seconds.to_str()?.parse().ok().map(Duration::from_secs)
}
