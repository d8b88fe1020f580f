//! `mcp-node config check|show`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, load, print};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Tell every fault at once, or that there is none
    Check,
    /// Print what is in force, and where each value came from
    Show,
}

pub(super) fn run(file: Option<PathBuf>, command: &Command, json: bool) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    match command {
        Command::Check => print(json, &json!({"faults": []}), || {
            "the configuration is good".to_owned()
        })?,
        Command::Show => {
            let settings: Vec<_> = config
                .settings
                .iter()
                .map(|s| json!({"key": s.path, "value": s.value, "source": s.source.as_str()}))
                .collect();
            print(json, &settings, || {
                let line = |s: &shared::config::Setting| {
                    format!("{} = {}  # {}\n", s.path, s.value, s.source.as_str())
                };
                config.settings.iter().map(line).collect()
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
