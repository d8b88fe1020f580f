//! Log lines that callers may read: those of the node itself, kept in a ring, and the ends of files that the
//! operator named. A name leads to a path through the configuration only.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use shared::telemetry::LineSink;

/// The name of the node's own log.
pub(crate) const OWN: &str = "node";
/// So many of the node's own lines are kept.
const RING_LINES: usize = 256;
/// A longer line is cut.
const RING_LINE_BYTES: usize = 2048;
/// So much of a file's end is shown.
const TAIL_BYTES: u64 = 64 * 1024;

/// What becomes of upstream servers is told by the node. rmcp tells of every request at level info, of every refused one at warn, and of every caller that hung up at error;
/// the frame does so at debug. Naming these targets in `RUST_LOG` brings them back.
const QUIET: &str = "rmcp::service=off,rmcp::transport::worker=off,rmcp=error,actix_server=warn";

/// The node's own latest lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring(Arc<Mutex<VecDeque<Box<str>>>>);

impl Ring {
    /// Starts the program's log, as far as `RUST_LOG` asks for it, with a copy of its lines here.
    pub(crate) fn start(&self) {
        let environment = shared::config::environment();
        let filter = environment.get("RUST_LOG").map_or("info", String::as_str);
        shared::telemetry::start_with_copy(Some(&format!("{QUIET},{filter}")), Some(self.sink()));
    }

    /// Logs as the configuration says from now on, unless the environment says otherwise.
    pub(crate) fn follow_filter(filter: Option<&str>) {
        if !shared::config::environment().contains_key("RUST_LOG") {
            let filter = filter.unwrap_or("info");
            shared::telemetry::set_filter(Some(&format!("{QUIET},{filter}")));
        }
    }

    /// What `telemetry` calls with each line.
    fn sink(&self) -> LineSink {
        let ring = self.clone();
        Arc::new(move |line| ring.push(line))
    }

    fn push(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(RING_LINE_BYTES)]);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == RING_LINES {
            lines.pop_front();
        }
        lines.push_back(line.trim_end().into());
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().flat_map(|line| [&**line, "\n"]).collect()
    }
}

/// Every log that can be read, by name.
#[derive(Debug)]
pub(crate) struct Logs {
    ring: Ring,
    files: BTreeMap<String, PathBuf>,
}

impl Logs {
    /// The node's own log and the named files.
    pub(crate) fn new(ring: Ring, files: BTreeMap<String, PathBuf>) -> Self {
        Self { ring, files }
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(OWN).chain(self.files.keys().map(String::as_str))
    }

    /// The end of the log `name`: `None` if there is no such log. An unreadable file is an error; its path is not
    /// part of the error, because the caller gets to see it.
    pub(crate) async fn tail(&self, name: &str) -> Option<io::Result<String>> {
        if name == OWN {
            return Some(Ok(self.ring.text()));
        }
        let path = self.files.get(name)?.clone();
        let read = tokio::task::spawn_blocking(move || tail_of_file(&path)).await;
        Some(read.unwrap_or_else(|_| Err(io::Error::other("reading was cut short"))))
    }
}

/// Whether `name` may name a log file: plain, and not the node's own.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    (1..=64).contains(&name.len()) && is_plain && name != OWN
}

fn tail_of_file(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line is whole only if nothing was skipped.
    let whole = if start == 0 {
        &*text
    } else {
        text.split_once('\n').map_or("", |(_, rest)| rest)
    };
    Ok(whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_ring_keeps_the_latest_lines() {
        let ring = Ring::default();
        let logs = Logs::new(ring.clone(), BTreeMap::new());
        for number in 0..RING_LINES + 2 {
            ring.push(format!("line {number}\n").as_bytes());
        }
        ring.push("x".repeat(10 * RING_LINE_BYTES).as_bytes());
        let text = logs.tail(OWN).await.unwrap().unwrap();
        assert_eq!(text.lines().count(), RING_LINES);
        assert!(text.starts_with("line 3\n"));
        assert!(text.len() < RING_LINES * 10 + RING_LINE_BYTES + 2);
    }

    #[tokio::test]
    async fn a_name_leads_only_where_the_configuration_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, "first\n".repeat(20_000) + "last\n").unwrap();
        let files = BTreeMap::from([
            ("a".to_owned(), path),
            ("gone".to_owned(), folder.path().join("gone")),
        ]);
        let logs = Logs::new(Ring::default(), files);
        assert_eq!(logs.names().collect::<Vec<_>>(), ["node", "a", "gone"]);
        let text = logs.tail("a").await.unwrap().unwrap();
        assert!(text.len() as u64 <= TAIL_BYTES && text.starts_with("first\n") && text.ends_with("last\n"));
        assert!(logs.tail("gone").await.unwrap().is_err());
        for other in ["b", "../a", "a.log", "", "/etc/passwd"] {
            assert!(logs.tail(other).await.is_none(), "{other}");
        }
    }

    #[test]
    fn names_are_plain() {
        assert!(is_name("syslog") && is_name("a-b_9"));
        assert!(
            !is_name("node")
                && !is_name("")
                && !is_name("a.b")
                && !is_name("a/b")
                && !is_name(&"a".repeat(65))
        );
    }
}
