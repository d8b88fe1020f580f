//! `cargo xtask race`: processes that share one refresh token, on both databases; then a thief with an old one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use xtask::code_flow::{CodeClient, TESTING_DOOR};
use xtask::fleet::{self, AuthzServer, Node, START};
use xtask::postgres::{Cluster, Durability};
use xtask::shared_token::{self, Figures, Runner};
use xtask::shell::say;
use xtask::{Explain, Fault, Outcome};

use crate::{install, program_files, up};

const SCOPES: &str = "mcp:read mcp:call";

/// Short, so that there is much to refresh.
const TOKENS: &str = "\n[tokens]\naccess_ttl = \"5s\"\n";

/// `refresh_retry_window` as it is unless an operator says otherwise.
const WINDOW: Duration = Duration::from_secs(30);

/// What the server logs and writes into its audit log when a refresh token comes again after the window.
const REPLAY_EVENT: &str = "refresh_token_replayed";

#[derive(Args)]
pub(crate) struct Options {
    /// How long they race on each database
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How many of them there are
    #[arg(long, default_value_t = 8)]
    processes: u64,
}

#[derive(Args)]
pub(crate) struct RunnerOptions {
    issuer: String,
    client_id: String,
    resource: String,
    file: PathBuf,
    number: u64,
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    install::for_black_box()?;
    let programs = program_files::build(false)?;
    let cluster = Cluster::start(Durability::None, None)?;
    let mut failed = Vec::new();
    for (name, database) in [("SQLite", None), ("Postgres", Some(cluster.create_database()?))] {
        say(format!(
            "\n-- {name}: {} processes, one refresh token, access tokens of 5 s, {} s",
            options.processes, options.seconds
        ));
        if let Err(fault) = on(database, &programs, options) {
            say(format!("   {fault}"));
            failed.push(name);
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Fault::new(failed.join(", ")))
    }
}

/// One process: prints its figures.
pub(crate) fn run_one(options: &RunnerOptions) -> Outcome<()> {
    let runner = Runner {
        client: CodeClient {
            issuer: options.issuer.clone(),
            id: options.client_id.clone(),
            resource: options.resource.clone(),
        },
        file: options.file.clone(),
        number: options.number,
        seconds: options.seconds,
    };
    say(runner.run()?.to_json());
    Ok(())
}

fn on(database: Option<String>, programs: &program_files::Programs, options: &Options) -> Outcome<()> {
    let place = up::private("race")?;
    let mut server = AuthzServer::new(
        programs.authz_server.clone(),
        &place.data.join("as"),
        place.as_port,
    );
    server.database = database;
    server.extra = format!("{}{TESTING_DOOR}{TOKENS}", fleet::UNLIMITED_SERVER);
    server.write_config()?;
    let _serving = server.serve_ready()?;
    let mut node = Node::new(
        programs.mcp_node.clone(),
        &place.data.join("node"),
        place.node_port,
        &server.issuer,
    );
    node.extra.push_str(fleet::UNLIMITED_NODE);
    node.write_config()?;
    server.ensure_resource(&node.url(), &[])?;
    let mut examined = node.serve()?;
    examined.wait_ready(&format!("http://localhost:{}/readyz", node.port), START)?;

    let client = CodeClient::create(&server, "racer", (&node.url(), SCOPES))?;
    let file = place.data.join("tokens.json");
    shared_token::store(&file, &client.tokens()?, 0)?;
    let figures = race(&client, &file, options)?;
    say(format!("   {figures}"));
    if !figures.is_good() {
        return Err(Fault::new("somebody lost something"));
    }

    say(format!(
        "   a thief shows an old token {} s after it was replaced …",
        WINDOW.as_secs() + 1
    ));
    shared_token::steal(&client, &file, WINDOW)?;
    let log = std::fs::read_to_string(server.log())?;
    let event = log.lines().find(|line| line.contains(REPLAY_EVENT));
    say(format!(
        "   refused, and the family with it: {}",
        event.explain("no event in the log")?
    ));
    let told = server.json(&["audit", "list", "--event", REPLAY_EVENT])?;
    let is_of_client = |event: &&serde_json::Value| event["actor"] == client.id.as_str();
    let of_client = told.as_array().into_iter().flatten().filter(is_of_client).count();
    if of_client != 1 {
        return Err(Fault::new(format!(
            "the audit log has {of_client} such events, not one: {told}"
        )));
    }
    server.json(&["audit", "verify"])?;
    say("   one event in the audit log, whose chain is whole".to_owned());
    Ok(())
}

fn race(client: &CodeClient, file: &Path, options: &Options) -> Outcome<Figures> {
    let program = std::env::current_exe()?;
    let running: Vec<Child> = (0..options.processes)
        .map(|number| {
            let mut command = Command::new(&program);
            command
                .arg("race-runner")
                .args([&client.issuer, &client.id, &client.resource])
                .arg(file)
                .args([number.to_string(), options.seconds.to_string()])
                .stdout(Stdio::piped());
            command.spawn()
        })
        .collect::<Result<_, _>>()?;
    let mut sum = Figures::default();
    for process in running {
        let output = process.wait_with_output()?;
        if !output.status.success() {
            return Err(Fault::new(format!("a process ended with {}", output.status)));
        }
        sum = sum.and(Figures::from_json(&serde_json::from_slice(&output.stdout)?)?);
    }
    Ok(sum)
}
