//! The file of a backup: sealed frames, so that nothing of it can be read, changed, left out or cut off without the key.
//!
//! It begins with [`MAGIC`] and 32 random bytes, the salt. The key is Argon2id (RFC 9106) of the secret in the operator's key
//! file and the salt, so it is another one for each file. Then come frames of 64 KiB, the last as long as what is left, each
//! sealed with AES-256-GCM and 16 bytes longer for it. The nonce of a frame is its number (11 bytes, big-endian) and a byte
//! that is 1 for the last and 0 for the others: the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár.

use std::io::{self, Read, Write};

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use shared::secret::random_bytes;
use zeroize::Zeroizing;

/// What every backup begins with: the kind of file and the version of its form.
pub(super) const MAGIC: &[u8; 19] = b"edge-hive backup 1\n";
const SALT: usize = 32;
const FRAME: usize = 64 * 1024;
const TAG: usize = 16;
/// KiB of memory, passes and lanes: RFC 9106 §4, the second recommended option.
const COST: (u32, u32, u32) = (65_536, 3, 4);
/// A shorter secret can be tried out.
const SHORTEST: usize = 20;

/// Why a file cannot be sealed or opened. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealFault {
    /// The secret is too short.
    #[error(
        "the key file holds fewer than {SHORTEST} characters, which can be tried out; make one: openssl rand -base64 32"
    )]
    Short,
    /// It is another kind of file, or of a newer version.
    #[error("this is no backup that this version of authz-server can read")]
    Kind,
    /// Randomness or memory is missing.
    #[error("the key cannot be derived: {0}")]
    Key(String),
    /// Reading or writing.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a frame that does not open means.
fn altered(number: u64) -> io::Error {
    let sentence = if number == 0 {
        "the backup does not open: the key file is another one, or the backup was altered".to_owned()
    } else {
        format!(
            "the backup was altered or cut off: its part {} does not open",
            number + 1
        )
    };
    io::Error::new(io::ErrorKind::InvalidData, sentence)
}

fn derive(secret: &[u8], salt: &[u8; SALT]) -> Result<LessSafeKey, SealFault> {
    if secret.len() < SHORTEST {
        return Err(SealFault::Short);
    }
    let failed = |fault: &dyn std::fmt::Display| SealFault::Key(fault.to_string());
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(|fault| failed(&fault))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, salt, &mut *key)
        .map_err(|fault| failed(&fault))?;
    let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|fault| failed(&fault))?;
    Ok(LessSafeKey::new(key))
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

/// Seals what is written to it. Without [`Sealer::finish`] it is no backup.
pub(super) struct Sealer<W> {
    to: W,
    key: LessSafeKey,
    frame: Vec<u8>,
    number: u64,
}

impl<W: Write> Sealer<W> {
    pub(super) fn new(mut to: W, secret: &[u8]) -> Result<Self, SealFault> {
        let salt = random_bytes::<SALT>().map_err(|fault| SealFault::Key(fault.to_string()))?;
        let key = derive(secret, &salt)?;
        to.write_all(MAGIC)?;
        to.write_all(&salt)?;
        Ok(Self {
            to,
            key,
            frame: Vec::with_capacity(FRAME + TAG),
            number: 0,
        })
    }

    /// Seals what is left, and gives back where it was written.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = nonce(self.number, is_last);
        let sealed = self
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut self.frame);
        sealed.map_err(|_| io::Error::other("a part of the backup cannot be sealed"))?;
        self.to.write_all(&self.frame)?;
        self.frame.clear();
        self.number += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.frame.len() == FRAME {
            // More comes, so this one is not the last.
            self.seal(false)?;
        }
        let taken = bytes.len().min(FRAME - self.frame.len());
        self.frame.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A frame is sealed when it is full.
        Ok(())
    }
}

/// Reads what was sealed. Whoever reads to its end has had all of it.
pub(super) struct Opener<R> {
    from: R,
    key: LessSafeKey,
    /// The sealed frame that comes next.
    ahead: Vec<u8>,
    open: Vec<u8>,
    read: usize,
    number: u64,
}

