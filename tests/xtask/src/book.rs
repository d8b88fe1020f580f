//! `cargo xtask book`: README and the chapters of `docs/` do what they say. Commands are run as a reader types them, in
//! order, in an empty folder; configurations are read by the programs; code is that of files that run; links lead somewhere.
//!
//! How a block is marked (a comment in the line before it) is said in CONTRIBUTING.md and read in [`page`].

mod blocks;
mod links;
mod page;
mod programs;
mod reference;
mod settings;
mod walk;
mod walker;

use std::path::PathBuf;

use clap::Args;
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome};

use crate::test::Verdict;
use page::Page;
use programs::Tools;

/// The pages that are not chapters.
const OTHERS: [&str; 4] = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

#[derive(Args)]
pub(crate) struct Options {
    /// Only pages whose path contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// A folder with both programs and the example agent, built already
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    match check(options)? {
        Verdict::Passed => Ok(()),
        Verdict::NotChecked(reason) => Err(Fault::new(reason)),
    }
}

/// As a part of `cargo xtask test`.
pub(crate) fn part() -> Outcome<Verdict> {
    check(&Options {
        only: None,
        programs: None,
    })
}

fn check(options: &Options) -> Outcome<Verdict> {
    let pages = read_pages()?;
    let mut faults = links::check(&pages)?;
    faults.extend(blocks::check(&pages));
    let tools = Tools::find(options.programs.as_deref())?;
    let is_wanted = |page: &&Page| options.only.as_ref().is_none_or(|text| page.path.contains(text));
    let wanted: Vec<&Page> = pages.iter().filter(is_wanted).collect();
    faults.extend(settings::check(&wanted, &tools)?);
    faults.extend(reference::check(&tools, &pages)?);
    let obstacle = walk::obstacle();
    if obstacle.is_none() {
        faults.extend(walker::walk_all(&wanted, &pages, &tools)?);
    }
    tell_what_did_not_run(&wanted);
    // A page that others continue fails with each of them.
    faults.sort();
    faults.dedup();
    if !faults.is_empty() {
        for fault in &faults {
            say(format!("  {fault}"));
        }
        return Err(Fault::new(format!("{} fault(s) in the book", faults.len())));
    }
    Ok(obstacle.map_or(Verdict::Passed, |obstacle| {
        Verdict::NotChecked(format!("the commands of the book: {obstacle}"))
    }))
}

/// README and its like, and the chapters in the order of the summary.
fn read_pages() -> Outcome<Vec<Page>> {
    let chapters = links::chapters()?;
    let paths = OTHERS.into_iter().map(str::to_owned).chain(chapters);
    paths
        .map(|path| {
            let text = std::fs::read_to_string(shell::workspace().join(&path))
                .explain(format!("docs/SUMMARY.md: cannot read {path}"))?;
            Page::read(&path, &text)
        })
        .collect()
}

/// Blocks that a reader runs and this test does not, each with its reason.
fn tell_what_did_not_run(pages: &[&Page]) {
    let mut count = 0;
    for page in pages {
        for (block, reason) in page.blocks.iter().filter_map(|b| Some((b, b.not_run.as_ref()?))) {
            say(format!("  not run: {}:{}: {reason}", page.path, block.line));
            count += 1;
        }
    }
    say(format!("  {count} block(s) were not run, for the reasons above"));
}
