//! `cargo xtask compose`: the fleet of `compose/docker-compose.yml` on a container engine, and the walk through it:
//! discovery, token, tool call, the nodes' peers, a revocation, a server that goes away.

mod engine;
mod walk;

use std::time::{Duration, Instant};

use clap::Args;
use xtask::shell::say;
use xtask::{Fault, Outcome};

use crate::test::Verdict;
use engine::{Engine, IMAGES, images_of_others};
use walk::Walk;

/// A small machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);
const GLANCE: Duration = Duration::from_millis(500);

/// Services without which the rest of the fleet can be shown.
const SPARE: [&str; 2] = ["prometheus", "grafana"];

#[derive(Args)]
pub(crate) struct Options {
    /// Take the images that are there instead of building them, which takes half an hour
    #[arg(long)]
    no_build: bool,
    /// Leave out a service, for example one whose image cannot be had; may be repeated
    #[arg(long, value_name = "SERVICE")]
    without: Vec<String>,
    /// Leave everything running
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let engine = Engine::find().map_err(|obstacle| Fault::new(format!("{obstacle}: nothing was tried")))?;
    if !options.no_build {
        engine.build()?;
    }
    show(&engine, options)
}

/// As a part of `cargo xtask test`, with images of ours that are there: a release build would double its time. What others'
/// images are for is left out, and told, when they cannot be had.
pub(crate) fn part() -> Outcome<Verdict> {
    let not_checked = |obstacle: String| {
        Ok(Verdict::NotChecked(format!(
            "the fleet in containers: {obstacle}"
        )))
    };
    let engine = match Engine::find() {
        Ok(engine) => engine,
        Err(obstacle) => return not_checked(obstacle),
    };
    if let Some(image) = IMAGES.iter().find(|image| !engine.has(image)) {
        return not_checked(format!(
            "there is no image {image}; `cargo xtask compose` builds it"
        ));
    }
    let mut without = Vec::new();
    let mut reasons = Vec::new();
    for (service, image) in images_of_others()? {
        let Err(cause) = engine.obtain(&image) else {
            continue;
        };
        let reason = format!("{service}, whose image {image} cannot be had ({cause})");
        if !SPARE.contains(&service.as_str()) {
            return not_checked(reason);
        }
        without.push(service);
        reasons.push(reason);
    }
    let options = Options {
        no_build: true,
        without,
        keep: false,
    };
    show(&engine, &options)?;
    Ok(match &reasons[..] {
        [] => Verdict::Passed,
        _ => Verdict::NotChecked(reasons.join("; ")),
    })
}

fn show(engine: &Engine, options: &Options) -> Outcome<()> {
    for image in IMAGES {
        say(format!("{image}: {:.1} MB", engine.size(image)?));
    }
    let fleet = engine.fleet()?;
    let walked = fleet.up(&options.without).and_then(|started| {
        Walk::new(&fleet)?.all(started, &options.without)?;
        say("Started again, everything is there: nothing is made twice.");
        fleet.up(&options.without).map(drop)
    });
    if walked.is_err() {
        fleet.show_logs();
    }
    if options.keep {
        say(format!("Left running: {}", fleet.ports()));
    } else {
        fleet.down()?;
    }
    for service in &options.without {
        say(format!("NOT CHECKED: {service} was left out"));
    }
    walked
}

/// Asks again and again until the answer is yes.
fn within(what: &str, mut is_done: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let last = match is_done() {
            Ok(true) => return Ok(()),
            Ok(false) => String::new(),
            Err(fault) => format!(": {fault}"),
        };
        if Instant::now() > deadline {
            let seconds = PATIENCE.as_secs();
            return Err(Fault::new(format!("not within {seconds} s: {what}{last}")));
        }
        std::thread::sleep(GLANCE);
    }
}