impl<R: Read> Opener<R> {
    pub(super) fn new(mut from: R, secret: &[u8]) -> Result<Self, SealFault> {
        let mut head = Vec::new();
        from.by_ref()
            .take((MAGIC.len() + SALT) as u64)
            .read_to_end(&mut head)?;
        let salt = head.strip_prefix(MAGIC.as_slice()).ok_or(SealFault::Kind)?;
        let salt = salt.try_into().map_err(|_| altered(0))?;
        let mut opener = Self {
            key: derive(secret, salt)?,
            from,
            ahead: Vec::new(),
            open: Vec::new(),
            read: 0,
            number: 0,
        };
        opener.ahead = opener.next_sealed()?;
        Ok(opener)
    }

    fn next_sealed(&mut self) -> io::Result<Vec<u8>> {
        let mut sealed = Vec::with_capacity(FRAME + TAG);
        let most = (FRAME + TAG) as u64;
        self.from.by_ref().take(most).read_to_end(&mut sealed)?;
        Ok(sealed)
    }

    /// Opens the next frame; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if self.ahead.is_empty() {
            // Without a frame there is no last one: it was cut off behind its head.
            return if self.number == 0 {
                Err(altered(0))
            } else {
                Ok(false)
            };
        }
        let following = self.next_sealed()?;
        let mut frame = std::mem::replace(&mut self.ahead, following);
        let nonce = nonce(self.number, self.ahead.is_empty());
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut frame);
        let length = opened.map_err(|_| altered(self.number))?.len();
        frame.truncate(length);
        self.open = frame;
        self.read = 0;
        self.number += 1;
        Ok(true)
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.open.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let left = &self.open[self.read..];
        let taken = left.len().min(into.len());
        into[..taken].copy_from_slice(&left[..taken]);
        self.read += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret of thirty-two characters";

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(Vec::new(), SECRET).unwrap();
        sealer.write_all(content).unwrap();
        sealer.finish().unwrap()
    }

    fn opened(file: &[u8], secret: &[u8]) -> Result<Vec<u8>, String> {
        let mut opener = Opener::new(file, secret).map_err(|fault| fault.to_string())?;
        let mut content = Vec::new();
        match opener.read_to_end(&mut content) {
            Ok(_) => Ok(content),
            Err(fault) => Err(fault.to_string()),
        }
    }

    #[test]
    fn what_was_sealed_is_read_whole_or_not_at_all() {
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME] {
            let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let file = sealed(&content);
            assert_eq!(opened(&file, SECRET).unwrap(), content, "{length}");
            assert!(
                !file
                    .windows(16)
                    .any(|part| content.len() > 16 && part == &content[..16])
            );
        }
        // Two of the same have nothing in common.
        assert_ne!(sealed(b"x")[MAGIC.len()..], sealed(b"x")[MAGIC.len()..]);
    }

    #[test]
    fn what_was_altered_cut_off_or_moved_is_refused() {
        let content = vec![7; 2 * FRAME + 100];
        let file = sealed(&content);
        let head = MAGIC.len() + SALT;
        let refused = |file: &[u8]| {
            let sentence = opened(file, SECRET).unwrap_err();
            assert!(sentence.contains("altered"), "{sentence}");
        };
        for at in [MAGIC.len(), head, head + FRAME + TAG + 5, file.len() - 1] {
            let mut file = file.clone();
            file[at] ^= 1;
            refused(&file);
        }
        for end in [
            file.len() - 1,
            head + 2 * (FRAME + TAG),
            head + FRAME + TAG,
            head,
            head - 1,
        ] {
            refused(&file[..end]);
        }
        let mut longer = file.clone();
        longer.push(0);
        refused(&longer);
        let (one, other) = file[head..].split_at(FRAME + TAG);
        let swapped = [&file[..head], &other[..FRAME + TAG], one, &other[FRAME + TAG..]].concat();
        refused(&swapped);
        let sentence = opened(&file, b"another secret, as long as it").unwrap_err();
        assert!(sentence.contains("key file"), "{sentence}");
        let sentence = opened(b"SQLite format 3", SECRET).unwrap_err();
        assert!(sentence.contains("no backup"), "{sentence}");
        assert!(matches!(
            Sealer::new(Vec::new(), b"short").err(),
            Some(SealFault::Short)
        ));
    }
}
