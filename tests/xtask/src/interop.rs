//! Clients that we did not write, against a fleet of our own: programs with credentials of their own, and programs that
//! act for a person who meets our pages in Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::fleet::free_port;
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome};

use crate::test::Verdict;
use crate::{install, program_files, up};

/// A script that has not finished after this many seconds hangs.
const PATIENCE: &str = "180";

/// The scripts and what runs each.
const SCRIPTS: [(&str, Runner); 17] = [
    ("tests/interop/node/ts-client.mjs", Runner::Node),
    ("tests/interop/node/oauth4webapi.mjs", Runner::Node),
    ("tests/interop/python/python_sdk.py", Runner::Python),
    ("tests/interop/node/behind.mjs", Runner::Node),
    ("tests/interop/python/behind.py", Runner::Python),
    ("tests/interop/node/ts-oauth.mjs", Runner::Node),
    ("tests/interop/node/ts-proofs.mjs", Runner::Node),
    ("tests/interop/node/openid-client.mjs", Runner::Node),
    ("tests/interop/node/openid-client-mtls.mjs", Runner::Node),
    ("tests/interop/node/oauth4webapi-par.mjs", Runner::Node),
    ("tests/interop/node/proxies.mjs", Runner::Node),
    ("tests/interop/node/mcp-remote.mjs", Runner::Node),
    ("tests/interop/node/pages.mjs", Runner::Node),
    ("tests/interop/node/console.mjs", Runner::Node),
    ("tests/interop/node/jose-differential.mjs", Runner::Node),
    ("tests/interop/python/python_oauth.py", Runner::Python),
    ("tests/interop/python/authlib_oauth.py", Runner::Python),
];

/// The files of `compose/proxies`, by the program of each; `-certificates` are those that pass certificates of clients on.
const PROXIES: [&str; 7] = [
    "nginx",
    "haproxy",
    "caddy",
    "traefik",
    "nginx-certificates",
    "haproxy-certificates",
    "caddy-certificates",
];

/// The person of these scripts.
const PERSON: (&str, &str) = ("ines", "correct horse battery staple");

/// Every scope of the node.
const SCOPES: &str = "mcp:read mcp:call mcp:resources mcp:subscribe";

#[derive(Clone, Copy)]
enum Runner {
    Node,
    Python,
}

pub(crate) fn run() -> Outcome<Verdict> {
    install_node()?;
    install_python()?;
    install::for_proxies();
    let path = venv()?.join("bin");
    let (proxies, absent): (Vec<&str>, Vec<&str>) =
        PROXIES.into_iter().partition(|name| can_be_started(name, &path));
    let programs = program_files::build(false)?;
    let idp = format!("http://127.0.0.1:{}", free_port()?);
    // Clients that register themselves, an enterprise whose identity provider the server trusts, and nodes that tell every other
    // second how they are.
    let extra = format!(
        "\n[clients]\nregistration = \"open\"\n\n[[federation.id_jag]]\nissuer = \"{idp}\"\njwks_uri = \"{idp}/jwks\"\n\n\
         [alerts]\nnode_silent_after = \"10s\"\n"
    );
    let fleet = up::start_with(&up::private("interop")?, &programs, (&extra, &reference_server()))?;
    let mut environment = environment(&fleet)?;
    environment.extend([
        ("IDP_ISSUER", idp),
        ("OPERATOR", programs.authz_server.display().to_string()),
        ("AUTHZ_CONFIG", fleet.server.config().display().to_string()),
        ("MCP_NODE", programs.mcp_node.display().to_string()),
        ("PROXIES", proxies.join(" ")),
        ("PROXY_PATH", path.display().to_string()),
    ]);
    let mut failed = Vec::new();
    for (script, runner) in SCRIPTS {
        say(format!("\n-- {script}"));
        let program = match runner {
            Runner::Node => node(),
            Runner::Python => venv()?.join("bin/python"),
        };
        let mut command = patient(&program);
        command
            .arg(shell::workspace().join(script))
            .envs(environment.iter().map(|(name, value)| (name, value)));
        if let Err(fault) = shell::run(&mut command) {
            say(format!("   {fault}"));
            failed.push(script);
        }
    }
    fleet.stop()?;
    if !failed.is_empty() {
        return Err(Fault::new(failed.join(", ")));
    }
    Ok(match &absent[..] {
        [] => Verdict::Passed,
        names => Verdict::NotChecked(format!(
            "compose/proxies: {}, whose programs are not on this machine",
            names.join(", ")
        )),
    })
}

/// Whether the program of a proxy is there; Traefik is in Python's environment.
fn can_be_started(proxy: &str, python: &Path) -> bool {
    let program = proxy.split('-').next().unwrap_or(proxy);
    let is_there = shell::has(program) || python.join(program).is_file();
    is_there && (proxy != "nginx-certificates" || Path::new(install::NGINX_NJS).exists())
}

