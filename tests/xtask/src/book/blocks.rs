//! What holds for every block, whether it runs or not: its language is one that is looked at, and code is that of a file
//! that runs.

use xtask::shell;

use super::page::{Block, Page};

/// What is wrong with blocks.
pub(super) fn check(pages: &[Page]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in pages {
        let mut before: Option<&Block> = None;
        for block in &page.blocks {
            if let Some(fault) = fault(block, before) {
                faults.push(format!("{}:{}: {fault}", page.path, block.line));
            }
            before = Some(block);
        }
    }
    faults
}

fn fault(block: &Block, before: Option<&Block>) -> Option<String> {
    if block.is_output && !before.is_some_and(Block::is_command) {
        return Some("output of no command".into());
    }
    if let Some(path) = &block.from {
        let file = std::fs::read_to_string(shell::workspace().join(path)).unwrap_or_default();
        return (!file.contains(block.text.trim_end())).then(|| format!("this is not in {path}"));
    }
    let is_looked_after = block.not_run.is_some() || block.save.is_some();
    match block.language.as_str() {
        "sh" | "toml" | "text" => None,
        "json" if is_looked_after => None,
        "json" => serde_json::from_str::<serde_json::Value>(&block.text)
            .err()
            .map(|fault| format!("no JSON: {fault}")),
        "" | "console" => Some("say what it is: commands are `sh`, what programs print is `text`".into()),
        _ if is_looked_after => None,
        _ => Some("code is a piece of a file that a test runs: mark it with `from PATH`".into()),
    }
}
