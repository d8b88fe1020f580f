//! Taking a backup.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use shared::clock::UnixSeconds;

use super::lines::{self, Head, Line};
use super::sealed::Sealer;
use super::{BackupFault, Summary};
use crate::db::catalog::{self, TABLES};
use crate::db::{Db, Tx, copy, deployment, known_migrations};

/// Writes every row of this moment into the file `to`, which must not be there, sealed under `secret`. The file has its name
/// once all of it is on the disk.
pub(crate) async fn take(
    db: &Db,
    to: &Path,
    secret: &[u8],
    now: UnixSeconds,
) -> Result<Summary, BackupFault> {
    let mut tx = db.snapshot().await?;
    let head = head(&mut tx, now).await?;
    let mut draft = Draft::create(to)?;
    let file = draft.file.try_clone().map_err(|fault| draft.fault(&fault))?;
    let sealer =
        Sealer::new(BufWriter::new(file), secret).map_err(|fault| BackupFault::of_seal(to, fault))?;
    let mut lines = Lines { to: sealer, path: to };
    lines.write(&head)?;
    let (mut tables, mut rows) = (BTreeMap::new(), 0);
    for table in catalog::present(&mut tx).await? {
        let columns = catalog::columns(&mut tx, table).await?;
        lines.write(&Line::Table {
            table: table.to_owned(),
            columns: columns.clone(),
        })?;
        let mut count = 0;
        let row = |cells: Vec<copy::Cell>| {
            count += 1;
            lines.write(&Line::Row(cells.into_iter().map(lines::value).collect()))
        };
        copy::read(&mut tx, table, &columns, row).await?;
        rows += count;
        tables.insert(table.to_owned(), count);
    }
    lines.write(&Line::End { rows })?;
    lines.to.finish().map_err(|fault| BackupFault::of(to, &fault))?;
    draft.publish()?;
    Ok(Summary { head, rows, tables })
}

/// Whose database it is, and what it has. Fixes the moment that is read.
async fn head(tx: &mut Tx, now: UnixSeconds) -> Result<Head, BackupFault> {
    let unknown = |reason: String| BackupFault::Source(reason);
    let present = catalog::tables(tx).await?;
    if !present.iter().any(|name| name == "deployment") {
        return Err(unknown("there is nothing in it; check database.url".to_owned()));
    }
    let migrations = catalog::migrations(tx).await?;
    let known = known_migrations();
    if let Some(newer) = migrations.iter().find(|number| !known.contains(number)) {
        return Err(unknown(format!(
            "it has the migration {newer}, which this version of authz-server does not know; use the newer one, which knows all that is to be kept"
        )));
    }
    if let Some(other) = present.iter().find(|name| !TABLES.contains(&name.as_str())) {
        return Err(unknown(format!(
            "it has a table {other}, which is not of authz-server; give each a database of its own"
        )));
    }
    let issuer = deployment::issuer(tx).await?;
    Ok(Head {
        issuer: issuer.ok_or_else(|| unknown("nobody has served on it yet".to_owned()))?,
        taken_at: now.0,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        migrations,
    })
}

struct Lines<'a, W> {
    to: Sealer<W>,
    path: &'a Path,
}

impl<W: Write> Lines<'_, W> {
    fn write(&mut self, line: &impl Serialize) -> Result<(), BackupFault> {
        let mut text = serde_json::to_vec(line).map_err(|fault| BackupFault::of(self.path, &fault))?;
        text.push(b'\n');
        self.to
            .write_all(&text)
            .map_err(|fault| BackupFault::of(self.path, &fault))
    }
}

/// A file beside its later name. It goes when it is not published.
struct Draft {
    file: File,
    path: PathBuf,
    name: PathBuf,
}

impl Draft {
    fn create(name: &Path) -> Result<Self, BackupFault> {
        if name.exists() {
            return Err(BackupFault::of(
                name,
                &"there is such a file; no backup is overwritten",
            ));
        }
        let path = name.with_added_extension(format!("{}.part", std::process::id()));
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|fault| BackupFault::of(&path, &fault))?;
        Ok(Self {
            file,
            path,
            name: name.to_owned(),
        })
    }

    fn fault(&self, fault: &io::Error) -> BackupFault {
        BackupFault::of(&self.path, fault)
    }

    /// Gives it its name, unless another has taken that meanwhile.
    fn publish(&mut self) -> Result<(), BackupFault> {
        let done = self
            .file
            .sync_all()
            .and_then(|()| std::fs::hard_link(&self.path, &self.name))
            .and_then(|()| {
                let folder = self.name.parent().filter(|folder| !folder.as_os_str().is_empty());
                File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
            });
        done.map_err(|fault| BackupFault::of(&self.name, &fault))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It stays under its own name when it was published; otherwise there is nothing to keep.
        std::fs::remove_file(&self.path).ok();
    }
}
