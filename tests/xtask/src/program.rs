//! A child program with its log, from start to a polite end.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::fault::{Explain, Fault, Outcome};
use crate::http;

/// How often a condition is looked at while waiting for it.
const GLANCE: Duration = Duration::from_millis(20);

/// A running program whose output goes into a log file. Dropping it kills it.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` with standard output and error in `log`.
    ///
    /// # Errors
    /// When the log cannot be written or the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Outcome<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .explain(format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        // A group of its own: Ctrl-C in the terminal reaches only us, and we end the children in order.
        command.process_group(0);
        let child = command.spawn().explain(format!("cannot start {name}"))?;
        Ok(Self {
            name: name.into(),
            child,
            log: log.into(),
        })
    }

    /// The id of the operating system.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the program has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The exit status if the program has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until `url` answers 200.
    ///
    /// # Errors
    /// When the program ends first or the time is up; the sentence carries the end of the log.
    pub fn wait_ready(&mut self, url: &str, within: Duration) -> Outcome<()> {
        let deadline = Instant::now() + within;
        let mut last = String::from("no answer yet");
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Err(Fault::new(format!(
                    "{} ended ({status}) before it was ready:\n{}",
                    self.name,
                    self.log_end()
                )));
            }
            match http::get(url) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => last = answer.to_string(),
                Err(fault) => last = fault.to_string(),
            }
            std::thread::sleep(GLANCE);
        }
        Err(Fault::new(format!(
            "{} was not ready at {url} within {} s ({last}):\n{}",
            self.name,
            within.as_secs(),
            self.log_end()
        )))
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When the program is still there after `within`; it is killed then.
    pub fn terminate(&mut self, within: Duration) -> Outcome<ExitStatus> {
        self.signal("TERM")?;
        self.wait_end(within)
    }

    /// Sends a signal by its short name, for example `TERM` or `HUP`.
    ///
    /// # Errors
    /// When there is no `kill` command.
    pub fn signal(&mut self, name: &str) -> Outcome<()> {
        // The standard library only knows SIGKILL, and a signal crate would be the larger dependency.
        Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id().to_string())
            .status()
            .explain("no kill command")?;
        Ok(())
    }

    /// Stops the program where it is, until [`Self::resume`]. The signal alone would not do: a thread that runs, or that
    /// is woken before the one which the signal reaches, still answers.
    ///
    /// # Errors
    /// When a thread still runs after `within`.
    pub fn suspend(&mut self, within: Duration) -> Outcome<()> {
        self.signal("STOP")?;
        let deadline = Instant::now() + within;
        while !self.is_suspended()? {
            if Instant::now() > deadline {
                return Err(Fault::new(format!("{} does not stand still", self.name)));
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Lets the program go on after [`Self::suspend`].
    ///
    /// # Errors
    /// When there is no `kill` command.
    pub fn resume(&mut self) -> Outcome<()> {
        self.signal("CONT")
    }

    /// Whether each thread stands still (proc(5), `/proc/pid/task/tid/stat`).
    fn is_suspended(&self) -> Outcome<bool> {
        let threads = format!("/proc/{}/task", self.id());
        for thread in std::fs::read_dir(&threads).explain(&threads)? {
            // One that has ended meanwhile has no state; the next look does not find it.
            let stat = std::fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
            // The name before the state may have spaces and brackets of its own.
            let is_still = stat
                .rsplit_once(") ")
                .is_some_and(|(_, state)| state.starts_with('T'));
            if !is_still {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for the program to end by itself.
    ///
    /// # Errors
    /// When it is still there after `within`; it is killed then.
    pub fn wait_end(&mut self, within: Duration) -> Outcome<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.kill();
                return Err(Fault::new(format!(
                    "{} did not end within {} s",
                    self.name,
                    within.as_secs()
                )));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Ends the program at once, as a power cut would.
    pub fn kill(&mut self) {
        // Both fail only when the program is gone already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}
