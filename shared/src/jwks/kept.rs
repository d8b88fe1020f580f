//! The last good key set on disk, so that a program that starts without a network can judge tokens at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::held::Held;
use crate::jose::{Algorithm, KeySet, MAX_SET_BYTES, sha256_base64url};
use crate::lasting_clock::{LastingClock, Moment};
use crate::tls::write_private;

/// Where a key set is kept, and the clock by which it ages there.
#[derive(Clone, Debug)]
pub struct KeptAt {
    /// The file.
    pub file: PathBuf,
    /// The clock.
    pub clock: Arc<LastingClock>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    issuer: String,
    /// By the lasting clock.
    fetched_at: u64,
    /// When the issuer itself was last reached, where somebody else brought the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<u64>,
    /// The document, as it was published.
    document: String,
    /// Of the document: a flipped bit would make another key of it.
    sha256: String,
}

impl KeptAt {
    /// The set that was kept for `issuer`. A file that is damaged, or another issuer's, is as none.
    pub(super) fn read(&self, issuer: &str, algorithms: &[Algorithm]) -> Option<Held> {
        let ignored = |reason: &str| {
            tracing::warn!(issuer, file = %self.file.display(), reason, "the kept key set is ignored");
            None
        };
        let bytes = match std::fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            Err(e) => return ignored(&e.to_string()),
        };
        // Escapes may double the length of the document.
        if bytes.len() > 3 * MAX_SET_BYTES {
            return ignored("it is too large");
        }
        let Ok(kept) = serde_json::from_slice::<Kept>(&bytes) else {
            return ignored("it is damaged");
        };
        if kept.issuer != issuer {
            return ignored("it is another issuer's");
        }
        if kept.sha256 != sha256_base64url(kept.document.as_bytes()) {
            return ignored("it is damaged");
        }
        match KeySet::parse_for(kept.document.as_bytes(), algorithms) {
            Ok(set) => {
                let since = |at: u64| self.clock.now().since(Moment::from_millis(at));
                let is_fetched = kept.confirmed_at.is_none();
                Some(Held {
                    fetched: is_fetched.then(|| Arc::new(set.clone())),
                    set,
                    since: Instant::now(),
                    older: since(kept.fetched_at),
                    unconfirmed: since(kept.confirmed_at.unwrap_or(kept.fetched_at)),
                })
            }
            Err(fault) => ignored(&fault.to_string()),
        }
    }

    /// Keeps a document that is `older` than now by so much, and says how long ago the issuer itself was reached where
    /// somebody else brought it.
    pub(super) fn write(
        &self,
        issuer: &str,
        document: &[u8],
        (older, unconfirmed): (Duration, Option<Duration>),
    ) {
        // A document that is no text was no key set either.
        let document = String::from_utf8_lossy(document).into_owned();
        let kept = Kept {
            issuer: issuer.to_owned(),
            fetched_at: self.clock.now().before(older).millis(),
            confirmed_at: unconfirmed.map(|span| self.clock.now().before(span).millis()),
            sha256: sha256_base64url(document.as_bytes()),
            document,
        };
        let written = serde_json::to_vec(&kept)
            .map_err(std::io::Error::other)
            .and_then(|bytes| write_private(&self.file, &bytes, true));
        if let Err(reason) = written {
            tracing::warn!(issuer, file = %self.file.display(), %reason, "the key set could not be kept");
        }
    }
}
