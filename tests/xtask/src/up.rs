//! `cargo xtask up`: a server, one or more nodes, a demo client, and the whole way from a URL to a tool call.

mod demo_client;
mod demo_person;
mod enrol;
mod paste;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use xtask::fleet::{self, AuthzServer, Credentials, Node};
use xtask::program::Program;
use xtask::shell::{self, say};
use xtask::{Explain, Fault, Outcome, journey};

use crate::program_files::{self, Programs};
use demo_person::DemoPerson;

/// How long a program may finish its requests after SIGTERM.
const FAREWELL: Duration = Duration::from_secs(15);

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How many nodes to start, on consecutive ports
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) nodes: u16,
    /// Exit after the demo; non-zero if any step failed
    #[arg(long)]
    pub(crate) once: bool,
    /// Where configuration, database, keys and logs live
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// Use this Postgres database instead of SQLite
    #[arg(long, value_name = "URL")]
    pub(crate) postgres: Option<String>,
    /// Build with optimisation
    #[arg(long)]
    pub(crate) release: bool,
    /// A folder with both programs, built already
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub(crate) programs: Option<PathBuf>,
    /// The server's port
    #[arg(long, default_value_t = 9000)]
    pub(crate) as_port: u16,
    /// The first node's port
    #[arg(long, default_value_t = 8080)]
    pub(crate) node_port: u16,
}

/// Everything that runs, nodes first, so that it ends in the opposite order of its start.
pub(crate) struct Fleet {
    pub(crate) server: AuthzServer,
    pub(crate) nodes: Vec<Node>,
    pub(crate) client: Credentials,
    pub(crate) person: DemoPerson,
    programs: Vec<Program>,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    check_ports(options)?;
    let programs = match &options.programs {
        Some(folder) => Programs::at(folder),
        None => {
            say("Building authz-server and mcp-node (the first time takes a few minutes) …");
            program_files::build(options.release)?
        }
    };
    let fleet = start(options, &programs)?;
    let walked = demo(&fleet);
    if options.once || walked.is_err() {
        return walked.and(fleet.stop());
    }
    paste::print(&fleet);
    wait_for_the_end(fleet)
}

/// Starts the whole fleet and waits until every program is ready.
pub(crate) fn start(options: &Options, programs: &Programs) -> Outcome<Fleet> {
    start_with(options, programs, ("", ""))
}

/// As [`start`], with more TOML for the server and for each node.
pub(crate) fn start_with(
    options: &Options,
    programs: &Programs,
    (for_server, for_nodes): (&str, &str),
) -> Outcome<Fleet> {
    let folder = std::path::absolute(&options.data)?;
    let mut server = AuthzServer::new(programs.authz_server.clone(), &folder, options.as_port);
    server.database.clone_from(&options.postgres);
    server.extra.push_str(for_server);
    server.write_config()?;
    say(format!(
        "Starting the authorization server {} in {}",
        server.issuer,
        folder.display()
    ));
    let mut running = vec![server.serve_ready()?];

    let nodes: Vec<Node> = (0..options.nodes)
        .map(|n| node(options, programs, &folder, &server, n))
        .collect();
    for node in &nodes {
        say(format!("Starting {} at {}", node.name, node.url()));
        enrol::ensure(&server, node, for_nodes)?;
        running.insert(0, node.serve()?);
    }
    for (program, node) in running.iter_mut().zip(nodes.iter().rev()) {
        program.wait_ready(&format!("http://localhost:{}/readyz", node.port), fleet::START)?;
    }
    let client = demo_client::find_or_create(&server)?;
    let person = demo_person::find_or_create(&server)?;
    Ok(Fleet {
        server,
        nodes,
        client,
        person,
        programs: running,
    })
}

fn node(options: &Options, programs: &Programs, folder: &Path, server: &AuthzServer, number: u16) -> Node {
    let name = format!("node-{}", number + 1);
    let port = options.node_port + number;
    let mut node = Node::new(
        programs.mcp_node.clone(),
        &folder.join(&name),
        port,
        &server.issuer,
    );
    node.name = name;
    // What `mcp-node enroll` writes listens on one family, and browsers may take `localhost` for the other.
    let listen = fleet::loopback_addresses(port).join(",");
    node.environment
        .push(("EDGE_HIVE_SERVER__LISTEN".to_owned(), listen));
    node
}

fn demo(fleet: &Fleet) -> Outcome<()> {
    for node in &fleet.nodes {
        say(format!(
            "\nAn agent that knows only {} and its own credentials:",
            node.url()
        ));
        journey::walk(&node.url(), &fleet.client, "get_status", &mut |line| say(line)).explain(format!(
            "the demo failed; the logs are in {}",
            fleet.server.folder.display()
        ))?;
    }
    say("\nDone: challenge, discovery, token, tool call.");
    Ok(())
}

fn check_ports(options: &Options) -> Outcome<()> {
    if !fleet::is_free(options.as_port) {
        let port = options.as_port;
        return Err(Fault::new(format!(
            "port {port} is taken; stop what uses it, or choose another with --as-port"
        )));
    }
    let last = options
        .node_port
        .checked_add(options.nodes - 1)
        .explain("--node-port is too high for so many nodes")?;
    match (options.node_port..=last).find(|port| !fleet::is_free(*port)) {
        Some(port) => Err(Fault::new(format!(
            "port {port} is taken; stop what uses it, or choose another with --node-port"
        ))),
        None => Ok(()),
    }
}

/// Serves until Ctrl-C, or until one of the programs ends by itself.
fn wait_for_the_end(mut fleet: Fleet) -> Outcome<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            sender.send(signal).ok();
        }
    });
    loop {
        match receiver.recv_timeout(Duration::from_millis(500)) {
            Ok(_) => {
                say("\nStopping …");
                return fleet.stop();
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return fleet.stop(),
        }
        if let Some(status) = fleet.programs.iter_mut().find_map(Program::ended) {
            let folder = fleet.server.folder.display().to_string();
            fleet.stop()?;
            return Err(Fault::new(format!(
                "a program ended by itself ({status}); the logs are in {folder}"
            )));
        }
    }
}

impl Fleet {
    /// Sends SIGTERM to every program and waits for each.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        let mut faults = Vec::new();
        for program in &mut self.programs {
            match program.terminate(FAREWELL) {
                Ok(status) if status.success() => {}
                Ok(status) => faults.push(format!("a program answered SIGTERM with {status}")),
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Fault::new(faults.join("; ")))
        }
    }
}

/// Options for a fleet of our own, on free ports in a fresh folder, for the tests that need one.
pub(crate) fn private(name: &str) -> Outcome<Options> {
    let data = program_files::target_folder()?.join("xtask").join(name);
    if data.exists() {
        std::fs::remove_dir_all(&data).explain(format!("cannot clear {}", data.display()))?;
    }
    std::fs::create_dir_all(&data)?;
    let (as_port, node_port) = (fleet::free_port()?, fleet::free_port()?);
    Ok(Options {
        nodes: 1,
        once: true,
        data,
        postgres: None,
        release: false,
        programs: None,
        as_port,
        node_port,
    })
}

/// Brings a private fleet up once, as part of `cargo xtask test`.
pub(crate) fn rehearse() -> Outcome<()> {
    let mut up = shell::command(std::env::current_exe()?);
    let options = private("up")?;
    let ports = (options.as_port.to_string(), options.node_port.to_string());
    up.args([
        "up",
        "--once",
        "--as-port",
        &ports.0,
        "--node-port",
        &ports.1,
        "--data",
    ])
    .arg(&options.data);
    shell::run(&mut up)
}
