//! A node that trusts an issuer of our own, without any authorization server of ours.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::fleet::{Node, START, UNLIMITED_NODE, free_port};
use xtask::http::{Answer, Request};
use xtask::journey;
use xtask::program::Program;

use crate::fleet::built;
use crate::forge::{self, Key};
use crate::issuer::Issuer;

/// A node, the issuer it trusts, and that issuer's three keys.
pub struct LoneNode {
    /// The trusted issuer.
    pub issuer: Issuer,
    /// Its Ed25519 key, `ed`.
    pub ed: Key,
    /// Its P-256 key, `ec`.
    pub ec: Key,
    /// Its RSA key, `rsa`.
    pub rsa: Key,
    /// The node's folder, address and command line.
    pub node: Node,
    program: Mutex<Program>,
    _folder: TempDir,
}

impl LoneNode {
    /// The node that tests share as long as any of them runs. They may not change its issuer.
    ///
    /// # Panics
    /// When the node does not start.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static PLACE: Mutex<Weak<LoneNode>> = Mutex::new(Weak::new());
        let mut place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = place.upgrade() {
            return node;
        }
        let node = Arc::new(Self::start(""));
        *place = Arc::downgrade(&node);
        node
    }

    /// A node for one test; `more` is TOML inside its `[[issuer]]` table. There are no limits unless it has `[limits]`.
    ///
    /// # Panics
    /// When the node does not start.
    #[must_use]
    pub fn start(more: &str) -> Self {
        let (ed, ec, rsa) = (Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa"));
        let issuer = Issuer::start(forge::key_set(&[&ed, &ec, &rsa]));
        Self::start_with(issuer, (ed, ec, rsa), more)
    }

    /// A node in front of an issuer that is already there.
    ///
    /// # Panics
    /// When the node does not start.
    #[must_use]
    pub fn start_with(issuer: Issuer, keys: (Key, Key, Key), more: &str) -> Self {
        let table = table_of(&issuer, more);
        Self::start_table(issuer, keys, &table)
    }

    /// Writes another file for the node, from the next reload on: that of [`Self::start_with`].
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn rewrite(&mut self, more: &str) {
        self.node.extra = table_of(&self.issuer, more);
        self.node.write_config().unwrap();
    }

    /// A node in front of an issuer that is already there, with `[[issuer]]` tables of one's own.
    ///
    /// # Panics
    /// When the node does not start.
    #[must_use]
    pub fn start_table(issuer: Issuer, keys: (Key, Key, Key), table: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ed, ec, rsa) = keys;
        for attempt in 1..=4 {
            let node = describe(&folder, &issuer, table);
            node.write_config().unwrap();
            let mut program = node.serve().unwrap();
            // The liveness probe, not the readiness one: that is red while an issuer is down, which some tests want.
            match program.wait_ready(&format!("http://localhost:{}/healthz", node.port), START) {
                Ok(()) => {
                    return Self {
                        issuer,
                        ed,
                        ec,
                        rsa,
                        node,
                        program: Mutex::new(program),
                        _folder: folder,
                    };
                }
                Err(fault) if attempt == 4 || !fault.to_string().contains("in use") => panic!("{fault}"),
                Err(_) => {}
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    /// Good claims for this node.
    #[must_use]
    pub fn claims(&self) -> Value {
        forge::claims(&self.issuer.url, &self.node.url())
    }

    /// A good token of the Ed25519 key.
    #[must_use]
    pub fn good_token(&self) -> String {
        self.ed.token(&self.claims())
    }

    /// Calls `get_status` with a token.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn call(&self, token: &str) -> Answer {
        journey::tool_call(&self.node.url(), "get_status", &json!({}), Some(token)).unwrap()
    }

    /// What `token explain` says of a token: the check that failed, if one did, and the whole answer.
    ///
    /// # Panics
    /// When the command does not answer.
    #[must_use]
    pub fn explain(&self, token: &str) -> (Option<String>, Value) {
        let mut command = self.node.command(&["token", "explain", "--json"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(output.status.success(), answer["accepted"] == true, "{answer}");
        assert!(!answer.to_string().contains(token), "the token is shown");
        let mut steps = answer["steps"].as_array().unwrap().iter();
        let failed = steps.find(|step| step["verdict"] == "failed");
        (failed.map(|step| step["check"].as_str().unwrap().into()), answer)
    }

    /// A GET at the node.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        Request::new("GET", &format!("http://localhost:{}{path}", self.node.port))
            .unwrap()
            .send()
            .unwrap()
    }

    /// Ends the node as a power cut would and starts it again on the same folder.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&self) {
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        program.kill();
        *program = self.node.serve().unwrap();
        program
            .wait_ready(&format!("http://localhost:{}/healthz", self.node.port), START)
            .unwrap();
    }

    /// Asks the node to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&self) {
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        program.terminate(START).unwrap();
    }

    /// Sends the node a signal, `HUP` for example.
    ///
    /// # Panics
    /// When the node has ended.
    pub fn signal(&self, name: &str) {
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        program.signal(name).unwrap();
    }

    /// The node's id of the operating system.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.program.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// What the node has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.lock().unwrap_or_else(PoisonError::into_inner).log()
    }
}

fn table_of(issuer: &Issuer, more: &str) -> String {
    let url = &issuer.url;
    format!("\n[[issuer]]\nurl = \"{url}\"\nkind = \"edge-hive\"\n{more}")
}

fn describe(folder: &TempDir, issuer: &Issuer, table: &str) -> Node {
    let mut node = Node::new(
        built("mcp-node"),
        folder.path(),
        free_port().unwrap(),
        &issuer.url,
    );
    table.clone_into(&mut node.extra);
    if !table.contains("[limits]") {
        node.extra.push_str(UNLIMITED_NODE);
    }
    node
}

impl Drop for LoneNode {
    #[expect(
        clippy::print_stderr,
        reason = "the log of a failed test belongs under its message"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the end of the node's log\n{}\n---",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}
