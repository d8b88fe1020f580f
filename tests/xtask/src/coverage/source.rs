//! Which lines of a source file belong to tests. They are run by definition, and counting them would flatter.
//!
//! The files are formatted (`cargo fmt --check` is part of the tests), so an item ends where its indentation returns.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use xtask::{Explain, Outcome};

const MARK: &str = "#[cfg(test)]";

/// What a file has for tests alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Marked {
    /// Lines, from 1.
    lines: BTreeSet<usize>,
    /// Modules in files of their own.
    modules: Vec<String>,
}

/// The lines of tests in `file`, or all of them.
pub(crate) enum Tests {
    Some(BTreeSet<usize>),
    All,
}

/// Every file below `folder` that is a test as a whole: `tests.rs`, and what is declared for tests alone.
pub(crate) fn whole_files(folder: &Path) -> Outcome<BTreeSet<PathBuf>> {
    let mut whole = BTreeSet::new();
    for file in files(folder)? {
        for module in marked(&read(&file)?).modules {
            let beside = folder_of_modules(&file);
            whole.insert(beside.join(format!("{module}.rs")));
            // And what it declares itself.
            whole.insert(beside.join(module));
        }
    }
    Ok(whole)
}

/// What of `file` is tests. `whole` is what [`whole_files`] has returned.
pub(crate) fn tests_of(file: &Path, whole: &BTreeSet<PathBuf>) -> Outcome<Tests> {
    if file.ancestors().any(|part| whole.contains(part)) {
        return Ok(Tests::All);
    }
    Ok(Tests::Some(marked(&read(file)?).lines))
}

/// Rust files below `folder`.
pub(crate) fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).explain(folder.display())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(file: &Path) -> Outcome<String> {
    fs::read_to_string(file).explain(file.display())
}

/// Where the modules that `file` declares have their files.
fn folder_of_modules(file: &Path) -> PathBuf {
    let parent = file.parent().unwrap_or(file);
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => parent.to_path_buf(),
        Some(stem) => parent.join(stem),
    }
}

fn marked(text: &str) -> Marked {
    let mut marked = Marked::default();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim() != MARK {
            continue;
        }
        marked.lines.insert(at + 1);
        let margin = &line[..line.len() - line.trim_start().len()];
        for (at, line) in lines.by_ref() {
            marked.lines.insert(at + 1);
            let Some(rest) = line.strip_prefix(margin) else {
                continue;
            };
            if rest.starts_with([' ', '#', '/']) || !rest.ends_with(['}', ';', ',']) {
                continue;
            }
            if let Some(name) = rest.strip_suffix(';').and_then(module_name) {
                marked.modules.push(name.to_owned());
            }
            break;
        }
    }
    marked
}

/// The name in `mod name`, whoever may see it.
fn module_name(item: &str) -> Option<&str> {
    let (before, name) = item.rsplit_once(' ')?;
    (before == "mod" || before.ends_with(" mod")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_tests_ends_where_its_indentation_returns() {
        let text = "\
fn served() {}
#[cfg(test)]
#[expect(dead_code)]
fn only(
    one: u8,
) -> u8 {
    one
}
fn served_too() {
    #[cfg(test)]
    return 1;
    2
}
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests {
    fn inner() {}
}
";
        let marked = marked(text);
        let expected: BTreeSet<usize> = (2..=8).chain(10..=11).chain(14..=19).collect();
        assert_eq!(marked.lines, expected);
        assert_eq!(marked.modules, ["testing"]);
    }

    #[test]
    fn a_module_of_a_file_is_beside_it_or_below() {
        for (file, folder) in [
            ("a/src/lib.rs", "a/src"),
            ("a/src/main.rs", "a/src"),
            ("a/src/db.rs", "a/src/db"),
            ("a/src/db/mod.rs", "a/src/db"),
        ] {
            assert_eq!(folder_of_modules(Path::new(file)), Path::new(folder), "{file}");
        }
    }

    #[test]
    fn files_of_tests_are_told_from_others() {
        let root = xtask::shell::workspace().join("shared/src");
        let whole = whole_files(&root).unwrap();
        let all = files(&root).unwrap();
        let is_whole = |file: &&PathBuf| matches!(tests_of(file, &whole).unwrap(), Tests::All);
        let (tests, others): (Vec<&PathBuf>, Vec<&PathBuf>) = all.iter().partition(is_whole);
        assert!(
            tests
                .iter()
                .any(|file| file.ends_with("http_client/guard/tests.rs")),
            "{tests:?}"
        );
        assert!(
            others.iter().any(|file| file.ends_with("http_client/guard.rs")),
            "{others:?}"
        );
    }
}
