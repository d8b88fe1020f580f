//! `mcp-node serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Failure, load};
use crate::logs::Ring;
use crate::server::serve_with_ring;

/// What becomes of upstream servers is told by the node. rmcp tells of every request at level info, of every refused one at warn, and of every caller that hung up at error;
/// the frame does so at debug. Naming these targets in `RUST_LOG` brings them back.
const QUIET: &str = "rmcp::service=off,rmcp::transport::worker=off,rmcp=error,actix_server=warn";

pub(super) fn run(file: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let config = load(file)?;
    let ring = Ring::default();
    let environment = shared::config::environment();
    let filter = environment.get("RUST_LOG").map_or("info", String::as_str);
    shared::telemetry::start_with_copy(Some(&format!("{QUIET},{filter}")), Some(ring.sink()));
    let resource = config.resource.clone();
    // actix starts its own workers, one for each core; this runtime only waits for them.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(serve_with_ring(config, ring, |addresses| {
        for address in addresses {
            tracing::info!(%address, %resource, "listening");
        }
    }))?;
    Ok(ExitCode::SUCCESS)
}
