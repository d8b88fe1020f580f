//! What the node keeps on disk so that it can go on alone after a restart, and the clock by which that ages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::jose::sha256_base64url;
use shared::lasting_clock::LastingClock;

/// In the data folder.
const FOLDER: &str = "offline";
/// How often the time is kept: so much of an age could be lost by a clock that is set back while the node is off.
const KEEP_TIME: Duration = Duration::from_secs(60);

/// The place of what is kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: Option<PathBuf>,
    pub(crate) clock: Arc<LastingClock>,
}

impl Store {
    /// In `data_dir`. Where nothing can be kept, the node works without, and says so in its log.
    pub(crate) fn open(data_dir: &Path, now: UnixSeconds) -> Self {
        use std::os::unix::fs::DirBuilderExt;

        let folder = data_dir.join(FOLDER);
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        match made {
            Ok(()) => Self {
                clock: Arc::new(LastingClock::open(&folder.join("clock"), now)),
                folder: Some(folder),
            },
            Err(reason) => {
                tracing::warn!(folder = %folder.display(), %reason, "keys and status lists cannot be kept for a restart");
                Self::in_memory(now)
            }
        }
    }

    /// Nowhere.
    pub(crate) fn in_memory(now: UnixSeconds) -> Self {
        Self {
            clock: Arc::new(LastingClock::starting_at(now)),
            folder: None,
        }
    }

    /// The file for what `kind` says of an issuer.
    pub(crate) fn file(&self, issuer: &str, kind: &str) -> Option<PathBuf> {
        let mut name = sha256_base64url(issuer.as_bytes());
        name.truncate(16);
        self.folder
            .as_ref()
            .map(|folder| folder.join(format!("{name}.{kind}.json")))
    }
}

/// Keeps the time until the program ends.
pub(crate) async fn keep_time(clock: Arc<LastingClock>) {
    loop {
        let kept = Arc::clone(&clock);
        let written = tokio::task::spawn_blocking(move || kept.keep()).await;
        if let Ok(Err(reason)) = written {
            tracing::warn!(%reason, "the time could not be kept");
        }
        tokio::time::sleep(KEEP_TIME).await;
    }
}
