//! References are held against what they are about: every key of the configuration with its default, every error code,
//! metric and alert, and the help texts of both programs.

mod keys;
mod voice;

use std::path::Path;

use xtask::shell;
use xtask::{Explain, Outcome};

use super::page::Page;
use super::programs::Tools;

/// Where metrics are registered.
const METRICS: [&str; 4] = [
    "authz-server/src/counts.rs",
    "mcp-node/src/gate/uses.rs",
    "mcp-node/src/p2p/counts.rs",
    "shared/web/src/metrics.rs",
];

/// What is missing in a reference, or said of something that is not there.
pub(super) fn check(tools: &Tools, pages: &[Page]) -> Outcome<Vec<String>> {
    let texts: Outcome<Vec<String>> = pages.iter().map(|page| file(&page.path)).collect();
    let mut faults = keys::check(tools)?;
    faults.extend(voice::check(tools, &texts?.concat())?);
    faults.extend(errors()?);
    faults.extend(metrics()?);
    faults.extend(alerts()?);
    Ok(faults)
}

/// `error_uri` names a heading of the page about errors, which the server has compiled in.
fn errors() -> Outcome<Vec<String>> {
    let (codes, page) = (file("shared/src/oauth_error.rs")?, file("docs/errors.md")?);
    let codes = codes.lines().filter_map(|line| {
        let (before, after) = line.split_once(" => \"")?;
        let code = after
            .split('"')
            .next()
            .filter(|code| !code.starts_with(char::is_uppercase));
        before.trim().starts_with("Self::").then_some(code)?
    });
    let missing = codes.filter(|code| !page.lines().any(|line| line == format!("## {code}")));
    Ok(missing
        .map(|code| format!("docs/errors.md: `error_uri` leads to #{code}, which is not there"))
        .collect())
}

fn metrics() -> Outcome<Vec<String>> {
    let pages = [file("docs/metrics.md")?, file("docs/fleet.md")?].concat();
    let mut faults = Vec::new();
    for path in METRICS {
        let source = file(path)?;
        let names = source.split("register(").skip(1).filter_map(literal);
        for name in names.filter(|name| !pages.contains(&format!("`{name}"))) {
            faults.push(format!("docs/metrics.md: {name} ({path}) is not there"));
        }
    }
    Ok(faults)
}

fn alerts() -> Outcome<Vec<String>> {
    let source = [
        file("authz-server/src/alerts/mod.rs")?,
        file("authz-server/src/alerts/silence.rs")?,
        file("authz-server/src/alerts/watch.rs")?,
    ]
    .concat();
    let page = file("docs/alerts.md")?;
    let kinds = page
        .lines()
        .skip_while(|line| !line.starts_with("| `type`"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(code_spans);
    let unknown = kinds.filter(|kind| !source.contains(&format!("\"{kind}\"")));
    Ok(unknown
        .map(|kind| format!("docs/alerts.md: no alert is called {kind}"))
        .collect())
}

/// The text that a string literal at the beginning of `source` has.
fn literal(source: &str) -> Option<&str> {
    source.trim_start().strip_prefix('"')?.split('"').next()
}

/// What stands between backticks.
fn code_spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn file(path: &str) -> Outcome<String> {
    std::fs::read_to_string(shell::workspace().join(Path::new(path))).explain(path)
}
