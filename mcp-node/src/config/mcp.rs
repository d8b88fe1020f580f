//! `[mcp]`: how the protocol is served.

use std::path::PathBuf;

use shared::config::Reader;

/// How MCP is served.
#[derive(Clone, Debug, Default)]
pub struct McpConfig {
    /// The keys that seal what a call remembers with its client; the node's own when not set.
    pub state_key_file: Option<PathBuf>,
}

impl McpConfig {
    /// Reads the section. Faults stay in the reader.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut section = reader.section("mcp");
        Self {
            state_key_file: section.optional("state_key_file"),
        }
    }
}
