//! `cargo xtask packages`: a Debian package of each program, for any Debian or Ubuntu: the programs are static.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use xtask::shell::{self, say};
use xtask::{Explain, Outcome};

use crate::{program_files, sbom};

/// Each program with its package's first line, and what follows it.
pub(crate) const PROGRAMS: [(&str, &str, &str); 2] = [
    (
        "authz-server",
        "OAuth 2.1 authorization server of an Edge Hive fleet",
        "Gives tokens to AI agents and other programs, and takes them back. Its data\n is an embedded SQLite file, or Postgres.",
    ),
    (
        "mcp-node",
        "OAuth 2.1 resource server that serves MCP",
        "One Edge Hive node: serves the Model Context Protocol to whoever shows a\n token that was made for it, and stands in front of other MCP servers.",
    ),
];

#[derive(Args)]
pub(crate) struct Options {
    /// A folder with both programs, built already [default: builds them, static and with optimisation]
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let built = programs(options.programs.clone())?;
    let output = program_files::target_folder()?.join("packages");
    fs::create_dir_all(&output)?;
    for package in make_all(&built, &output)? {
        say(package.display());
    }
    Ok(())
}

/// The folder with both programs: the one that is named, or a new build.
pub(crate) fn programs(named: Option<PathBuf>) -> Outcome<PathBuf> {
    named.map_or_else(program_files::build_static, |folder| {
        Ok(std::path::absolute(folder)?)
    })
}

/// Makes every package in `output`.
pub(crate) fn make_all(built: &Path, output: &Path) -> Outcome<Vec<PathBuf>> {
    let architecture = shell::read(shell::command("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let mut made = Vec::new();
    for (name, summary, more) in PROGRAMS {
        let tree = program_files::target_folder()?.join("xtask/package").join(name);
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        fill(&tree, &built.join(name), name)?;
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
             Maintainer: the authors of Edge Hive Auth <noreply@edge-hive.invalid>\nInstalled-Size: {size}\n\
             Depends: adduser\nSection: net\nPriority: optional\nDescription: {summary}\n {more}\n",
            version = env!("CARGO_PKG_VERSION"),
            size = fs::metadata(built.join(name))?.len() / 1024,
        );
        write(&tree.join("DEBIAN/control"), &control, 0o644)?;
        let package = output.join(format!("{name}_{}_{architecture}.deb", env!("CARGO_PKG_VERSION")));
        let mut build = shell::command("dpkg-deb");
        build
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(&tree)
            .arg(&package);
        // The same files give the same package.
        shell::run(build.env("SOURCE_DATE_EPOCH", commit_time()?))?;
        made.push(package);
    }
    Ok(made)
}

/// When the last commit was made, in seconds since 1970: the time of everything that is packed.
pub(crate) fn commit_time() -> Outcome<String> {
    let time = shell::read(shell::command("git").args(["log", "-1", "--format=%ct"]))?;
    Ok(time.trim().to_owned())
}

/// Everything but `DEBIAN/control`.
fn fill(tree: &Path, program: &Path, name: &str) -> Outcome<()> {
    let source = shell::workspace().join("compose");
    let text = |path: &str| {
        let path = source.join(path);
        fs::read_to_string(&path).explain(format!("cannot read {}", path.display()))
    };
    let binary = tree.join("usr/bin").join(name);
    fs::create_dir_all(tree.join("usr/bin"))?;
    fs::copy(program, &binary).explain(format!("cannot copy {}", program.display()))?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    let configuration = format!("etc/edge-hive/{name}.toml");
    write(
        &tree.join(&configuration),
        &text(&format!("debian/{name}.toml"))?,
        0o644,
    )?;
    let unit = format!("lib/systemd/system/{name}.service");
    write(
        &tree.join(unit),
        &text(&format!("systemd/{name}.service"))?,
        0o644,
    )?;
    let documents = tree.join("usr/share/doc").join(name);
    write(&documents.join("copyright"), &text("debian/copyright")?, 0o644)?;
    write(
        &documents.join("sbom.cdx.json"),
        &format!("{:#}\n", sbom::document(name)?),
        0o644,
    )?;
    write(
        &tree.join("DEBIAN/conffiles"),
        &format!("/{configuration}\n"),
        0o644,
    )?;
    for script in ["postinst", "prerm", "postrm"] {
        let content = text(&format!("debian/{name}.{script}"))?;
        write(&tree.join("DEBIAN").join(script), &content, 0o755)?;
    }
    let log = documents.join("changelog.gz");
    let mut gzip = shell::command("sh");
    shell::read(gzip.args(["-c", "gzip -9nc CHANGELOG.md > \"$0\""]).arg(&log))?;
    fs::set_permissions(&log, fs::Permissions::from_mode(0o644))?;
    let mut sums = shell::command("sh");
    sums.current_dir(tree).args([
        "-c",
        "find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\\n' | LC_ALL=C sort | xargs md5sum > DEBIAN/md5sums",
    ]);
    shell::read(&mut sums)?;
    fs::set_permissions(tree.join("DEBIAN/md5sums"), fs::Permissions::from_mode(0o644))?;
    folders_are_readable(tree)
}

fn write(path: &Path, content: &str, mode: u32) -> Outcome<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content).explain(format!("cannot write {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Whatever the umask of whoever packs.
fn folders_are_readable(folder: &Path) -> Outcome<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders_are_readable(&path)?;
        }
    }
    Ok(())
}
