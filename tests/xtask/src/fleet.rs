//! The two programs as an operator meets them: a folder, a configuration file, command lines, a port.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::fault::{Explain, Fault, Outcome};
use crate::program::Program;
use crate::shell;

/// A debug build makes its keys at first start on a busy machine within this time.
pub const START: Duration = Duration::from_secs(60);

/// TOML for [`AuthzServer::extra`]: no limits.
pub const UNLIMITED_SERVER: &str =
    "\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\nper_ip_failures = \"off\"\ndevice_codes = \"off\"\n";

/// TOML for [`AuthzServer::extra`]: no limit on what operators ask.
pub const UNLIMITED_OPERATORS: &str = "\n[admin]\nrate = \"off\"\n";

/// TOML for [`Node::extra`]: no limits.
pub const UNLIMITED_NODE: &str = "\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\n";

/// An authorization server's folder and address. Nothing runs yet.
#[derive(Clone)]
pub struct AuthzServer {
    /// The built program.
    pub program: PathBuf,
    /// Where configuration, database, keys and log live.
    pub folder: PathBuf,
    /// The loopback port.
    pub port: u16,
    /// `http://localhost:PORT` unless a test wants another.
    pub issuer: String,
    /// The database URL; without one, an SQLite file in the folder.
    pub database: Option<String>,
    /// More TOML at the end of the file, for example a `[limits]` table.
    pub extra: String,
    /// Environment variables of the running server.
    pub environment: Vec<(String, String)>,
    /// Whether every command line that can asks the running server with `--server`, and does not touch its database.
    pub is_far: bool,
}

/// A node's folder and address.
#[derive(Clone)]
pub struct Node {
    /// The built program.
    pub program: PathBuf,
    /// Where configuration and log live.
    pub folder: PathBuf,
    /// The loopback port.
    pub port: u16,
    /// The node's name.
    pub name: String,
    /// The TOML of its `[[issuer]]` tables and whatever else it needs.
    pub extra: String,
    /// Environment variables of the running node.
    pub environment: Vec<(String, String)>,
}

/// Whether a command does the same from far away: what is left over reads a password, which is never sent, or sets up
/// a test.
fn is_same_from_far(words: &[&str]) -> bool {
    let nouns = ["client", "resource", "node", "user", "key", "keys", "audit"];
    let near_only = ["--password-file", "--approve-as", "--server"];
    words.first().is_some_and(|noun| nouns.contains(noun))
        && !words.iter().any(|word| near_only.contains(word))
}

/// A client id with its secret.
#[derive(Clone)]
pub struct Credentials {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: String,
}

impl AuthzServer {
    /// A server in `folder` on `port`, on SQLite.
    #[must_use]
    pub fn new(program: PathBuf, folder: &Path, port: u16) -> Self {
        let issuer = format!("http://localhost:{port}");
        Self {
            program,
            folder: folder.into(),
            port,
            issuer,
            database: None,
            extra: String::new(),
            environment: Vec::new(),
            is_far: false,
        }
    }

