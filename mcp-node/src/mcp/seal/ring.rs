//! The keys of the seal: a file with one key a line, which several nodes may share.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk};
use shared::secret::{NoRandomness, random_bytes};
use shared::tls::write_private;
use zeroize::Zeroizing;

/// Every state is sealed with a key of its own, derived from the key of the ring and this much randomness: the nonces of
/// nodes that share a key cannot meet, however many states they seal.
pub(super) const SALT_BYTES: usize = 32;
/// The file in the data folder.
const FILE: &str = "state-keys";
const KEY_BYTES: usize = 32;
const MAX_KEYS: usize = 16;
const MAX_ID: usize = 32;
const PURPOSE: &[u8] = b"edge-hive requestState";

/// The keys cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum StateKeyFault {
    /// The file.
    #[error("mcp.state_key_file: {path}: {reason}")]
    File {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// One key.
pub(super) struct Key {
    id: String,
    root: Prk,
}

impl Key {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn encrypt(
        &self,
        salt: &[u8; SALT_BYTES],
        associated: Aad<Vec<u8>>,
        content: &mut Vec<u8>,
    ) -> Result<(), NoRandomness> {
        let key = self.derive(salt).ok_or(NoRandomness)?;
        // Fails for a content of gigabytes only.
        key.seal_in_place_append_tag(only_nonce(), associated, content)
            .map_err(|_| NoRandomness)
    }

    pub(super) fn decrypt<'c>(
        &self,
        salt: &[u8; SALT_BYTES],
        associated: Aad<Vec<u8>>,
        content: &'c mut [u8],
    ) -> Option<&'c [u8]> {
        let key = self.derive(salt)?;
        let plain = key.open_in_place(only_nonce(), associated, content).ok()?;
        Some(plain)
    }

    fn derive(&self, salt: &[u8; SALT_BYTES]) -> Option<LessSafeKey> {
        let purpose = [PURPOSE, salt.as_slice()];
        let derived = self.root.expand(&purpose, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

/// A derived key seals once.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// All keys; the first one seals, every one opens.
pub(super) struct KeyRing {
    first: Key,
    others: Vec<Key>,
}

impl KeyRing {
    /// The keys of `file`, or of the data folder, where one is made if there is none.
    pub(super) fn load(file: Option<&Path>, data_dir: &Path) -> Result<Self, StateKeyFault> {
        let own = data_dir.join(FILE);
        let path = file.unwrap_or(&own);
        match Self::read(path) {
            Err(Unread::Io(e)) if file.is_none() && e.kind() == io::ErrorKind::NotFound => {}
            other => return other.map_err(|fault| fault.of(path)),
        }
        let fault = |e: io::Error| Unread::Io(e).of(&own);
        std::fs::create_dir_all(data_dir).map_err(fault)?;
        let key = Zeroizing::new(random_bytes::<KEY_BYTES>()?);
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*key));
        let line = Zeroizing::new(format!("own {}\n", *text));
        match write_private(&own, line.as_bytes(), false) {
            // Another node of this folder was faster: its key is the one.
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(fault(e)),
            _ => {}
        }
        Self::read(&own).map_err(|fault| fault.of(&own))
    }

    /// The keys in `text`: `id key` a line, the key 32 bytes in base64url; empty lines and those that begin with `#` say
    /// nothing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = parse_line(line).map_err(|reason| format!("line {}: {reason}", place + 1))?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(format!("line {}: the id {} stands twice", place + 1, key.id));
            }
            keys.push(key);
        }
        if keys.len() > MAX_KEYS {
            return Err(format!("there are more than {MAX_KEYS} keys"));
        }
        let mut keys = keys.into_iter();
        let first = keys
            .next()
            .ok_or("there is no key; write a line with an id and 32 random bytes in base64url")?;
        Ok(Self {
            first,
            others: keys.collect(),
        })
    }

    fn read(path: &Path) -> Result<Self, Unread> {
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(Unread::Io)?;
        Self::parse(&text).map_err(Unread::Content)
    }

    pub(super) fn sealing(&self) -> &Key {
        &self.first
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.first)
            .chain(&self.others)
            .find(|key| key.id == id)
    }
}

fn parse_line(line: &str) -> Result<Key, &'static str> {
    let (id, text) = line
        .split_once(char::is_whitespace)
        .ok_or("write an id and a key")?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(is_plain) {
        return Err("an id has at most 32 letters, digits, - and _");
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(text.trim().trim_end_matches('='))
        .map(Zeroizing::new)
        .map_err(|_| "the key is not base64url")?;
    if bytes.len() != KEY_BYTES {
        return Err("the key must have 32 bytes");
    }
    Ok(Key {
        id: id.to_owned(),
        root: Prk::new_less_safe(HKDF_SHA256, &bytes),
    })
}

enum Unread {
    Io(io::Error),
    Content(String),
}

impl Unread {
    fn of(self, path: &Path) -> StateKeyFault {
        StateKeyFault::File {
            path: path.display().to_string(),
            reason: match self {
                Self::Io(e) => e.to_string(),
                Self::Content(reason) => reason,
            },
        }
    }
}
