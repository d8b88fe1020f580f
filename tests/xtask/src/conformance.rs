//! `cargo xtask conformance`: the official MCP suites, against a fixture behind the node's own door, and through a node
//! with that fixture behind it as an upstream.
//!
//! The suite cannot send tokens, so a proxy on the loopback adds one that a real authorization server has issued.

use std::io::{BufRead as _, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xtask::code_flow::{self, TESTING_DOOR};
use xtask::fleet::{self, AuthzServer, Credentials, Node, START, free_port};
use xtask::program::Program;
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome, http, journey};

use crate::{interop, program_files, up};

const SCOPES: &str = "mcp:read mcp:call mcp:resources mcp:subscribe";
/// What a node without sessions cannot do.
const STATELESS: &str = "tests/conformance/stateless-2025-11-25.yml";

pub(crate) fn run() -> Outcome<()> {
    interop::install_node()?;
    let stage = Stage::set()?;
    let [stateless, with_sessions, through_a_node] = stage.urls();
    let expected = shell::workspace().join(STATELESS);
    let mut failed = Vec::new();
    for (name, words) in [
        (
            "server 2026-07-28",
            vec!["server", "--url", &stateless, "--requirements", "2026-07-28"],
        ),
        (
            "server 2026-07-28 beside sessions",
            vec!["server", "--url", &with_sessions, "--requirements", "2026-07-28"],
        ),
        (
            "server 2025-11-25 with sessions",
            vec!["server", "--url", &with_sessions, "--requirements", "2025-11-25"],
        ),
        (
            "server 2025-11-25 without sessions",
            vec![
                "server",
                "--url",
                &stateless,
                "--requirements",
                "2025-11-25",
                "--expected-failures",
                path(&expected)?,
            ],
        ),
        (
            "server 2026-07-28 through a node",
            vec!["server", "--url", &through_a_node, "--requirements", "2026-07-28"],
        ),
        (
            "server 2025-11-25 through a node",
            vec!["server", "--url", &through_a_node, "--requirements", "2025-11-25"],
        ),
        ("authorization", stage.authorization()),
    ] {
        say(format!("\n-- {name}"));
        if let Err(fault) = examine(name, &words) {
            say(format!("   {fault}"));
            failed.push(name);
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Fault::new(failed.join(", ")))
    }
}

/// Runs the suite and prints its line per scenario; all of its output if there is no such part.
fn examine(name: &str, words: &[&str]) -> Outcome<()> {
    let suite = interop::node_folder().join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let results = program_files::target_folder()?
        .join("conformance")
        .join(name.replace(' ', "-"));
    let mut command = interop::patient(&interop::node());
    command.arg(suite).args(words).arg("-o").arg(&results);
    std::fs::create_dir_all(&results)?;
    let complaints = results.join("stderr.log");
    let mut suite = command
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&complaints)?)
        .spawn()
        .explain("cannot run the suite")?;
    let lines = BufReader::new(suite.stdout.take().explain("no output of the suite")?).lines();
    let mut text = String::new();
    for line in lines {
        let line = line?;
        // The suite shows where a person should go, and waits until a browser has been there.
        if line.contains("/oauth/authorize?")
            && let Err(fault) = go(line.trim())
        {
            say(format!("   {fault}"));
        }
        text += &line;
        text.push('\n');
    }
    let status = suite.wait()?;
    let shown = text.find("=== SUMMARY ===").map_or(&*text, |at| &text[at..]);
    say(shown.trim());
    if status.success() {
        return Ok(());
    }
    say(std::fs::read_to_string(complaints)?.trim());
    Err(Fault::new(format!(
        "the suite ended with {status}; details in {}",
        results.display()
    )))
}

/// The person's part: the testing door answers the request with a redirect, which leads back to the suite.
fn go(url: &str) -> Outcome<()> {
    let redirect = code_flow::location(&http::get(url)?)?;
    http::get(&redirect).map(drop)
}

/// What must run while the suite asks: the server, a fixture with its proxy without sessions and one with them, and a
/// node before that one. They end with this value.
struct Stage {
    server: AuthzServer,
    /// Without sessions, with them, and through a node.
    proxies: [String; 3],
    /// A public client, the resource that it asks for, and the port where the suite expects the redirect.
    person: [String; 3],
    _programs: Vec<Program>,
}

impl Stage {
    fn urls(&self) -> [String; 3] {
        self.proxies.clone().map(|proxy| format!("{proxy}/mcp"))
    }

    /// Metadata and the authorization code grant. They only run together.
    fn authorization(&self) -> Vec<&str> {
        let [id, resource, port] = &self.person;
        vec![
            "authorization",
            "--url",
            &self.server.issuer,
            "--client-id",
            id,
            "--resource",
            resource,
            "-p",
            port,
        ]
    }

