//! `cargo xtask test`: everything that must pass. All parts run even if one fails; a part that cannot run has failed.

mod licences;
mod table;

use std::time::Instant;

use clap::Args;
use xtask::shell::{self, say};
use xtask::{Fault, Outcome};

use crate::{admin_document, book, compose, conformance, install, interop, program_files, segments, up};
use table::Row;

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out the parts that need Node or Python, and the conformance suites
    #[arg(long)]
    fast: bool,
    /// Run only the parts whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// What a part that passed wants to have said in the table.
pub(crate) enum Verdict {
    /// All of it ran and passed.
    Passed,
    /// Something could not be looked at, for this reason. It is said again at the end.
    NotChecked(String),
}

type Part = (&'static str, fn() -> Outcome<Verdict>);

const PARTS: &[Part] = &[
    ("format", || cargo(&["fmt", "--all", "--check"], &[])),
    ("tools", || {
        install::for_building()
            .and_then(|()| install::for_black_box())
            .map(|()| Verdict::Passed)
    }),
    ("lints", || {
        cargo(
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--features",
                "mcp-node/open-door",
            ],
            &["--", "-Dwarnings"],
        )
    }),
    ("documentation", documentation),
    ("licences and crates", licences::run),
    ("unit tests", || {
        cargo(&["test", "--workspace", "--exclude", "blackbox"], &[])
    }),
    ("up --once", || up::rehearse().map(|()| Verdict::Passed)),
    (program_files::BLACK_BOX[0].0, || {
        black_box(program_files::BLACK_BOX[0].1)
    }),
    (program_files::BLACK_BOX[1].0, || {
        black_box(program_files::BLACK_BOX[1].1)
    }),
];

const SLOW_PARTS: &[Part] = &[
    ("fleet on segments", segments::part),
    ("fleet in containers", compose::part),
    ("interop", interop::run),
    ("admin document", || {
        admin_document::run().map(|()| Verdict::Passed)
    }),
    ("book", book::part),
    ("conformance", || conformance::run().map(|()| Verdict::Passed)),
];

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let slow = if options.fast { &[] } else { SLOW_PARTS };
    let wanted = |part: &&Part| options.only.as_ref().is_none_or(|text| part.0.contains(text));
    let rows: Vec<Row> = PARTS.iter().chain(slow).filter(wanted).map(try_part).collect();
    if rows.is_empty() {
        return Err(Fault::new("no part has that in its name"));
    }
    table::print(&rows);
    if let Some(text) = &options.only {
        say(format!("Only the parts with {text:?} in their name were run."));
    }
    if options.fast {
        say(
            "Left out by --fast: fleet on segments, fleet in containers, interop, admin document, book, conformance.",
        );
    }
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| row.outcome.is_err())
        .map(|row| row.name)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Fault::new(format!("failed: {}", failed.join(", "))))
    }
}

fn try_part((name, part): &Part) -> Row {
    say(format!("\n== {name}"));
    let start = Instant::now();
    let outcome = part();
    if let Err(fault) = &outcome {
        say(format!("== {name} FAILED: {fault}"));
    }
    Row {
        name,
        seconds: start.elapsed().as_secs_f64(),
        outcome,
    }
}

/// Cargo with the OpenSSL this machine offers; `rest` is what comes behind the features.
fn cargo(words: &[&str], rest: &[&str]) -> Outcome<Verdict> {
    let mut cargo = shell::cargo();
    cargo.args(words);
    if words[0] != "fmt" {
        cargo.args(shell::openssl_features("authz-server/"));
    }
    shell::run(cargo.args(rest)).map(|()| Verdict::Passed)
}

fn documentation() -> Outcome<Verdict> {
    let mut cargo = shell::cargo();
    cargo
        .args(["doc", "--workspace", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-Dwarnings");
    shell::run(cargo.args(shell::openssl_features("authz-server/"))).map(|()| Verdict::Passed)
}

fn black_box(leave_out: &[&str]) -> Outcome<Verdict> {
    program_files::build(false)?;
    let mut cargo = shell::cargo();
    cargo.args(["test", "-p", "blackbox", "--"]);
    for name in leave_out {
        cargo.args(["--skip", name]);
    }
    shell::run(&mut cargo).map(|()| Verdict::Passed)
}
