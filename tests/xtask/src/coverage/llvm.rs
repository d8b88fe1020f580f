//! LLVM's own programs, of the version the compiler has: older ones cannot read what it counts.

use std::path::{Path, PathBuf};

use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome};

use crate::install;

/// Names a folder with both programs, for machines that have them elsewhere.
const ELSEWHERE: &str = "EDGE_HIVE_LLVM";

/// `llvm-profdata` and `llvm-cov`.
pub(crate) struct Llvm {
    folder: PathBuf,
}

/// Looks in the folder that [`ELSEWHERE`] names, in the Rust toolchain (component `llvm-tools`), and where Debian puts them; then
/// installs them from Debian.
pub(crate) fn find() -> Outcome<Llvm> {
    let known = shell::read(shell::command("rustc").arg("-vV"))?;
    let field = |name: &str| known.lines().find_map(|line| line.strip_prefix(name));
    let host = field("host: ").explain("rustc names no host")?;
    let version = field("LLVM version: ").explain("rustc names no version of LLVM")?;
    let major = version.split('.').next().unwrap_or(version);
    let toolchain = shell::read(shell::command("rustc").args(["--print", "sysroot"]))?;
    let debian = PathBuf::from(format!("/usr/lib/llvm-{major}/bin"));
    let places = [
        std::env::var_os(ELSEWHERE).map(PathBuf::from),
        Some(
            Path::new(toolchain.trim())
                .join("lib/rustlib")
                .join(host)
                .join("bin"),
        ),
        Some(debian.clone()),
    ];
    if let Some(folder) = places.into_iter().flatten().find(|folder| reads(folder, major)) {
        return Ok(Llvm { folder });
    }
    say(format!("  LLVM {major} is missing; Debian's is tried"));
    let installed = install::llvm(major);
    if reads(&debian, major) {
        return Ok(Llvm { folder: debian });
    }
    let reason = installed
        .err()
        .map_or_else(String::new, |fault| format!(" ({fault})"));
    Err(Fault::new(format!(
        "llvm-profdata and llvm-cov of LLVM {major} are missing, and Debian's llvm-{major} cannot be had{reason}: \
         `rustup component add llvm-tools` brings them too, or {ELSEWHERE} may name their folder"
    )))
}

/// Whether both programs are there, work, and have the major version of the compiler's LLVM.
fn reads(folder: &Path, major: &str) -> bool {
    ["llvm-profdata", "llvm-cov"].iter().all(|name| {
        let answer = shell::output(shell::command(folder.join(name)).arg("--version"));
        answer.is_ok_and(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.contains(&format!("version {major}."))
        })
    })
}

impl Llvm {
    /// Merges the counters in `folder`, and returns the lines that `programs` have with how often each was run (lcov).
    pub(crate) fn export<'a>(
        &self,
        folder: &Path,
        programs: impl Iterator<Item = &'a Path>,
    ) -> Outcome<String> {
        let merged = folder.join("merged.profdata");
        let mut profdata = shell::command(self.folder.join("llvm-profdata"));
        profdata.args(["merge", "-sparse", "-o"]).arg(&merged);
        shell::read(profdata.arg(folder.join("counters")))?;
        let mut cov = shell::command(self.folder.join("llvm-cov"));
        cov.args(["export", "-format=lcov", "-instr-profile"])
            .arg(&merged);
        for program in programs {
            cov.arg("-object").arg(program);
        }
        shell::read(&mut cov)
    }
}
