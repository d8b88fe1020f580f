//! `mcp-node init`: a configuration file that works, and what starts the node with the machine.

mod beside;
mod upstream;

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Failure, print};
use crate::config::{DEFAULT_FILE, NodeConfig, UpstreamConfig, UpstreamTransport};

#[derive(Args)]
pub(super) struct Arguments {
    /// The authorization server whose tokens the node takes
    #[arg(long, value_name = "URL", default_value = "http://localhost:9000")]
    issuer: String,
    /// The node's own address, as clients type it and as tokens name it
    #[arg(long, value_name = "URL", default_value = "http://localhost:8080/mcp")]
    resource: String,
    /// A name for people [default: the node's id]
    #[arg(long)]
    name: Option<String>,
    /// An MCP server to put behind the node: a command line or a URL; may be repeated
    #[arg(long, value_name = "COMMAND | URL")]
    upstream: Vec<String>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    /// The configuration.
    config: String,
    /// Every file that was written.
    written: Vec<String>,
    /// Those that were there already, and stay as they are.
    kept: Vec<String>,
}

pub(super) fn run(file: Option<PathBuf>, arguments: &Arguments, json: bool) -> Result<ExitCode, Failure> {
    let path = file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let content = write(arguments)?;
    store(&path, &content, arguments.force).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => format!("{} is there already; --force replaces it", path.display()),
        _ => format!("cannot write {}: {e}", path.display()),
    })?;
    let place = place(&path, &content)?;
    let mut report = Report {
        config: path.display().to_string(),
        written: vec![path.display().to_string()],
        kept: Vec::new(),
    };
    make_private_folder(&place.folder().join("data"))?;
    for file in place.files() {
        let path = place.folder().join(&file.name);
        match store(&path, &file.text, arguments.force) {
            Ok(()) => report.written.push(file.name),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => report.kept.push(file.name),
            Err(e) => return Err(format!("cannot write {}: {e}", path.display()).into()),
        }
    }
    print(json, &report, || report.lines())?;
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn lines(&self) -> String {
        let mut text = format!("wrote {}\n", self.written.join(", "));
        if !self.kept.is_empty() {
            text.push_str(&format!("kept {}, there already\n", self.kept.join(", ")));
        }
        text.push_str(&format!(
            "start the node with: mcp-node serve --config {}",
            self.config
        ));
        text
    }
}

/// Where the node that `config` describes is, now that the file is there.
fn place(config: &Path, content: &str) -> Result<beside::Place, Failure> {
    let known = NodeConfig::from_text(content)?;
    let is_program = |upstream: &UpstreamConfig| matches!(upstream.transport, UpstreamTransport::Program(_));
    let metadata = std::fs::metadata(config)?;
    Ok(beside::Place {
        config: std::path::absolute(config)?,
        program: std::env::current_exe()?,
        owner: (metadata.uid(), metadata.gid()),
        starts_programs: known.upstreams.iter().any(is_program),
    })
}

/// The data folder, so that no container engine makes it for somebody else.
fn make_private_folder(path: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot create {}: {e}", path.display()).into())
        }
        _ => Ok(()),
    }
}

/// The file's text, which is known to be good before it is written.
fn write(arguments: &Arguments) -> Result<String, Failure> {
    let url: url::Url = arguments
        .resource
        .parse()
        .map_err(|e| format!("--resource {:?}: {e}", arguments.resource))?;
    let address = listen_address(&url);
    let name = arguments.name.as_ref().map_or_else(
        || "# name = \"…\"".to_owned(),
        |name| format!("name = {}", toml_text(name)),
    );
    let upstreams = upstream::tables(&arguments.upstream)?;
    let content = format!(
        "# The configuration of one Edge Hive node. `mcp-node config show` prints every key that is in force.\n\n\
         [server]\nlisten = [\"{address}\"]\n# What clients type, and what their tokens must name as audience.\n\
         resource = {}\n\n[node]\n{name}\ndata_dir = \"./data\"\n\n\
         # One table for each authorization server whose tokens are taken.\n[[issuer]]\nurl = {}\n\n\
         [limits]\nper_client = \"100/min\"\n{upstreams}",
        toml_text(&arguments.resource),
        toml_text(&arguments.issuer),
    );
    NodeConfig::from_text(&content)?;
    Ok(content)
}

