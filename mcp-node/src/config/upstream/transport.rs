//! Where an upstream is: a program that the node starts, or an address.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use shared::config::Section;
use shared::uri::is_loopback;
use url::Url;

/// Where an upstream is.
#[derive(Clone, Debug)]
pub enum UpstreamTransport {
    /// A program of this machine that speaks MCP on its standard input and output.
    Program(Program),
    /// MCP over Streamable HTTP.
    Http {
        /// The endpoint.
        url: Url,
        /// Certificate authorities to trust beside the public ones, as PEM.
        ca_file: Option<PathBuf>,
        /// Headers of every request, each with the file that holds its value: the node's own credential there.
        header_files: BTreeMap<String, PathBuf>,
    },
}

/// A program that the node starts and watches.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program, looked up in `PATH` unless it is a path.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables of its environment.
    pub env: BTreeMap<String, String>,
    /// Variables whose values are in files.
    pub env_files: BTreeMap<String, PathBuf>,
    /// Variables of the node's own environment that it gets too.
    pub pass_env: Vec<String>,
    /// Its working folder; the node's when not set.
    pub cwd: Option<PathBuf>,
    /// As whom it runs; as the node does when not set.
    pub user: Option<User>,
}

/// A user and a group by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// Headers that belong to the transport.
const RESERVED: [&str; 8] = [
    "accept",
    "content-type",
    "content-length",
    "host",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
];

pub(super) fn read(section: &mut Section<'_>) -> Option<UpstreamTransport> {
    let command: Option<String> = section.optional("command");
    let url: Option<Url> = section.optional("url");
    // Every key is asked for, so that a misplaced one is told of as such.
    let program = read_program(section, command.clone());
    let ca_file = section.optional("ca_file");
    let plain_http: Option<bool> = section.value("plain_http", "false");
    let header_files = read_files(section, "header_files");
    match (command, url) {
        (Some(_), Some(_)) => {
            section.fault("url", "an upstream is a command or a url, not both");
            None
        }
        (None, None) => {
            if !section.has("command") && !section.has("url") {
                section.fault("command", "write the command to start, or the url to call");
            }
            None
        }
        (Some(_), None) => {
            for key in ["ca_file", "plain_http", "header_files"] {
                if section.has(key) {
                    section.fault(key, "only an upstream with a url has this");
                }
            }
            program.map(UpstreamTransport::Program)
        }
        (None, Some(url)) => {
            for key in ["args", "env", "env_files", "pass_env", "cwd", "user"] {
                if section.has(key) {
                    section.fault(key, "only an upstream with a command has this");
                }
            }
            check_url(section, &url, plain_http?);
            for name in header_files.keys() {
                let is_header = name.parse::<HeaderName>().is_ok();
                if !is_header || RESERVED.contains(&&*name.to_ascii_lowercase()) {
                    section.fault(
                        "header_files",
                        format!("{name:?} is no header that can be set here"),
                    );
                }
            }
            Some(UpstreamTransport::Http {
                url,
                ca_file,
                header_files,
            })
        }
    }
}

fn read_program(section: &mut Section<'_>, command: Option<String>) -> Option<Program> {
    let args = section.list("args", "");
    let env = section.map("env");
    let env_files = read_files(section, "env_files");
    let pass_env: Vec<String> = section.list("pass_env", "");
    let names = env.keys().chain(env_files.keys()).chain(&pass_env);
    let odd: Vec<_> = names.filter(|name| !is_variable(name)).cloned().collect();
    for name in odd {
        section.fault("env", format!("{name:?} is not the name of a variable"));
    }
    let cwd = section.optional("cwd");
    let user = section
        .optional::<String>("user")
        .and_then(|user| match lookup(&user) {
            Ok(_) if !rustix::process::geteuid().is_root() => {
                section.fault(
                    "user",
                    "only a node that runs as root can start a program as somebody else",
                );
                None
            }
            Ok(user) => Some(user),
            Err(reason) => {
                section.fault("user", reason);
                None
            }
        });
    if command.as_deref() == Some("") {
        section.fault("command", "the command is empty");
    }
    Some(Program {
        command: command?,
        args,
        env,
        env_files,
        pass_env,
        cwd,
        user,
    })
}

fn read_files(section: &mut Section<'_>, key: &str) -> BTreeMap<String, PathBuf> {
    let files = section.map(key);
    files
        .into_iter()
        .map(|(name, path)| (name, PathBuf::from(path)))
        .collect()
}

/// Who calls may be told to it, and its own credential goes there: not in clear over a network, unless the operator
/// says that the network is its own.
fn check_url(section: &mut Section<'_>, url: &Url, plain_http: bool) {
    let is_local = url.host().is_some_and(|host| is_loopback(&host));
    match url.scheme() {
        "https" => {}
        "http" if is_local || plain_http => {}
        "http" => section.fault(
            "url",
            "plain http leaves this machine: use https, or plain_http = true in a network of your own",
        ),
        _ => section.fault("url", "it must be https or http"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        section.fault("url", "a credential goes into header_files, not into the address");
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// `1000`, `1000:1000`, or a name of `/etc/passwd`.
fn lookup(text: &str) -> Result<User, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if let Ok(uid) = user.parse() {
        let gid = group.map_or(Ok(uid), str::parse);
        let gid = gid.map_err(|_| format!("{text:?}: write a user's name, or numbers like 1000:1000"))?;
        return Ok(User { uid, gid });
    }
    if group.is_some() {
        return Err(format!(
            "{text:?}: write a user's name, or numbers like 1000:1000"
        ));
    }
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    known
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let is_it = fields.next() == Some(user);
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            is_it.then_some(User { uid, gid })
        })
        .ok_or_else(|| format!("{text:?} is not in /etc/passwd; numbers like 1000:1000 work everywhere"))
}

/// The value of a header from its file, without the line feed at its end.
pub(crate) fn header_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text.trim()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