    fn set() -> Outcome<Self> {
        let (programs, fixture_program) = program_files::build_with_fixture()?;
        let options = up::private("conformance")?;
        let mut server = AuthzServer::new(programs.authz_server, &options.data.join("as"), options.as_port);
        server.extra = format!("{}{TESTING_DOOR}", fleet::UNLIMITED_SERVER);
        server.write_config()?;
        let serving = server.serve_ready()?;

        let client = server.create_client("conformance", &["--scopes", SCOPES])?;
        let mut programs_running = vec![serving];
        let mut proxies = Vec::new();
        let mut resource = String::new();
        let mut upstream = None;
        for (name, port, extra) in [
            ("fixture", options.node_port, ""),
            (
                "fixture-with-sessions",
                free_port()?,
                "[mcp]\nsessions = \"on\"\n",
            ),
        ] {
            let folder = options.data.join(name);
            let mut fixture = Node::new(fixture_program.clone(), &folder, port, &server.issuer);
            fixture.extra.push_str(fleet::UNLIMITED_NODE);
            fixture.extra.push_str(extra);
            fixture.write_config()?;
            server.ensure_resource(&fixture.url(), &[])?;
            resource = fixture.url();
            let (examined, proxy, url) = behind_proxy(&server, &client, &fixture, &[])?;
            programs_running.extend([proxy, examined]);
            proxies.push(url);
            upstream = Some(fixture);
        }
        let node = node_before(&server, &upstream.explain("no fixture")?, programs.mcp_node)?;
        let (serving, proxy, url) = behind_proxy(&server, &client, &node, &["serve"])?;
        programs_running.extend([proxy, serving]);
        proxies.push(url);
        let proxies = proxies
            .try_into()
            .map_err(|_| Fault::new("two fixtures and a node".to_owned()))?;
        let person = register_public(&server, &resource)?;
        Ok(Self {
            server,
            proxies,
            person,
            _programs: programs_running,
        })
    }
}

/// A node that adds nothing of its own to the names of `fixture`, which is behind it and takes its credential.
fn node_before(server: &AuthzServer, fixture: &Node, program: PathBuf) -> Outcome<Node> {
    let folder = fixture.folder.with_file_name("node");
    let mut node = Node::new(program, &folder, free_port()?, &server.issuer);
    let (bearer, token) = (folder.join("bearer"), fixture.folder.join("token"));
    node.extra.push_str(fleet::UNLIMITED_NODE);
    node.extra.push_str(&format!(
        "[mcp]\nsessions = \"on\"\n\n[[upstream]]\nname = \"fixture\"\nprefix = \"\"\nurl = \"{}\"\nheader_files = {{ Authorization = {bearer:?} }}\n",
        fixture.url(),
    ));
    node.write_config()?;
    keep(&bearer, &format!("Bearer {}", std::fs::read_to_string(token)?))?;
    server.ensure_resource(&node.url(), &[])?;
    Ok(node)
}

/// A running program, the proxy before it, and the proxy's address. `words` stand before its configuration.
fn behind_proxy(
    server: &AuthzServer,
    client: &Credentials,
    fixture: &Node,
    words: &[&str],
) -> Outcome<(Program, Program, String)> {
    let port = free_port()?;
    let folder = &fixture.folder;
    let mut command = Command::new(&fixture.program);
    // The proxy hands the suite's Host line on, which names the proxy.
    command.env("EDGE_HIVE_SERVER__ALLOWED_HOSTS", format!("127.0.0.1:{port}"));
    command.args(words);
    command.arg("--config").arg(fixture.config()).current_dir(folder);
    let mut examined = Program::start(&fixture.name, command, &fixture.log())?;
    examined.wait_ready(&format!("http://localhost:{}/readyz", fixture.port), START)?;
    let token_file = write_token(folder, server, client, &fixture.url())?;
    let proxy = start_proxy(folder, &token_file, (fixture.port, port))?;
    Ok((examined, proxy, format!("http://127.0.0.1:{port}")))
}

/// A client without a secret: the suite uses none where the server offers that.
fn register_public(server: &AuthzServer, resource: &str) -> Outcome<[String; 3]> {
    let port = free_port()?.to_string();
    server.create_user("examiner", "a password nobody types", &[])?;
    let redirect = format!("http://127.0.0.1:{port}/callback");
    let words = [
        "--public",
        "--redirect-uri",
        &redirect,
        "--resource",
        resource,
        "--scopes",
        SCOPES,
        "--approve-as",
        "examiner",
    ];
    let id = server.create_public_client("conformance, for a person", &words)?;
    Ok([id, resource.to_owned(), port])
}

fn write_token(
    folder: &Path,
    server: &AuthzServer,
    client: &Credentials,
    resource: &str,
) -> Outcome<PathBuf> {
    let token = journey::fetch_token(
        &format!("{}/oauth/token", server.issuer),
        client,
        resource,
        SCOPES,
    )?;
    let path = folder.join("token");
    keep(&path, &token)?;
    Ok(path)
}

/// A file that nobody else reads.
fn keep(path: &Path, secret: &str) -> Outcome<()> {
    let mut file = std::fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(secret.as_bytes())?)
}

fn start_proxy(folder: &Path, token_file: &Path, (target, port): (u16, u16)) -> Outcome<Program> {
    let mut command = Command::new(interop::node());
    command
        .arg(interop::node_folder().join("token-proxy.mjs"))
        .arg("--token-file")
        .arg(token_file);
    command.args([
        "--target",
        &format!("http://127.0.0.1:{target}"),
        "--port",
        &port.to_string(),
    ]);
    let mut proxy = Program::start("token-proxy", command, &folder.join("proxy.log"))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !proxy.log().contains("listening on") {
        if proxy.ended().is_some() || Instant::now() > deadline {
            return Err(Fault::new(format!(
                "the token proxy does not listen:\n{}",
                proxy.log()
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(proxy)
}

fn path(path: &Path) -> Outcome<&str> {
    path.to_str().explain("the workspace's path is not UTF-8")
}
