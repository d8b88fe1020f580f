//! What was counted, for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use xtask::shell::say;
use xtask::{Explain, Outcome};

use super::count::{Crate, Share};

/// All lines of all crates.
pub(crate) fn total(crates: &[Crate]) -> Share {
    let mut total = Share::default();
    for one in crates {
        total.add(one.share());
    }
    total
}

/// A line for each module and each crate, and one for all.
pub(crate) fn print(crates: &[Crate]) {
    say("\nmodule                              lines    run  per cent");
    for one in crates {
        for (module, files) in &one.modules {
            let mut share = Share::default();
            for file in files {
                share.add(file.share);
            }
            row(&format!("{} {module}", one.name), share);
        }
        row(one.name, one.share());
        say("");
    }
    row("all", total(crates));
}

fn row(name: &str, share: Share) {
    say(format!(
        "{name:<34} {:>6} {:>6} {:>9.2}",
        share.all,
        share.run,
        share.percent()
    ));
}

/// Writes each file with its lines that were not run, the most first.
pub(crate) fn write_uncovered(crates: &[Crate], path: &Path) -> Outcome<()> {
    let mut files: Vec<_> = crates
        .iter()
        .flat_map(|one| one.modules.values().flatten())
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.uncovered.len()));
    let mut text = String::new();
    for file in files.iter().filter(|file| !file.uncovered.is_empty()) {
        let (name, share) = (file.path.display(), file.share);
        let missing = share.all - share.run;
        // Writing into a string cannot fail.
        writeln!(
            text,
            "{missing:>4} of {:<4} {name}: {}",
            share.all,
            ranges(&file.uncovered)
        )
        .ok();
    }
    std::fs::write(path, text).explain(path.display())
}

/// `3-5, 9`.
fn ranges(lines: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => ranges.push((*line, *line)),
        }
    }
    let words: Vec<String> = ranges
        .iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(ranges(&BTreeSet::from([3, 4, 5, 9, 11, 12])), "3-5, 9, 11-12");
        assert_eq!(ranges(&BTreeSet::new()), "");
    }
}
