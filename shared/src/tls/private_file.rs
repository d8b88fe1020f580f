//! Files that only their owner reads.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::random_bytes;

/// Writes a file that only its owner can read, and that is there wholly or not at all, even after a power cut.
/// Refuses to replace an existing file unless `replace`.
pub fn write_private(path: &Path, content: &[u8], replace: bool) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // Not the process id: in two containers that share the folder it is 1 in both, and each would hold a key that the
    // other has overwritten.
    let unique = random_bytes::<12>().map_err(std::io::Error::other)?;
    let temporary = folder.join(format!(
        ".{}.{}",
        path.file_name().unwrap_or_default().display(),
        URL_SAFE_NO_PAD.encode(unique)
    ));
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            // A hard link fails if the name is taken, a rename would win over another process's file.
            if replace {
                std::fs::rename(&temporary, path)
            } else {
                std::fs::hard_link(&temporary, path)
            }
        });
    if written.is_err() || !replace {
        std::fs::remove_file(&temporary).ok();
    }
    written?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_at_once_agree_on_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let write = |content: u8| write_private(&path, &[content; 4096], false).is_ok();
        let winners: Vec<u8> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..16).map(|n| (n, scope.spawn(move || write(n)))).collect();
            let ends = writers.into_iter().map(|(n, writer)| (n, writer.join().unwrap()));
            ends.filter_map(|(n, won)| won.then_some(n)).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), [winners[0]; 4096]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_private_file_is_not_replaced_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_private(&path, b"one", false).unwrap();
        assert_eq!(
            write_private(&path, b"two", false).unwrap_err().kind(),
            std::io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_private(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
