//! A running authorization server with one node, and what tests do with them all the time.

mod start;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use xtask::fleet::{AuthzServer, Credentials, Node};
use xtask::http::{Answer, Request};
use xtask::journey;
use xtask::program::Program;

use self::start::{describe, run};
use crate::answers::granted;
use crate::cut::Way;
use crate::database::{Db, Place, Shared, cluster};
use crate::status_list;

/// Every scope that the node knows.
pub const SCOPES: &str = "mcp:read mcp:call mcp:resources mcp:subscribe";

/// A server on its own database, and a node that trusts it. Everything ends when this is dropped; the logs are then
/// searched for every secret and token that the tests have seen (they are printed if the test has failed).
pub struct Fleet {
    /// The server's folder, address and command line.
    pub server: AuthzServer,
    /// The node's folder, address and command line.
    pub node: Node,
    /// The database.
    pub db: Db,
    programs: Mutex<HashMap<&'static str, Program>>,
    secrets: Mutex<Vec<String>>,
    names: AtomicU32,
    _folder: TempDir,
}

/// What is different about a fleet of one's own.
#[derive(Default, Clone)]
pub struct Wishes {
    /// TOML at the end of the server's file instead of "no limits".
    pub server: Option<String>,
    /// TOML at the end of the node's file, after its `[[issuer]]`.
    pub node: Option<String>,
    /// Environment variables of the server.
    pub environment: Vec<(String, String)>,
    /// Environment variables of the node.
    pub node_environment: Vec<(String, String)>,
    /// A database that is there already.
    pub database: Option<String>,
    /// What stands behind host and port in the issuer, for example `/tenant`.
    pub path: String,
    /// The way that leads to the server, if it can be cut.
    pub way: Option<Arc<Way>>,
}

impl Fleet {
    /// The fleet that tests of one place share while any of them runs. Tests only add to it, under names of their own.
    ///
    /// # Panics
    /// When a program does not start.
    #[must_use]
    pub fn shared(place: impl Into<Place>) -> Arc<Self> {
        static SHARED: Shared<Fleet> = Shared::nothing();
        let place = place.into();
        SHARED.get(place, || Self::start(place, &Wishes::default()))
    }

