//! The node's id: a name that people can say, made once and kept in the data folder.

use std::io;
use std::path::Path;

use shared::secret::{NoRandomness, random_bytes};
use shared::tls::write_private;

/// The file in the data folder.
const FILE: &str = "node-id";

const ADJECTIVES: [&str; 32] = [
    "able", "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "deft", "eager",
    "fair", "fleet", "fresh", "gentle", "glad", "golden", "keen", "kind", "lively", "loyal", "merry",
    "noble", "proud", "quick", "quiet", "sharp", "steady", "sunny", "swift", "warm",
];
const ANIMALS: [&str; 32] = [
    "badger", "bear", "beaver", "bee", "crane", "deer", "dove", "eagle", "falcon", "finch", "fox", "hare",
    "hawk", "heron", "horse", "ibex", "jay", "lark", "lynx", "marten", "mole", "moose", "newt", "otter",
    "owl", "raven", "robin", "seal", "stork", "swan", "vole", "wren",
];

/// The id cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFault {
    /// The data folder or the file in it.
    #[error("cannot keep the node's id in {path}: {reason}")]
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

/// The id in `data_dir`; made now if there is none. Two nodes that start at once on one folder agree on it.
pub(crate) fn ensure(data_dir: &Path) -> Result<String, IdentityFault> {
    let fault = |reason: String| IdentityFault::Folder {
        path: data_dir.display().to_string(),
        reason,
    };
    let path = data_dir.join(FILE);
    if let Some(known) = read(&path).map_err(fault)? {
        return Ok(known);
    }
    std::fs::create_dir_all(data_dir).map_err(|e| fault(e.to_string()))?;
    let made = make()?;
    match write_private(&path, format!("{made}\n").as_bytes(), false) {
        Ok(()) => Ok(made),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => read(&path)
            .map_err(fault)?
            .ok_or_else(|| fault("the file vanished".to_owned())),
        Err(e) => Err(fault(e.to_string())),
    }
}

fn make() -> Result<String, NoRandomness> {
    let [adjective, animal, a, b, c] = random_bytes::<5>()?;
    let (adjective, animal) = (
        ADJECTIVES[usize::from(adjective % 32)],
        ANIMALS[usize::from(animal % 32)],
    );
    Ok(format!("{adjective}-{animal}-{a:02x}{b:02x}{c:02x}"))
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let id = text.trim();
    let is_id = id.len() <= 64
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if id.is_empty() || !is_id {
        return Err(format!(
            "{} holds no node id; remove the file to get a new one",
            path.display()
        ));
    }
    Ok(Some(id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("a/b");
        let first = ensure(&nested).unwrap();
        assert_eq!(ensure(&nested).unwrap(), first);
        let (name, digits) = first.rsplit_once('-').unwrap();
        assert!(name.split('-').count() == 2 && digits.len() == 6, "{first}");
    }

    #[test]
    fn a_spoilt_file_is_not_taken_for_an_id() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "../../x\n").unwrap();
        let fault = ensure(folder.path()).unwrap_err().to_string();
        assert!(fault.contains("holds no node id"), "{fault}");
        std::fs::write(folder.path().join(FILE), "swift-fox-0dd9b9\n").unwrap();
        assert_eq!(ensure(folder.path()).unwrap(), "swift-fox-0dd9b9");
    }
}
