//! The help texts of both programs: one voice, and every command is somewhere in the book.

use std::path::Path;

use xtask::Outcome;
use xtask::shell;

use super::super::programs::Tools;

/// What both programs say of the options that all commands have.
const SHARED: [(&str, &str); 4] = [
    ("--config <FILE>", "The configuration file [default: "),
    ("--json", "Print data as JSON"),
    ("-h, --help", "Print help"),
    ("-V, --version", "Print version"),
];

/// One command with its help.
struct Command {
    /// As it is typed: `authz-server client create`.
    line: String,
    /// The option or command, and what is said of it.
    rows: Vec<(String, String)>,
    is_group: bool,
}

/// What is wrong with help texts.
pub(super) fn check(tools: &Tools, book: &str) -> Outcome<Vec<String>> {
    let mut faults = Vec::new();
    for (name, program) in [
        ("authz-server", &tools.authz_server),
        ("mcp-node", &tools.mcp_node),
    ] {
        let mut commands = Vec::new();
        collect(tools, program, name, &[], &mut commands)?;
        for command in &commands {
            faults.extend(faults_of(command));
            let words = command.line.split_once(' ').map_or("", |(_, words)| words);
            if !command.is_group && !book.contains(words) {
                faults.push(format!("`{}` is nowhere in the book", command.line));
            }
        }
    }
    Ok(faults)
}

fn collect(
    tools: &Tools,
    program: &Path,
    line: &str,
    words: &[String],
    found: &mut Vec<Command>,
) -> Outcome<()> {
    let mut command = tools.command(program, &tools.folder);
    let help = shell::read(command.args(words).arg("--help"))?;
    let rows = rows(&help);
    let names = section(&help, "Commands:");
    let below: Vec<String> = names.map(|row| row.0).filter(|name| name != "help").collect();
    found.push(Command {
        line: line.to_owned(),
        rows,
        is_group: !below.is_empty(),
    });
    for name in below {
        let words = [words, std::slice::from_ref(&name)].concat();
        collect(tools, program, &format!("{line} {name}"), &words, found)?;
    }
    Ok(())
}

/// Every row of the sections.
fn rows(help: &str) -> Vec<(String, String)> {
    ["Commands:", "Arguments:", "Options:"]
        .into_iter()
        .flat_map(|heading| section(help, heading))
        .collect()
}

/// The rows below a heading: a name and, two columns or a line further, what is said of it.
fn section<'a>(help: &'a str, heading: &str) -> impl Iterator<Item = (String, String)> + use<'a> {
    let lines: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .collect();
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        let text = line.trim();
        let is_continued = line.starts_with("          ") && !text.starts_with('-');
        match (rows.last_mut(), text.split_once("  ")) {
            (Some((_, said)), _) if is_continued => said.push_str(text),
            (_, Some((name, said))) => rows.push((name.to_owned(), said.trim().to_owned())),
            (_, None) => rows.push((text.to_owned(), String::new())),
        }
    }
    rows.into_iter()
}

fn faults_of(command: &Command) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, said) in &command.rows {
        let is_sentence = said.starts_with(|c: char| c.is_uppercase()) && !said.ends_with('.');
        if !is_sentence {
            faults.push(format!(
                "`{}`, {name}: {said:?} begins or ends as no other",
                command.line
            ));
        }
        let shared = SHARED.iter().find(|(option, _)| name == option);
        if shared.is_some_and(|(_, sentence)| !said.starts_with(sentence)) {
            faults.push(format!(
                "`{}`, {name}: {said:?} is said in another way elsewhere",
                command.line
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_help_are_read() {
        let short = "About\n\nUsage: x\n\nCommands:\n  serve  Serve until\n  help   Print this\n\nOptions:\n      --json  Print data\n  -h, --help  Print help\n";
        let long =
            "Options:\n      --config <FILE>\n          The file\n\n  -h, --help\n          Print help\n";
        let pairs = |help: &str| {
            rows(help)
                .into_iter()
                .map(|(name, said)| format!("{name}|{said}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            pairs(short),
            [
                "serve|Serve until",
                "help|Print this",
                "--json|Print data",
                "-h, --help|Print help"
            ]
        );
        assert_eq!(pairs(long), ["--config <FILE>|The file", "-h, --help|Print help"]);
    }
}
