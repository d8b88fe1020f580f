//! The secret behind the nonces that this node gives out (RFC 9449 §9).

use shared::dpop::Nonces;
use shared::secret::{NoRandomness, random_bytes};

use crate::config::NodeConfig;

/// A shorter file could be guessed.
const MIN_KEY_BYTES: usize = 32;

/// The node cannot make nonces.
#[derive(Debug, thiserror::Error)]
pub enum NonceKeyFault {
    /// The file is not there, not readable, or too short.
    #[error("server.dpop_nonce_key_file: {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The node's nonces. Nodes with one key file know each other's; without it, a node's are its own and end with the
/// program: a client that has an old one is given a new one.
pub(crate) fn nonces(config: &NodeConfig) -> Result<Nonces, NonceKeyFault> {
    let key = match &config.dpop_nonce_key_file {
        None => random_bytes::<MIN_KEY_BYTES>()?.to_vec(),
        Some(path) => {
            let fault = |reason: String| NonceKeyFault::File {
                path: path.display().to_string(),
                reason,
            };
            let key = std::fs::read(path).map_err(|e| fault(e.to_string()))?;
            if key.len() < MIN_KEY_BYTES {
                return Err(fault(format!("it must have at least {MIN_KEY_BYTES} bytes")));
            }
            key
        }
    };
    Ok(Nonces::new(&key, config.dpop_nonces_required))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NOW;

    fn made_with(line: &str) -> Result<Nonces, NonceKeyFault> {
        let text = format!("[server]\n{line}\n[[issuer]]\nurl = \"http://localhost:9000\"\n");
        nonces(&NodeConfig::from_text(&text).unwrap())
    }

    #[test]
    fn dpop_29_nodes_with_one_key_file_give_out_the_same_nonces() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nonces.key");
        let line = format!("dpop_nonce_key_file = {file:?}");
        assert!(matches!(made_with(&line), Err(NonceKeyFault::File { .. })));
        std::fs::write(&file, [7; 31]).unwrap();
        assert!(matches!(made_with(&line), Err(NonceKeyFault::File { .. })));
        std::fs::write(&file, [7; 32]).unwrap();
        let current = |line: &str| made_with(line).unwrap().current(NOW);
        assert_eq!(current(&line), current(&line));
        assert_ne!(current(""), current(""));
        assert!(made_with("dpop_nonce = \"required\"").unwrap().are_required());
    }
}
