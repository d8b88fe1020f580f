//! Another time for a real program, with Debian's libfaketime: the wall clock and the monotonic one, as if so much time had
//! passed. The program is the same, and moves its clock again whenever the test says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The library, loaded by programs that ask for the time from several threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The clock of the programs that were started with its environment.
pub struct MovedClock {
    library: PathBuf,
    file: PathBuf,
}

impl MovedClock {
    /// A clock that is right, kept in `folder`.
    ///
    /// # Panics
    /// When libfaketime is not installed (`apt-get install faketime`).
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let mut folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let library =
            folders.find_map(|entry| Some(entry.path().join(LIBRARY)).filter(|path| path.is_file()));
        let clock = Self {
            library: library.unwrap_or_else(|| panic!("libfaketime is missing: apt-get install faketime")),
            file: folder.join("clock"),
        };
        clock.move_to(Duration::ZERO);
        clock
    }

    /// What a program needs in its environment.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD", path(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", path(&self.file)),
            // Looked at for every question.
            ("FAKETIME_NO_CACHE", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// From now on it is so much later than it is.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn move_to(&self, ahead: Duration) {
        // Replaced in one step: a program may be looking.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("+{}\n", ahead.as_secs())).unwrap();
        std::fs::rename(&next, &self.file).unwrap();
    }
}
