//! Lines at the end of a file that only its owner may read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::AuditFault;
use super::entry::Entry;
use super::writer::Sink;

/// Lines are with the operating system at once, and on the disk after so much time at the latest.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The file.
pub(super) struct FileSink {
    path: PathBuf,
    file: Arc<File>,
    synced_at: Option<Instant>,
}

impl FileSink {
    /// Opens or makes it; `0600` when it is made.
    pub(super) fn open(path: &Path) -> Result<Self, AuditFault> {
        let file = open(path).map_err(|fault| AuditFault::File {
            path: path.display().to_string(),
            reason: fault.to_string(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            synced_at: None,
        })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

impl Sink for FileSink {
    async fn keep(&mut self, entries: &[Entry]) -> Result<(), String> {
        let text: String = entries.iter().map(Entry::line).collect();
        let syncs = self.synced_at.is_none_or(|at| at.elapsed() >= SYNC_EVERY);
        if syncs {
            self.synced_at = Some(Instant::now());
        }
        let file = Arc::clone(&self.file);
        off_the_runtime(move || append(&file, text.as_bytes(), syncs)).await
    }

    async fn reopen(&mut self) -> Result<(), String> {
        let path = self.path.clone();
        let file = off_the_runtime(move || open(&path)).await?;
        self.file = Arc::new(file);
        Ok(())
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|fault| fault.to_string()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// All or nothing: half a line would be taken for the beginning of the next.
fn append(mut file: &File, text: &[u8], syncs: bool) -> std::io::Result<()> {
    let before = file.metadata()?;
    let written = file.write_all(text);
    if written.is_err() && before.is_file() {
        // Only this program writes to it, so everything behind the old end is ours.
        file.set_len(before.len())?;
    }
    written?;
    if syncs && before.is_file() {
        file.sync_data()?;
    }
    Ok(())
}
