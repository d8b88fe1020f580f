//! What the authorization server signs about nodes: this one's record, which it shows to its peers, and the directory of all
//! of them. Both are fetched ahead of need and kept on disk, so that a node that starts without its server knows what it
//! knew; whatever comes from disk is verified again.

mod directory;
mod own;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::fleet::record::{SignedRecord, UnverifiedRecord};
use shared::http_client::{FetchFault, HttpClient};
use shared::jose::{KeySet, VerifyingKey};
use shared::jwks::{KeyLookup, RemoteKeySet};
use shared::secret::random_bytes;
use shared::signed_jwt::JwtFault;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::enrolment::Enrolment;
use crate::peers::Peers;

/// This node's record, in the data folder.
const RECORD_FILE: &str = "node-record.jwt";
/// The directory, with what else a node keeps to go on alone.
const DIRECTORY_FILE: &str = "offline/directory.jwt";

/// Why the server's word could not be had.
#[derive(Debug, thiserror::Error)]
enum NotHad {
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    #[error("it is refused: {0}")]
    Refused(#[from] JwtFault),
    #[error("its signature names no key of the server")]
    Key,
    #[error("the keys of the server cannot be had")]
    NoKeys,
    #[error("the answer is nothing of the kind")]
    Form,
}

/// What the server says of this node and of others. A clone is the same.
#[derive(Clone)]
pub(crate) struct Records(Arc<Inner>);

struct Inner {
    issuer: String,
    /// Where the directory is; a node's record is below it.
    directory_uri: Url,
    node_id: String,
    peer_id: String,
    client: HttpClient,
    keys: RemoteKeySet,
    /// The server's keys as they were when the node enrolled.
    first_keys: KeySet,
    data_dir: PathBuf,
    own: watch::Sender<Option<Arc<SignedRecord>>>,
}

impl Records {
    /// Takes up what was kept in `data_dir`; asks nobody. `None` for an enrolment that names no place to ask.
    pub(crate) fn new(
        enrolment: &Enrolment,
        (client, keys): (HttpClient, RemoteKeySet),
        data_dir: &Path,
        now: UnixSeconds,
    ) -> Option<Self> {
        let directory_uri = enrolment.directory_uri.parse::<Url>().ok();
        let below = format!("{}/", enrolment.issuer.as_str().trim_end_matches('/'));
        let directory_uri = directory_uri.filter(|url| url.as_str().starts_with(&below));
        let Some(directory_uri) = directory_uri else {
            tracing::warn!(
                issuer = enrolment.issuer.as_str(),
                "the enrolment names no directory of its server; enrol again"
            );
            return None;
        };
        let first_keys = KeySet::parse(enrolment.jwks.to_string().as_bytes()).unwrap_or_default();
        let records = Self(Arc::new(Inner {
            issuer: enrolment.issuer.as_str().to_owned(),
            directory_uri,
            node_id: enrolment.node_id.clone(),
            peer_id: enrolment.peer_id.clone(),
            client,
            keys,
            first_keys,
            data_dir: data_dir.to_owned(),
            own: watch::Sender::new(None),
        }));
        records.0.read_own(&enrolment.record, now);
        Some(records)
    }

    /// This node's record, as it is renewed.
    pub(crate) fn own(&self) -> watch::Receiver<Option<Arc<SignedRecord>>> {
        self.0.own.subscribe()
    }

    /// Keeps both current until the program stops. `peers` learns of the directory.
    pub(crate) async fn keep_current(self, peers: Peers, stopping: CancellationToken) {
        let both = async {
            tokio::join!(self.0.keep_own(), self.0.keep_directory(&peers));
        };
        tokio::select! {
            () = both => {}
            () = stopping.cancelled() => {}
        }
    }
}

impl Inner {
    /// The key of this name, asked for if need be.
    async fn key(&self, kid: Option<&str>) -> Result<VerifyingKey, NotHad> {
        match self.keys.key(kid.ok_or(NotHad::Key)?).await {
            KeyLookup::Key(key) => Ok(key),
            KeyLookup::UnknownKid => Err(NotHad::Key),
            KeyLookup::Unavailable { .. } => Err(NotHad::NoKeys),
        }
    }

    /// The key of this name that is known here already.
    fn known_key(&self, kid: Option<&str>) -> Option<VerifyingKey> {
        let kid = kid?;
        self.keys
            .known(kid)
            .or_else(|| self.first_keys.find(kid).cloned())
    }

    /// Whether a record is this node's.
    fn is_own(&self, record: &SignedRecord) -> bool {
        record.record.peer_id == self.peer_id
    }

    fn path(&self, file: &str) -> PathBuf {
        self.data_dir.join(file)
    }
}

/// `span`, and up to a quarter more: nodes that started together shall not ask together for ever.
fn spread(span: Duration) -> Duration {
    let part = random_bytes::<1>().map_or(0, |[byte]| u32::from(byte));
    span + span / 4 * part / 256
}

/// Takes a record apart and verifies it with a key that `key` finds.
fn verify(
    text: &str,
    issuer: &str,
    key: impl FnOnce(Option<&str>) -> Option<VerifyingKey>,
    now: UnixSeconds,
) -> Result<SignedRecord, NotHad> {
    let unverified = UnverifiedRecord::parse(text)?;
    let key = key(unverified.kid()).ok_or(NotHad::Key)?;
    Ok(unverified.verify((issuer, &key), now)?)
}

#[cfg(test)]
mod tests;
