//! `cargo xtask release`: version, packages, notes, checksums, tag. What is published is published by hand.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome};

use crate::{packages, program_files, sbom};

/// What says the version: the workspace, and the images of the manifests.
const MANIFEST: &str = "Cargo.toml";
const IMAGES: [&str; 2] = [
    "compose/kubernetes/authz-server.yaml",
    "compose/kubernetes/mcp-node.yaml",
];
const CHANGELOG: &str = "CHANGELOG.md";

#[derive(Args)]
pub(crate) struct Options {
    /// The new version: 1.2.3
    version: String,
    /// Only pack what is there, at the version that it has: no change, no commit, no tag
    #[arg(long)]
    dry_run: bool,
    /// A folder with both programs, built already; for trying this command
    #[arg(long, value_name = "FOLDER", requires = "dry_run")]
    programs: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let version = &*options.version;
    if !is_version(version) {
        return Err(Fault::new(format!("{version}: a version is written like 1.2.3")));
    }
    let tag = format!("v{version}");
    if options.dry_run {
        return pack(version, options.programs.clone());
    }
    check_tree(&tag)?;
    let log = fs::read_to_string(shell::workspace().join(CHANGELOG)).explain(CHANGELOG)?;
    notes(&log, "Unreleased")
        .explain("CHANGELOG.md has nothing under \"Unreleased\": write what is new first")?;
    let before = shell::read(shell::command("git").args(["rev-parse", "HEAD"]))?;
    release(version, &tag).inspect_err(|_| {
        // Nothing is left of one that failed; the tree had no changes.
        let undone = shell::run(shell::command("git").args(["reset", "--hard", "--quiet", before.trim()]));
        if let Err(fault) = undone {
            say(format!("The version and its commit are still there: {fault}"));
        }
    })?;
    let branch = shell::read(shell::command("git").args(["rev-parse", "--abbrev-ref", "HEAD"]))?;
    say(format!(
        "Tagged {tag}. To publish it: git push --atomic origin {} {tag}",
        branch.trim()
    ));
    Ok(())
}

/// The commit comes before the packages: they carry its time, so that whoever builds the tag gets the same.
fn release(version: &str, tag: &str) -> Outcome<()> {
    set_version(version)?;
    let mut commit = shell::command("git");
    commit.args(["commit", "--quiet", "--all", "-m"]);
    shell::run(commit.arg(format!("Release {version}")))?;
    // This very program was built with the former version, which it would write on the packages.
    let mut again = shell::cargo();
    shell::run(again.args(["xtask", "release", version, "--dry-run"]))?;
    let mut annotate = shell::command("git");
    annotate.args(["tag", "--annotate", tag, "--cleanup=whitespace", "--file"]);
    shell::run(annotate.arg(folder(version)?.join("NOTES.md")))
}

fn folder(version: &str) -> Outcome<PathBuf> {
    Ok(program_files::target_folder()?.join(format!("release-{version}")))
}

/// Everything that a release has, in one folder.
fn pack(version: &str, named: Option<PathBuf>) -> Outcome<()> {
    let programs = packages::programs(named)?;
    for (name, ..) in packages::PROGRAMS {
        is_of_version(&programs.join(name), version)?;
    }
    let output = folder(version)?;
    if output.exists() {
        fs::remove_dir_all(&output)?;
    }
    fs::create_dir_all(&output)?;
    packages::make_all(&programs, &output)?;
    for (name, ..) in packages::PROGRAMS {
        let sbom = format!("{:#}\n", sbom::document(name)?);
        fs::write(output.join(format!("{name}-{version}.cdx.json")), sbom)?;
        let archive = output.join(format!("{name}-{version}-{}.tar.gz", std::env::consts::ARCH));
        let mut tar = shell::command("tar");
        tar.args([
            "--create",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ]);
        tar.arg(format!("--mtime=@{}", packages::commit_time()?));
        tar.args(["--use-compress-program=gzip -9n", "--file"])
            .arg(archive);
        tar.arg("--directory").arg(&programs).arg(name);
        tar.arg("--directory").arg(shell::workspace()).arg("LICENSE");
        shell::run(&mut tar)?;
    }
    let log = fs::read_to_string(shell::workspace().join(CHANGELOG)).unwrap_or_default();
    let notes = notes(&log, version).or_else(|| notes(&log, "Unreleased"));
    fs::write(
        output.join("NOTES.md"),
        notes.unwrap_or_else(|| format!("Release {version}\n")),
    )?;
    let mut sums = shell::command("sh");
    sums.args([
        "-c",
        "sha256sum -- *.deb *.tar.gz *.json > SHA256SUMS && cat SHA256SUMS",
    ]);
    say(shell::read(sums.current_dir(&output))?);
    say(format!("Everything is in {}", output.display()));
    Ok(())
}

/// Whether a program says that it is of this version, which is the one that its package will have.
fn is_of_version(program: &Path, version: &str) -> Outcome<()> {
    let said = shell::read(shell::command(program).arg("--version"))?;
    match said.split_whitespace().last() {
        Some(said) if said == version && said == env!("CARGO_PKG_VERSION") => Ok(()),
        _ => Err(Fault::new(format!(
            "{} says {:?}, the workspace {}, and the release is to be {version}",
            program.display(),
            said.trim(),
            env!("CARGO_PKG_VERSION")
        ))),
    }
}

