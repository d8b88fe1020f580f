//! From what LLVM exports to lines of crates and their modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use xtask::{Explain, Outcome};

use super::source::{self, Tests};

/// The crates that are counted, by their folders.
const CRATES: [&str; 4] = ["authz-server", "mcp-node", "shared", "shared/web"];

/// How often each line of each file of the workspace was run. A line without code is not there.
pub(crate) type Lines = BTreeMap<PathBuf, BTreeMap<usize, u64>>;

/// Lines with code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) run: usize,
    pub(crate) all: usize,
}

impl Share {
    /// Adds another's lines.
    pub(crate) fn add(&mut self, other: Self) {
        self.run += other.run;
        self.all += other.all;
    }

    /// How much of it was run, 100 when there is nothing to run.
    #[expect(clippy::cast_precision_loss, reason = "no file has 2^52 lines")]
    pub(crate) fn percent(self) -> f64 {
        if self.all == 0 {
            return 100.0;
        }
        self.run as f64 * 100.0 / self.all as f64
    }
}

/// One source file, without what is tests.
pub(crate) struct File {
    /// From the folder of the workspace.
    pub(crate) path: PathBuf,
    pub(crate) share: Share,
    pub(crate) uncovered: BTreeSet<usize>,
}

/// A crate with its modules: a module is a file beside `lib.rs` or `main.rs` with all that is below it.
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) modules: BTreeMap<String, Vec<File>>,
}

impl Crate {
    /// All its lines.
    pub(crate) fn share(&self) -> Share {
        let mut share = Share::default();
        for file in self.modules.values().flatten() {
            share.add(file.share);
        }
        share
    }
}

/// Reads lcov (geninfo(1)): `SF:` begins a file, `DA:` is a line with its count.
pub(crate) fn read(lcov: &str, workspace: &Path) -> Lines {
    let mut lines = Lines::new();
    let mut file = None;
    for record in lcov.lines() {
        if let Some(path) = record.strip_prefix("SF:") {
            file = Path::new(path)
                .strip_prefix(workspace)
                .ok()
                .map(Path::to_path_buf);
        } else if let (Some(file), Some(line)) = (&file, record.strip_prefix("DA:")) {
            let mut numbers = line.split(',');
            let mut next = || numbers.next()?.parse::<u64>().ok();
            if let (Some(number), Some(count)) = (next(), next()) {
                let counts = lines.entry(file.clone()).or_default();
                *counts
                    .entry(usize::try_from(number).unwrap_or(usize::MAX))
                    .or_default() += count;
            }
        }
    }
    lines
}

/// Orders `lines` by crate and module, without tests.
pub(crate) fn by_crate(lines: &Lines, workspace: &Path) -> Outcome<Vec<Crate>> {
    let mut crates = Vec::new();
    for name in CRATES {
        let sources = Path::new(name).join("src");
        let whole = source::whole_files(&workspace.join(&sources))?;
        let mut modules: BTreeMap<String, Vec<File>> = BTreeMap::new();
        for (path, counts) in lines {
            let Ok(inside) = path.strip_prefix(&sources) else {
                continue;
            };
            let Tests::Some(tests) = source::tests_of(&workspace.join(path), &whole)? else {
                continue;
            };
            let file = without(&tests, path, counts);
            if file.share.all > 0 {
                modules.entry(module(inside)?).or_default().push(file);
            }
        }
        crates.push(Crate { name, modules });
    }
    Ok(crates)
}

fn without(tests: &BTreeSet<usize>, path: &Path, counts: &BTreeMap<usize, u64>) -> File {
    let mut share = Share::default();
    let mut uncovered = BTreeSet::new();
    for (line, count) in counts.iter().filter(|(line, _)| !tests.contains(line)) {
        share.all += 1;
        if *count > 0 {
            share.run += 1;
        } else {
            uncovered.insert(*line);
        }
    }
    File {
        path: path.to_path_buf(),
        share,
        uncovered,
    }
}

fn module(inside: &Path) -> Outcome<String> {
    let first = inside.iter().next().explain("a file without a name")?;
    let name = first.to_string_lossy();
    Ok(name.strip_suffix(".rs").unwrap_or(&name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_once_however_many_programs_have_them() {
        let lcov = "SF:/w/shared/src/a.rs\nDA:1,0\nDA:2,0\nend_of_record\nSF:/w/shared/src/a.rs\nDA:1,3\nDA:2,0\n\
                    end_of_record\nSF:/elsewhere/b.rs\nDA:1,1\nend_of_record\n";
        let lines = read(lcov, Path::new("/w"));
        assert_eq!(lines.len(), 1);
        let counts = &lines[Path::new("shared/src/a.rs")];
        let file = without(&BTreeSet::new(), Path::new("shared/src/a.rs"), counts);
        assert_eq!(file.share, Share { run: 1, all: 2 });
        assert_eq!(file.uncovered, BTreeSet::from([2]));
        assert!((file.share.percent() - 50.0).abs() < f64::EPSILON);
    }

    #[test]
    fn lines_of_tests_are_not_counted() {
        let counts = BTreeMap::from([(1, 0), (2, 5), (3, 5)]);
        let file = without(&BTreeSet::from([2, 3]), Path::new("a.rs"), &counts);
        assert_eq!(file.share, Share { run: 0, all: 1 });
    }

    #[test]
    fn a_module_is_what_stands_beside_the_root() {
        for (path, name) in [("main.rs", "main"), ("db.rs", "db"), ("db/pool/one.rs", "db")] {
            assert_eq!(module(Path::new(path)).unwrap(), name);
        }
    }
}
