//! Files with secrets: configurations name them, and never hold what is in them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

/// No key or secret is longer.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a secret cannot be had. Names the file, and nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileFault {
    /// Not there, or not ours to read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, std::io::Error),
    /// Whoever else has an account on this machine could be us.
    #[error("others can read {path} (mode {mode:o}); run: chmod 600 {path}")]
    Open {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// Empty, or longer than any secret.
    #[error("{0} holds no secret: it is empty or longer than 64 KiB")]
    Size(String),
    /// Not UTF-8.
    #[error("{0} holds no text")]
    NoText(String),
}

/// The bytes of a file that its owner alone can read. A line end at the end of the file, which editors leave there, is
/// not part of the secret.
pub fn read_secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileFault> {
    let shown = || path.display().to_string();
    let unreadable = |fault| SecretFileFault::Unreadable(shown(), fault);
    let file = File::open(path).map_err(unreadable)?;
    // Of the open file: the name may mean another one by now.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileFault::Open { path: shown(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let long = bytes.len() as u64 > MAX_BYTES;
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    if bytes.is_empty() || long {
        return Err(SecretFileFault::Size(shown()));
    }
    Ok(bytes)
}

/// The same as text.
pub fn read_secret_text(path: &Path) -> Result<crate::secret::Secret, SecretFileFault> {
    let bytes = read_secret_file(path)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| SecretFileFault::NoText(path.display().to_string()))?;
    Ok(text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_secret_is_its_owners_alone_and_has_no_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write = |content: &[u8], mode: u32| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read_secret_file(&path).map(|bytes| bytes.to_vec())
        };
        for content in [&b"secret"[..], b"secret\n", b"secret\r\n"] {
            assert_eq!(write(content, 0o600).unwrap(), b"secret");
        }
        assert_eq!(write(b"secret\n\n", 0o400).unwrap(), b"secret\n");
        for mode in [0o644, 0o640, 0o604, 0o620] {
            let fault = write(b"secret", mode).unwrap_err().to_string();
            assert!(
                fault.contains("chmod 600") && !fault.contains("secret\""),
                "{fault}"
            );
        }
        assert!(matches!(write(b"\n", 0o600), Err(SecretFileFault::Size(_))));
        assert!(matches!(
            write(&[b'x'; 65 * 1024], 0o600),
            Err(SecretFileFault::Size(_))
        ));
        write(b"\xff", 0o600).unwrap();
        assert!(matches!(read_secret_text(&path), Err(SecretFileFault::NoText(_))));
        let nowhere = read_secret_file(&folder.path().join("nowhere"));
        assert!(matches!(nowhere, Err(SecretFileFault::Unreadable(..))));
    }
}
