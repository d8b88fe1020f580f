//! Who the node is: one Ed25519 key, made at the first start and kept in the data folder. Its id, its libp2p peer id and
//! its client key at the authorization server are three faces of it.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use serde_json::{Map, Value};
use shared::fleet::name::{is_node_id, node_id, peer_id};
use shared::jose::Ed25519Key;
use shared::secret::NoRandomness;
use shared::tls::write_private;

/// The key's file in the data folder: a private JWK (RFC 8037 §2).
const KEY_FILE: &str = "node-key.jwk";
/// Where nodes of version 0.1 kept an id that they had made up.
const FORMER_ID_FILE: &str = "node-id";

/// The identity cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    /// The data folder or the file in it.
    #[error("cannot keep the node's key in {path}: {reason}")]
    Folder {
        /// The data folder.
        path: String,
        /// Why.
        reason: String,
    },
    /// The operating system.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// The key and its names.
#[derive(Debug)]
pub(crate) struct Identity {
    key: Ed25519Key,
    id: String,
    former_id: Option<String>,
}

impl Identity {
    /// The identity in `data_dir`; made now if there is none. Two nodes that start at once on one folder agree on it.
    pub(crate) fn ensure(data_dir: &Path) -> Result<Self, IdentityFault> {
        let fault = |reason: String| IdentityFault::Folder {
            path: data_dir.display().to_string(),
            reason,
        };
        let path = data_dir.join(KEY_FILE);
        let key = match read_key(&path).map_err(fault)? {
            Some(key) => key,
            None => {
                std::fs::create_dir_all(data_dir).map_err(|e| fault(e.to_string()))?;
                let made = Ed25519Key::generate()?;
                match write_private(&path, &made.to_private_jwk(), false) {
                    Ok(()) => made,
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => read_key(&path)
                        .map_err(fault)?
                        .ok_or_else(|| fault("the file vanished".to_owned()))?,
                    Err(e) => return Err(fault(e.to_string())),
                }
            }
        };
        let former_id = read_former_id(&data_dir.join(FORMER_ID_FILE)).map_err(fault)?;
        Ok(Self {
            id: node_id(key.public()),
            key,
            former_id,
        })
    }

    /// The node's id, `swift-fox-0dd9b9` for example.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The id that the node had before ids followed from keys: addresses with it still lead here.
    pub(crate) fn former_id(&self) -> Option<&str> {
        self.former_id.as_deref()
    }

    /// The libp2p peer id.
    pub(crate) fn peer_id(&self) -> String {
        peer_id(self.key.public())
    }

    /// The key's thumbprint (RFC 7638).
    pub(crate) fn thumbprint(&self) -> String {
        self.key.thumbprint()
    }

    /// The public key as a JWK.
    pub(crate) fn public_jwk(&self) -> Map<String, Value> {
        self.key.public_jwk()
    }

    /// The key itself.
    pub(crate) fn key(&self) -> &Ed25519Key {
        &self.key
    }
}

fn read_key(path: &Path) -> Result<Option<Ed25519Key>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if others_can_read(&metadata) {
        let shown = path.display();
        return Err(format!("others can read {shown}; run: chmod 600 {shown}"));
    }
    let key = Ed25519Key::from_private_jwk(&bytes);
    key.map(Some).map_err(|fault| {
        format!(
            "{}: {fault}; restore the file, or remove it to become a new node",
            path.display()
        )
    })
}

fn others_can_read(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;

    metadata.permissions().mode() & 0o077 != 0
}

fn read_former_id(path: &Path) -> Result<Option<String>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let id = text.trim();
    if is_node_id(id) {
        return Ok(Some(id.to_owned()));
    }
    Err(format!("{} holds no node id; remove the file", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_kept_and_read_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("a/b");
        let first = Identity::ensure(&nested).unwrap();
        let again = Identity::ensure(&nested).unwrap();
        assert_eq!((again.id(), again.peer_id()), (first.id(), first.peer_id()));
        let path = nested.join(KEY_FILE);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let fault = Identity::ensure(&nested).unwrap_err().to_string();
        assert!(fault.contains("chmod 600"), "{fault}");
    }

    #[test]
    fn nodes_that_start_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let start = || Identity::ensure(folder.path()).unwrap().thumbprint();
        let thumbprints: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(thumbprints.iter().all(|thumbprint| *thumbprint == thumbprints[0]));
    }

    #[test]
    fn a_spoilt_file_is_not_taken_for_a_key_and_nothing_of_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        write_private(&path, b"{\"d\":\"very-secret\"}", false).unwrap();
        let fault = Identity::ensure(folder.path()).unwrap_err().to_string();
        assert!(
            fault.contains("private Ed25519 key") && !fault.contains("very-secret"),
            "{fault}"
        );
    }

    #[test]
    fn an_id_from_before_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FORMER_ID_FILE), "swift-fox-0dd9b9\n").unwrap();
        let identity = Identity::ensure(folder.path()).unwrap();
        assert_eq!(identity.former_id(), Some("swift-fox-0dd9b9"));
        std::fs::write(folder.path().join(FORMER_ID_FILE), "../../x\n").unwrap();
        let fault = Identity::ensure(folder.path()).unwrap_err().to_string();
        assert!(fault.contains("holds no node id"), "{fault}");
    }
}
