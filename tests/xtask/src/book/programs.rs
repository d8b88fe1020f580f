//! What a reader has installed: the two programs, and the others' clients that the book speaks of.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::shell;
use xtask::{Explain, Fault, Outcome};

use crate::{install, interop, program_files};

/// The reader's tools.
pub(super) struct Tools {
    pub(super) authz_server: PathBuf,
    pub(super) mcp_node: PathBuf,
    /// What the walks are given and leave behind, away from the folders that readers see.
    pub(super) folder: PathBuf,
    /// The `PATH` of a walk.
    pub(super) path: String,
}

impl Tools {
    /// Finds or builds everything; `built` is a folder with programs.
    ///
    /// # Errors
    /// When something cannot be built or installed.
    pub(super) fn find(built: Option<&Path>) -> Outcome<Self> {
        install::for_walks()?;
        interop::install_node()?;
        interop::install_python()?;
        let built = match built {
            Some(folder) => std::path::absolute(folder)?,
            None => build()?,
        };
        let folder = program_files::target_folder()?.join("xtask/book");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).explain(format!("cannot clear {}", folder.display()))?;
        }
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin)?;
        for name in ["authz-server", "mcp-node"] {
            symlink(built.join(name), bin.join(name)).explain(name)?;
        }
        write_cargo(&bin.join("cargo"), &built)?;
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let path = [
            bin.display().to_string(),
            interop::venv()?.join("bin").display().to_string(),
            interop::node_folder()
                .join("node_modules/.bin")
                .display()
                .to_string(),
            usual.to_string_lossy().into_owned(),
        ];
        Ok(Self {
            authz_server: bin.join("authz-server"),
            mcp_node: bin.join("mcp-node"),
            folder,
            path: path.join(":"),
        })
    }

    /// A command line of one of the programs in `folder`, without the environment of this one.
    pub(super) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env_clear().env("PATH", &self.path);
        command
    }
}

/// Both programs and the example agent, with the features that the tests before this one have built them with.
fn build() -> Outcome<PathBuf> {
    // Cargo builds examples with the unit tests.
    let mut cargo = shell::cargo();
    cargo.args([
        "test",
        "--workspace",
        "--exclude",
        "blackbox",
        "--no-run",
        "--quiet",
    ]);
    shell::run(cargo.args(shell::openssl_features("authz-server/")))?;
    program_files::build(false)?;
    let folder = program_files::target_folder()?.join("debug");
    Ok(folder)
}

/// In a walk, what cargo would build is there already: `cargo xtask` is this program, and `cargo run --example` what was built.
fn write_cargo(path: &Path, built: &Path) -> Outcome<()> {
    let xtask = std::env::current_exe()?;
    let (xtask, built) = (xtask.display(), built.display());
    let script = format!(
        "#!/bin/sh\n\
         case \"$1 $2\" in\n\
         'xtask up') shift 2; exec '{xtask}' up --programs '{built}' \"$@\" ;;\n\
         'run --quiet' | 'run -p') ;;\n\
         *) echo \"the test of the book knows no cargo $*\" >&2; exit 2 ;;\n\
         esac\n\
         while [ $# -gt 0 ] && [ \"$1\" != --example ]; do shift; done\n\
         name=$2; shift 2; [ \"$1\" != -- ] || shift\n\
         exec '{built}/examples/'\"$name\" \"$@\"\n"
    );
    std::fs::write(path, script)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))
        .map_err(|fault| Fault::new(format!("{}: {fault}", path.display())))
}
