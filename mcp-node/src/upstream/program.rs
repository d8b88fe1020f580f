//! A program that speaks MCP on its standard input and output: started with an environment of its own, ended with
//! everything that it started.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::stderr;
use crate::config::Program;

/// How long a program may take to end when its input is closed, and again when it was asked to (MCP 2025-11-25,
/// "Lifecycle", "stdio").
const PATIENCE: Duration = Duration::from_secs(2);

/// What a program gets of the node's environment without being told to: what programs need to find others and to
/// know their language. No secret of the node is ever there.
const INHERITED: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// A program that runs. It ends with this value.
pub(super) struct Running {
    child: Child,
    /// Its process group, which has its number: whatever it starts is in there too.
    group: Option<Pid>,
    stderr: JoinHandle<()>,
}

/// Starts `program`. `name` is what the log calls it.
pub(super) fn start(program: &Program, name: &str) -> io::Result<(Running, ChildStdout, ChildStdin)> {
    let mut command = Command::new(&program.command);
    command
        .args(&program.args)
        .env_clear()
        .envs(environment(program)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(folder) = &program.cwd {
        command.current_dir(folder);
    }
    if let Some(user) = program.user {
        command.uid(user.uid).gid(user.gid);
    }
    let mut child = command.spawn()?;
    let gone = || io::Error::other("a stream of the program is missing");
    let (stdin, stdout) = (
        child.stdin.take().ok_or_else(gone)?,
        child.stdout.take().ok_or_else(gone)?,
    );
    let stderr = child.stderr.take().ok_or_else(gone)?;
    let group = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let running = Running {
        child,
        group,
        stderr: tokio::spawn(stderr::log(stderr, name.to_owned())),
    };
    Ok((running, stdout, stdin))
}

fn environment(program: &Program) -> io::Result<BTreeMap<String, String>> {
    let ours = shared::config::environment();
    // The home of another user is not its home.
    let inherited = INHERITED
        .into_iter()
        .filter(|name| program.user.is_none() || *name != "HOME");
    let mut environment: BTreeMap<String, String> = inherited
        .chain(program.pass_env.iter().map(String::as_str))
        .filter_map(|name| Some((name.to_owned(), ours.get(name)?.clone())))
        .collect();
    environment.extend(program.env.clone());
    for (name, path) in &program.env_files {
        let value = std::fs::read_to_string(path)
            .map_err(|e| io::Error::new(e.kind(), format!("{} of {name}: {e}", path.display())))?;
        environment.insert(name.clone(), value.trim_end_matches(['\r', '\n']).to_owned());
    }
    Ok(environment)
}

impl Running {
    /// Ends the program and everything that it started. Its standard input is closed by now.
    pub(super) async fn end(mut self) {
        // All of them have the same standard error, so its end says that the last one is gone. The program itself is
        // not waited for before that: its number, and so that of the group, stays its own.
        for signal in [None, Some(Signal::TERM)] {
            signal.inspect(|signal| self.signal(*signal));
            if timeout(PATIENCE, &mut self.stderr).await.is_ok() {
                break;
            }
        }
        self.signal(Signal::KILL);
        if let Err(fault) = self.child.wait().await {
            tracing::warn!(%fault, "a program's end cannot be awaited");
        }
        self.group = None;
    }

    /// The group may be gone already, which is what was wanted.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            kill_process_group(group, signal).ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.stderr.abort();
    }
}
