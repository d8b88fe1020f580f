//! The commands of one page, as a script: each block in the shell of the one before it, what keeps running beside them.

use std::fmt::Write;
use std::process::Command;

use xtask::shell;

use super::page::Block;

/// How the shell gets a network of its own, where every port is free and nothing is outside, and how everything that it
/// started ends with it.
const APART: [&str; 6] = [
    "--user",
    "--map-root-user",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
];

/// Why there can be no walks here, if there cannot.
pub(super) fn obstacle() -> Option<String> {
    let output = shell::output(apart().args(["ip", "link", "set", "lo", "up"]));
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "no namespaces can be made: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(fault) => Some(fault.to_string()),
    }
}

/// A command in namespaces of its own.
pub(super) fn apart() -> Command {
    let mut command = shell::command("unshare");
    command.args(APART).arg("--");
    command
}

/// What stands before the blocks. `RECORDS` is the folder for what they print.
const BEGINNING: &str = r#"set -e -o pipefail
ip link set lo up
until_it_answers() { # address, process, file
  for _ in $(seq 2400); do
    if curl --silent --fail --max-time 2 --output /dev/null "$1"; then return 0; fi
    kill -0 "$2" 2>/dev/null || { echo "ended before $1 answered"; return 1; }
    sleep 0.05
  done
  echo "no answer at $1 for two minutes"; return 1
}
"#;

/// The script. The files that a block's name ends in, below `RECORDS`: `N.out` for what it printed; `at` holds the last N.
pub(super) fn script(blocks: &[(String, &Block)]) -> String {
    let mut script = BEGINNING.to_owned();
    for (number, (_, block)) in blocks.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(script, "echo {number} > \"$RECORDS/at\"");
        let _ = match (block, &block.keeps_running) {
            (Block { save: Some(name), .. }, _) => {
                let end = "END_OF_WHAT_THE_READER_SAVES";
                writeln!(
                    script,
                    "mkdir -p \"$(dirname '{name}')\"\ncat > '{name}' <<'{end}'\n{}{end}",
                    block.text
                )
            }
            (Block { from: Some(path), .. }, _) => writeln!(script, "cp \"$PROJECT/{path}\" ."),
            (_, Some(address)) => writeln!(
                script,
                "(\n{}\n) > \"$RECORDS/{number}.out\" 2>&1 &\nuntil_it_answers '{address}' $! > \"$RECORDS/wait.out\"",
                block.text
            ),
            (_, None) => {
                let exits = block.exits.unwrap_or(0);
                writeln!(
                    script,
                    "set +e\n{{ set -e\n{}\n}} > \"$RECORDS/{number}.out\" 2>&1",
                    block.text
                )
                .and_then(|()| writeln!(script, "code=$?; set -e; [ $code -eq {exits} ]"))
            }
        };
    }
    script.push_str("echo done > \"$RECORDS/at\"\n");
    script
}

/// Whether `printed` has the lines of `shown`, in order and side by side; `…` stands for anything within a line, and
/// alone for any lines.
pub(super) fn is_shown(shown: &str, printed: &str) -> bool {
    let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let wanted: Vec<&str> = shown.lines().map(str::trim_end).collect();
    (0..=lines.len()).any(|start| lines_fit(&wanted, &lines[start..]))
}

fn lines_fit(wanted: &[&str], lines: &[&str]) -> bool {
    match wanted.split_first() {
        None => true,
        Some((&"…", rest)) => (0..=lines.len()).any(|skip| lines_fit(rest, &lines[skip..])),
        Some((first, rest)) => match lines.split_first() {
            Some((line, others)) => fits(first, line) && lines_fit(rest, others),
            None => false,
        },
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_was_printed() {
        let printed = "one\nid  c_123 x\nthree\nfour\n";
        for good in ["one\nid  c_… x\n", "id  …\n…\nfour\n", "three", "…"] {
            assert!(is_shown(good, printed), "{good}");
        }
        for bad in ["two", "one\nthree", "id  c_… y", "id", "four\n…\nthree"] {
            assert!(!is_shown(bad, printed), "{bad}");
        }
    }
}
