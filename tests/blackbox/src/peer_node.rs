//! Nodes of a fleet that speak to each other as peers.

use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::fleet::{Node, START, UNLIMITED_NODE, free_port};
use xtask::http::{Answer, Request};
use xtask::journey;
use xtask::program::Program;

use crate::Fleet;
use crate::enrolled::{bare_node, enroll, invite};

/// How long a test waits before it says that something does not happen: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// How a node listens for peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listens {
    /// On a loopback port, with Noise and yamux.
    Tcp,
    /// On a loopback port of UDP.
    Quic,
    /// On no port: it is reached through a relay if at all.
    Nowhere,
}

impl Listens {
    fn at(self, port: u16) -> Option<String> {
        match self {
            Self::Tcp => Some(format!("/ip4/127.0.0.1/tcp/{port}")),
            Self::Quic => Some(format!("/ip4/127.0.0.1/udp/{port}/quic-v1")),
            Self::Nowhere => None,
        }
    }
}

/// An enrolled node with a port for peers.
pub struct PeerNode {
    /// Its folder, address and command line.
    pub node: Node,
    /// Its port for peers.
    pub p2p_port: u16,
    /// What kind of port that is.
    pub listens: Listens,
    /// Its libp2p name.
    pub peer_id: String,
    /// Its name for people.
    pub node_id: String,
    program: Option<Program>,
}

impl PeerNode {
    /// Enrols a node that listens for peers on a loopback port and is told of these others; `more` is TOML within `[p2p]`.
    ///
    /// # Panics
    /// When it does not enrol.
    #[must_use]
    pub fn enrol(fleet: &Fleet, others: &[&Self], more: &str) -> Self {
        let others: Vec<String> = others.iter().map(|other| other.address()).collect();
        Self::enrol_as(fleet, Listens::Tcp, &others, more)
    }

    /// The same for a node that listens in another way, with the addresses of others.
    ///
    /// # Panics
    /// When it does not enrol.
    #[must_use]
    pub fn enrol_as(fleet: &Fleet, listens: Listens, others: &[String], more: &str) -> Self {
        let node = bare_node(fleet);
        let code = invite(fleet, &["--resource", &node.url(), "--name", &fleet.fresh_name()]);
        let output = enroll(fleet, &node, &code, &["--json"]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let p2p_port = free_port().unwrap();
        let listen: Vec<String> = listens.at(p2p_port).into_iter().collect();
        let mut config = std::fs::read_to_string(node.config()).unwrap();
        config.push_str(&format!(
            "\n[p2p]\nenabled = true\nlisten = {listen:?}\npeers = {others:?}\n{more}\n{UNLIMITED_NODE}"
        ));
        std::fs::write(node.config(), config).unwrap();
        Self {
            node,
            p2p_port,
            listens,
            peer_id: report["peer_id"].as_str().unwrap().to_owned(),
            node_id: report["node_id"].as_str().unwrap().to_owned(),
            program: None,
        }
    }

    /// The same, and running.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(fleet: &Fleet, others: &[&Self], more: &str) -> Self {
        let others: Vec<String> = others.iter().map(|other| other.address()).collect();
        Self::start_as(fleet, Listens::Tcp, &others, more)
    }

    /// [`Self::enrol_as`], and running.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_as(fleet: &Fleet, listens: Listens, others: &[String], more: &str) -> Self {
        let mut node = Self::enrol_as(fleet, listens, others, more);
        node.serve();
        node.wait_ready();
        node
    }

    /// Starts the program, ready or not.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn serve(&mut self) {
        self.program = Some(self.node.serve().unwrap());
    }

    /// Waits until it can judge tokens.
    ///
    /// # Panics
    /// When it cannot in time.
    pub fn wait_ready(&mut self) {
        let ready = format!("http://localhost:{}/readyz", self.node.port);
        let program = self.program.as_mut().unwrap();
        program.wait_ready(&ready, START).unwrap();
    }

    /// Ends the program at once, as a loss of power would.
    pub fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill();
        }
    }

    /// The program's process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.program.as_ref().unwrap().id()
    }

    /// Where it is reached as a peer.
    ///
    /// # Panics
    /// When it listens nowhere.
    #[must_use]
    pub fn address(&self) -> String {
        let place = self.listens.at(self.p2p_port).unwrap();
        format!("{place}/p2p/{}", self.peer_id)
    }

    /// Its row of another node, as its command line tells it; null when there is none.
    ///
    /// # Panics
    /// When the command fails.
    #[must_use]
    pub fn peer(&self, peer_id: &str) -> Value {
        let mut command = self.node.command(&["discovery", "peers"]);
        let text = xtask::shell::read(command.arg("--json")).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        let row = rows.into_iter().find(|row| row["peer_id"] == peer_id);
        row.unwrap_or_default()
    }

    /// Has it connect to another node, with its command line; returns what that says.
    ///
    /// # Errors
    /// What the command complains of.
    pub fn connect(&self, peer_id: &str) -> Result<String, String> {
        let mut command = self.node.command(&["peers", "connect", peer_id]);
        xtask::shell::read(&mut command).map_err(|fault| fault.to_string())
    }

    /// The memory that it has now, in bytes (`VmRSS` of proc_pid_status(5)).
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// How many files and sockets it has open.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id()))
            .unwrap()
            .count()
    }

    /// Ends the program as an operator would.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            assert!(program.terminate(START).unwrap().success());
        }
    }

    /// Calls `get_status`.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn call(&self, token: &str) -> Answer {
        journey::tool_call(
            &self.node.url(),
            "get_status",
            &serde_json::json!({}),
            Some(token),
        )
        .unwrap()
    }

    /// A number among its metrics; 0 when it is not there. `line` is what the line begins with.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn metric(&self, line: &str) -> f64 {
        let url = format!("http://localhost:{}/metrics", self.node.port);
        let text = Request::new("GET", &url).unwrap().send().unwrap().text();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.map_or(0.0, |number| number.trim().parse().unwrap())
    }

    /// How many peers have proven themselves to it.
    #[must_use]
    pub fn proven(&self) -> f64 {
        self.metric("edge_hive_node_p2p_peers ")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.node.log()).unwrap_or_default()
    }
}

impl Drop for PeerNode {
    /// Shows the end of the log of a failed test.
    #[expect(
        clippy::print_stderr,
        reason = "the logs of a failed test belong under its message"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(30)..].join("\n");
            eprintln!("--- the end of the log of {}\n{last}\n---", self.node_id);
        }
    }
}

/// Waits until something is so; returns how long that took.
///
/// # Panics
/// When it is not within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}
