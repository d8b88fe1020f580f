//! Files that a configuration names: which, and what was in them.

use std::fs::File;
use std::io::Read;

use super::Setting;
use crate::secret::SecretHash;

/// Secrets, key sets and authorities are smaller; what is larger is not looked into, in bytes.
const MAX_HASHED: u64 = 16 << 20;

/// A file as it was when the key that names it was read. Equal to another if both name none, or the same with the same
/// in it; one that could not be looked into is equal to nothing, itself included, as nobody knows that it is the same.
#[derive(Clone, Debug, Default)]
pub struct NamedFile {
    path: String,
    content: Option<SecretHash>,
}

impl NamedFile {
    /// The file that `setting` names; none if it is about something else.
    pub fn of(setting: &Setting) -> Self {
        if !setting.path.ends_with("_file") {
            return Self::default();
        }
        Self {
            path: setting.value.clone(),
            content: setting.content,
        }
    }
}

impl PartialEq for NamedFile {
    fn eq(&self, other: &Self) -> bool {
        let is_known = self.path.is_empty() || self.content.is_some();
        is_known && self.path == other.path && self.content == other.content
    }
}

/// What is in a file now. Nothing that can be read once only is read here: a pipe, a descriptor of the shell.
pub(super) fn content(file: &str) -> Option<SecretHash> {
    let found = std::fs::metadata(file).ok()?;
    if !found.is_file() || found.len() > MAX_HASHED {
        return None;
    }
    let (hash, length) = SecretHash::of_all(File::open(file).ok()?.take(MAX_HASHED + 1)).ok()?;
    (length <= MAX_HASHED).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, differences};

    fn named(path: &str) -> Setting {
        Setting {
            path: "a.jwks_file".to_owned(),
            value: path.to_owned(),
            source: Source::File,
            content: content(path),
        }
    }

    #[test]
    fn a_file_is_the_same_only_if_it_was_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let name = path.to_str().unwrap();
        let write = |length: u64, first: u8| {
            std::fs::write(&path, [first]).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(length).unwrap();
            named(name)
        };
        let is_told = |before: &Setting, after: &Setting| {
            let told = |is_at_once: bool| {
                let (before, after) = (std::slice::from_ref(before), std::slice::from_ref(after));
                !differences(before, after, |_| is_at_once).is_empty()
            };
            assert_eq!(NamedFile::of(before) == NamedFile::of(after), !told(true));
            (told(true), told(false))
        };
        // Larger than any buffer, and as large as is looked into.
        for length in [5, 3 << 20, MAX_HASHED] {
            let (before, after) = (write(length, b'a'), write(length, b'b'));
            assert_eq!(is_told(&before, &after), (true, true), "{length}");
            assert_eq!(is_told(&before, &before), (false, false), "{length}");
        }
        // What is larger may be other. Where a restart would be needed, that is not said for no reason each time.
        let large = write(MAX_HASHED + 1, b'a');
        assert_eq!(is_told(&large, &large), (true, false));
        assert_eq!(is_told(&write(5, b'a'), &large), (true, false));
        let nowhere = named(folder.path().join("nowhere").to_str().unwrap());
        assert_eq!(is_told(&nowhere, &nowhere), (true, false));
        let unset = named("");
        assert_eq!(is_told(&unset, &unset), (false, false));
    }
}
