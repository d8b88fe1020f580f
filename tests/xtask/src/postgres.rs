//! A Postgres of our own: started from the installed binaries on a unix socket in a temporary folder.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::fault::{Explain, Fault, Outcome};
use crate::shell;

/// Must a committed transaction survive a power cut?
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As in production: for figures.
    Full,
    /// No waiting for the disk: for tests.
    None,
}

/// A running cluster. It ends, and its folder goes, when this value is dropped or our program dies in any way.
pub struct Cluster {
    binaries: PathBuf,
    folder: PathBuf,
    user: Option<(u32, u32)>,
    watcher: Child,
    databases: AtomicU32,
}

/// Starts the server, waits for our end of the pipe to close, stops the server and removes the folder. Written as a
/// shell script because it must also run when our program is killed, where no destructor does.
const WATCHER: &str = r#"
trap '' INT TERM HUP
"$@" & server=$!
cat >/dev/null
kill -INT "$server"; wait "$server"
rm -rf "$FOLDER"
"#;

impl Cluster {
    /// Creates and starts a cluster, pinned to the processor `core` if given.
    ///
    /// # Errors
    /// When Postgres is not installed or does not start.
    pub fn start(durability: Durability, core: Option<u32>) -> Outcome<Self> {
        let binaries =
            binaries().explain("Postgres is not installed (Debian: apt-get install postgresql)")?;
        let user = unprivileged()?;
        let folder = fresh_folder(user)?;
        let mut init = Self::as_user(user, binaries.join("initdb"));
        init.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        shell::read(init.arg(folder.join("cluster")).current_dir(&folder)).explain("initdb")?;
        let watcher = Self::watch(&binaries, &folder, user, (durability, core))?;
        let cluster = Self {
            binaries,
            folder,
            user,
            watcher,
            databases: AtomicU32::new(0),
        };
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// The one of this program: started on first use, without waiting for the disk. It ends with the program. Whoever
    /// stops it or changes its settings starts one of their own.
    ///
    /// # Errors
    /// When Postgres is not installed or does not start; it is not tried again.
    pub fn shared() -> Outcome<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::start(Durability::None, None).map_err(|fault| fault.to_string()))
            .as_ref()
            .map_err(Fault::new)
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create_database(&self) -> Outcome<String> {
        let name = format!("hive_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(format!(
            "postgres://postgres@localhost/{name}?host={}",
            self.folder.display()
        ))
    }

    /// Runs SQL in a database (given by name or by the URL from [`Cluster::create_database`]); rows come back as text.
    ///
    /// # Errors
    /// When the server refuses the statement.
    pub fn sql(&self, database: &str, statement: &str) -> Outcome<String> {
        let name = database_name(database);
        let mut psql = self.client("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            name,
            "-c",
        ]);
        shell::read(psql.arg(statement))
    }

    /// The whole content of a database as SQL text.
    ///
    /// # Errors
    /// When `pg_dump` fails.
    pub fn dump(&self, url: &str) -> Outcome<String> {
        shell::read(
            self.client("pg_dump")
                .args(["--inserts", "-d", database_name(url)]),
        )
    }

    /// Ends the server at once, as a crash would; the folder stays for [`Cluster::revive`].
    ///
    /// # Errors
    /// When `pg_ctl` fails.
    pub fn crash(&self) -> Outcome<()> {
        let mut stop = Self::as_user(self.user, self.binaries.join("pg_ctl"));
        stop.args(["stop", "-m", "immediate", "-D"])
            .arg(self.folder.join("cluster"))
            .current_dir(&self.folder);
        shell::read(&mut stop).map(drop)
    }

    /// Kills one of the server's processes, of those that serve connections or write; the server then ends all others
    /// and begins again with what is on the disk.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill_one(&self, number: usize) -> Outcome<()> {
        let ids = self.ids();
        let processes = ids.get(1..).filter(|processes| !processes.is_empty());
        let processes = processes.explain("Postgres does not run")?;
        let id = processes[number % processes.len()].to_string();
        shell::read(Command::new("kill").args(["-KILL", &id])).map(drop)
    }

    /// Starts the server again after [`Cluster::crash`].
    ///
    /// # Errors
    /// When it does not start.
    pub fn revive(&mut self, durability: Durability) -> Outcome<()> {
        // The old watcher would remove the folder at its end, so it is killed rather than asked.
        self.watcher.kill().ok();
        self.watcher.wait().ok();
        self.watcher = Self::watch(&self.binaries, &self.folder, self.user, (durability, None))?;
        self.wait_ready()
    }

    /// The program ids of the server and all of its backends.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        let file = std::fs::read_to_string(self.folder.join("cluster/postmaster.pid")).unwrap_or_default();
        let Some(server) = file
            .lines()
            .next()
            .and_then(|line| line.trim().parse::<u32>().ok())
        else {
            return Vec::new();
        };
        let mut ids = vec![server];
        let children =
            std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        ids.extend(
            children
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
        ids
    }

    /// What `pg_test_fsync` says of `fdatasync` on the disk of this cluster.
    ///
    /// # Errors
    /// When the tool is missing or its output has changed.
    pub fn disk_sync_rate(&self) -> Outcome<String> {
        let mut test = Self::as_user(self.user, self.binaries.join("pg_test_fsync"));
        test.args(["-s", "1", "-f"])
            .arg(self.folder.join("sync-test"))
            .current_dir(&self.folder);
        let text = shell::read(&mut test)?;
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with("fdatasync"))
            .explain("no fdatasync line")?;
        Ok(line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
    }

    fn watch(
        binaries: &Path,
        folder: &Path,
        user: Option<(u32, u32)>,
        how: (Durability, Option<u32>),
    ) -> Outcome<Child> {
        let (durability, core) = how;
        let mut watcher = Self::as_user(user, "sh");
        watcher
            .args(["-c", WATCHER, "watcher"])
            .env("FOLDER", folder)
            .current_dir("/");
        if let Some(core) = core {
            watcher.args(["taskset", "-c", &core.to_string()]);
        }
        watcher
            .arg(binaries.join("postgres"))
            .arg("-D")
            .arg(folder.join("cluster"));
        watcher
            .arg("-k")
            .arg(folder)
            .args(["-c", "listen_addresses=", "-c", "max_connections=300"]);
        if durability == Durability::None {
            watcher.args([
                "-c",
                "fsync=off",
                "-c",
                "synchronous_commit=off",
                "-c",
                "full_page_writes=off",
            ]);
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("server.log"))?;
        watcher
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        watcher.spawn().explain("cannot start Postgres")
    }

    fn wait_ready(&self) -> Outcome<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if shell::output(self.client("psql").args(["-d", "postgres", "-c", "SELECT 1"]))?
                .status
                .success()
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        Err(Fault::new(format!("Postgres did not start:\n{log}")))
    }

    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command
            .arg("-h")
            .arg(&self.folder)
            .args(["-U", "postgres"])
            .current_dir("/");
        command
    }

    fn as_user(user: Option<(u32, u32)>, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        self.watcher.wait().ok();
    }
}

