//! The tables of docs/configuration.md against `config show`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use xtask::{Explain, Fault, Outcome};

use super::super::programs::Tools;
use super::{code_spans, file};

const PAGE: &str = "docs/configuration.md";

/// One of each table, so that `config show` tells of their keys.
const EVERY_TABLE_OF_THE_SERVER: &str = r#"
fetch_rule = [{ hosts = ["x.example"] }]
clients.software_statement = [{ issuer = "https://x.example", jwks_uri = "https://x.example/keys" }]
federation.id_jag = [{ issuer = "https://idp.example", jwks_uri = "https://idp.example/keys" }]
[[federation.workload]]
name = "w"
issuer = "https://w.example"
jwks_uri = "https://w.example/keys"
rule = [{ client = "c", match = { sub = "x" }, resource = "https://node.example/mcp", scopes = "mcp:read" }]
[[exchange]]
from_client = "c"
subject_audience = "https://a.example"
to_resource = "https://b.example"
scopes = "x"
mode = "delegation"
consent = "operator"
"#;

const EVERY_TABLE_OF_THE_NODE: &str = r#"
issuer = [{ url = "https://as.example" }]
limits.tool = [{ tool = "x" }]
node.logs = { syslog = "/var/log/syslog" }
[scopes]
methods = { "tools/call" = "mcp:call" }
tools = { x = "y" }
resources = { x = "y" }
prompts = { x = "y" }
implies = { x = "y" }
rule = [{ tool = "x", needs = "y" }]
[[upstream]]
name = "program"
command = "true"
env = { A = "b" }
env_files = { B = "/dev/null" }
[[upstream]]
name = "far"
url = "https://x.example/mcp"
header_files = { Authorization = "/dev/null" }
"#;

/// What the page says of one program.
#[derive(Default)]
struct Said {
    /// Keys that have a row, each with the default if that is written as code or as "none".
    rows: BTreeMap<String, Option<String>>,
    /// Keys that are named in the row of another, or of their table.
    named: BTreeSet<String>,
}

pub(super) fn check(tools: &Tools) -> Outcome<Vec<String>> {
    let text = file(PAGE)?;
    let programs = [
        (
            "authz-server.toml",
            &tools.authz_server,
            EVERY_TABLE_OF_THE_SERVER,
        ),
        ("mcp-node.toml", &tools.mcp_node, EVERY_TABLE_OF_THE_NODE),
    ];
    let mut faults = Vec::new();
    for (heading, program, tables) in programs {
        let shown = shown(tools, program, tables)?;
        faults.extend(compare(heading, &said(&text, heading)?, &shown));
    }
    Ok(faults)
}

/// Every key that the program knows, without the numbers of tables, with its value if that is the default.
fn shown(tools: &Tools, program: &Path, tables: &str) -> Outcome<BTreeMap<String, Option<String>>> {
    let config = tools.folder.join("every-table.toml");
    std::fs::write(&config, tables)?;
    let mut command = tools.command(program, &tools.folder);
    command
        .args(["config", "show", "--json", "--config"])
        .arg(&config);
    let output = command.output()?;
    if !output.status.success() {
        return Err(Fault::new(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let mut keys = BTreeMap::new();
    for row in rows {
        let text = |name: &str| row[name].as_str().explain("config show has another form");
        let is_number = |step: &&str| step.bytes().all(|byte| byte.is_ascii_digit());
        let key: Vec<&str> = text("key")?.split('.').filter(|step| !is_number(step)).collect();
        let default =
            (row["source"] == "default").then(|| row["value"].as_str().unwrap_or_default().to_owned());
        keys.entry(key.join(".")).or_insert(default);
    }
    Ok(keys)
}

fn said(page: &str, heading: &str) -> Outcome<Said> {
    let heading = format!("## {heading}");
    let mut lines = page.lines().skip_while(|line| *line != heading).skip(1);
    let section: Vec<&str> = lines
        .by_ref()
        .take_while(|line| !line.starts_with("## "))
        .collect();
    let mut said = Said::default();
    for line in section.iter().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split('|').skip(1);
        let (Some(keys), Some(default)) = (cells.next(), cells.next()) else {
            continue;
        };
        let about: String = cells.collect();
        said.named.extend(code_spans(&about).map(str::to_owned));
        let names = code_spans(keys);
        if let Some(table) = code_spans(keys).next().and_then(|name| name.strip_prefix("[[")) {
            let table = table.trim_end_matches("]]");
            said.named.insert(table.to_owned());
            said.named
                .extend(code_spans(&about).map(|key| format!("{table}.{key}")));
            continue;
        }
        let mut section = String::new();
        let mut defaults = defaults(default).into_iter();
        for name in names {
            let key = match name.strip_prefix('.') {
                Some(rest) => format!("{section}.{rest}"),
                None if name.contains('.') => name.to_owned(),
                None => format!("{section}.{name}"),
            };
            section = key
                .rsplit_once('.')
                .map(|(section, _)| section.to_owned())
                .unwrap_or_default();
            said.rows.insert(key, defaults.next().flatten());
        }
    }
    if said.rows.is_empty() {
        return Err(Fault::new(format!("{PAGE}: no table under {heading}")));
    }
    Ok(said)
}

/// `none` is the empty text; words are no default that could be compared.
fn defaults(cell: &str) -> Vec<Option<String>> {
    let spans: Vec<&str> = code_spans(cell).collect();
    if cell.trim() == "none" {
        return vec![Some(String::new())];
    }
    let words = cell
        .split('`')
        .step_by(2)
        .any(|between| !matches!(between.trim(), "" | ","));
    if words {
        return Vec::new();
    }
    spans.into_iter().map(|span| Some(span.to_owned())).collect()
}

fn compare(file: &str, said: &Said, shown: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let mut faults = Vec::new();
    for key in shown.keys() {
        let is_said = |key: &str| said.rows.contains_key(key) || said.named.contains(key);
        let mut outer = key.as_str();
        let mut found = is_said(outer);
        // What stands in a table of free names is said of the table.
        while !found && let Some((above, _)) = outer.rsplit_once('.') {
            outer = above;
            found = is_said(outer) && !shown.contains_key(outer);
        }
        if !found {
            faults.push(format!("{PAGE}: {key} of {file} has no row"));
        }
    }
    for (key, default) in &said.rows {
        let below = format!("{key}.");
        if !shown
            .keys()
            .any(|known| known == key || known.starts_with(&below))
        {
            faults.push(format!("{PAGE}: {file} has no key {key}"));
        }
        // What a program takes from elsewhere when a key is not set is not shown as its value.
        let in_force = shown
            .get(key)
            .and_then(Option::as_ref)
            .filter(|value| !value.is_empty());
        let default = default
            .as_ref()
            .filter(|default| !said.rows.contains_key(*default));
        if let (Some(default), Some(value)) = (default, in_force)
            && plain(default) != plain(value)
        {
            faults.push(format!("{PAGE}: {key} is {value:?} by default, not {default:?}"));
        }
    }
    faults
}

/// A list as `config show` writes it and as TOML writes it.
fn plain(value: &str) -> String {
    value
        .chars()
        .filter(|c| !matches!(c, '"' | '[' | ']' | ' '))
        .collect()
}
