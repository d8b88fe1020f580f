//! What the node was told when it enrolled. Not secret: the key that goes with it is in [`crate::identity`].

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::tls::write_private;
use shared::uri::Issuer;

/// The file in the data folder.
const FILE: &str = "enrolment.json";

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the enrolment in {path}: {reason}")]
pub struct EnrolmentFault {
    path: String,
    reason: String,
}

/// An enrolment with one authorization server: its answer, as it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Enrolment {
    pub(crate) issuer: Issuer,
    pub(crate) node_id: String,
    pub(crate) peer_id: String,
    /// As whom the node authenticates there, with its key (RFC 7523).
    pub(crate) client_id: String,
    /// What tokens for the node name as their audience.
    pub(crate) resource: String,
    pub(crate) name: String,
    /// What the node may ask for on its own behalf, space separated.
    pub(crate) scope: String,
    /// What the server says of the node, signed.
    pub(crate) record: String,
    /// The server's keys, as they were then.
    pub(crate) jwks: Value,
    pub(crate) directory_uri: String,
}

impl Enrolment {
    /// The enrolment in `data_dir`, if the node has enrolled.
    pub(crate) fn load(data_dir: &Path) -> Result<Option<Self>, EnrolmentFault> {
        let path = data_dir.join(FILE);
        let fault = |reason: String| EnrolmentFault {
            path: path.display().to_string(),
            reason,
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fault(e.to_string())),
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some)
            .map_err(|e| fault(format!("{e}; enrol again, or remove the file")))
    }

    /// Keeps it in `data_dir`, over what was there.
    pub(crate) fn store(&self, data_dir: &Path) -> Result<(), EnrolmentFault> {
        let path = data_dir.join(FILE);
        let written = serde_json::to_vec_pretty(self)
            .map_err(io::Error::other)
            .and_then(|text| write_private(&path, &text, true));
        written.map_err(|e| EnrolmentFault {
            path: path.display().to_string(),
            reason: e.to_string(),
        })
    }
}