    /// The configuration file's path.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("authz-server.toml")
    }

    /// Writes the configuration file, and the folder if there is none.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_config(&self) -> Outcome<()> {
        std::fs::create_dir_all(&self.folder).explain(format!("cannot create {}", self.folder.display()))?;
        let folder = self.folder.display();
        let database = self
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{folder}/authz.db"));
        let text = format!(
            "[server]\nlisten = {listen}\nissuer = \"{issuer}\"\ndata_dir = \"{folder}\"\n\n\
             [database]\nurl = \"{database}\"\n\n[keys]\nmaster_key_file = \"{folder}/master.key\"\n{extra}",
            listen = loopback(self.port),
            issuer = self.issuer,
            extra = self.extra,
        );
        std::fs::write(self.config(), text).explain(format!("cannot write {}", self.config().display()))
    }

    /// Starts `serve`, without waiting for it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn serve(&self) -> Outcome<Program> {
        self.serve_under(Command::new(&self.program))
    }

    /// Starts `serve` under another command, for example `taskset -c 0 authz-server`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn serve_under(&self, mut command: Command) -> Outcome<Program> {
        command
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .current_dir(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Program::start("authz-server", command, &self.log())
    }

    /// Starts `serve` and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the sentence carries the end of its log.
    pub fn serve_ready(&self) -> Outcome<Program> {
        let mut program = self.serve()?;
        program.wait_ready(&format!("http://localhost:{}/readyz", self.port), START)?;
        self.make_far_client()?;
        Ok(program)
    }

    /// The log file's path.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("authz-server.log")
    }

    /// A command line of the program on this configuration; from far one that asks the running server, where it can.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        match self.far_client() {
            Some(client) if is_same_from_far(words) => self.far(words, &client),
            _ => self.near(words),
        }
    }

    fn near(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .arg("--config")
            .arg(self.config())
            .current_dir(&self.folder);
        command
    }

    fn far(&self, words: &[&str], client_id: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .args([
                "--server",
                &self.issuer,
                "--as-client",
                client_id,
                "--secret-file",
            ])
            .arg(self.far_secret())
            .current_dir(&self.folder);
        command
    }

    /// The file with the secret of [`Self::far_client`].
    #[must_use]
    pub fn far_secret(&self) -> PathBuf {
        self.folder.join("far.secret")
    }

    /// The client as which commands ask the server, if they do and it has been started.
    #[must_use]
    pub fn far_client(&self) -> Option<String> {
        let file = self.is_far.then(|| self.folder.join("far.client"))?;
        std::fs::read_to_string(file).ok()
    }

    /// Makes that client, where the server is asked.
    fn make_far_client(&self) -> Outcome<()> {
        if !self.is_far || self.far_client().is_some() {
            return Ok(());
        }
        let resource = format!("{}/admin/v1", self.issuer);
        let words = [
            "client",
            "create",
            "--name",
            "far away",
            "--scopes",
            "admin:read admin:write",
            "--resource",
            &resource,
        ];
        let text = shell::read(self.near(&words).arg("--json"))?;
        let made: Value = serde_json::from_str(&text).explain("client create --json")?;
        let member = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        let secret = self.far_secret();
        std::fs::write(&secret, member("client_secret")).explain("far.secret")?;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&secret, private).explain("far.secret")?;
        std::fs::write(self.folder.join("far.client"), member("client_id")).explain("far.client")
    }

    /// Runs a command line with `--json` and parses what it prints.
    ///
    /// # Errors
    /// When the command refuses or prints no JSON.
    pub fn json(&self, words: &[&str]) -> Outcome<Value> {
        let text = shell::read(self.command(words).arg("--json"))?;
        serde_json::from_str(&text).explain(format!("authz-server {} --json", words.join(" ")))
    }

    /// Creates a client; `words` are further flags such as `--scopes`.
    ///
    /// # Errors
    /// When the command refuses.
    pub fn create_client(&self, name: &str, words: &[&str]) -> Outcome<Credentials> {
        let mut line = vec!["client", "create", "--name", name];
        line.extend(words);
        let answer = self.json(&line)?;
        let member = |key: &str| {
            answer[key]
                .as_str()
                .map(str::to_owned)
                .explain(format!("no {key} in the answer"))
        };
        Ok(Credentials {
            id: member("client_id")?,
            secret: member("client_secret")?,
        })
    }

    /// Creates a client that has no secret and returns its id; `words` are further flags, `--public` among them.
    ///
    /// # Errors
    /// When the command refuses.
    pub fn create_public_client(&self, name: &str, words: &[&str]) -> Outcome<String> {
        let mut line = vec!["client", "create", "--name", name];
        line.extend(words);
        let answer = self.json(&line)?;
        let id = answer["client_id"].as_str().map(str::to_owned);
        id.explain(format!("no client_id in {answer}"))
    }

    /// Creates an account with a password, which reaches the command in a file.
    ///
    /// # Errors
    /// When the command refuses.
    pub fn create_user(&self, username: &str, password: &str, words: &[&str]) -> Outcome<Value> {
        let file = self.folder.join(format!("password-{username}"));
        std::fs::write(&file, password)?;
        let path = file.display().to_string();
        let line = ["user", "create", "--username", username, "--password-file", &path];
        let made = self.json(&[&line[..], words].concat());
        std::fs::remove_file(&file)?;
        made
    }

    /// Registers a resource unless it is there already.
    ///
    /// # Errors
    /// When the command refuses.
    pub fn ensure_resource(&self, uri: &str, words: &[&str]) -> Outcome<()> {
        let known = self.json(&["resource", "list"])?;
        let rows = known.as_array().or_else(|| known["resources"].as_array());
        if rows.is_some_and(|rows| rows.iter().any(|row| row["uri"] == uri || row["resource"] == uri)) {
            return Ok(());
        }
        let mut line = vec!["resource", "create", "--uri", uri];
        line.extend(words);
        self.json(&line).map(drop)
    }
}

