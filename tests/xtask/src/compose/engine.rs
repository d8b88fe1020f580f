//! The container engine, and the fleet on it.

use std::process::Command;
use std::time::Instant;

use xtask::shell::{self, say};
use xtask::{Explain, Outcome, fleet};

/// What `compose/Dockerfile` makes.
pub(super) const IMAGES: [&str; 2] = ["edge-hive/authz-server", "edge-hive/mcp-node"];
const FILE: &str = "compose/docker-compose.yml";
/// Variables of `compose/.env`, each with a port of this machine.
const PORTS: [&str; 6] = [
    "AUTH_PORT",
    "NORTH_PORT",
    "SOUTH_PORT",
    "WEST_PORT",
    "PROMETHEUS_PORT",
    "GRAFANA_PORT",
];

/// An engine that answers, and the words that begin a line of compose.
pub(super) struct Engine {
    compose: &'static [&'static str],
}

/// The fleet under a name and at ports that nobody else has.
pub(super) struct Fleet<'a> {
    engine: &'a Engine,
    project: String,
    ports: Vec<(&'static str, u16)>,
}

impl Engine {
    /// The engine of this machine, or what is missing.
    pub(super) fn find() -> Result<Self, String> {
        let works = |words: &[&str]| {
            let output = shell::output(command(words).arg("version"));
            output.is_ok_and(|output| output.status.success())
        };
        // Without an engine, the client has no version of it.
        if !works(&["docker"]) {
            return Err("no container engine answers (docker version)".to_owned());
        }
        let compose: [&'static [&'static str]; 2] = [&["docker", "compose"], &["docker-compose"]];
        match compose.into_iter().find(|words| works(words)) {
            Some(compose) => Ok(Self { compose }),
            None => Err("there is neither `docker compose` nor `docker-compose`".to_owned()),
        }
    }

    /// Builds both images.
    pub(super) fn build(&self) -> Outcome<()> {
        shell::run(command(self.compose).args(["-f", FILE, "build", "server-1", "north"]))
    }

    pub(super) fn has(&self, image: &str) -> bool {
        let output = shell::output(command(&["docker", "image", "inspect"]).arg(image));
        output.is_ok_and(|output| output.status.success())
    }

    /// Fetches an image of others unless it is there. The fault is the engine's own last word.
    pub(super) fn obtain(&self, image: &str) -> Result<(), String> {
        if self.has(image) {
            return Ok(());
        }
        // A registry that is not reached is asked again and again.
        let pull = ["timeout", "300", "docker", "pull", "--quiet", image];
        let output = shell::output(&mut command(&pull)).map_err(|fault| fault.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.lines().rfind(|line| !line.trim().is_empty());
        Err(last.unwrap_or("no answer in time").trim().to_owned())
    }

    /// In millions of bytes.
    pub(super) fn size(&self, image: &str) -> Outcome<f64> {
        let line = ["docker", "image", "inspect", "--format", "{{.Size}}", image];
        let bytes: f64 = shell::read(&mut command(&line))?
            .trim()
            .parse()
            .explain("no size")?;
        Ok(bytes / 1e6)
    }

    /// A fleet that is not there yet.
    pub(super) fn fleet(&self) -> Outcome<Fleet<'_>> {
        let ports: Outcome<_> = PORTS
            .into_iter()
            .map(|name| Ok((name, fleet::free_port()?)))
            .collect();
        Ok(Fleet {
            engine: self,
            project: format!("edge-hive-test-{}", std::process::id()),
            ports: ports?,
        })
    }
}

impl Fleet<'_> {
    /// The port of a variable of `compose/.env`.
    pub(super) fn port(&self, name: &str) -> Outcome<u16> {
        let found = self.ports.iter().find(|(known, _)| *known == name);
        found.map(|(_, port)| *port).explain(format!("no {name}"))
    }

    pub(super) fn ports(&self) -> String {
        let words = self.ports.iter().map(|(name, port)| format!("{name}={port}"));
        words.collect::<Vec<_>>().join(" ")
    }

    /// A line of compose about this fleet.
    pub(super) fn compose(&self, words: &[&str]) -> Command {
        let mut command = command(self.engine.compose);
        command.args(["-f", FILE, "-p", &self.project]).args(words);
        command.envs(self.ports.iter().map(|(name, port)| (name, port.to_string())));
        command
    }

    /// What a command in a container prints.
    pub(super) fn exec(&self, service: &str, words: &[&str]) -> Outcome<String> {
        shell::read(self.compose(&["exec", "-T", service]).args(words))
    }

    /// Starts everything but some services, and tells when it began.
    pub(super) fn up(&self, without: &[String]) -> Outcome<Instant> {
        let started = Instant::now();
        let known = shell::read(&mut self.compose(&["config", "--services"]))?;
        // A service that is scaled to none has its image fetched all the same.
        let wanted = known
            .lines()
            .filter(|service| !without.iter().any(|left_out| left_out == service));
        let mut up = self.compose(&["up", "--detach", "--no-build"]);
        up.args(wanted);
        shell::run(&mut up)?;
        Ok(started)
    }

    /// The end of what each service wrote.
    pub(super) fn show_logs(&self) {
        for words in [&["ps"][..], &["logs", "--no-color", "--tail=15"]] {
            match shell::output(&mut self.compose(words)) {
                Ok(output) => say(String::from_utf8_lossy(&output.stdout)),
                Err(fault) => say(fault),
            }
        }
    }

    /// Ends it, with its volumes.
    pub(super) fn down(&self) -> Outcome<()> {
        shell::run(&mut self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "10"]))
    }
}

/// Each service whose image is not ours, with that image.
pub(super) fn images_of_others() -> Outcome<Vec<(String, String)>> {
    let text =
        std::fs::read_to_string(shell::workspace().join(FILE)).explain(format!("cannot read {FILE}"))?;
    let mut found = Vec::new();
    let mut service = "";
    for line in text.lines() {
        if let Some(image) = line.strip_prefix("    image: ") {
            found.push((service.to_owned(), image.to_owned()));
        } else if let Some(name) = line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(':'))
            && !name.starts_with(' ')
        {
            service = name;
        }
    }
    Ok(found)
}

fn command(words: &[&str]) -> Command {
    let mut command = shell::command(words[0]);
    command.args(&words[1..]);
    command
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn services_of_others_are_found_with_their_images() {
        let found = images_of_others().unwrap();
        let names: Vec<&str> = found.iter().map(|(service, _)| service.as_str()).collect();
        assert_eq!(names, ["setup", "db", "balancer", "prometheus", "grafana"]);
        assert!(found.iter().all(|(_, image)| image.contains(':')), "{found:?}");
        assert!(found[4].1.starts_with("grafana/grafana:"), "{found:?}");
    }

    #[test]
    fn each_port_of_the_fleet_has_a_default_and_a_free_one_here() {
        let read = |path: &str| std::fs::read_to_string(shell::workspace().join(path)).unwrap();
        let (file, defaults) = (read(FILE), read("compose/.env"));
        let used: BTreeSet<&str> = file
            .split("${")
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
            .collect();
        assert_eq!(used, PORTS.into_iter().collect());
        for name in PORTS {
            assert!(defaults.contains(&format!("\n{name}=")), "{name}");
        }
    }
}
