//! A program under `strace`, which lets its system calls fail or kills it at one of them: what a crash or a full disk
//! does, at a place of our choice, and without a line in the program.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// While this value lives, the system calls of a program are watched.
pub struct Traced {
    strace: Child,
}

impl Traced {
    /// Watches the program with this id. `injection` is what strace's `--inject` takes, for example
    /// `fdatasync:signal=KILL:when=3`; calls are counted by thread.
    ///
    /// # Panics
    /// When strace is missing or may not watch.
    #[must_use]
    pub fn new(id: u32, injection: &str) -> Self {
        let (calls, _) = injection.split_once(':').unwrap();
        let mut strace = Command::new("strace")
            .args(["--follow-forks", "--output=/dev/null"])
            .arg(format!("--trace={calls}"))
            .arg(format!("--inject={injection}"))
            .arg(format!("--attach={id}"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|fault| panic!("strace: {fault} (Debian: apt-get install strace)"));
        let mut told = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("attached") {
            line.clear();
            let length = told.read_line(&mut line).unwrap();
            assert!(length > 0, "strace ended: {:?}", strace.wait());
        }
        // It has more to say, and must not wait for somebody to listen.
        std::thread::spawn(move || told.lines().count());
        Self { strace }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Politely: a killed tracer would take the program with it.
        let id = self.strace.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().ok();
        self.strace.wait().ok();
    }
}