    /// A fleet for one test.
    ///
    /// # Panics
    /// When a program does not start.
    #[must_use]
    pub fn start(place: impl Into<Place>, wishes: &Wishes) -> Self {
        let (folder, place) = (tempfile::tempdir().unwrap(), place.into());
        // The port was free a moment ago; if another test took it first, another one is tried.
        for attempt in 1..=4 {
            let (server, node) = describe(&folder, place, wishes);
            match run(&server, &node) {
                Ok(programs) => {
                    let secret = std::fs::read_to_string(server.far_secret());
                    return Self {
                        server,
                        node,
                        db: place.db,
                        programs: Mutex::new(programs),
                        secrets: Mutex::new(secret.into_iter().collect()),
                        names: AtomicU32::new(0),
                        _folder: folder,
                    };
                }
                Err(fault) if attempt == 4 || !fault.contains("in use") => panic!("{fault}"),
                Err(_) => {}
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    /// The server's URL of a path.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.server.port)
    }

    /// The node's URL of a path.
    #[must_use]
    pub fn node_at(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.node.port)
    }

    /// Who the command lines are in the audit log: `actor_type` and `actor`.
    #[must_use]
    pub fn commander(&self) -> (Value, Value) {
        match self.server.far_client() {
            Some(client_id) => ("client".into(), client_id.into()),
            None => ("operator".into(), Value::Null),
        }
    }

    /// A name that no other test uses.
    #[must_use]
    pub fn fresh_name(&self) -> String {
        format!("n{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A client made on the command line: every scope of the node, tokens for the node only; `words` are further flags.
    ///
    /// # Panics
    /// When the command refuses.
    #[must_use]
    pub fn client(&self, words: &[&str]) -> Credentials {
        let resource = self.node.url();
        let bound = if words.contains(&"--resource") {
            vec![]
        } else {
            vec!["--resource", resource.as_str()]
        };
        self.client_for_any(&[&bound[..], words].concat())
    }

    /// A client that may ask for tokens for any resource.
    ///
    /// # Panics
    /// When the command refuses.
    #[must_use]
    pub fn client_for_any(&self, words: &[&str]) -> Credentials {
        let scopes = if words.contains(&"--scopes") {
            vec![]
        } else {
            vec!["--scopes", SCOPES]
        };
        let client = self
            .server
            .create_client(&self.fresh_name(), &[&scopes[..], words].concat())
            .unwrap();
        self.remember(&client.secret);
        client
    }

    /// A resource of its own, made on the command line.
    ///
    /// # Panics
    /// When the command refuses.
    #[must_use]
    pub fn resource(&self, words: &[&str]) -> String {
        let uri = format!("http://localhost:{}/{}/mcp", self.node.port, self.fresh_name());
        self.server.ensure_resource(&uri, words).unwrap();
        uri
    }

    /// POSTs a form with HTTP Basic credentials.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn post(&self, path: &str, client: &Credentials, form: &[(&str, &str)]) -> Answer {
        let request = Request::post(&self.at(path))
            .unwrap()
            .basic(&client.id, &client.secret);
        self.keep(request.form(form).send().unwrap())
    }

    /// POSTs a form without credentials in the header.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn post_bare(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.keep(Request::post(&self.at(path)).unwrap().form(form).send().unwrap())
    }

    /// Asks for a token for the node, with these further parameters.
    #[must_use]
    pub fn ask_token(&self, client: &Credentials, more: &[(&str, &str)]) -> Answer {
        self.post(
            "/oauth/token",
            client,
            &[&[("grant_type", "client_credentials")], more].concat(),
        )
    }

    /// A token for a resource.
    ///
    /// # Panics
    /// When it is not granted.
    #[must_use]
    pub fn token(&self, client: &Credentials, resource: &str) -> String {
        let answer = granted(&self.ask_token(client, &[("resource", resource)]));
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// What introspection says of a token to this caller.
    ///
    /// # Panics
    /// When introspection itself is refused.
    #[must_use]
    pub fn introspect(&self, client: &Credentials, token: &str) -> Value {
        let answer = granted(&self.post("/oauth/introspect", client, &[("token", token)]));
        if answer["active"] == true && token.matches('.').count() == 2 {
            // Nodes that validate offline learn the same.
            assert_eq!(status_list::bit(token), 0);
        }
        answer
    }

    /// Calls `get_status` at the node.
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

    /// Remembers a text that no log may contain.
    pub fn remember(&self, secret: &str) {
        self.secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(secret.to_owned());
    }

    /// Runs SQL in the server's database, for what only time or an accident does.
    ///
    /// # Panics
    /// When it is refused.
    pub fn sql(&self, statement: &str) {
        match &self.server.database {
            Some(url) => cluster().sql(url, statement).map(drop).unwrap(),
            None => {
                let mut sqlite = Command::new("sqlite3");
                sqlite.args(["-cmd", ".timeout 10000"]);
                let file = self.server.folder.join("authz.db");
                xtask::shell::read(sqlite.arg(file).arg(statement))
                    .map(drop)
                    .unwrap();
            }
        }
    }

    /// Waits until the server answers its readiness probe, for example after its database has come back.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    pub fn wait_ready(&self) {
        let within = Duration::from_secs(10);
        self.programs()
            .get_mut("authz-server")
            .unwrap()
            .wait_ready(&self.at("/readyz"), within)
            .unwrap();
    }

    /// Stops the server as an operator would, and starts it again on its data.
    ///
    /// # Panics
    /// When it does not end well, or does not start.
    pub fn restart_server(&self) {
        let mut old = self.programs().remove("authz-server").unwrap();
        assert!(old.terminate(Duration::from_secs(15)).unwrap().success());
        self.programs()
            .insert("authz-server", self.server.serve_ready().unwrap());
    }

    /// The running programs by name: `authz-server` and `mcp-node`.
    ///
    /// # Panics
    /// Never: a poisoned lock is taken as it is.
    pub fn programs(&self) -> MutexGuard<'_, HashMap<&'static str, Program>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What both programs have logged so far.
    #[must_use]
    pub fn logs(&self) -> String {
        let read =
            |path: PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        read(self.server.log()) + &read(self.node.log())
    }

    /// The first remembered secret that stands in `text`, shortened so that it can be shown.
    #[must_use]
    pub fn leak_in(&self, text: &str) -> Option<String> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let found = secrets
            .iter()
            .find(|secret| text.contains(&***secret) || text.contains(tail(secret)));
        found.map(|secret| secret.chars().take(16).collect())
    }

    fn keep(&self, answer: Answer) -> Answer {
        if let Ok(Value::Object(body)) = answer.json()
            && let Some(token) = body.get("access_token").and_then(Value::as_str)
        {
            self.remember(token);
        }
        answer
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint_logs(&self.logs());
            return;
        }
        if let Some(secret) = self.leak_in(&self.logs()) {
            panic!("LOG-01: a secret stands in a log: {secret}…");
        }
    }
}

/// The program's path, beside this test program in the target folder.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(name);
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build -p authz-server -p mcp-node`",
        program.display()
    );
    program
}

/// The signature part of a token, or the whole of anything else: half a token in a log is a leak too.
fn tail(secret: &str) -> &str {
    secret.rsplit('.').next().unwrap_or(secret)
}

#[expect(
    clippy::print_stderr,
    reason = "the logs of a failed test belong under its message"
)]
fn eprint_logs(logs: &str) {
    let lines: Vec<&str> = logs.lines().collect();
    eprintln!(
        "--- the end of the programs' logs\n{}\n---",
        lines[lines.len().saturating_sub(60)..].join("\n")
    );
}
