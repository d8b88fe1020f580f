//! Networks of one machine: a namespace for each host, a bridge for each segment, and a router between the segments that
//! lets no multicast through. Everything is gone when this is dropped.

use std::process::Command;

use xtask::shell;
use xtask::{Fault, Outcome};

/// Hosts, segments and the router.
pub(super) struct Network {
    /// What the names begin with: this process's own.
    prefix: String,
    hosts: Vec<Host>,
}

/// A host on a segment.
struct Host {
    name: &'static str,
    segment: u8,
}

impl Network {
    /// Whether there can be one here; else why not.
    pub(super) fn obstacle() -> Option<String> {
        if !shell::has("ip") {
            return Some("there is no `ip` (Debian: iproute2)".into());
        }
        let name = format!("eh{}-try", std::process::id());
        let made = ip(&["netns", "add", &name]).and_then(|()| {
            let bridge = in_namespace(&name, &["ip", "link", "add", "name", "try0", "type", "bridge"]);
            let pair = in_namespace(
                &name,
                &[
                    "ip", "link", "add", "name", "try1", "type", "veth", "peer", "name", "try2",
                ],
            );
            bridge.and(pair)
        });
        ip(&["netns", "del", &name]).ok();
        made.err()
            .map(|fault| format!("network namespaces cannot be made: {fault}"))
    }

    /// A router and nobody else.
    pub(super) fn new(segments: u8) -> Outcome<Self> {
        let network = Self {
            prefix: format!("eh{}", std::process::id()),
            hosts: Vec::new(),
        };
        let router = network.namespace("router");
        ip(&["netns", "add", &router])?;
        in_namespace(&router, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        for segment in 1..=segments {
            let bridge = format!("br{segment}");
            let address = format!("10.77.{segment}.1/24");
            in_namespace(&router, &["ip", "link", "add", "name", &bridge, "type", "bridge"])?;
            in_namespace(&router, &["ip", "addr", "add", &address, "dev", &bridge])?;
            in_namespace(&router, &["ip", "link", "set", "dev", &bridge, "up"])?;
        }
        Ok(network)
    }

    /// A new host; returns its address.
    pub(super) fn host(&mut self, name: &'static str, segment: u8) -> Outcome<String> {
        let (router, here) = (self.namespace("router"), self.namespace(name));
        let number = 10 + self.hosts.len();
        let address = format!("10.77.{segment}.{number}");
        self.hosts.push(Host { name, segment });
        ip(&["netns", "add", &here])?;
        let (with_length, gateway) = (format!("{address}/24"), format!("10.77.{segment}.1"));
        let bridge = format!("br{segment}");
        for line in [
            &[
                "ip", "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", &router,
            ][..],
            &["ip", "addr", "add", &with_length, "dev", "eth0"],
            &["ip", "link", "set", "dev", "lo", "up"],
            &["ip", "link", "set", "dev", "eth0", "up"],
            &["ip", "route", "add", "default", "via", &gateway],
        ] {
            in_namespace(&here, line)?;
        }
        in_namespace(&router, &["ip", "link", "set", "dev", name, "master", &bridge])?;
        in_namespace(&router, &["ip", "link", "set", "dev", name, "up"])?;
        Ok(address)
    }

    /// Cuts a host off from everybody, or mends that.
    pub(super) fn plug(&self, name: &str, is_in: bool) -> Outcome<()> {
        let state = if is_in { "up" } else { "down" };
        in_namespace(
            &self.namespace("router"),
            &["ip", "link", "set", "dev", name, state],
        )
    }

    /// Lets a host reach another segment no more, or again.
    pub(super) fn route(&self, name: &str, segment: u8, is_open: bool) -> Outcome<()> {
        let target = format!("10.77.{segment}.0/24");
        let verb = if is_open { "del" } else { "add" };
        in_namespace(
            &self.namespace(name),
            &["ip", "route", verb, "blackhole", &target],
        )
    }

    /// A command line that runs on a host.
    pub(super) fn on(&self, name: &str, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.namespace(name)]);
        inside.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        inside
    }

    /// The segment of a host.
    pub(super) fn segment(&self, name: &str) -> Option<u8> {
        let host = self.hosts.iter().find(|host| host.name == name);
        host.map(|host| host.segment)
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.hosts.iter().map(|host| host.name).chain(["router"]) {
            // One that was never made is gone too.
            ip(&["netns", "del", &self.namespace(name)]).ok();
        }
    }
}

fn ip(words: &[&str]) -> Outcome<()> {
    shell::read(Command::new("ip").args(words)).map(drop)
}

fn in_namespace(name: &str, line: &[&str]) -> Outcome<()> {
    if line.is_empty() {
        return Err(Fault::new("nothing to run"));
    }
    shell::read(Command::new("ip").args(["netns", "exec", name]).args(line)).map(drop)
}
