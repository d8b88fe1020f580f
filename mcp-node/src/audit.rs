//! The audit log: one line of JSON for each decision about what a caller asked for. It tells who, for whom, what and how
//! it ended; never an argument, a result or a token.
//!
//! Whoever decides something holds a [`Slot`] before it happens: a line that could not be kept is known beforehand.

mod entry;
mod file;
mod otlp;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shared::http_client::ClientFault;
use tokio::sync::mpsc::{self, OwnedPermit, Sender};
use tokio::task::JoinHandle;
use url::Url;

pub(crate) use self::entry::{Entry, Via};
use self::file::FileSink;
use self::otlp::OtlpSink;
use self::writer::{Sink, Writer};

/// So many lines wait for the writer.
const WAITING: usize = 4096;
/// How long the last lines have when the program stops.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Where lines go, and what happens when they cannot.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// The file or the collector; at most one of them.
    pub target: Option<AuditTarget>,
    /// Whether requests are refused while lines cannot be kept.
    pub refuses_on_failure: bool,
}

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditTarget {
    /// To the end of this file.
    File(PathBuf),
    /// To a collector: OTLP over HTTP, as log records.
    Otlp {
        /// The address for logs, `https://collector.example/v1/logs` for example.
        endpoint: Url,
        /// Certificate authorities to trust beside the public ones, as PEM.
        ca_file: Option<PathBuf>,
    },
}

/// The log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditFault {
    /// The file cannot be opened.
    #[error("cannot write the audit log {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// There is no client for the collector.
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// The library for the collector's protocol refused its settings.
    #[error("cannot reach the collector of the audit log: {0}")]
    Collector(String),
}

/// The audit log of one node.
pub(crate) struct Audit {
    sender: Sender<Entry>,
    state: Arc<State>,
    refuses_on_failure: bool,
    writer: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What writer and log know of each other.
#[derive(Debug, Default)]
struct State {
    /// The latest attempt to keep lines failed.
    failing: AtomicBool,
    /// So many lines are lost for good.
    lost: AtomicU64,
}

/// Room for one line.
pub(crate) struct Slot(Room);

enum Room {
    Kept(OwnedPermit<Entry>),
    /// There was none, and the operator prefers that.
    Lost(Arc<State>),
}

/// There is no room for a line, so what it would tell of must not happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRoom;

impl Audit {
    /// Opens the log and starts its writer; `None` when none is configured. Needs the runtime.
    pub(crate) fn start(config: &AuditConfig) -> Result<Option<Self>, AuditFault> {
        Ok(match &config.target {
            None => None,
            Some(AuditTarget::File(path)) => Some(Self::with(FileSink::open(path)?, config)),
            Some(AuditTarget::Otlp { endpoint, ca_file }) => {
                Some(Self::with(OtlpSink::new(endpoint, ca_file.as_deref())?, config))
            }
        })
    }

    fn with(sink: impl Sink, config: &AuditConfig) -> Self {
        let (sender, lines) = mpsc::channel(WAITING);
        let state = Arc::new(State::default());
        let writer = Writer {
            sink,
            lines,
            state: Arc::clone(&state),
            keeps_trying: config.refuses_on_failure,
        };
        Self {
            sender,
            state,
            refuses_on_failure: config.refuses_on_failure,
            writer: std::sync::Mutex::new(Some(tokio::spawn(writer.run()))),
        }
    }

    /// Room for one line. Never waits.
    pub(crate) fn slot(&self) -> Result<Slot, NoRoom> {
        if self.refuses_on_failure && self.state.failing.load(Ordering::Relaxed) {
            return Err(NoRoom);
        }
        match self.sender.clone().try_reserve_owned() {
            Ok(permit) => Ok(Slot(Room::Kept(permit))),
            Err(_) if self.refuses_on_failure => Err(NoRoom),
            Err(_) => Ok(Slot(Room::Lost(Arc::clone(&self.state)))),
        }
    }

    /// So many lines are lost for good.
    pub(crate) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Whether lines cannot be kept now.
    pub(crate) fn is_failing(&self) -> bool {
        self.state.failing.load(Ordering::Relaxed)
    }

    /// Waits until what has been decided is written, when the program stops.
    pub(crate) async fn finish(&self) {
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        // A closing mark instead of the end of the channel: senders are all over the program.
        let closing = self.sender.send(Entry::closing());
        if let (Ok(Ok(())), Some(writer)) = (tokio::time::timeout(LAST_LINES, closing).await, writer)
            && tokio::time::timeout(LAST_LINES, writer).await.is_err()
        {
            tracing::error!("the last lines of the audit log could not be written in time");
        }
    }
}

impl Slot {
    /// Uses the room.
    pub(crate) fn put(self, entry: Entry) {
        match self.0 {
            Room::Kept(permit) => drop(permit.send(entry)),
            Room::Lost(state) => {
                state.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Audit({:?})", self.state)
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

#[cfg(test)]
mod tests;
