//! A node whose door can be taken out, for `cargo xtask bench`: with `OPEN_DOOR_TOKEN`, everybody is taken for the caller
//! of that token; with `OPEN_DOOR_CHECKS=signature` besides, of what they show the signature is checked and nothing else.
//! One program is measured with the door and without it: two programs of the same code differ by some percent for no
//! reason but where the linker put things. Arguments: `serve --config FILE`.

use std::error::Error;
use std::path::PathBuf;

use mcp_node::config::NodeConfig;
use mcp_node::server::dangerous_serve;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    shared::tls::install_provider();
    let file = std::env::args().nth(3).map(PathBuf::from);
    let config = NodeConfig::load(file.as_deref())?;
    let environment = shared::config::environment();
    let everybody_shows = environment.get("OPEN_DOOR_TOKEN").map(String::as_str);
    let checks_signature = environment.get("OPEN_DOOR_CHECKS").map(String::as_str) == Some("signature");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(dangerous_serve(config, everybody_shows, checks_signature))?;
    Ok(())
}
