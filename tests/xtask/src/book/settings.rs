//! Every piece of configuration in the book is one that a program takes. Files that it names need not be there.

use std::path::Path;

use xtask::Outcome;

use super::page::Page;
use super::programs::Tools;

/// What is wrong with blocks of TOML.
pub(super) fn check(pages: &[&Page], tools: &Tools) -> Outcome<Vec<String>> {
    let folder = tools.folder.join("settings");
    std::fs::create_dir_all(&folder)?;
    let mut faults = Vec::new();
    for page in pages {
        let pieces = page.blocks.iter().filter(|block| block.language == "toml");
        for block in pieces.filter(|block| block.not_run.is_none()) {
            let server = complaints(tools, &tools.authz_server, &folder, &block.text)?;
            if server.is_empty() {
                continue;
            }
            let mut text = block.text.clone();
            // A node needs somebody to trust.
            if !text.contains("[[issuer]]") {
                text.push_str("\n[[issuer]]\nurl = \"https://as.example\"\n");
            }
            let node = complaints(tools, &tools.mcp_node, &folder, &text)?;
            if !node.is_empty() {
                faults.push(format!(
                    "{}:{}: no program takes this\n    authz-server: {}\n    mcp-node: {}",
                    page.path,
                    block.line,
                    server.join("\n      "),
                    node.join("\n      ")
                ));
            }
        }
    }
    Ok(faults)
}

/// What a program says of a configuration, but for files that are not there.
fn complaints(tools: &Tools, program: &Path, folder: &Path, text: &str) -> Outcome<Vec<String>> {
    let file = folder.join("piece.toml");
    std::fs::write(&file, text)?;
    let mut command = tools.command(program, folder);
    let output = command
        .args(["config", "check", "--config"])
        .arg(&file)
        .output()?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_about_files = |line: &str| line.contains("No such file or directory");
    let of_the_list: Vec<&str> = words.lines().filter(|line| line.starts_with("  - ")).collect();
    if of_the_list.is_empty() {
        return Ok(vec![words]);
    }
    let serious = of_the_list.into_iter().filter(|line| !is_about_files(line));
    Ok(serious
        .map(|line| line.trim_start_matches("  - ").to_owned())
        .collect())
}
