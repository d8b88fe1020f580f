//! `mcp-node serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, enroll, load};
use crate::logs::Ring;
use crate::server::serve_with_ring;

#[derive(Args)]
pub(super) struct Arguments {
    /// Enrol first, with the code in this file, unless the node has enrolled already. The server is the first [[issuer]]
    #[arg(long, value_name = "FILE")]
    invite_file: Option<PathBuf>,
}

pub(super) fn run(file: Option<PathBuf>, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    if let Some(invite_file) = &arguments.invite_file {
        enroll::ensure(&config, invite_file)?;
    }
    let ring = Ring::default();
    ring.start();
    Ring::follow_filter(config.log_filter.as_deref());
    let resource = config.resource.clone();
    // actix starts its own workers, one for each core; this runtime only waits for them.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(serve_with_ring(config, ring, |addresses| {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        tracing::info!(%resource, addresses = addresses.join(", "), "serving");
    }))?;
    Ok(ExitCode::SUCCESS)
}
