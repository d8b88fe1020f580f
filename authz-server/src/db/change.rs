//! Tables `change` and `change_head`: what instances must forget or learn, in one order for all of them.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const HEAD: &str = "SELECT sequence FROM change_head WHERE id = 1";
const NEXT: &str = "UPDATE change_head SET sequence = sequence + 1 WHERE id = 1 RETURNING sequence";
const RECORD: &str = "INSERT INTO change (sequence, noun, subject, changed_at) VALUES ($1, $2, $3, $4)";
const SINCE: &str =
    "SELECT sequence, noun, subject FROM change WHERE sequence > $1 ORDER BY sequence LIMIT 1000";
const FORGET: &str = "DELETE FROM change WHERE sequence IN \
     (SELECT sequence FROM change WHERE changed_at < $1 ORDER BY changed_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[HEAD, NEXT, RECORD, SINCE, FORGET];

/// The subject of a change to more rows than is worth naming: everything of that noun is forgotten.
pub(crate) const MANY: &str = "*";

/// What kind of thing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Noun {
    Client,
    Key,
    Resource,
    Token,
}

impl Noun {
    fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Key => "key",
            Self::Resource => "resource",
            Self::Token => "token",
        }
    }
}

/// One change.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Change {
    pub(crate) sequence: i64,
    noun: String,
    /// The client's id, the resource's URI, the key's `kid`, the token's `jti`, its family's id or [`MANY`].
    pub(crate) subject: String,
}

impl Change {
    /// `None` for a noun that a newer program wrote: whoever reads it forgets everything.
    pub(crate) fn noun(&self) -> Option<Noun> {
        [Noun::Client, Noun::Key, Noun::Resource, Noun::Token]
            .into_iter()
            .find(|noun| noun.as_str() == self.noun)
    }

    /// Whether it may be about the `noun` named `subject`.
    pub(crate) fn is_about(&self, noun: Noun, subject: &str) -> bool {
        self.is_of(&[noun]) && (self.noun().is_none() || self.subject == subject || self.subject == MANY)
    }

    /// Whether it may be about one of these kinds.
    pub(crate) fn is_of(&self, nouns: &[Noun]) -> bool {
        self.noun().is_none_or(|noun| nouns.contains(&noun))
    }
}

/// Takes the next number. Until the transaction ends, no other instance can: call it before reading what the
/// decision depends on, and the transactions follow one another.
pub(crate) async fn take_turn(tx: &mut Tx) -> Result<i64, DbFault> {
    on!(tx tx, c => sqlx::query_scalar(NEXT).fetch_one(c))
}

/// The changes of a transaction that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Pending(Vec<(Noun, String, UnixSeconds)>);

/// Notes that `subject` changed, in the transaction that changes it. It is written when the transaction takes no other
/// lock any more but that of the audit log: the turn is everybody's, and whoever has it should wait for nobody.
pub(crate) fn record(tx: &mut Tx, noun: Noun, subject: &str, now: UnixSeconds) {
    let pending = &mut tx.pending().0;
    if !pending.iter().any(|known| known.0 == noun && known.1 == subject) {
        pending.push((noun, subject.to_owned(), now));
    }
}

/// Writes what was noted; before the commit, and before the turn of the audit log is taken.
pub(super) async fn write_pending(tx: &mut Tx) -> Result<(), DbFault> {
    for (noun, subject, now) in std::mem::take(&mut tx.pending().0) {
        let sequence = take_turn(tx).await?;
        record_at(tx, sequence, (noun, &subject), now).await?;
    }
    Ok(())
}

/// As [`record`], at once, under the number of a turn that was taken before: a number without a change makes instances
/// forget everything.
pub(crate) async fn record_at(
    tx: &mut Tx,
    sequence: i64,
    (noun, subject): (Noun, &str),
    now: UnixSeconds,
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        sqlx::query(RECORD).bind(sequence).bind(noun.as_str()).bind(subject).bind(now.0).execute(c).await.map(|_| ())
    })
}

/// The number of the newest change.
pub(crate) async fn head(db: &Db) -> Result<i64, DbFault> {
    on!(db, c => sqlx::query_scalar(HEAD).fetch_one(c))
}

/// The changes after `sequence`, oldest first, at most 1000.
pub(crate) async fn since(db: &Db, sequence: i64) -> Result<Vec<Change>, DbFault> {
    on!(db, c => sqlx::query_as(SINCE).bind(sequence).fetch_all(c))
}

/// Drops changes from before `before`. An instance that had not read them notices the gap.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
