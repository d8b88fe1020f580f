//! The one task that keeps lines, in the order in which they ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use super::State;
use super::entry::Entry;

/// So many lines are kept at a time.
const BATCH: usize = 256;
/// Time between two attempts to keep the same lines.
const PAUSE: Duration = Duration::from_secs(1);

/// Where lines are kept.
pub(super) trait Sink: Send + Sync + 'static {
    /// Keeps all of `entries`, or none.
    fn keep(&mut self, entries: &[Entry]) -> impl Future<Output = Result<(), String>> + Send;

    /// Opens it again: it was rotated, or failed.
    fn reopen(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

pub(super) struct Writer<S> {
    pub(super) sink: S,
    pub(super) lines: Receiver<Entry>,
    pub(super) state: Arc<State>,
    /// Whether lines that cannot be kept are tried again; else they are lost.
    pub(super) keeps_trying: bool,
}

impl<S: Sink> Writer<S> {
    /// Until the closing mark.
    pub(super) async fn run(mut self) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = hung_up => {
                    self.reopen().await;
                    continue;
                }
                count = self.lines.recv_many(&mut batch, BATCH) => if count == 0 { return },
            }
            let closes = batch.iter().any(Entry::closes);
            batch.retain(|entry| !entry.closes());
            self.keep(&batch, closes).await;
            batch.clear();
            if closes {
                return;
            }
        }
    }

    async fn keep(&mut self, batch: &[Entry], closes: bool) {
        if batch.is_empty() {
            return;
        }
        while let Err(reason) = self.sink.keep(batch).await {
            let was_failing = self.state.failing.swap(true, Ordering::Relaxed);
            if !was_failing {
                tracing::error!(reason, "the audit log cannot be written");
            }
            if !self.keeps_trying || closes {
                let lost = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                self.state.lost.fetch_add(lost, Ordering::Relaxed);
                // So that it works again as soon as it can.
                let _ = self.sink.reopen().await;
                return;
            }
            tokio::time::sleep(PAUSE).await;
            let _ = self.sink.reopen().await;
        }
        if self.state.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the audit log can be written again");
        }
    }

    async fn reopen(&mut self) {
        match self.sink.reopen().await {
            Ok(()) => tracing::info!("the audit log was opened again"),
            Err(reason) => tracing::error!(
                reason,
                "the audit log cannot be opened again; the open one stays in use"
            ),
        }
    }
}
