//! What the node and the program that listens say to each other: a line of JSON each.

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A longer line is none of ours.
pub(super) const MAX_LINE: usize = 16 * 1024;

/// To the program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// Listen, and tell of the node from now on, or anew.
    Begin {
        interfaces: Vec<String>,
        port: u16,
        announced: Option<Announced>,
    },
    /// Say it again, and ask again who is there.
    Again,
}

/// What is told of the node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Announced {
    pub(super) node_id: String,
    pub(super) port: u16,
    pub(super) texts: Vec<(String, String)>,
}

/// From the program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// There is a node, it says.
    Here { peer_id: String, addresses: Vec<String> },
    /// It says that it goes, or has been silent.
    Gone { peer_id: String },
    /// Another host has this node's name.
    Renamed { to: String },
    /// More comes than can be told.
    TooMuch,
    /// Something is amiss.
    Fault { reason: String },
}

/// Reads a line into `line`, without its end; false when there is none any more. May be dropped and called again.
pub(super) async fn read_line(
    from: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    loop {
        let available = from.fill_buf().await?;
        if available.is_empty() {
            return Ok(false);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = end.unwrap_or(available.len());
        if line.len() + part > MAX_LINE {
            return Err(std::io::Error::other("a line is too long"));
        }
        line.extend_from_slice(&available[..part]);
        from.consume(part + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(true);
        }
    }
}
