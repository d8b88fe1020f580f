//! Running other commands, and printing: the one place where these commands write to the terminal.

use std::ffi::OsStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::fault::{Explain, Fault, Outcome};

/// Prints one line.
#[expect(clippy::print_stdout, reason = "the one door to the terminal")]
pub fn say(line: impl Display) {
    println!("{line}");
}

/// Prints one line where faults belong.
#[expect(clippy::print_stderr, reason = "the one door to the terminal")]
pub fn complain(line: impl Display) {
    eprintln!("{line}");
}

/// The folder of the workspace, found from where this crate was built.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// A command that runs in the workspace folder.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace());
    command
}

/// The cargo that started us, or the one on the path.
#[must_use]
pub fn cargo() -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` describes xtask to us in the environment. Build scripts watch some of these variables (ring's does),
    // so a nested cargo that saw them would build half the graph anew, and the next plain cargo again.
    for (name, _) in std::env::vars_os() {
        let known = name.to_string_lossy();
        if known.starts_with("CARGO_PKG_") || known.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command with its output on the terminal.
///
/// # Errors
/// When it cannot be started or does not end with 0.
pub fn run(command: &mut Command) -> Outcome<()> {
    let line = line_of(command);
    say(format!("  $ {line}"));
    let status = command.status().explain(format!("cannot run `{line}`"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Fault::new(format!("`{line}` ended with {status}")))
    }
}

/// Runs a command silently and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started or does not end with 0; the sentence carries its standard error.
pub fn read(command: &mut Command) -> Outcome<String> {
    let line = line_of(command);
    let output = output(command)?;
    if output.status.success() {
        return String::from_utf8(output.stdout).explain(format!("`{line}` wrote no text"));
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Fault::new(format!(
        "`{line}` ended with {}: {}",
        output.status,
        complaint.trim()
    )))
}

/// Runs a command silently, whatever its exit code.
///
/// # Errors
/// When it cannot be started.
pub fn output(command: &mut Command) -> Outcome<Output> {
    let line = line_of(command);
    command.output().explain(format!("cannot run `{line}`"))
}

/// Is there such a program on the path?
#[must_use]
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The cargo arguments for the JOSE library's OpenSSL: Debian's if it is there, otherwise built from source.
#[must_use]
pub fn openssl_features(prefix: &str) -> Vec<String> {
    let found = Command::new("pkg-config")
        .args(["--exists", "openssl"])
        .status()
        .is_ok_and(|status| status.success());
    if found {
        Vec::new()
    } else {
        vec!["--features".into(), format!("{prefix}vendored-openssl")]
    }
}

fn line_of(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
