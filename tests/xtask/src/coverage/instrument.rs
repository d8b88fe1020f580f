//! The build that counts. Cargo runs this very program between itself and the compiler, for crates of the workspace only:
//! what others wrote is neither counted nor built anew.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde_json::{Value, json};
use xtask::shell::{self, complain, say};
use xtask::{Explain, Fault, Outcome};

/// Set for the build alone: what is started with it stands in for the compiler.
const STANDS_IN: &str = "EDGE_HIVE_INSTRUMENT";
/// Counters, and the way to them that lets them live in a mapped file (LLVM's continuous mode on Linux).
const FLAGS: [&str; 4] = [
    "-C",
    "instrument-coverage",
    "-C",
    "llvm-args=-runtime-counter-relocation",
];
/// The programs that are counted, and what the black-box tests start beside them.
const STARTED: [&str; 3] = ["authz-server", "mcp-node", "odd-upstream"];

/// If Cargo has started this program in place of the compiler: compiles, with counters. A program, not a script: a shell
/// loses variables like `CARGO_BIN_EXE_odd-upstream`, whose names it does not know how to write.
pub(crate) fn compile() -> Option<ExitCode> {
    std::env::var_os(STANDS_IN)?;
    let mut words = std::env::args_os().skip(1);
    let mut compiler = Command::new(words.next()?);
    let words: Vec<OsString> = words.collect();
    compiler.args(&words);
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let is_of_tests = Path::new(&crate_folder).starts_with(shell::workspace().join("tests"));
    if !is_of_tests && !words.iter().any(|word| word == "build_script_build") {
        compiler.args(FLAGS);
    }
    complain(format!("cannot start the compiler: {}", compiler.exec()));
    Some(ExitCode::FAILURE)
}

/// What was built, in a folder of its own: the next build of Cargo replaces its own copies.
pub(crate) struct Built {
    /// The tests of the counted crates.
    pub(crate) units: Vec<Unit>,
    /// The black-box tests; the programs they start stand where they look for them.
    pub(crate) black_box: PathBuf,
    started: Vec<PathBuf>,
}

/// One program with tests of a crate.
pub(crate) struct Unit {
    /// For people: the crate and the target.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// The crate's folder, in which Cargo would run it.
    pub(crate) folder: PathBuf,
}

impl Built {
    /// Everything that carries counters.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Path> {
        let units = self.units.iter().map(|unit| &unit.program);
        self.started.iter().chain(units).map(PathBuf::as_path)
    }

    /// What the last [`build`] has noted in `folder`.
    pub(crate) fn recall(folder: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(folder.join("built.json")).explain("there is no last run")?;
        let noted: Vec<Value> = serde_json::from_str(&text)?;
        gather(&noted, &folder.join("programs"))
    }
}

/// Builds everything, and puts it into `folder`.
pub(crate) fn build(folder: &Path) -> Outcome<Built> {
    let programs = folder.join("programs");
    if programs.exists() {
        fs::remove_dir_all(&programs)?;
    }
    for part in ["deps", "examples"] {
        fs::create_dir_all(programs.join(part))?;
    }
    // The build replaces the file of the program that runs, so it is started from a copy.
    let wrapper = folder.join("compiler");
    if wrapper.exists() {
        fs::remove_file(&wrapper)?;
    }
    fs::copy(std::env::current_exe()?, &wrapper)?;
    let messages = run_cargo(&wrapper)?;
    let is_program = |message: &Value| message["executable"].is_string();
    let made: Vec<Value> = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(is_program)
        .collect();
    for message in &made {
        let program = message["executable"].as_str().unwrap_or_default();
        let place = place(message, &programs)?;
        // A name for the same file: it is there twice without taking room twice.
        if fs::hard_link(program, &place).is_err() {
            fs::copy(program, &place)?;
        }
    }
    fs::write(folder.join("built.json"), json!(made).to_string())?;
    gather(&made, &programs)
}

fn run_cargo(wrapper: &Path) -> Outcome<String> {
    let mut cargo = shell::cargo();
    cargo
        .args(["build", "--workspace", "--bins", "--tests", "--examples"])
        .arg("--message-format=json-render-diagnostics")
        .args(shell::openssl_features("authz-server/"))
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .env(STANDS_IN, "1")
        .env("CARGO_INCREMENTAL", "0")
        .stderr(Stdio::inherit());
    say("  $ cargo build --workspace --bins --tests --examples, with counters");
    let output = shell::output(&mut cargo)?;
    if !output.status.success() {
        return Err(Fault::new("the build with counters has failed"));
    }
    String::from_utf8(output.stdout).explain("cargo wrote no text")
}

/// Where the program of a message goes: where tests look for it that are in the folder `deps`.
fn place(message: &Value, programs: &Path) -> Outcome<PathBuf> {
    let program = Path::new(message["executable"].as_str().unwrap_or_default());
    let name = program.file_name().explain("a program without a name")?;
    Ok(if is_example(message) {
        programs.join("examples").join(name)
    } else if STARTED.iter().any(|started| *started == name) {
        programs.join(name)
    } else {
        programs.join("deps").join(name)
    })
}

fn is_example(message: &Value) -> bool {
    kind(message) == "example"
}

fn kind(message: &Value) -> &str {
    message["target"]["kind"][0].as_str().unwrap_or_default()
}

fn gather(made: &[Value], programs: &Path) -> Outcome<Built> {
    let (mut units, mut started, mut black_box) = (Vec::new(), Vec::new(), None);
    for message in made {
        let program = place(message, programs)?;
        let target = message["target"]["name"].as_str().unwrap_or_default();
        let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
        let folder = manifest.parent().unwrap_or(manifest).to_path_buf();
        let inside = folder.strip_prefix(shell::workspace()).unwrap_or(&folder);
        let is_test = message["profile"]["test"] == true;
        if inside == Path::new("tests/blackbox") && target == "all" {
            black_box = Some(program);
        } else if inside.starts_with("tests") {
            // Programs of the tests themselves: not counted.
        } else if is_test {
            let name = format!("{}: {target} ({})", inside.display(), kind(message));
            units.push(Unit {
                name,
                program,
                folder,
            });
        } else {
            started.push(program);
        }
    }
    units.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Built {
        units,
        black_box: black_box.explain("cargo has built no black-box tests")?,
        started,
    })
}
