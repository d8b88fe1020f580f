//! DUR-01: the server dies at its n-th write to the disk, for every n.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use blackbox::traced::Traced;
use blackbox::{Db, Fleet, length};
use xtask::code_flow::CodeClient;
use xtask::fleet::START;
use xtask::shell;

use super::{check, stage, start_again, work};

/// A flow syncs a few times; so each of its places is met, at the beginning of a thread's life and later.
const SYNCS: usize = 8;
/// A commit writes several pages.
const WRITES: usize = 12;

#[test]
fn dur_01_a_kill_at_each_sync_of_the_disk_sqlite() {
    let (fleet, client) = stage(Db::Sqlite, None);
    let most = length::of_faults().map_or(SYNCS, |_| 200);
    for n in 1..=most {
        killed_at(&fleet, &client, &format!("fdatasync,fsync:signal=KILL:when={n}"));
    }
}

/// Between two writes of one commit, where the log holds half of it.
#[test]
fn dur_01_a_kill_at_each_write_to_the_disk_sqlite() {
    let (fleet, client) = stage(Db::Sqlite, None);
    let most = length::of_faults().map_or(WRITES, |_| 100);
    for n in 1..=most {
        killed_at(&fleet, &client, &format!("pwrite64:signal=KILL:when={n}"));
    }
}

fn killed_at(fleet: &Fleet, client: &CodeClient, injection: &str) {
    let mut old = fleet.programs().remove("authz-server").unwrap();
    let traced = Traced::new(old.id(), injection);
    // One client, so that the places come in order; it ends because the server does.
    let hands = work(client, &AtomicUsize::new(0));
    let status = old.wait_end(Duration::from_secs(10)).unwrap();
    drop(traced);
    assert!(!status.success(), "{injection}: {status}");
    is_whole(&fleet.server.folder);
    let took = start_again(fleet);
    assert!(took < START, "{injection}");
    check(client, &hands);
}

/// Looks at a copy, so that the server itself finds what it left.
fn is_whole(folder: &Path) {
    let copy = tempfile::tempdir().unwrap();
    for name in ["authz.db", "authz.db-wal"] {
        if folder.join(name).is_file() {
            std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
        }
    }
    let mut look = Command::new("sqlite3");
    look.arg(copy.path().join("authz.db"))
        .arg("PRAGMA integrity_check; PRAGMA foreign_key_check;");
    assert_eq!(shell::read(&mut look).unwrap().trim(), "ok");
}