impl Node {
    /// A node in `folder` on `port` that trusts `issuer`.
    #[must_use]
    pub fn new(program: PathBuf, folder: &Path, port: u16, issuer: &str) -> Self {
        let extra = format!("\n[[issuer]]\nurl = \"{issuer}\"\nkind = \"edge-hive\"\n");
        let name = format!("node-{port}");
        Self {
            program,
            folder: folder.into(),
            port,
            name,
            extra,
            environment: Vec::new(),
        }
    }

    /// The URL a client is given, which is also the audience of its tokens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://localhost:{}/mcp", self.port)
    }

    /// The configuration file's path.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("mcp-node.toml")
    }

    /// Writes the configuration file, and the folder if there is none.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_config(&self) -> Outcome<()> {
        std::fs::create_dir_all(&self.folder).explain(format!("cannot create {}", self.folder.display()))?;
        let text = format!(
            "[server]\nlisten = {listen}\nresource = \"{url}\"\n\n[node]\nname = \"{name}\"\ndata_dir = \"{folder}\"\n{extra}",
            listen = loopback(self.port),
            url = self.url(),
            name = self.name,
            folder = self.folder.display(),
            extra = self.extra,
        );
        std::fs::write(self.config(), text).explain(format!("cannot write {}", self.config().display()))
    }

    /// Starts `serve`, without waiting for it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn serve(&self) -> Outcome<Program> {
        self.serve_under(Command::new(&self.program))
    }

    /// Starts `serve` under another command, for example `taskset -c 0 mcp-node`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn serve_under(&self, mut command: Command) -> Outcome<Program> {
        command
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .current_dir(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Program::start("mcp-node", command, &self.log())
    }

    /// The log file's path.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("mcp-node.log")
    }

    /// A command line of the program on this configuration.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .arg("--config")
            .arg(self.config())
            .current_dir(&self.folder);
        command
    }
}

/// Is this loopback port free on IPv4, and on IPv6 where there is one?
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
        && (!has_ipv6() || TcpListener::bind(("::1", port)).is_ok())
}

/// A loopback port that was free a moment ago, and that this program gets once. It lies below those that systems give to
/// whoever asks for any: an outgoing connection of somebody else would take one of those before it is listened on.
///
/// # Errors
/// When none is free.
pub fn free_port() -> Outcome<u16> {
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 17_000;
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    // Several programs may ask at once: those that were started one after the other begin far from each other.
    let begin = || AtomicU32::new(std::process::id().wrapping_mul(4999) % COUNT);
    let next = NEXT.get_or_init(begin);
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if let Ok(port) = u16::try_from(port)
            && is_free(port)
        {
            return Ok(port);
        }
    }
    Err(Fault::new("found no free loopback port"))
}

/// The listen addresses of a port. `localhost` may mean either family, so both are served.
#[must_use]
pub fn loopback_addresses(port: u16) -> Vec<String> {
    let families = if has_ipv6() {
        &["127.0.0.1", "[::1]"][..]
    } else {
        &["127.0.0.1"]
    };
    families.iter().map(|host| format!("{host}:{port}")).collect()
}

/// The same as a TOML array.
fn loopback(port: u16) -> String {
    format!("{:?}", loopback_addresses(port))
}

fn has_ipv6() -> bool {
    TcpListener::bind(("::1", 0)).is_ok()
}
