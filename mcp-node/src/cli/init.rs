//! `mcp-node init`: a configuration file that works.

mod upstream;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Failure, print};
use crate::config::{DEFAULT_FILE, NodeConfig};

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
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(file: Option<PathBuf>, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let path = file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let content = write(arguments)?;
    store(&path, &content, arguments.force).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => format!("{} is there already; --force replaces it", path.display()),
        _ => format!("cannot write {}: {e}", path.display()),
    })?;
    let shown = path.display().to_string();
    print(false, &shown, || {
        format!("wrote {shown}; start the node with: mcp-node serve --config {shown}")
    })?;
    Ok(ExitCode::SUCCESS)
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
    use crate::config::UpstreamTransport;

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
        run(Some(path.clone()), &arguments(false)).unwrap();
        let config = NodeConfig::from_text(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(config.name.as_deref(), Some("north \"1\""));
        assert_eq!(config.listen, ["127.0.0.1:8081".parse().unwrap()]);
        assert_eq!(config.issuers[0].issuer.as_str(), "https://as.example");

        std::fs::write(&path, "mine").unwrap();
        let refused = run(Some(path.clone()), &arguments(false)).unwrap_err().0;
        assert!(refused.contains("--force"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        run(Some(path.clone()), &arguments(true)).unwrap();
        assert_ne!(std::fs::read_to_string(&path).unwrap(), "mine");
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
            run(Some(path.clone()), &bad)
                .unwrap_err()
                .0
                .contains("issuer.0.url")
        );
        assert!(!path.exists());
    }
}
