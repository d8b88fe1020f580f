//! `cargo xtask coverage`: which lines of both programs and of the shared libraries the tests run through.
//!
//! The compiler counts (`-C instrument-coverage`), LLVM's own `llvm-profdata` and `llvm-cov` read. Most tests start real
//! programs and many kill them, so counters live in files that are mapped into memory and that all processes of one
//! program share (LLVM's continuous mode, `%c`): what was run is counted however a process ends.

mod count;
mod instrument;
mod llvm;
mod report;
mod source;

use std::path::Path;

use clap::Args;
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome};

use crate::{install, program_files};
use instrument::Built;

pub(crate) use instrument::compile;

#[derive(Args)]
pub(crate) struct Options {
    /// Fail when less than this share of the lines is run, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 85.0)]
    floor: f64,
    /// Run only the tests of each crate, and no program
    #[arg(long)]
    no_black_box: bool,
    /// How many black-box tests run at once: the programs are slower while they count
    #[arg(long, value_name = "N", default_value_t = 3)]
    threads: usize,
    /// Run nothing, and read again what the last run has left
    #[arg(long)]
    again: bool,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let llvm = llvm::find()?;
    let folder = program_files::target_folder()?.join("coverage");
    let built = if options.again {
        Built::recall(&folder)?
    } else {
        install::for_building()?;
        install::for_black_box()?;
        let built = instrument::build(&folder)?;
        test(&built, &folder, options)?;
        built
    };
    let lines = count::read(&llvm.export(&folder, built.programs())?, &shell::workspace());
    let crates = count::by_crate(&lines, &shell::workspace())?;
    report::print(&crates);
    let uncovered = folder.join("uncovered.txt");
    report::write_uncovered(&crates, &uncovered)?;
    say(format!(
        "Each line that no test runs through stands in {}",
        uncovered.display()
    ));
    let share = report::total(&crates).percent();
    if share < options.floor {
        return Err(Fault::new(format!(
            "{share:.2} % of the lines are run, {} % must be",
            options.floor
        )));
    }
    Ok(())
}

/// Runs everything once. A test that fails has counted what it came through; that it passes is what `cargo xtask test` is for.
fn test(built: &Built, folder: &Path, options: &Options) -> Outcome<()> {
    let counters = folder.join("counters");
    if counters.exists() {
        std::fs::remove_dir_all(&counters)?;
    }
    std::fs::create_dir_all(&counters)?;
    // One file for each program, which all its processes share.
    let pattern = counters.join("%c%m.profraw");
    let mut failed = Vec::new();
    let threads = options.threads.to_string();
    let mut one = |name: &str, program: &Path, here: &Path, words: &[&str]| {
        say(format!("\n-- {name}"));
        let mut command = shell::command(program);
        command
            .current_dir(here)
            .args(words)
            .env("LLVM_PROFILE_FILE", &pattern);
        if let Err(fault) = shell::run(&mut command) {
            say(format!("   {fault}"));
            failed.push(name.to_owned());
        }
    };
    for unit in &built.units {
        one(&unit.name, &unit.program, &unit.folder, &[]);
    }
    if !options.no_black_box {
        let black_box = shell::workspace().join("tests/blackbox");
        for (name, leave_out) in program_files::BLACK_BOX {
            let skipped = leave_out.iter().flat_map(|part| ["--skip", part]);
            let words: Vec<&str> = skipped.chain(["--test-threads", &threads]).collect();
            one(name, &built.black_box, &black_box, &words);
        }
    }
    if !failed.is_empty() {
        say(format!(
            "\nNOT ALL PASSED ({}): what a test did not come to is not counted. Times that run out on a slow machine are \
             no fault of the programs; `cargo xtask test` tells.",
            failed.join(", ")
        ));
    }
    let any = std::fs::read_dir(&counters)?.next();
    any.map(drop)
        .explain("nothing was counted: no test program has left a file of counters")
}
