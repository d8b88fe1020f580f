//! `--upstream`: a table of the configuration from what a person would type.

use std::fmt::Write;

use url::Url;

use super::{Failure, toml_text};

/// The longest name that is made up.
const LONGEST: usize = 24;

/// One `[[upstream]]` for each command line or URL.
pub(super) fn tables(wanted: &[String]) -> Result<String, Failure> {
    let mut text = String::new();
    let mut names: Vec<String> = Vec::new();
    for one in wanted {
        let (name, place) = if one.contains("://") {
            let url: Url = one.parse().map_err(|e| format!("--upstream {one:?}: {e}"))?;
            let host = url.domain().unwrap_or_default().to_owned();
            (host, format!("url = {}\n", toml_text(one)))
        } else {
            let words = shell_words::split(one).ok().filter(|words| !words.is_empty());
            let words = words.ok_or_else(|| format!("--upstream {one:?}: this is no command line"))?;
            let (command, arguments) = words.split_first().ok_or("--upstream: the command is missing")?;
            let arguments: Vec<_> = arguments.iter().map(|word| toml_text(word)).collect();
            let place = format!(
                "command = {}\nargs = [{}]\n",
                toml_text(command),
                arguments.join(", ")
            );
            (package(&words).to_owned(), place)
        };
        let name = unlike(&plain(&name), &names);
        write!(
            text,
            "\n# Another MCP server behind this node: its tools are offered as {name}_….\n[[upstream]]\nname = {}\n{place}",
            toml_text(&name)
        )?;
        names.push(name);
    }
    Ok(text)
}

/// What names the server in a command line: the package that `npx` or `uvx` runs, or the script, or the program.
fn package(words: &[String]) -> &str {
    let launchers = [
        "npx", "uvx", "bunx", "pipx", "uv", "node", "python", "python3", "deno", "docker", "run",
    ];
    let base = |word: &'_ str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let named = words
        .iter()
        .find(|word| !word.starts_with('-') && !launchers.contains(&&*base(word)));
    named.or(words.first()).map_or("", String::as_str)
}

/// A name as the configuration wants it, without what every server has in its name.
fn plain(text: &str) -> String {
    let scope_is_off = text.rsplit('/').next().unwrap_or_default();
    let version_is_off = scope_is_off.split('@').next().unwrap_or_default();
    let extension_is_off = [".js", ".mjs", ".ts", ".py"]
        .iter()
        .find_map(|extension| version_is_off.strip_suffix(extension))
        .unwrap_or(version_is_off);
    let lower: String = extension_is_off
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let mut name = lower.trim_matches('-');
    for word in ["mcp-server-", "server-"] {
        name = name.strip_prefix(word).unwrap_or(name);
    }
    for word in ["-mcp-server", "-mcp", "-server"] {
        name = name.strip_suffix(word).unwrap_or(name);
    }
    let name: String = name
        .trim_start_matches(|c: char| !c.is_ascii_lowercase())
        .chars()
        .take(LONGEST)
        .collect();
    match name.trim_end_matches('-') {
        "" => "upstream".to_owned(),
        name => name.to_owned(),
    }
}

fn unlike(name: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .unwrap_or_default()
}
