//! `cargo xtask sbom`: what a program is made of, as CycloneDX 1.6. The same sources give the same document: it has no
//! time and no number of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use xtask::shell::{self, say};
use xtask::{Explain, Outcome};

#[derive(Args)]
pub(crate) struct Options {
    /// The program: authz-server or mcp-node
    program: String,
    /// Write it to this file instead of printing it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A crate that is linked into a program.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let document = format!("{:#}\n", document(&options.program)?);
    match &options.output {
        Some(path) => std::fs::write(path, document).explain(format!("cannot write {}", path.display())),
        None => {
            say(document.trim_end());
            Ok(())
        }
    }
}

/// The document of one program, as it is built for release.
pub(crate) fn document(program: &str) -> Outcome<Value> {
    let mut crates = linked(program, "normal")?;
    // Crates that carry the source of a C library, OpenSSL's, are dependencies of build scripts only.
    let sources = linked(program, "normal,build")?;
    crates.extend(sources.into_iter().filter(|one| one.name.ends_with("-src")));
    let lock =
        std::fs::read_to_string(shell::workspace().join("Cargo.lock")).explain("cannot read Cargo.lock")?;
    let checksums = checksums(&lock);
    let is_program = |one: &&Crate| one.name == program;
    let itself = crates.iter().find(is_program).explain("no such program")?;
    let components: Vec<Value> = crates
        .iter()
        .filter(|one| !is_program(one))
        .map(|one| {
            component(
                "library",
                one,
                checksums.get(&(&*one.name, &*one.version)).copied(),
            )
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component("application", itself, None)},
        "components": components,
    }))
}

fn component(kind: &str, one: &Crate, checksum: Option<&str>) -> Value {
    let mut component = json!({
        "type": kind,
        "name": one.name,
        "version": one.version,
        "purl": format!("pkg:cargo/{}@{}", one.name, one.version),
        // Some crates still write a stroke for "or", which SPDX does not know.
        "licenses": [{"expression": one.licence.replace('/', " OR ")}],
    });
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// What `cargo tree` names for this machine, each once.
fn linked(program: &str, edges: &str) -> Outcome<BTreeSet<Crate>> {
    let mut cargo = shell::cargo();
    cargo.args([
        "tree",
        "--locked",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}\t{l}",
    ]);
    cargo.args(["--package", program, "--edges", edges]);
    if program == "authz-server" {
        cargo.args(["--features", "vendored-openssl"]);
    }
    Ok(shell::read(&mut cargo)?.lines().filter_map(read).collect())
}

/// `name v1.2.3 (/path)`, a tabulator, and the licence.
fn read(line: &str) -> Option<Crate> {
    let (package, licence) = line.split_once('\t')?;
    let mut words = package.split(' ');
    Some(Crate {
        name: words.next()?.to_owned(),
        version: words.next()?.strip_prefix('v')?.to_owned(),
        licence: licence.to_owned(),
    })
}

/// The checksums of a lock file by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let value = |block: &'_ str, key: &str| -> Option<(usize, usize)> {
        let start = block.find(&format!("\n{key} = \""))? + key.len() + 5;
        Some((start, start + block[start..].find('"')?))
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            let text = |key| value(block, key).map(|(start, end)| &block[start..end]);
            Some(((text("name")?, text("version")?), text("checksum")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_checksums_are_understood() {
        let one = read("ring v0.17.14\tApache-2.0 AND ISC").unwrap();
        assert_eq!((&*one.name, &*one.version), ("ring", "0.17.14"));
        let local = read("shared v0.1.0 (/src/shared)\tGPL-3.0-or-later").unwrap();
        assert_eq!((&*local.version, &*local.licence), ("0.1.0", "GPL-3.0-or-later"));
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n\n\
                    [[package]]\nname = \"b\"\nversion = \"2.0.0\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([(("a", "1.0.0"), "ab")]));
    }

    #[test]
    fn the_node_has_no_openssl_and_the_server_has_it_with_its_source() {
        let (server, node) = (document("authz-server").unwrap(), document("mcp-node").unwrap());
        let names = |document: &Value| -> Vec<String> {
            let components = document["components"].as_array().unwrap();
            components
                .iter()
                .map(|one| one["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let components = node["components"].as_array().unwrap();
        let ring = components.iter().find(|one| one["name"] == "ring").unwrap();
        assert_eq!(ring["hashes"][0]["content"].as_str().unwrap().len(), 64);
        let (server, node) = (names(&server), names(&node));
        let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
        assert!(has(&server, "openssl-src") && has(&server, "sqlx") && has(&node, "libp2p"));
        assert!(!has(&node, "openssl-sys") && !has(&node, "wiremock") && !has(&server, "tempfile"));
    }
}
