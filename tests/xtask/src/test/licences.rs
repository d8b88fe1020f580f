//! cargo-deny: licences, banned crates and sources always; advisories when their database can be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::Outcome;
use xtask::shell::{self, say};

use super::Verdict;
use crate::install;

/// Names a copy of the RustSec advisory database (a git repository), for machines that do not reach GitHub.
const LOCAL_DATABASE: &str = "EDGE_HIVE_ADVISORY_DB";
const DATABASE: &str = "https://github.com/RustSec/advisory-db";

pub(crate) fn run() -> Outcome<Verdict> {
    let deny = install::cargo_deny()?;
    shell::run(cargo_deny(&deny).args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;
    if let Err(fault) = fetch(&deny) {
        say("  the advisory database cannot be had");
        let sentence = fault.to_string();
        let cause = sentence
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim();
        let reason =
            format!("advisories, for want of their database ({cause}); {LOCAL_DATABASE} may name a copy");
        return Ok(Verdict::NotChecked(reason));
    }
    shell::run(cargo_deny(&deny).args(["--offline", "check", "--hide-inclusion-graph", "advisories"]))?;
    Ok(Verdict::Passed)
}

fn fetch(deny: &Path) -> Outcome<()> {
    let mut fetch = cargo_deny(deny);
    if let Some(local) = std::env::var_os(LOCAL_DATABASE) {
        let local = std::path::absolute(PathBuf::from(local))?;
        // cargo-deny only takes addresses with a host name; git itself can be told to look elsewhere.
        fetch
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_VALUE_0", DATABASE);
        fetch.env(
            "GIT_CONFIG_KEY_0",
            format!("url.file://{}.insteadOf", local.display()),
        );
    }
    shell::read(
        fetch
            .env("GIT_TERMINAL_PROMPT", "0")
            .args(["--log-level", "error", "fetch", "db"]),
    )
    .map(drop)
}

fn cargo_deny(program: &Path) -> Command {
    let mut command = shell::command(program);
    command.args(["--workspace", "--all-features", "--config", ".deny.toml"]);
    command
}
