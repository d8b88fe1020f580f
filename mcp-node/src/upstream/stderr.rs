//! What a program writes to its standard error, line by line into the node's log, as much as the log can bear.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::time::{Duration, Instant};

use super::CALLERS;

/// The longest line that is kept, in bytes.
const LINE_BYTES: usize = 2048;
/// Lines in each [`WINDOW`]; more are counted and not kept.
const LINES: u32 = 200;
/// The time over which lines are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Logs everything that `stream` brings until it ends.
pub(super) async fn log(stream: impl AsyncRead + Unpin, name: String) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut lines = 0_u32;
    let mut since = Instant::now();
    while let Ok(bytes) = reader.fill_buf().await {
        if bytes.is_empty() {
            break;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |at| at + 1);
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&bytes[..end.unwrap_or(taken).min(room)]);
        reader.consume(taken);
        if end.is_none() {
            continue;
        }
        if since.elapsed() >= WINDOW {
            if let Some(dropped) = lines.checked_sub(LINES).filter(|dropped| *dropped > 0) {
                tracing::warn!(
                    upstream = name,
                    dropped,
                    "a program wrote more lines than are kept"
                );
            }
            (lines, since) = (0, Instant::now());
        }
        lines = lines.saturating_add(1);
        if lines <= LINES {
            let text = String::from_utf8_lossy(&line);
            tracing::info!(target: CALLERS, upstream = name, line = text.trim_end(), "a program wrote");
        }
        line.clear();
    }
    if !line.is_empty() && lines < LINES {
        let text = String::from_utf8_lossy(&line);
        tracing::info!(target: CALLERS, upstream = name, line = text.trim_end(), "a program wrote");
    }
}
