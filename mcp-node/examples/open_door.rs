//! The node without its door, for `cargo xtask bench`: everybody is taken for the caller whose token is in
//! `OPEN_DOOR_TOKEN`. Arguments: `serve --config FILE`.

use std::error::Error;
use std::path::PathBuf;

use mcp_node::config::NodeConfig;
use mcp_node::server::dangerous_serve_to_everybody;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    shared::tls::install_provider();
    let file = std::env::args().nth(3).map(PathBuf::from);
    let config = NodeConfig::load(file.as_deref())?;
    let environment = shared::config::environment();
    let token = environment
        .get("OPEN_DOOR_TOKEN")
        .ok_or("OPEN_DOOR_TOKEN is not set")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(dangerous_serve_to_everybody(config, token))?;
    Ok(())
}
