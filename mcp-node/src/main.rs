//! `mcp-node`: one Edge Hive node.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    shared::tls::install_provider();
    mcp_node::cli::main()
}
