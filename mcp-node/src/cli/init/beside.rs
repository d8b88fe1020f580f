//! What `mcp-node init` writes beside the configuration, so that the node starts with the machine: an example of
//! variables, a systemd unit and a compose file.

use std::path::{Path, PathBuf};

/// Where the node is, and as whom it runs.
pub(super) struct Place {
    /// The configuration file, from the root.
    pub(super) config: PathBuf,
    /// This program, from the root.
    pub(super) program: PathBuf,
    /// User and group of the configuration file.
    pub(super) owner: (u32, u32),
    /// Whether the node starts programs of others.
    pub(super) starts_programs: bool,
}

/// One file: its name, and its text.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) text: String,
}

impl Place {
    /// The folder of the configuration, which is the node's working folder.
    pub(super) fn folder(&self) -> &Path {
        self.config.parent().unwrap_or(Path::new("/"))
    }

    /// Every file. The image has no program but the node, so a node that starts others gets no compose file.
    pub(super) fn files(&self) -> Vec<Written> {
        let file = |name: &str, text: String| Written {
            name: name.to_owned(),
            text,
        };
        let mut files = vec![
            file(".env.example", environment()),
            file("mcp-node.service", self.unit()),
        ];
        if !self.starts_programs {
            files.push(file("compose.yaml", self.compose()));
        }
        files
    }

    fn unit(&self) -> String {
        let folder = self.folder();
        let (program, config) = (word(&self.program), word(&self.config));
        let data = word(&folder.join("data"));
        let (user, group) = self.owner;
        // Node.js, Java and others compile as they run.
        let compiles = if self.starts_programs { "no" } else { "yes" };
        let folder = specifiers(&folder.display().to_string());
        format!(
            "# Started with the machine by: systemctl enable --now \"$PWD/mcp-node.service\"\n\
             [Unit]\nDescription=Edge Hive node\nAfter=network-online.target\nWants=network-online.target\n\n\
             [Service]\nType=exec\nUser={user}\nGroup={group}\nExecStart={program} serve --config {config}\n\
             ExecReload=/bin/kill -HUP $MAINPID\nWorkingDirectory={folder}\nEnvironmentFile=-{folder}/.env\n\
             Restart=on-failure\nRestartSec=2\nUMask=0077\nLimitNOFILE=65536\n\n\
             NoNewPrivileges=yes\nCapabilityBoundingSet=\nProtectSystem=strict\nProtectHome=read-only\n\
             ReadWritePaths={data}\nProtectProc=invisible\nProtectClock=yes\nProtectControlGroups=yes\n\
             ProtectHostname=yes\nProtectKernelLogs=yes\nProtectKernelModules=yes\nProtectKernelTunables=yes\n\
             PrivateDevices=yes\nRemoveIPC=yes\nLockPersonality=yes\nMemoryDenyWriteExecute={compiles}\n\
             RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\nRestrictNamespaces=yes\n\
             RestrictRealtime=yes\nRestrictSUIDSGID=yes\nSystemCallArchitectures=native\n\
             SystemCallErrorNumber=EPERM\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        )
    }

    fn compose(&self) -> String {
        let (user, group) = self.owner;
        let config = self.config.file_name().unwrap_or_default().display();
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "# The node in a container: docker compose up --detach\n\
             services:\n  mcp-node:\n    image: edge-hive/mcp-node:{version}\n\
             \x20   # It listens where the configuration says, on this machine's own addresses.\n\
             \x20   network_mode: host\n    user: \"{user}:{group}\"\n    restart: unless-stopped\n\
             \x20   read_only: true\n    cap_drop: [ALL]\n    security_opt: [\"no-new-privileges:true\"]\n\
             \x20   # Those that are set in .env or in the shell.\n    environment:\n{}\
             \x20   volumes:\n      - \"./{config}:/mcp-node.toml:ro\"\n      - \"./data:/data\"\n",
            VARIABLES.map(|(name, _)| format!("      - {name}\n")).concat()
        )
    }
}

/// What is often set so, and an example of it.
const VARIABLES: [(&str, &str); 5] = [
    ("RUST_LOG", "info"),
    ("EDGE_HIVE_NODE_NAME", "north"),
    ("EDGE_HIVE_OAUTH2_ISSUER", "https://auth.example"),
    ("EDGE_HIVE_SERVER__LISTEN", "127.0.0.1:8080"),
    ("EDGE_HIVE_SERVER__RESOURCE", "https://north.example/mcp"),
];

fn environment() -> String {
    format!(
        "# Copied to .env, this is read by mcp-node.service and compose.yaml. A variable outweighs the configuration\n\
         # file: EDGE_HIVE_, the section, two underscores, the key. Secrets are never values, always paths.\n{}",
        VARIABLES
            .map(|(name, example)| format!("#{name}={example}\n"))
            .concat()
    )
}

/// One word of a line of systemd, whatever is in it (systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting").
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
    format!("\"{}\"", specifiers(&quoted))
}

/// A percent sign begins a specifier (systemd.unit(5)).
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &str, starts_programs: bool) -> Place {
        Place {
            config: Path::new(folder).join("mcp-node.toml"),
            program: PathBuf::from("/usr/bin/mcp-node"),
            owner: (1000, 100),
            starts_programs,
        }
    }

    fn text(place: &Place, name: &str) -> Option<String> {
        let files = place.files();
        files
            .into_iter()
            .find(|file| file.name == name)
            .map(|file| file.text)
    }

    #[test]
    fn a_unit_names_the_places_whatever_is_in_them() {
        let unit = text(&place("/srv/my 100% \"node\"", false), "mcp-node.service").unwrap();
        for line in [
            "ExecStart=/usr/bin/mcp-node serve --config \"/srv/my 100%% \\\"node\\\"/mcp-node.toml\"",
            "WorkingDirectory=/srv/my 100%% \"node\"",
            "ReadWritePaths=\"/srv/my 100%% \\\"node\\\"/data\"",
            "User=1000",
            "MemoryDenyWriteExecute=yes",
        ] {
            assert!(unit.lines().any(|known| known == line), "{line}\n{unit}");
        }
        assert!(!unit.contains("\n "), "{unit}");
    }

    #[test]
    fn a_node_that_starts_programs_may_let_them_compile_and_gets_no_image() {
        let place = place("/srv/node", true);
        assert!(
            text(&place, "mcp-node.service")
                .unwrap()
                .contains("MemoryDenyWriteExecute=no")
        );
        assert!(text(&place, "compose.yaml").is_none());
    }

    #[test]
    fn a_container_gets_the_files_and_the_variables_of_the_example() {
        let place = place("/srv/node", false);
        let compose = text(&place, "compose.yaml").unwrap();
        assert!(compose.contains("\n    user: \"1000:100\"\n"), "{compose}");
        assert!(
            compose.contains("\n      - \"./mcp-node.toml:/mcp-node.toml:ro\"\n"),
            "{compose}"
        );
        let example = text(&place, ".env.example").unwrap();
        for (name, _) in VARIABLES {
            assert!(compose.contains(&format!("\n      - {name}\n")), "{compose}");
            assert!(example.contains(&format!("\n#{name}=")), "{example}");
        }
    }
}
