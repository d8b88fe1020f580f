//! `mcp-node serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Failure, load};
use crate::logs::Ring;
use crate::server::serve_with_ring;

pub(super) fn run(file: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    let ring = Ring::default();
    ring.start();
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
