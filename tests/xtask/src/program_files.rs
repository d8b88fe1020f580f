//! Building the two programs and finding what was built.

use std::path::{Path, PathBuf};

use xtask::shell;
use xtask::{Explain, Outcome};

/// The black-box tests: the same tests against the same programs, only the database differs. Each with what is left out by
/// name; what needs no database runs in the first.
pub(crate) const BLACK_BOX: [(&str, &[&str]); 2] = [
    ("black box, SQLite", &["postgres"]),
    ("black box, Postgres", &["sqlite", "foreign::", "adm_17"]),
];

/// The built programs.
pub(crate) struct Programs {
    pub(crate) authz_server: PathBuf,
    pub(crate) mcp_node: PathBuf,
}

impl Programs {
    /// The programs in a folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            authz_server: folder.join("authz-server"),
            mcp_node: folder.join("mcp-node"),
        }
    }
}

/// Builds both programs, with optimisation if asked.
pub(crate) fn build(release: bool) -> Outcome<Programs> {
    build_with(release, &[])
}

/// Builds both programs and the conformance fixture in one go, so that all share one set of compiled crates.
pub(crate) fn build_with_fixture() -> Outcome<(Programs, PathBuf)> {
    let programs = build_with(false, &["-p", "conformance-fixture"])?;
    Ok((programs, target_folder()?.join("debug/conformance-fixture")))
}

/// What is built for the benchmark alone.
pub(crate) struct Examples {
    /// The node without its door.
    pub(crate) open_door: PathBuf,
    /// Prints what checking a signature costs.
    pub(crate) signature_check: PathBuf,
}

/// Builds the benchmark's examples of the node, with optimisation.
pub(crate) fn build_examples() -> Outcome<Examples> {
    let mut cargo = shell::cargo();
    // Of both programs, as [`build`] does, so that all share one set of compiled crates.
    cargo.args(["build", "--release", "-p", "authz-server", "-p", "mcp-node"]);
    cargo.args(["--features", "mcp-node/open-door"]);
    cargo.args(shell::openssl_features("authz-server/"));
    cargo.args(["--example", "open_door", "--example", "signature_check"]);
    shell::run(&mut cargo)?;
    let folder = target_folder()?.join("release/examples");
    Ok(Examples {
        open_door: folder.join("open_door"),
        signature_check: folder.join("signature_check"),
    })
}

/// Builds both programs as they are given away: with optimisation, and with nothing that they need beside them. Returns
/// their folder. `compose/Dockerfile` does the same.
///
/// Neither the time nor the names of this machine's folders are in them: places in the source are written as in an image,
/// whose workspace is `/src`. What OpenSSL knows of its own folder is the target folder's, so two builds are the same file
/// when that has the same name in both.
pub(crate) fn build_static() -> Outcome<PathBuf> {
    let known = shell::read(shell::command("rustc").arg("-vV"))?;
    let target = known
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .explain("rustc names no host")?;
    let mut cargo = shell::cargo();
    cargo.args([
        "build",
        "--release",
        "--locked",
        "--bins",
        "-p",
        "authz-server",
        "-p",
        "mcp-node",
    ]);
    cargo.args(["--features", "authz-server/vendored-openssl", "--target", target]);
    let home = std::env::home_dir().unwrap_or_default();
    let crates = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let places = [(shell::workspace(), "/src"), (crates, "/usr/local/cargo")];
    let named = |flag: &str| {
        places
            .each_ref()
            .map(|(here, there)| format!("{flag}={}={there}", here.display()))
    };
    let [workspace, crates] = named("--remap-path-prefix");
    cargo.env(
        "CARGO_ENCODED_RUSTFLAGS",
        [
            "-Ctarget-feature=+crt-static",
            "-Clink-arg=-Wl,-z,pack-relative-relocs",
            &workspace,
            &crates,
        ]
        .join("\u{1f}"),
    );
    // With those that somebody has set, to harden the C code for example.
    let mut flags = std::env::var_os("CFLAGS").unwrap_or_default();
    flags.push(" ");
    flags.push(named("-ffile-prefix-map").join(" "));
    cargo.env("CFLAGS", flags);
    cargo.env("SOURCE_DATE_EPOCH", "0");
    shell::run(&mut cargo)?;
    Ok(target_folder()?.join(target).join("release"))
}

fn build_with(release: bool, more: &[&str]) -> Outcome<Programs> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--bins", "-p", "authz-server", "-p", "mcp-node"]);
    cargo.args(more);
    cargo.args(shell::openssl_features("authz-server/"));
    if release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)?;
    let folder = target_folder()?.join(if release { "release" } else { "debug" });
    Ok(Programs::at(&folder))
}

/// Builds the server of a tag or commit, beside what is built of the crates that both use, and returns a copy of it.
pub(crate) fn build_older(revision: &str) -> Outcome<PathBuf> {
    let mut parse = shell::command("git");
    parse.args([
        "rev-parse",
        "--verify",
        "--short",
        &format!("{revision}^{{commit}}"),
    ]);
    let commit = shell::read(&mut parse)?;
    let target = target_folder()?;
    let source = target.join(format!("older/{}", commit.trim()));
    if !source.exists() {
        let mut checkout = shell::command("git");
        checkout.args(["worktree", "add", "--force", "--detach"]);
        shell::run(checkout.arg(&source).arg(commit.trim()))?;
    }
    let mut cargo = shell::cargo();
    cargo.args(["build", "--bins", "-p", "authz-server", "-p", "mcp-node"]);
    cargo.args(shell::openssl_features("authz-server/"));
    shell::run(cargo.current_dir(&source).env("CARGO_TARGET_DIR", &target))?;
    let copy = source.with_added_extension("authz-server");
    std::fs::copy(target.join("debug/authz-server"), &copy).explain(copy.display().to_string())?;
    Ok(copy)
}

/// Cargo's target folder, wherever the configuration puts it.
pub(crate) fn target_folder() -> Outcome<PathBuf> {
    let text = shell::read(shell::cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .explain("cargo metadata names no target folder")
}
