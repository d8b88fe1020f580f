//! What `cargo xtask faults` tells the tests: how long they last, and with which older program.

use std::path::PathBuf;
use std::time::Duration;

/// For how long each fault test goes on, when `cargo xtask faults` says so. Without it they are as short as every other
/// test.
#[must_use]
pub fn of_faults() -> Option<Duration> {
    let seconds = std::env::var_os("EDGE_HIVE_FAULT_SECONDS")?;
    seconds.to_str()?.parse().ok().map(Duration::from_secs)
}

/// The `authz-server` of an older release, when `cargo xtask faults --from` has built one.
#[must_use]
pub fn older_server() -> Option<PathBuf> {
    std::env::var_os("EDGE_HIVE_OLDER_SERVER").map(PathBuf::from)
}
