//! Clients that we did not write, against a fleet of our own: the official TypeScript and Python SDKs, oauth4webapi.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome};

use crate::{install, program_files, up};

/// A script that has not finished after this many seconds hangs.
const PATIENCE: &str = "180";

/// The script's name and what runs it.
const SCRIPTS: [(&str, Runner); 3] = [
    ("tests/interop/node/ts-client.mjs", Runner::Node),
    ("tests/interop/node/oauth4webapi.mjs", Runner::Node),
    ("tests/interop/python/python_sdk.py", Runner::Python),
];

#[derive(Clone, Copy)]
enum Runner {
    Node,
    Python,
}

pub(crate) fn run() -> Outcome<()> {
    install_node()?;
    install_python()?;
    let programs = program_files::build(false)?;
    let fleet = up::start(&up::private("interop")?, &programs)?;
    let mut failed = Vec::new();
    for (script, runner) in SCRIPTS {
        say(format!("\n-- {script}"));
        let program = match runner {
            Runner::Node => node(),
            Runner::Python => venv()?.join("bin/python"),
        };
        let mut command = patient(&program);
        command
            .arg(shell::workspace().join(script))
            .env("NODE_URL", fleet.nodes[0].url());
        command
            .env("CLIENT_ID", &fleet.client.id)
            .env("CLIENT_SECRET", &fleet.client.secret);
        if let Err(fault) = shell::run(&mut command) {
            say(format!("   {fault}"));
            failed.push(script);
        }
    }
    fleet.stop()?;
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Fault::new(failed.join(", ")))
    }
}

/// The Node that the lock file names: the suite needs a newer one than many distributions have.
pub(crate) fn node() -> PathBuf {
    node_folder().join("node_modules/.bin/node")
}

/// The folder of the locked npm packages.
pub(crate) fn node_folder() -> PathBuf {
    shell::workspace().join("tests/interop/node")
}

/// `program` under a time limit.
pub(crate) fn patient(program: &Path) -> Command {
    let mut command = shell::command("timeout");
    command.arg(PATIENCE).arg(program);
    command
}

/// Installs the npm packages of the lock file unless exactly they are there.
pub(crate) fn install_node() -> Outcome<()> {
    install::for_interop()?;
    let (lock, stamp) = (
        node_folder().join("package-lock.json"),
        node_folder().join("node_modules/.installed-lock"),
    );
    if node().exists() && same(&lock, &stamp) {
        return Ok(());
    }
    let mut npm = shell::command("npm");
    shell::run(
        npm.args(["ci", "--no-audit", "--no-fund"])
            .current_dir(node_folder()),
    )?;
    std::fs::copy(&lock, &stamp)?;
    say("  installed the npm packages of tests/interop/node/package-lock.json");
    Ok(())
}

fn install_python() -> Outcome<()> {
    let requirements = shell::workspace().join("tests/interop/python/requirements.txt");
    let stamp = venv()?.join("installed-requirements.txt");
    if same(&requirements, &stamp) {
        return Ok(());
    }
    shell::run(shell::command("python3").args(["-m", "venv"]).arg(venv()?))?;
    let mut pip = shell::command(venv()?.join("bin/pip"));
    shell::run(
        pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )?;
    std::fs::copy(&requirements, &stamp).explain("cannot note what was installed")?;
    say("  installed the Python packages of tests/interop/python/requirements.txt");
    Ok(())
}

fn venv() -> Outcome<PathBuf> {
    Ok(program_files::target_folder()?.join("interop-venv"))
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((std::fs::read(one), std::fs::read(other)), (Ok(one), Ok(other)) if one == other)
}
