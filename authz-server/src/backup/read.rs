//! Reading a backup: whole, and line by line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::lines::{self, Head, Line};
use super::sealed::Opener;
use super::{BackupFault, Summary};
use crate::db::catalog::{Column, TABLES};
use crate::db::copy::Cell;

/// A backup, read to where it was asked for.
pub(super) struct Reader<'a> {
    lines: BufReader<Opener<BufReader<File>>>,
    path: &'a Path,
    table: Option<(String, Vec<Column>)>,
    rows: u64,
    pub(super) head: Head,
}

/// What comes next in a backup.
pub(super) enum Next {
    /// The rows that follow are of this table.
    Table(String, Vec<Column>),
    Row(Vec<Cell>),
    End,
}

impl<'a> Reader<'a> {
    pub(super) fn open(path: &'a Path, secret: &[u8]) -> Result<Self, BackupFault> {
        let file = File::open(path).map_err(|fault| BackupFault::of(path, &fault))?;
        let opener =
            Opener::new(BufReader::new(file), secret).map_err(|fault| BackupFault::of_seal(path, fault))?;
        let mut lines = BufReader::new(opener);
        let first = line(&mut lines, path)?.ok_or_else(|| unreadable(path))?;
        Ok(Self {
            head: serde_json::from_str(&first).map_err(|_| unreadable(path))?,
            lines,
            path,
            table: None,
            rows: 0,
        })
    }

    /// What is wrong with the backup.
    pub(super) fn fault(&self, reason: &str) -> BackupFault {
        BackupFault::of(self.path, &reason)
    }

    pub(super) fn next(&mut self) -> Result<Next, BackupFault> {
        let text = line(&mut self.lines, self.path)?.ok_or_else(|| unreadable(self.path))?;
        match serde_json::from_str(&text).map_err(|_| unreadable(self.path))? {
            Line::Table { table, columns } if TABLES.contains(&table.as_str()) => {
                self.table = Some((table.clone(), columns.clone()));
                Ok(Next::Table(table, columns))
            }
            Line::Row(values) => {
                self.rows += 1;
                let (_, columns) = self.table.as_ref().ok_or_else(|| unreadable(self.path))?;
                let of_kind = columns.iter().map(|(_, kind)| *kind);
                let cells: Option<Vec<_>> = values
                    .into_iter()
                    .zip(of_kind)
                    .map(|(value, kind)| lines::cell(value, kind))
                    .collect();
                let cells = cells.filter(|cells| cells.len() == columns.len());
                Ok(Next::Row(cells.ok_or_else(|| unreadable(self.path))?))
            }
            Line::End { rows } if rows == self.rows && line(&mut self.lines, self.path)?.is_none() => {
                Ok(Next::End)
            }
            Line::Table { .. } | Line::End { .. } => Err(unreadable(self.path)),
        }
    }
}

/// Reads a backup from its beginning to its end, and gives each signing key to `key`: its id, algorithm and sealed secret.
pub(crate) fn look(
    path: &Path,
    secret: &[u8],
    mut key: impl FnMut(&str, &str, &[u8]) -> Result<(), BackupFault>,
) -> Result<Summary, BackupFault> {
    let mut reader = Reader::open(path, secret)?;
    let mut tables = BTreeMap::new();
    let mut table: Option<(String, Vec<Column>)> = None;
    loop {
        match reader.next()? {
            Next::Table(name, columns) => {
                tables.insert(name.clone(), 0);
                table = Some((name, columns));
            }
            Next::Row(cells) => {
                if let Some((name, columns)) = &table {
                    tables.entry(name.clone()).and_modify(|count| *count += 1);
                    if name == "signing_key" {
                        signing_key(columns, &cells, &mut key)?;
                    }
                }
            }
            Next::End => {
                return Ok(Summary {
                    rows: reader.rows,
                    head: reader.head,
                    tables,
                });
            }
        }
    }
}

fn signing_key(
    columns: &[Column],
    cells: &[Cell],
    key: &mut impl FnMut(&str, &str, &[u8]) -> Result<(), BackupFault>,
) -> Result<(), BackupFault> {
    let find = |wanted: &str| {
        let named = columns.iter().zip(cells).find(|((name, _), _)| name == wanted);
        named.map(|(_, cell)| cell)
    };
    match (find("kid"), find("alg"), find("sealed_jwk")) {
        (Some(Cell::Text(Some(kid))), Some(Cell::Text(Some(alg))), Some(Cell::Bytes(Some(sealed)))) => {
            key(kid, alg, sealed)
        }
        _ => Ok(()),
    }
}

fn line(lines: &mut impl BufRead, path: &Path) -> Result<Option<String>, BackupFault> {
    let mut text = String::new();
    match lines.read_line(&mut text) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(text)),
        Err(fault) => Err(BackupFault::of(path, &fault)),
    }
}

fn unreadable(path: &Path) -> BackupFault {
    BackupFault::of(
        path,
        &"its content is not what this version of authz-server writes",
    )
}
