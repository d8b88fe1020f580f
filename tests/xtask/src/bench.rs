//! `cargo xtask bench`: what one core does. The server runs on core 0 and the load generator on core 1; a figure per
//! core is the number of answers divided by the processor time of the server and, where there is one, of Postgres.

mod calls;
mod load;
mod meter;
mod operators;
mod people;
mod proofs;
mod revocation;
mod rows;

use std::cell::OnceCell;
use std::path::PathBuf;

use clap::Args;
use xtask::Outcome;
use xtask::postgres::{Cluster, Durability};
use xtask::shell::{self, say};

use crate::program_files::Programs;
use crate::{install, program_files};
use rows::{Bench, Row};

/// The server's processor; the load generator gets the next one.
const SERVER_CORE: u32 = 0;

#[derive(Args)]
pub(crate) struct Options {
    /// How long each row is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Tokens that are revoked, one after the other
    #[arg(long, default_value_t = 1000)]
    tokens: usize,
    /// Only the rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// A folder with both programs, built already
    #[arg(long, value_name = "FOLDER", hide = true)]
    programs: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    install::for_bench()?;
    let programs = match &options.programs {
        Some(folder) => Programs::at(folder),
        None => program_files::build(true)?,
    };
    let cluster = Cluster::start(Durability::Full, Some(SERVER_CORE))?;
    let disk = cluster.disk_sync_rate()?;
    let folder = program_files::target_folder()?.join("xtask/bench");
    let bench = Bench {
        programs,
        examples: OnceCell::new(),
        cluster,
        folder,
        seconds: options.seconds,
        tokens: options.tokens,
        only: options.only.clone(),
    };
    let rows = bench.measure()?;
    let delays = bench.revocations()?;
    let mut waits = bench.operators()?;
    print(&rows, &disk);
    if !rows.is_empty() {
        calls::print(&rows, bench.signature_check()?);
    }
    delays.iter().for_each(revocation::Delays::print);
    operators::print(&mut waits)
}

fn print(rows: &[Row], disk: &str) {
    say(format!("\n{}", machine()));
    say(format!("disk: pg_test_fsync fdatasync {disk}"));
    say("32 connections, answers per second: on the wall clock, and per core of processor time\n");
    say(format!(
        "{:<34} {:>9} {:>10} {:>8} {:>9} {:>9} {:>8} {:>8}",
        "row", "answers/s", "per core", "cpu ms", "p50 ms", "p99 ms", "rest MB", "load MB"
    ));
    for row in rows {
        say(format!(
            "{:<34} {:>9.0} {:>10.0} {:>8.3} {:>9.2} {:>9.2} {:>8.1} {:>8.1}",
            row.name,
            row.load.per_second(),
            row.per_core,
            1000.0 / row.per_core,
            row.load.p50_ms,
            row.load.p99_ms,
            row.rest_mb,
            row.load_mb
        ));
    }
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown processor");
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = shell::read(shell::command("git").args(["rev-parse", "--short", "HEAD"]));
    let date = shell::read(shell::command("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]));
    format!(
        "{} x {cores}, Linux {}, commit {}, {}",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        commit.unwrap_or_else(|_| "none yet".into()).trim(),
        date.unwrap_or_default().trim()
    )
}

/// Where the load generator's scripts are.
fn scripts() -> PathBuf {
    shell::workspace().join("tests/bench")
}
