//! `cargo xtask faults`: what must go on when databases, disks and programs fail, for longer than the ordinary tests take.

use std::time::Instant;

use clap::Args;
use xtask::shell::{self, say};
use xtask::{Fault, Outcome};

use crate::{install, program_files};

/// How long a fault test goes on is told to it in the environment (`blackbox::length`).
const SECONDS: &str = "EDGE_HIVE_FAULT_SECONDS";

#[derive(Args)]
pub(crate) struct Options {
    /// How long each part that has no end of its own goes on, on each database
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Run only the parts whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// One kind of fault.
struct Part {
    name: &'static str,
    /// The package and the beginning of its tests' names.
    tests: (&'static str, &'static str),
}

const PARTS: &[Part] = &[
    Part {
        name: "every statement fails once",
        tests: ("authz-server", "faults::"),
    },
    Part {
        name: "killed at the n-th write to the disk",
        tests: ("blackbox", "crash::at_write::"),
    },
    Part {
        name: "disk full, database read-only or held",
        tests: ("blackbox", "crash::disk::"),
    },
    Part {
        name: "callers leave in the middle",
        tests: ("blackbox", "crash::aborted::"),
    },
    Part {
        name: "answers lost, Postgres dies under load",
        tests: ("blackbox", "crash::database::"),
    },
    Part {
        name: "killed under load",
        tests: ("blackbox", "crash::dur_02"),
    },
    Part {
        name: "replays and revocations after a kill",
        tests: ("blackbox", "dur_06"),
    },
    Part {
        name: "a polite end under load",
        tests: ("blackbox", "dur_17"),
    },
];

pub(crate) fn run(options: &Options) -> Outcome<()> {
    install::for_building()?;
    install::for_black_box()?;
    program_files::build(false)?;
    let wanted = |part: &&Part| options.only.as_ref().is_none_or(|text| part.name.contains(text));
    let outcomes: Vec<_> = PARTS
        .iter()
        .filter(wanted)
        .map(|part| {
            say(format!("\n== {}", part.name));
            let start = Instant::now();
            let outcome = try_part(part, options.seconds);
            (part.name, start.elapsed().as_secs(), outcome)
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
    let failed: Vec<&str> = failed.map(|(name, ..)| *name).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Fault::new(format!("did not hold: {}", failed.join(", "))))
    }
}

fn try_part(part: &Part, seconds: u64) -> Outcome<()> {
    let (package, tests) = part.tests;
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
    shell::run(&mut cargo)
}