fn database_name(url: &str) -> &str {
    let head = url.split('?').next().unwrap_or(url);
    head.rsplit('/').next().unwrap_or(head)
}

/// The folder with `initdb` and `postgres`, the newest version if several are installed.
#[must_use]
pub fn binaries() -> Option<PathBuf> {
    let mut folders: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    folders.sort();
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file())
    };
    folders.pop().map(|(_, folder)| folder).or_else(on_path)
}

/// Postgres refuses to run as root: the user it was installed with takes its place.
fn unprivileged() -> Outcome<Option<(u32, u32)>> {
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?) != 0 {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    let line = accounts
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .explain("there is no user postgres")?;
    let mut numbers = line.split(':').skip(2).map(|field| field.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(uid)), Some(Ok(gid))) => Ok(Some((uid, gid))),
        _ => Err(Fault::new("the entry of postgres in /etc/passwd is not readable")),
    }
}

fn fresh_folder(user: Option<(u32, u32)>) -> Outcome<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // A unix socket path may not be longer than 107 bytes, so the name stays short.
    let folder = std::env::temp_dir().join(format!("hive-pg-{}-{count}", std::process::id()));
    std::fs::create_dir(&folder).explain(format!("cannot create {}", folder.display()))?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    if let Some((uid, gid)) = user {
        chown(&folder, Some(uid), Some(gid))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_and_everything_goes_with_the_cluster() {
        let cluster = Cluster::start(Durability::None, None).unwrap();
        let url = cluster.create_database().unwrap();
        cluster.sql(&url, "CREATE TABLE t (x TEXT)").unwrap();
        cluster.sql(&url, "INSERT INTO t VALUES ('seen')").unwrap();
        assert!(cluster.dump(&url).unwrap().contains("'seen'"));
        assert!(cluster.sql(&url, "SELECT nonsense").is_err());
        let folder = cluster.folder.clone();
        drop(cluster);
        assert!(!folder.exists());
    }
}
