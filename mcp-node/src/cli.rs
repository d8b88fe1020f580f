//! The command line.

mod config;
mod enroll;
mod fleet;
mod healthcheck;
mod identity;
mod init;
mod serve;
mod status;
mod token;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::config::NodeConfig;

/// One Edge Hive node: an OAuth 2.1 resource server that serves MCP.
#[derive(Parser)]
#[command(name = "mcp-node", version, propagate_version = true)]
struct CommandLine {
    /// The configuration file [default: mcp-node.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or Ctrl-C
    Serve(serve::Arguments),
    /// Write a configuration that works, a systemd unit and a compose file
    Init(init::Arguments),
    /// Join a fleet with an invite of its authorization server
    Enroll(enroll::Arguments),
    /// Show who this node is
    Identity,
    /// Show how the running node is
    Status(status::Arguments),
    /// List other nodes, or connect to one
    #[command(subcommand)]
    Peers(fleet::Peers),
    /// Announce this node, or list whom it has heard of
    #[command(subcommand)]
    Discovery(fleet::Discovery),
    /// Access tokens
    #[command(subcommand)]
    Token(Box<token::Command>),
    /// The configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Ask the running node whether it is alive; for container probes
    Healthcheck(healthcheck::Arguments),
    /// What a node starts by itself, to listen to the local network
    #[command(name = crate::discovery::COMMAND, hide = true)]
    Listen,
}

/// Why a command was not done: one line that says what to do.
#[derive(Debug)]
struct Failure(String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs the command of the program's arguments: 0 done, 1 refused or failed, 2 bad usage.
pub fn main() -> ExitCode {
    let CommandLine {
        config,
        json,
        command,
    } = CommandLine::parse();
    let done = match command {
        Command::Serve(arguments) => serve::run(config, &arguments),
        Command::Init(arguments) => init::run(config, &arguments, json),
        Command::Enroll(arguments) => enroll::run(config, &arguments, json),
        Command::Identity => identity::run(config, json),
        Command::Status(arguments) => status::run(config, &arguments, json),
        Command::Peers(command) => fleet::peers(config, &command, json),
        Command::Discovery(command) => fleet::discovery(config, &command, json),
        Command::Listen => Ok(match crate::discovery::listen() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }),
        Command::Token(command) => token::run(config, &command, json),
        Command::Config(command) => config::run(config, &command, json),
        Command::Healthcheck(arguments) => healthcheck::run(config, &arguments),
    };
    match done {
        Ok(code) => code,
        Err(Failure(reason)) => {
            writeln!(io::stderr(), "mcp-node: {reason}").ok();
            ExitCode::FAILURE
        }
    }
}

/// Reads the configuration.
fn load(file: Option<PathBuf>) -> Result<NodeConfig, Failure> {
    // A file that was named must be there; the default one need not.
    Ok(NodeConfig::load(file.as_deref())?)
}

/// Prints `value` as JSON, or as `lines` for people.
fn print(json: bool, value: &impl Serialize, lines: impl FnOnce() -> String) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string(value)?
    } else {
        lines()
    };
    // A reader that went away, `head` for example, is no failure of ours.
    writeln!(io::stdout(), "{}", text.trim_end()).or_else(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(e),
    })?;
    Ok(())
}

/// Runs a short asynchronous command on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
