//! `cargo xtask fleet`: five nodes on two segments of a network and their authorization server on a third, in network
//! namespaces of this machine. They find each other, a caller of one calls another, the server goes away and comes back.

mod hosts;
mod network;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use xtask::shell::say;
use xtask::{Fault, Outcome};

use crate::program_files;
use crate::test::Verdict;
use hosts::{Fleet, What, expect};
use network::Network;

/// Three on one segment, two on another.
const NODES: [(&str, u8); 5] = [("n1", 1), ("n2", 1), ("n3", 1), ("n4", 2), ("n5", 2)];
/// The server's.
const SERVER_SEGMENT: u8 = 3;
/// How long the fleet may take to be complete: debug builds on a busy machine.
const COMPLETE: Duration = Duration::from_secs(120);
/// The promise for nodes that reach only peers, with some room for a busy machine.
const BY_PEERS: Duration = Duration::from_secs(20);
/// The shortest budget that a node takes for revocations.
const BUDGET: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Options {
    /// A folder with both programs, built already
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    match show(options.programs.as_deref())? {
        Verdict::Passed => Ok(()),
        Verdict::NotChecked(reason) => Err(Fault::new(reason)),
    }
}

/// As a part of `cargo xtask test`.
pub(crate) fn part() -> Outcome<Verdict> {
    show(None)
}

fn show(programs: Option<&Path>) -> Outcome<Verdict> {
    if let Some(obstacle) = Network::obstacle() {
        return Ok(Verdict::NotChecked(format!(
            "a fleet on several segments: {obstacle}"
        )));
    }
    let (authz_server, mcp_node) = match programs {
        Some(folder) => (folder.join("authz-server"), folder.join("mcp-node")),
        None => {
            let built = program_files::build(false)?;
            (built.authz_server, built.mcp_node)
        }
    };
    let fleet = Fleet::start(authz_server, &mcp_node)?;
    fleet.find_each_other()?;
    fleet.call_across()?;
    fleet.lose_the_server()?;
    fleet.lose_a_node()?;
    fleet.heal()?;
    Ok(Verdict::Passed)
}

impl Fleet {
    fn find_each_other(&self) -> Outcome<()> {
        say("1. Three nodes on one segment, two on another, the server on a third: who finds whom?");
        let start = Instant::now();
        self.within(COMPLETE, "every node is connected with every other", |fleet| {
            fleet.members.iter().try_fold(true, |all, member| {
                Ok(all && fleet.connected(member)? == NODES.len() - 1)
            })
        })?;
        say(format!(
            "   all of them, {:.1} s after the last one was started",
            start.elapsed().as_secs_f64()
        ));
        self.within(
            COMPLETE,
            "every node hears those of its segment by mDNS",
            |fleet| {
                fleet.members.iter().try_fold(true, |all, member| {
                    let rows = fleet.peers(member, "discovery")?;
                    let is_near = |row: &&Value| {
                        let sources = row["sources"].as_array();
                        sources.is_some_and(|sources| sources.iter().any(|source| source == "mdns"))
                    };
                    let segment = fleet.network.segment(member.host).unwrap_or_default();
                    let near = NODES.iter().filter(|(_, other)| *other == segment).count() - 1;
                    Ok(all && rows.iter().filter(is_near).count() == near)
                })
            },
        )?;
        say(
            "   multicast DNS is heard on the own segment only; the others came by the directory and by peers",
        );
        Ok(())
    }

    fn call_across(&self) -> Outcome<()> {
        let (from, to) = (&self.members[4], &self.members[0]);
        let token = self.token(from.host, to)?;
        let status = self.call(from.host, to, &token)?;
        say(format!(
            "2. A caller on {} calls a tool of {}: {status}",
            from.host, to.host
        ));
        expect(status, 200)
    }

    fn lose_the_server(&self) -> Outcome<()> {
        say(
            "3. Only n1 reaches the server. Tokens of n2 to n5 are revoked, and the server goes away for everybody.",
        );
        let mut tokens = Vec::new();
        for member in &self.members[1..] {
            let (bad, good) = (self.token("as", member)?, self.token("as", member)?);
            expect(self.call(member.host, member, &bad)?, 200)?;
            expect(self.call(member.host, member, &good)?, 200)?;
            tokens.push((member, bad, good));
        }
        for member in &self.members[1..] {
            self.network.route(member.host, SERVER_SEGMENT, false)?;
        }
        for (_, bad, _) in &tokens {
            let url = format!("{}/oauth/revoke", self.server.issuer);
            let form = format!("token={bad}");
            expect(self.ask("as", &self.ca, &url, What::Form(&form))?.0, 200)?;
        }
        let start = Instant::now();
        for (member, bad, good) in &tokens {
            self.within(
                BY_PEERS,
                "a node learns of a revocation from its peers",
                |fleet| Ok(fleet.call(member.host, member, bad)? == 401),
            )?;
            say(format!(
                "   {} refuses it after {:.1} s",
                member.host,
                start.elapsed().as_secs_f64()
            ));
            expect(self.call(member.host, member, good)?, 200)?;
        }
        self.network.plug("as", false)?;
        Ok(())
    }

    fn lose_a_node(&self) -> Outcome<()> {
        say(
            "4. The server is away, and n3 reaches nobody: it goes on for its budget, and then refuses to judge.",
        );
        self.network.plug("as", true)?;
        for member in &self.members[1..] {
            self.network.route(member.host, SERVER_SEGMENT, true)?;
        }
        let alone = &self.members[2];
        let token = self.token("as", alone)?;
        expect(self.call(alone.host, alone, &token)?, 200)?;
        self.network.plug("as", false)?;
        self.network.plug(alone.host, false)?;
        let start = Instant::now();
        self.within(BUDGET + BUDGET, "the node alone fails closed", |fleet| {
            Ok(fleet.call(alone.host, alone, &token)? == 503)
        })?;
        let took = start.elapsed();
        say(format!(
            "   503 after {:.0} s; its budget is {} s",
            took.as_secs_f64(),
            BUDGET.as_secs()
        ));
        if took < BUDGET / 2 {
            return Err(Fault::new("it refused long before its budget was over"));
        }
        Ok(())
    }

    fn heal(&self) -> Outcome<()> {
        say("5. Everything is mended.");
        for host in ["as", self.members[2].host] {
            self.network.plug(host, true)?;
        }
        let start = Instant::now();
        self.within(COMPLETE, "every node is connected and judges tokens", |fleet| {
            for member in &fleet.members {
                let Ok(token) = fleet.token("as", member) else {
                    return Ok(false);
                };
                let is_well = fleet.call(member.host, member, &token)? == 200;
                if !is_well || fleet.connected(member)? != NODES.len() - 1 {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        say(format!(
            "   consistent again after {:.1} s",
            start.elapsed().as_secs_f64()
        ));
        Ok(())
    }
}
