//! `cargo xtask faults`: what must go on when databases, disks and programs fail, for longer than the ordinary tests take.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use xtask::shell::{self, say};
use xtask::{Fault, Outcome};

use crate::{install, program_files};

/// How long a fault test goes on is told to it in the environment (`blackbox::length`).
const SECONDS: &str = "EDGE_HIVE_FAULT_SECONDS";
/// As is the older program that [`OF_TWO_RELEASES`] begins with.
const OLDER: &str = "EDGE_HIVE_OLDER_SERVER";
const OF_TWO_RELEASES: &str = "upgrade while a release serves";

#[derive(Args)]
pub(crate) struct Options {
    /// How long each part that has no end of its own goes on, on each database
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Run only the parts whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Begin the upgrade with the server of this tag or commit, which is built for it
    #[arg(long, value_name = "REVISION")]
    from: Option<String>,
}

/// One kind of fault: its name, and the package and the beginning of the names of its tests.
type Part = (&'static str, &'static str, &'static str);

const PARTS: [Part; 10] = [
    ("every statement fails once", "authz-server", "faults::"),
    (
        "killed at the n-th write to the disk",
        "blackbox",
        "crash::at_write::",
    ),
    (
        "disk full, database read-only or held",
        "blackbox",
        "crash::disk::",
    ),
    ("callers leave in the middle", "blackbox", "crash::aborted::"),
    (
        "answers lost, Postgres dies under load",
        "blackbox",
        "crash::database::",
    ),
    ("killed under load", "blackbox", "crash::dur_02"),
    ("replays and revocations after a kill", "blackbox", "dur_06"),
    ("a polite end under load", "blackbox", "dur_17"),
    (
        "instances killed behind a balancer",
        "blackbox",
        "instances::dur_02",
    ),
    (OF_TWO_RELEASES, "blackbox", "upgrade::"),
];

pub(crate) fn run(options: &Options) -> Outcome<()> {
    install::for_building()?;
    install::for_black_box()?;
    // First: it takes the place of the program of today, which is put there again.
    let older = options
        .from
        .as_deref()
        .map(program_files::build_older)
        .transpose()?;
    program_files::build(false)?;
    let wanted = |(name, ..): &&Part| options.only.as_ref().is_none_or(|text| name.contains(text));
    let outcomes: Vec<_> = PARTS
        .iter()
        .filter(wanted)
        .map(|part @ (name, ..)| {
            say(format!("\n== {name}"));
            let start = Instant::now();
            let outcome = try_part(*part, options.seconds, older.as_deref());
            (name, start.elapsed().as_secs(), outcome)
        })
        .collect();
    if outcomes.is_empty() {
        return Err(Fault::new("no part has that in its name"));
    }
    say("\nfault                                    seconds  verdict");
    for (name, seconds, outcome) in &outcomes {
        let verdict = outcome
            .as_ref()
            .map_or_else(ToString::to_string, |()| "held".into());
        say(format!("{name:<40} {seconds:>7}  {verdict}"));
    }
    let failed = outcomes.iter().filter(|(.., outcome)| outcome.is_err());
    let failed: Vec<&str> = failed.map(|(name, ..)| **name).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Fault::new(format!("did not hold: {}", failed.join(", "))))
    }
}

fn try_part((name, package, tests): Part, seconds: u64, older: Option<&Path>) -> Outcome<()> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "-p", package]);
    cargo.args(if package == "blackbox" {
        ["--test", "all"]
    } else {
        ["--lib", "--quiet"]
    });
    if package == "authz-server" {
        cargo.args(shell::openssl_features("authz-server/"));
    }
    cargo
        .args(["--", tests, "--nocapture"])
        .env(SECONDS, seconds.to_string());
    if let (OF_TWO_RELEASES, Some(older)) = (name, older) {
        cargo.env(OLDER, older);
    }
    shell::run(&mut cargo)
}