fn check_tree(tag: &str) -> Outcome<()> {
    let changed = shell::read(shell::command("git").args(["status", "--porcelain"]))?;
    if !changed.is_empty() {
        return Err(Fault::new(format!(
            "there are changes that are in no commit:\n{changed}"
        )));
    }
    let known = shell::read(shell::command("git").args(["tag", "--list", tag]))?;
    if !known.is_empty() {
        return Err(Fault::new(format!("{tag} is there already")));
    }
    Ok(())
}

/// Writes the version wherever it stands.
fn set_version(version: &str) -> Outcome<()> {
    let edit = |path: &str, change: &dyn Fn(&str) -> Option<String>| -> Outcome<()> {
        let path: &Path = &shell::workspace().join(path);
        let text = fs::read_to_string(path).explain(format!("cannot read {}", path.display()))?;
        let text = change(&text).explain(format!("{} has no place for the version", path.display()))?;
        fs::write(path, text).explain(format!("cannot write {}", path.display()))
    };
    edit(MANIFEST, &|text| {
        with_version(text, "[workspace.package]\nversion = \"", '"', version)
    })?;
    for path in IMAGES {
        let name = path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".yaml");
        edit(path, &|text| {
            with_version(text, &format!("image: edge-hive/{name}:"), '\n', version)
        })?;
    }
    let today = shell::read(shell::command("date").args(["--utc", "+%F"]))?;
    edit(CHANGELOG, &|text| with_heading(text, version, today.trim()))?;
    shell::run(shell::cargo().args(["update", "--workspace", "--offline"]))
}

/// The text with `version` between `before` and `after`.
fn with_version(text: &str, before: &str, after: char, version: &str) -> Option<String> {
    let start = text.find(before)? + before.len();
    let end = start + text[start..].find(after)?;
    Some(format!("{}{version}{}", &text[..start], &text[end..]))
}

/// The changelog with what was not released yet below a heading of its own.
fn with_heading(log: &str, version: &str, day: &str) -> Option<String> {
    let start = log.find("## Unreleased")?;
    let end = start + log[start..].find('\n')?;
    Some(format!(
        "{}## Unreleased\n\n## {version} - {day}{}",
        &log[..start],
        &log[end..]
    ))
}

/// What a changelog says of a version: the lines below its heading.
fn notes(log: &str, version: &str) -> Option<String> {
    let below = |line: &&str| {
        !line
            .strip_prefix("## ")
            .is_some_and(|heading| names(heading, version))
    };
    let mut lines = log.lines().skip_while(below);
    lines.next()?;
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
    let text = lines.join("\n").trim().to_owned();
    (!text.is_empty()).then(|| format!("{text}\n"))
}

/// Whether a heading is that of the version: `0.2.0`, `[0.2.0]`, `0.2.0 - 2026-12-01`.
fn names(heading: &str, version: &str) -> bool {
    let first = heading.split([' ', ']']).next().unwrap_or_default();
    first.trim_start_matches(['[', 'v']) == version
}

fn is_version(text: &str) -> bool {
    let is_number = |part: &str| part.parse::<u32>().is_ok_and(|number| number.to_string() == part);
    text.split('.').count() == 3 && text.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_three_numbers() {
        for (text, is) in [
            ("1.2.3", true),
            ("0.10.0", true),
            ("1.2", false),
            ("v1.2.3", false),
            ("1.02.3", false),
        ] {
            assert_eq!(is_version(text), is, "{text}");
        }
    }

    #[test]
    fn the_version_has_one_place_in_each_file() {
        let workspace = shell::workspace();
        let manifest = fs::read_to_string(workspace.join(MANIFEST)).unwrap();
        let changed = with_version(&manifest, "[workspace.package]\nversion = \"", '"', "9.8.7").unwrap();
        assert!(changed.contains("\nversion = \"9.8.7\"\n"));
        // What is there is this version: it was not forgotten.
        for path in IMAGES {
            let text = fs::read_to_string(workspace.join(path)).unwrap();
            assert!(
                text.contains(&format!("{}\n", env!("CARGO_PKG_VERSION"))),
                "{path}"
            );
        }
    }

    #[test]
    fn notes_are_what_stands_below_the_heading() {
        let log = "# Changes\n\n## Unreleased\n\n- new\n\n## [0.2.0] - 2026-12-01\n\n- two\n  more\n\n## 0.1.0\n- one\n";
        assert_eq!(notes(log, "0.2.0").as_deref(), Some("- two\n  more\n"));
        assert_eq!(notes(log, "0.1.0").as_deref(), Some("- one\n"));
        assert_eq!(notes(log, "Unreleased").as_deref(), Some("- new\n"));
        assert_eq!(notes(log, "0.3.0"), None);
        let released = with_heading(
            &log.replace("Unreleased", "Unreleased (soon)"),
            "0.3.0",
            "2026-12-24",
        )
        .unwrap();
        assert_eq!(notes(&released, "0.3.0").as_deref(), Some("- new\n"));
        assert_eq!(notes(&released, "Unreleased"), None);
    }
}
