//! Links of the book lead to pages and headings that are there, and every page is a chapter.

use std::collections::BTreeMap;
use std::path::Path;

use xtask::shell::{self, say};
use xtask::{Explain, Outcome};

use super::page::{Link, Page};

const SUMMARY: &str = "docs/SUMMARY.md";

/// The chapters, in order: `docs/start.md`.
pub(super) fn chapters() -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(shell::workspace().join(SUMMARY)).explain(SUMMARY)?;
    let summary = Page::read(SUMMARY, &text)?;
    // A chapter that is still to be written has no address.
    let written = summary.links.iter().filter(|link| !link.target.is_empty());
    Ok(written.map(|link| format!("docs/{}", link.target)).collect())
}

/// What is wrong with links. The Internet is not asked.
pub(super) fn check(pages: &[Page]) -> Outcome<Vec<String>> {
    let known: BTreeMap<&str, &Page> = pages.iter().map(|page| (page.path.as_str(), page)).collect();
    let mut faults = Vec::new();
    for page in pages {
        for link in &page.links {
            if let Some(fault) = fault(page, link, &known) {
                faults.push(format!("{}:{}: {}: {fault}", page.path, link.line, link.target));
            }
        }
    }
    for folder in ["docs", "docs/decisions"] {
        for entry in std::fs::read_dir(shell::workspace().join(folder)).explain(folder)? {
            let path = format!("{folder}/{}", entry?.file_name().to_string_lossy());
            if path.ends_with(".md") && path != SUMMARY && !known.contains_key(path.as_str()) {
                say(format!("  NOT CHECKED: {path} is no chapter of {SUMMARY}"));
            }
        }
    }
    Ok(faults)
}

fn fault(page: &Page, link: &Link, known: &BTreeMap<&str, &Page>) -> Option<String> {
    let target = link.target.as_str();
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    if page.path.starts_with("docs/") && target.ends_with("README.md") {
        return Some("mdBook makes another page of it, and does not follow".into());
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let place = if path.is_empty() {
        page.path.clone()
    } else {
        beside(&page.path, path)
    };
    if let Some(there) = known.get(place.as_str()) {
        let is_there = anchor.is_empty() || there.anchors.contains(anchor);
        return (!is_there).then(|| format!("{place} has no such heading"));
    }
    if page.path.starts_with("docs/") {
        return Some("no chapter of the book".into());
    }
    (!shell::workspace().join(&place).exists()).then(|| "there is no such file".into())
}

/// `other`, as `page` names it, below the workspace.
pub(super) fn beside(page: &str, other: &str) -> String {
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let mut parts: Vec<String> = folder
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    for part in other.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name.to_owned()),
        }
    }
    parts.join("/")
}