/// The official reference server behind the node.
fn reference_server() -> String {
    let script = node_folder().join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    format!(
        "\n[[upstream]]\nname = \"everything\"\ncommand = {:?}\nargs = [{:?}, \"stdio\"]\n\n[limits]\nper_client = \"off\"\n",
        node(),
        script
    )
}

/// What the scripts start from: addresses, a client of each kind, and a person.
fn environment(fleet: &up::Fleet) -> Outcome<Vec<(&'static str, String)>> {
    let (server, node_url) = (&fleet.server, fleet.nodes[0].url());
    server.create_user(
        PERSON.0,
        PERSON.1,
        &["--display-name", "Inés Ferrer", "--email", "ines@example.com"],
    )?;
    // Whatever port a program listens on, these match (RFC 8252 §7.3).
    let callbacks = [
        "--redirect-uri",
        "http://127.0.0.1/callback",
        "--redirect-uri",
        "http://localhost/oauth/callback",
        "--scopes",
        SCOPES,
        "--resource",
        &node_url,
    ];
    let public = server.create_public_client("Desk Agent", &[&["--public"], &callbacks[..]].concat())?;
    let web = server.create_client("Web Desk", &callbacks)?;
    let device = server.create_public_client(
        "Build agent",
        &[
            "--public",
            "--grants",
            "device_code,refresh_token",
            "--scopes",
            SCOPES,
            "--resource",
            &node_url,
        ],
    )?;
    let newcomer = server.json(&[
        "user",
        "create",
        "--username",
        "newcomer",
        "--display-name",
        "Noor Haddad",
    ])?;
    let log = std::fs::read_to_string(server.log())?;
    let shots = program_files::target_folder()?.join("screenshots");
    Ok(vec![
        ("DEVICE_CLIENT_ID", device),
        ("PASSWORD_LINK", link(&newcomer["set_password_link"].to_string())?),
        ("FIRST_LINK", link(&log)?),
        ("SHOTS", shots.display().to_string()),
        ("ISSUER", server.issuer.clone()),
        ("NODE_URL", node_url),
        ("CLIENT_ID", fleet.client.id.clone()),
        ("CLIENT_SECRET", fleet.client.secret.clone()),
        ("PUBLIC_CLIENT_ID", public),
        ("WEB_CLIENT_ID", web.id),
        ("WEB_CLIENT_SECRET", web.secret),
        ("PERSON", PERSON.0.into()),
        ("PASSWORD", PERSON.1.into()),
        ("NODE", node().display().to_string()),
    ])
}

/// The first one-time link in a text.
fn link(text: &str) -> Outcome<String> {
    let words = text.split(|c: char| c.is_whitespace() || c == '"');
    let mut links = words.filter(|word| word.contains("/login/link?link="));
    links.next().map(str::to_owned).explain("no one-time link")
}

/// The Node that the lock file names: the suite needs a newer one than many distributions have.
pub(crate) fn node() -> PathBuf {
    node_folder().join("node_modules/.bin/node")
}

/// The folder of the locked npm packages.
pub(crate) fn node_folder() -> PathBuf {
    shell::workspace().join("tests/interop/node")
}

/// `program` under a time limit.
pub(crate) fn patient(program: &Path) -> Command {
    let mut command = shell::command("timeout");
    command.arg(PATIENCE).arg(program);
    command
}

/// Installs the npm packages of the lock file unless exactly they are there.
pub(crate) fn install_node() -> Outcome<()> {
    install::for_interop()?;
    let (lock, stamp) = (
        node_folder().join("package-lock.json"),
        node_folder().join("node_modules/.installed-lock"),
    );
    if node().exists() && same(&lock, &stamp) {
        return Ok(());
    }
    let mut npm = shell::command("npm");
    shell::run(
        npm.args(["ci", "--no-audit", "--no-fund"])
            .current_dir(node_folder()),
    )?;
    std::fs::copy(&lock, &stamp)?;
    say("  installed the npm packages of tests/interop/node/package-lock.json");
    Ok(())
}

/// Installs the Python packages of the requirements unless exactly they are there.
pub(crate) fn install_python() -> Outcome<()> {
    let requirements = shell::workspace().join("tests/interop/python/requirements.txt");
    let stamp = venv()?.join("installed-requirements.txt");
    if same(&requirements, &stamp) {
        return Ok(());
    }
    shell::run(shell::command("python3").args(["-m", "venv"]).arg(venv()?))?;
    let mut pip = shell::command(venv()?.join("bin/pip"));
    shell::run(
        pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )?;
    std::fs::copy(&requirements, &stamp).explain("cannot note what was installed")?;
    say("  installed the Python packages of tests/interop/python/requirements.txt");
    Ok(())
}

/// The Python environment of these packages.
pub(crate) fn venv() -> Outcome<PathBuf> {
    Ok(program_files::target_folder()?.join("interop-venv"))
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((std::fs::read(one), std::fs::read(other)), (Ok(one), Ok(other)) if one == other)
}
