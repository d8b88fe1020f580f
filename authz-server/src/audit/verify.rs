//! Whether the audit log is as it was written.

use super::{Name, digest, prune};
use crate::db::audit_event::{self, EventRow, Head};
use crate::db::{Db, DbFault};

/// Rows that are read at once.
const PAGE: u32 = 1000;
/// So often it begins anew because the beginning of the log has moved.
const MOVES: usize = 8;

/// A log without damage.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// How many events it has.
    pub(crate) events: i64,
    /// The first of them: those before it were removed when their time was over.
    pub(crate) first: i64,
    /// The hash of the newest: kept elsewhere, it proves what the log was.
    pub(crate) head: String,
}

/// The log is damaged, or could not be read. Each sentence names the first row that is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyFault {
    /// There is no row with that number, and later ones are there, or the head says that it was written.
    #[error("the audit log is damaged: row {0} is missing")]
    Missing(i64),
    /// The row's hash is not that of its content.
    #[error("the audit log is damaged: row {0} is not what was written")]
    Changed(i64),
    /// The row does not follow the one before it.
    #[error("the audit log is damaged: row {0} does not follow the row before it")]
    Moved(i64),
    /// A row that nobody wrote in its turn.
    #[error("the audit log is damaged: row {0} is beyond its head")]
    Beyond(i64),
    /// The newest row is not the one that the head knows.
    #[error("the audit log is damaged: its head is not the hash of row {0}")]
    Head(i64),
    /// Somebody removed the head.
    #[error("the audit log is damaged: it has no head")]
    NoHead,
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
}

/// A part of the log, as much as one answer is about.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) verified: Verified,
    /// The last row of this part, if there are more.
    pub(crate) continues_after: Option<i64>,
}

/// Checks every row, and the end of the log against its head.
pub(crate) async fn verify(db: &Db) -> Result<Verified, VerifyFault> {
    Ok(verify_part(db, 0, i64::MAX).await?.verified)
}

/// Checks at most `most` rows after the row `after`, which an earlier part has checked; and where the log ends among them,
/// its end against its head.
pub(crate) async fn verify_part(db: &Db, after: i64, most: i64) -> Result<Part, VerifyFault> {
    for _ in 0..MOVES {
        let begins_after = begins_after(db).await?.sequence;
        match verify_once(db, after, most).await {
            Err(VerifyFault::Db(fault)) => return Err(fault.into()),
            // Rows that were there when it began have been let go of meanwhile ([`super::prune`]).
            Err(_) if self::begins_after(db).await?.sequence > begins_after => {}
            verdict => return verdict,
        }
    }
    verify_once(db, after, most).await
}

async fn verify_once(db: &Db, after: i64, most: i64) -> Result<Part, VerifyFault> {
    // What is written from now on is not looked at.
    let head = audit_event::head(db).await?.ok_or(VerifyFault::NoHead)?;
    let begins_after = begins_after(db).await?;
    let start = match after.min(head.sequence) {
        after if after > begins_after.sequence => row_at(db, after).await?,
        _ => (begins_after.sequence, begins_after.hash),
    };
    let end = head.sequence.min(start.0.saturating_add(most));
    let first = start.0 + 1;
    let mut last = start;
    while last.0 < end {
        let rows = page(db, last.0, end).await?;
        if rows.is_empty() {
            return Err(VerifyFault::Missing(last.0 + 1));
        }
        for row in rows {
            follows(&row, (last.0, &last.1))?;
            last = (row.sequence, row.hash);
        }
    }
    let is_end = last.0 == head.sequence;
    if is_end && last.1 != head.hash {
        return Err(VerifyFault::Head(last.0));
    }
    if is_end && let Some(row) = audit_event::beyond(db, begins_after.sequence).await? {
        return Err(VerifyFault::Beyond(row));
    }
    Ok(Part {
        continues_after: (!is_end).then_some(last.0),
        verified: Verified {
            events: last.0 + 1 - first,
            first,
            head: last.1,
        },
    })
}

/// The number and the hash of a row that was checked before.
async fn row_at(db: &Db, sequence: i64) -> Result<(i64, String), VerifyFault> {
    let row = page(db, sequence - 1, sequence).await?.pop();
    row.map(|row| (row.sequence, row.hash))
        .ok_or(VerifyFault::Missing(sequence))
}

/// The last row that was removed because its time was over, as the newest removal says; nothing, where none was.
async fn begins_after(db: &Db) -> Result<Head, VerifyFault> {
    let newest = audit_event::newest(db, Some(Name::AuditPruned.as_str()), 1).await;
    let row = match newest {
        // It is found where it stands.
        Err(DbFault::Unexpected(_)) => None,
        newest => newest?.pop(),
    };
    let said = row.and_then(|row| prune::begins_after(&row.details));
    Ok(said.unwrap_or_else(|| Head {
        sequence: 0,
        hash: String::new(),
    }))
}

/// A row that cannot be read, because somebody wrote a value of another type, is found one by one.
async fn page(db: &Db, last: i64, end: i64) -> Result<Vec<EventRow>, VerifyFault> {
    match audit_event::after(db, (last, end), PAGE).await {
        Err(DbFault::Unexpected(_)) => {}
        read => return Ok(read?),
    }
    match audit_event::after(db, (last, end), 1).await {
        Err(DbFault::Unexpected(_)) => Err(VerifyFault::Changed(last + 1)),
        read => Ok(read?),
    }
}

fn follows(row: &EventRow, (sequence, hash): (i64, &str)) -> Result<(), VerifyFault> {
    let expected = sequence + 1;
    if row.sequence != expected {
        return Err(VerifyFault::Missing(expected));
    }
    if row.hash != digest(row) {
        return Err(VerifyFault::Changed(expected));
    }
    if row.previous_hash != hash {
        return Err(VerifyFault::Moved(expected));
    }
    Ok(())
}
