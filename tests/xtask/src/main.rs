//! `cargo xtask`: bring the fleet up, test everything, examine it, measure it.

mod admin_document;
mod bench;
mod book;
mod compose;
mod conformance;
mod coverage;
mod faults;
mod install;
mod interop;
mod model;
mod packages;
mod program_files;
mod race;
mod release;
mod sbom;
mod segments;
mod test;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::shell::complain;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds both programs, starts a server and a node, and walks from discovery to a tool call
    Up(up::Options),
    /// Runs everything that must pass, and prints a table
    Test(test::Options),
    /// Runs the official MCP conformance suites, a line per scenario
    Conformance,
    /// Lets databases, disks and programs fail: nothing may be lost, given twice or half done
    Faults(faults::Options),
    /// Lets processes share one refresh token: nobody may lose a session, and a thief must
    Race(race::Options),
    /// One process of the race
    #[command(hide = true)]
    RaceRunner(race::RunnerOptions),
    /// Five nodes on two segments of a network, and their server on a third, in network namespaces
    Fleet(segments::Options),
    /// The fleet of compose/docker-compose.yml in containers, and the walk through it
    Compose(compose::Options),
    /// Prints what a program is made of (CycloneDX)
    Sbom(sbom::Options),
    /// Makes Debian packages of both programs
    Packages(packages::Options),
    /// Sets a version, packs everything that a release has, and tags it
    Release(release::Options),
    /// Runs every command and reads every snippet of README and the book
    Book(book::Options),
    /// Measures tokens, introspections and tool calls per second on one core
    Bench(bench::Options),
    /// Counts the lines that the tests run through
    Coverage(coverage::Options),
    /// Plays how what nodes tell each other spreads in fleets that no machine runs
    Model(model::Options),
}

fn main() -> ExitCode {
    if let Some(code) = coverage::compile() {
        return code;
    }
    let outcome = match Line::parse().command {
        Command::Up(options) => up::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Conformance => conformance::run(),
        Command::Faults(options) => faults::run(&options),
        Command::Race(options) => race::run(&options),
        Command::RaceRunner(options) => race::run_one(&options),
        Command::Fleet(options) => segments::run(&options),
        Command::Compose(options) => compose::run(&options),
        Command::Sbom(options) => sbom::run(&options),
        Command::Packages(options) => packages::run(&options),
        Command::Release(options) => release::run(&options),
        Command::Book(options) => book::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Coverage(options) => coverage::run(&options),
        Command::Model(options) => model::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(format!("\ncargo xtask: {fault}"));
            ExitCode::FAILURE
        }
    }
}
