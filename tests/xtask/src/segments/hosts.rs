//! The fleet on its hosts, and what an operator and a caller do there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::fleet::{AuthzServer, Credentials, Node};
use xtask::program::Program;
use xtask::shell;
use xtask::{Explain, Fault, Outcome};

use super::network::Network;
use super::{BUDGET, COMPLETE, NODES, SERVER_SEGMENT};

/// Nodes are looked at this often.
const GLANCE: Duration = Duration::from_millis(300);

/// A node with its host.
pub(super) struct Member {
    pub(super) host: &'static str,
    address: String,
    node: Node,
    program: Option<Program>,
}

/// All of it.
pub(super) struct Fleet {
    pub(super) network: Network,
    pub(super) server: AuthzServer,
    _server: Program,
    client: Credentials,
    /// The server's authority.
    pub(super) ca: PathBuf,
    pub(super) members: Vec<Member>,
    _folder: Folder,
}

/// A folder that ends with this value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Fleet {
    /// Starts everything.
    pub(super) fn start(authz_server: PathBuf, mcp_node: &Path) -> Outcome<Self> {
        let folder = std::env::temp_dir().join(format!("edge-hive-fleet-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let folder = Folder(folder);
        let mut network = Network::new(3)?;
        let address = network.host("as", SERVER_SEGMENT)?;
        let mut server = AuthzServer::new(authz_server, &folder.0.join("as"), 9443);
        server.issuer = format!("https://{address}:9443");
        server.write_config()?;
        let config = std::fs::read_to_string(server.config())?;
        let listen = config
            .lines()
            .find(|line| line.starts_with("listen"))
            .explain("no listen line")?;
        let config = config.replace(listen, &format!("listen = [\"{address}:9443\"]"));
        std::fs::write(
            server.config(),
            format!(
                "{config}\n[tls]\nmode = \"self-signed\"\n{}",
                xtask::fleet::UNLIMITED_SERVER
            ),
        )?;
        let mut command = server.command(&["serve"]);
        command = network.on("as", &command);
        let running = Program::start("authz-server", command, &server.log())?;
        let ca = server.folder.join("tls/ca.pem");
        let mut fleet = Self {
            client: Credentials {
                id: String::new(),
                secret: String::new(),
            },
            ca,
            members: Vec::new(),
            network,
            server,
            _server: running,
            _folder: folder,
        };
        let ready = format!("{}/readyz", fleet.server.issuer);
        fleet.within(COMPLETE, "the server is ready", |fleet| {
            Ok(fleet.ask("as", (&fleet.ca, &ready), None, None)?.0 == 200)
        })?;
        for (host, segment) in NODES {
            let member = fleet.enrol(host, segment, mcp_node)?;
            fleet.members.push(member);
        }
        let scopes = "mcp:read mcp:call fleet:read";
        fleet.client = fleet.server.create_client("agent", &["--scopes", scopes])?;
        Ok(fleet)
    }

    /// A node with an invite and a name for the server, a port for peers and another for callers.
    fn enrol(&mut self, host: &'static str, segment: u8, program: &Path) -> Outcome<Member> {
        let address = self.network.host(host, segment)?;
        let mut node = Node::new(
            program.into(),
            &self._folder.0.join(host),
            8443,
            &self.server.issuer,
        );
        node.name = host.into();
        std::fs::create_dir_all(&node.folder)?;
        let resource = format!("https://{address}:8443/mcp");
        let folder = node.folder.display();
        let mut config = format!(
            "[server]\nlisten = [\"{address}:8443\"]\nresource = \"{resource}\"\n\n[tls]\nmode = \"self-signed\"\n\n\
             [node]\nname = \"{host}\"\ndata_dir = \"{folder}\"\n\n[offline]\nrevocation = \"{}s\"\n\n\
             [discovery]\nenabled = true\n\n[p2p]\nenabled = true\nlisten = [\"/ip4/0.0.0.0/tcp/4001\"]\n\
             dial = [\"10.77.0.0/16\"]\n{}",
            BUDGET.as_secs(),
            xtask::fleet::UNLIMITED_NODE
        );
        let _ = write!(
            config,
            "\n[[issuer]]\nurl = \"{}\"\nkind = \"edge-hive\"\nca_file = {:?}\n",
            self.server.issuer,
            self.ca.display().to_string()
        );
        std::fs::write(node.config(), config)?;
        let made = self
            .server
            .json(&["node", "invite", "--resource", &resource, "--name", host])?;
        let code = made["invite"].as_str().explain("no invite")?.to_owned();
        let ca = self.ca.display().to_string();
        let line = [
            "enroll",
            "--issuer",
            &self.server.issuer,
            "--invite",
            &code,
            "--ca-file",
            &ca,
        ];
        shell::read(&mut self.network.on(host, &node.command(&line)))?;
        let program = Program::start(
            "mcp-node",
            self.network.on(host, &node.command(&["serve"])),
            &node.log(),
        )?;
        Ok(Member {
            host,
            address,
            node,
            program: Some(program),
        })
    }

    /// What a node says of others; nothing while it cannot be asked.
    pub(super) fn peers(&self, member: &Member, command: &str) -> Outcome<Vec<Value>> {
        let words = match command {
            "discovery" => ["discovery", "peers"],
            _ => ["peers", "list"],
        };
        let mut line = self.network.on(member.host, &member.node.command(&words));
        let url = format!("https://{}:8443", member.address);
        let output = shell::output(line.args(["--json", "--url", &url]))?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// With how many others a node is connected.
    pub(super) fn connected(&self, member: &Member) -> Outcome<usize> {
        let peers = self.peers(member, "peers")?;
        Ok(peers.iter().filter(|row| row["state"] == "connected").count())
    }

    /// A token of the client for a node, asked for on a host.
    pub(super) fn token(&self, host: &str, member: &Member) -> Outcome<String> {
        let url = format!("{}/oauth/token", self.server.issuer);
        let form = format!(
            "grant_type=client_credentials&resource=https://{}:8443/mcp",
            member.address
        );
        let (status, body) = self.ask(host, (&self.ca, &url), None, Some(&form))?;
        expect(status, 200)?;
        let answer: Value = serde_json::from_str(&body)?;
        Ok(answer["access_token"]
            .as_str()
            .explain("no token in the answer")?
            .to_owned())
    }

    /// The status of a tool call of a node, made on a host.
    pub(super) fn call(&self, host: &str, member: &Member, token: &str) -> Outcome<u16> {
        let url = format!("https://{}:8443/mcp/tools/call", member.address);
        let ca = member.node.folder.join("tls/ca.pem");
        let (status, _) = self.ask(host, (&ca, &url), Some(token), Some("{\"name\":\"get_status\"}"))?;
        Ok(status)
    }

    /// Asks with curl on a host; status 0 when nobody answers. A token is for nodes, whose bodies are JSON; forms are from
    /// the client.
    pub(super) fn ask(
        &self,
        host: &str,
        (ca, url): (&Path, &str),
        token: Option<&str>,
        body: Option<&str>,
    ) -> Outcome<(u16, String)> {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--max-time", "5", "-w", "\n%{http_code}", "--cacert"])
            .arg(ca);
        match (token, body) {
            (Some(token), Some(body)) => {
                curl.args(["-H", &format!("Authorization: Bearer {token}")]);
                curl.args(["-H", "Content-Type: application/json", "--data-binary", body]);
            }
            (None, Some(body)) => {
                curl.args([
                    "-u",
                    &format!("{}:{}", self.client.id, self.client.secret),
                    "-d",
                    body,
                ]);
            }
            _ => {}
        }
        let output = shell::output(&mut self.network.on(host, curl.arg(url)))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        Ok((status.parse().unwrap_or(0), body.to_owned()))
    }

    /// Waits until something is so.
    pub(super) fn within(
        &self,
        time: Duration,
        what: &str,
        is_so: impl Fn(&Self) -> Outcome<bool>,
    ) -> Outcome<()> {
        let start = Instant::now();
        while !is_so(self)? {
            if start.elapsed() > time {
                return Err(Fault::new(format!(
                    "not within {} s: {what}\n{}",
                    time.as_secs(),
                    self.logs()
                )));
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// The end of each log.
    fn logs(&self) -> String {
        let logs = self.members.iter().map(|member| (member.host, member.node.log()));
        let mut all = String::new();
        for (host, file) in logs.chain([("as", self.server.log())]) {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let end = lines[lines.len().saturating_sub(12)..].join("\n");
            let _ = write!(all, "--- {host}\n{end}\n");
        }
        all
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // `ip netns exec` becomes the program, so this ends the program itself.
        if let Some(mut program) = self.program.take() {
            program.terminate(Duration::from_secs(5)).ok();
        }
    }
}

/// Compares statuses.
pub(super) fn expect(status: u16, wanted: u16) -> Outcome<()> {
    if status == wanted {
        return Ok(());
    }
    Err(Fault::new(format!("the answer was {status}, not {wanted}")))
}
