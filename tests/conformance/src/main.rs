//! The server that the official MCP conformance suite examines.
//!
//! It is a node as any other, with the node's own configuration, door and transport. Only what it offers differs: the
//! tools, resources and prompts that the suite asks for.

mod fixture;
mod prompts;
mod resources;
mod sample;
mod tools;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mcp_node::config::NodeConfig;

use crate::fixture::Fixture;

/// rmcp and actix tell every request at `info`.
const DEFAULT_LOG: &str = "warn,mcp_node=info";

/// The node that the official MCP conformance suite examines.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// The node's configuration, as `mcp-node` reads it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    shared::tls::install_provider();
    let environment = shared::config::environment();
    shared::telemetry::start(Some(
        environment.get("RUST_LOG").map_or(DEFAULT_LOG, String::as_str),
    ));
    match serve(&Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            #[expect(clippy::print_stderr, reason = "the one line that says why it cannot serve")]
            {
                eprintln!("conformance-fixture: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let config = NodeConfig::load(Some(&flags.config))?;
    mcp_node::server::run(config, Fixture::new).await?;
    Ok(())
}
