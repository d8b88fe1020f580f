//! `mcp-node config check|show`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use shared::config::Setting;

use super::{Failure, load, print};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Name every fault of the configuration, or say that there is none
    Check,
    /// Print every value in force and where it comes from
    Show,
}

pub(super) fn run(file: Option<PathBuf>, command: &Command, json: bool) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    match command {
        Command::Check => print(json, &json!({"faults": []}), || {
            "the configuration has no fault".to_owned()
        })?,
        Command::Show => {
            let settings: Vec<_> = config
                .settings
                .iter()
                .map(|s| json!({"key": s.path, "value": s.value, "source": s.source.as_str()}))
                .collect();
            print(json, &settings, || {
                let width = |of: fn(&Setting) -> &str| config.settings.iter().map(|s| of(s).len()).max();
                let path = width(|setting| &setting.path).unwrap_or(0);
                let value = width(|setting| &setting.value).unwrap_or(0);
                let line =
                    |s: &Setting| format!("{:<path$}  {:<value$}  {}\n", s.path, s.value, s.source.as_str());
                config.settings.iter().map(line).collect()
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
