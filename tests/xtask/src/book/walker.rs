//! Walks: each page in an empty folder and a network of its own, several at a time.

use std::collections::VecDeque;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use xtask::program::Program;
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome};

use super::links::beside;
use super::page::{Block, Page};
use super::programs::Tools;
use super::walk;
use crate::interop;

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Walks every page that has commands; returns what went wrong.
pub(super) fn walk_all(wanted: &[&Page], pages: &[Page], tools: &Tools) -> Outcome<Vec<String>> {
    let walks = wanted.iter().filter(|page| page.blocks.iter().any(is_walked));
    let queue: Mutex<VecDeque<&Page>> = Mutex::new(walks.copied().collect());
    let faults = Mutex::new(Vec::new());
    let lanes = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(page) = next(&queue) {
                    let begun = Instant::now();
                    let outcome = walk_one(page, pages, tools);
                    let seconds = begun.elapsed().as_secs_f64();
                    match outcome {
                        Ok(count) => say(format!(
                            "  {:<28} {count:>3} block(s) {seconds:>6.1} s",
                            page.path
                        )),
                        Err(fault) => {
                            say(format!("  {:<28} FAILED {seconds:>6.1} s", page.path));
                            if let Ok(mut faults) = faults.lock() {
                                faults.push(fault.to_string());
                            }
                        }
                    }
                }
            });
        }
    });
    faults.into_inner().explain("a walk ended by a panic")
}

fn next<'a>(queue: &Mutex<VecDeque<&'a Page>>) -> Option<&'a Page> {
    queue.lock().ok()?.pop_front()
}

/// What a reader does: commands, and files that they save.
fn is_walked(block: &Block) -> bool {
    let is_file = block.save.is_some() || block.from.is_some();
    block.not_run.is_none() && (block.is_command() || is_file)
}

/// Every block of a walk with its place, the pages before this one first.
fn route<'a>(page: &'a Page, pages: &'a [Page]) -> Outcome<Vec<(String, &'a Block)>> {
    let mut route = match &page.continues {
        None => Vec::new(),
        Some(name) => {
            let before = beside(&page.path, name);
            let found = pages.iter().find(|page| page.path == before);
            self::route(
                found.explain(format!("{}: there is no {before}", page.path))?,
                pages,
            )?
        }
    };
    let blocks = page
        .blocks
        .iter()
        .filter(|block| is_walked(block) || block.is_output);
    route.extend(blocks.map(|block| (format!("{}:{}", page.path, block.line), block)));
    Ok(route)
}

fn walk_one(page: &Page, pages: &[Page], tools: &Tools) -> Outcome<usize> {
    let route = route(page, pages)?;
    let (steps, outputs) = split(&route);
    let aside = tools.folder.join(page.path.replace('/', "-"));
    let folder = aside.join("folder");
    for place in [&folder, &aside.join("home"), &aside.join("records")] {
        std::fs::create_dir_all(place)?;
    }
    furnish(&folder, page, tools)?;
    let script = aside.join("walk.sh");
    std::fs::write(&script, walk::script(&steps))?;
    let mut command = walk::apart();
    command.args(["bash", "--noprofile", "--norc"]).arg(&script);
    command.current_dir(&folder).env_clear().envs([
        ("PATH", tools.path.as_str()),
        ("LANG", "C.UTF-8"),
        ("HOME", &aside.join("home").display().to_string()),
        ("RECORDS", &aside.join("records").display().to_string()),
        ("PROJECT", &shell::workspace().display().to_string()),
    ]);
    if let Some(cargo) = std::env::var_os("CARGO") {
        command.env("CARGO", cargo);
    }
    let mut program = Program::start(&page.path, command, &aside.join("log"))?;
    let ended = program.wait_end(PATIENCE);
    let at = read(&aside.join("records/at"));
    if !matches!(&ended, Ok(status) if status.success()) {
        return Err(failure(&steps, at.trim(), &aside, program.log()));
    }
    for (number, place, shown) in outputs {
        let printed = read(&aside.join(format!("records/{number}.out")));
        if !walk::is_shown(&shown.text, &printed) {
            return Err(Fault::new(format!(
                "{place}: that is not what was printed:\n{printed}"
            )));
        }
    }
    Ok(steps.len())
}

type Step<'a> = (String, &'a Block);

/// The steps, and what some of them must have printed: number of the step, place, block.
fn split<'a>(route: &[Step<'a>]) -> (Vec<Step<'a>>, Vec<(usize, String, &'a Block)>) {
    let (mut steps, mut outputs) = (Vec::new(), Vec::new());
    for (place, block) in route {
        if block.is_output {
            outputs.push((steps.len().saturating_sub(1), place.clone(), *block));
        } else {
            steps.push((place.clone(), *block));
        }
    }
    (steps, outputs)
}

/// npm packages, and for README, which is read in a checkout, what `cargo` has built.
fn furnish(folder: &Path, page: &Page, tools: &Tools) -> Outcome<()> {
    symlink(
        interop::node_folder().join("node_modules"),
        folder.join("node_modules"),
    )?;
    if page.path == "README.md" {
        let debug = folder.join("target/debug");
        std::fs::create_dir_all(&debug)?;
        for program in [&tools.authz_server, &tools.mcp_node] {
            symlink(
                program,
                debug.join(program.file_name().explain("a program has a name")?),
            )?;
        }
    }
    Ok(())
}

fn failure(steps: &[Step<'_>], at: &str, aside: &Path, log: String) -> Fault {
    let number: usize = at.parse().unwrap_or(0);
    let place = steps
        .get(number)
        .map_or("before the first block", |(place, _)| place);
    let printed = read(&aside.join(format!("records/{number}.out")));
    let waited = read(&aside.join("records/wait.out"));
    let text = format!("{printed}{waited}{log}");
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(30)..].join("\n      ");
    Fault::new(format!(
        "{place}: failed\n      {end}\n    (all of it: {})",
        aside.display()
    ))
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
