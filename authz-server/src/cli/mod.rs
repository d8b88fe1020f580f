//! The command line. Commands other than `serve` work on the configured database directly, and a server that runs
//! beside them sees the change with its next request; or with `--server` they ask one.

mod audit;
mod client;
mod client_details;
mod client_document;
mod client_invite;
mod client_list;
mod database;
mod doctor;
mod health;
mod key;
mod node;
mod place;
mod print;
mod reload;
mod resource;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::clock;

use self::place::{Far, NOT_FAR, Place};
use self::print::{Printer, Report};
use crate::admin::running::{self, SettingView};
use crate::config::Config;
use crate::db::Db;
use crate::reload::{Source, follow_filter};
use crate::server;

/// The authorization server of an Edge Hive fleet.
#[derive(Parser)]
#[command(name = "authz-server", version, propagate_version = true)]
struct Arguments {
    /// The configuration file [default: authz-server.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    far: Far,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or Ctrl-C
    Serve(Serve),
    /// Programs that may ask for tokens
    #[command(subcommand)]
    Client(Box<client::Command>),
    /// Protected resources that tokens can be for
    #[command(subcommand)]
    Resource(resource::Command),
    /// Nodes of the fleet
    #[command(subcommand)]
    Node(node::Command),
    /// People who can sign in
    #[command(subcommand)]
    User(user::Command),
    /// What happened to accounts, clients, tokens and nodes
    #[command(subcommand)]
    Audit(audit::Command),
    /// The signing keys
    #[command(subcommand, alias = "keys")]
    Key(key::Command),
    /// The database
    #[command(subcommand)]
    Db(database::Command),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Let a running server read its configuration and certificate again, as SIGHUP does
    Reload,
    Doctor(doctor::Doctor),
    /// Ask the running server whether it is ready; for container probes
    Healthcheck,
}

#[derive(clap::Args)]
struct Serve {
    /// Listen here instead of at server.listen; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Name every fault of the configuration, or say that there is none
    Check,
    /// Print every value in force and where it comes from
    Show,
}

/// What a command ends with: something to print, or one line that says what to do.
type Outcome = Result<Report, Box<dyn std::error::Error>>;

/// Runs the command line of this process. Exit code 0 done, 1 refused or failed, 2 wrong usage.
pub fn run() -> ExitCode {
    shared::tls::install_provider();
    let arguments = Arguments::parse();
    shared::telemetry::start(shared::config::environment().get("RUST_LOG").map(String::as_str));
    let printer = Printer { json: arguments.json };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(arguments)),
        Err(e) => Err(e.into()),
    };
    printer.finish(outcome)
}

async fn dispatch(arguments: Arguments) -> Outcome {
    if let Some(place) = arguments.far.open().await? {
        return carry_out(arguments.command, &place).await;
    }
    if matches!(arguments.command, Command::Reload) {
        return Err(reload::WHERE.into());
    }
    let flags = match &arguments.command {
        Command::Serve(serve) if !serve.listen.is_empty() => vec![("server.listen", serve.listen.join(","))],
        _ => Vec::new(),
    };
    let source = Source {
        file: arguments.config.clone(),
        flags,
    };
    let config = source.read()?;
    follow_filter(&config.as_read);
    match arguments.command {
        Command::Serve(_) => {
            Box::pin(server::serve(config, source)).await?;
            Ok(Report::nothing())
        }
        command @ (Command::Client(_)
        | Command::Resource(_)
        | Command::Node(_)
        | Command::User(_)
        | Command::Key(_)
        | Command::Audit(_)) => {
            let place = Place::Here(open(&config).await?, Box::new(config));
            carry_out(command, &place).await
        }
        Command::Db(command) => Box::pin(command.run(&config)).await,
        Command::Config(ConfigCommand::Check) => Ok(Report::line("the configuration has no fault")),
        Command::Config(ConfigCommand::Show) => {
            let rows = config.settings.iter().map(SettingView::from).collect();
            settings(rows)
        }
        Command::Doctor(doctor) => doctor.run(&config).await,
        Command::Reload => Err(reload::WHERE.into()),
        Command::Healthcheck => health::check(&config).await,
    }
}

/// The commands that are the same near the database and far from it.
async fn carry_out(command: Command, place: &Place) -> Outcome {
    match command {
        Command::Client(command) => Box::pin(command.run(place)).await,
        Command::Resource(command) => Box::pin(command.run(place)).await,
        Command::Node(command) => Box::pin(command.run(place)).await,
        Command::User(command) => Box::pin(command.run(place)).await,
        Command::Key(command) => Box::pin(command.run(place)).await,
        Command::Audit(command) => Box::pin(command.run(place)).await,
        Command::Reload => reload::run(place).await,
        Command::Config(ConfigCommand::Show) => settings(place.all(&running::CONFIGURATION, &[]).await?),
        _ => Err(NOT_FAR.into()),
    }
}

fn settings(rows: Vec<SettingView>) -> Outcome {
    Report::rows(&rows, |row| {
        vec![row.key.clone(), row.value.clone(), row.source.clone()]
    })
}

async fn open(config: &Config) -> Result<Db, Box<dyn std::error::Error>> {
    Ok(Db::open(&config.database_url, &config.issuer, clock::now()).await?)
}