/// Where a node listens whose address clients type like this.
pub(super) fn listen_address(resource: &url::Url) -> String {
    // Behind a proxy that ends TLS, the node itself listens on loopback.
    let port = if resource.scheme() == "http" {
        resource.port_or_known_default().unwrap_or(8080)
    } else {
        8080
    };
    match resource.host() {
        Some(url::Host::Ipv6(ip)) if ip.is_loopback() => format!("[::1]:{port}"),
        _ => format!("127.0.0.1:{port}"),
    }
}

fn store(path: &Path, content: &str, force: bool) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .create_new(!force)
        .open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// A TOML basic string; JSON's escapes are among TOML's.
pub(super) fn toml_text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(force: bool) -> Arguments {
        Arguments {
            issuer: "https://as.example".to_owned(),
            resource: "http://localhost:8081/mcp".to_owned(),
            name: Some("north \"1\"".to_owned()),
            upstream: Vec::new(),
            force,
        }
    }

    #[test]
    fn the_file_works_and_is_not_overwritten_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        run(Some(path.clone()), &arguments(false), false).unwrap();
        let config = NodeConfig::from_text(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(config.name.as_deref(), Some("north \"1\""));
        assert_eq!(config.listen, ["127.0.0.1:8081".parse().unwrap()]);
        assert_eq!(config.issuers[0].issuer.as_str(), "https://as.example");

        std::fs::write(&path, "mine").unwrap();
        let refused = run(Some(path.clone()), &arguments(false), false).unwrap_err().0;
        assert!(refused.contains("--force"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        run(Some(path.clone()), &arguments(true), false).unwrap();
        assert_ne!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn what_is_beside_it_already_stays_unless_it_is_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("compose.yaml"), "mine").unwrap();
        run(Some(at("node.toml")), &arguments(false), false).unwrap();
        assert_eq!(std::fs::read_to_string(at("compose.yaml")).unwrap(), "mine");
        assert!(at("mcp-node.service").is_file() && at(".env.example").is_file());
        assert_eq!(std::fs::metadata(at("data")).unwrap().mode() & 0o777, 0o700);
        run(Some(at("node.toml")), &arguments(true), false).unwrap();
        let compose = std::fs::read_to_string(at("compose.yaml")).unwrap();
        assert!(compose.contains("./node.toml:/mcp-node.toml:ro"), "{compose}");
    }

    #[test]
    fn servers_behind_the_node_are_named_after_themselves() {
        let text = write(&Arguments {
            upstream: vec![
                "npx -y @modelcontextprotocol/server-everything@2026.8.31".to_owned(),
                "uvx mcp-server-git --repository '/srv/my repo'".to_owned(),
                "https://mcp.example.com/mcp".to_owned(),
                "http://127.0.0.1:3001/mcp".to_owned(),
                "npx -y server-everything".to_owned(),
            ],
            ..arguments(false)
        })
        .unwrap();
        let config = NodeConfig::from_text(&text).unwrap();
        let names: Vec<_> = config.upstreams.iter().map(|upstream| &*upstream.name).collect();
        assert_eq!(
            names,
            ["everything", "git", "mcp-example-com", "upstream", "everything-2"]
        );
        let UpstreamTransport::Program(git) = &config.upstreams[1].transport else {
            panic!("{text}")
        };
        assert_eq!((&*git.command, &*git.args[2]), ("uvx", "/srv/my repo"));
        for bad in ["", "npx 'open", "ftp://x.example/"] {
            let refused = write(&Arguments {
                upstream: vec![bad.to_owned()],
                ..arguments(false)
            });
            assert!(refused.is_err(), "{bad}");
        }
    }

    #[test]
    fn it_listens_where_the_resource_says() {
        let text = write(&Arguments {
            resource: "http://[::1]:8082/mcp".to_owned(),
            ..arguments(false)
        });
        let config = NodeConfig::from_text(&text.unwrap()).unwrap();
        assert_eq!(config.listen, ["[::1]:8082".parse().unwrap()]);
    }

    #[test]
    fn what_would_not_start_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let bad = Arguments {
            issuer: "http://as.example".to_owned(),
            ..arguments(false)
        };
        assert!(
            run(Some(path.clone()), &bad, false)
                .unwrap_err()
                .0
                .contains("issuer.0.url")
        );
        assert!(!path.exists());
    }
}
