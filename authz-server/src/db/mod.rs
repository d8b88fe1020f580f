//! The database: the only folder with SQL. One table is one file with its row and its statements.
//!
//! There is one SQL text for Postgres and SQLite. [`on!`] runs it on whichever is configured; a test prepares every
//! statement on both.

pub(crate) mod access_grant;
pub(crate) mod admin_request;
mod again;
pub(crate) mod alert;
pub(crate) mod approval;
pub(crate) mod audit_event;
pub(crate) mod authorization_code;
pub(crate) mod catalog;
pub(crate) mod change;
pub(crate) mod client;
pub(crate) mod client_document;
pub(crate) mod client_life;
pub(crate) mod client_page;
pub(crate) mod client_secret;
mod connect;
pub(crate) mod copy;
pub(crate) mod deployment;
pub(crate) mod device_authorization;
pub(crate) mod federated_identity;
mod home;
pub(crate) mod initial_access_token;
pub(crate) mod interaction;
mod lease;
mod lite;
mod migrate;
pub(crate) mod node;
pub(crate) mod node_contact;
pub(crate) mod node_invite;
pub(crate) mod one_time_link;
pub(crate) mod passkey;
mod point;
pub(crate) mod pushed_request;
pub(crate) mod recovery_code;
pub(crate) mod redemption;
pub(crate) mod refresh_token;
pub(crate) mod registration;
pub(crate) mod resource;
pub(crate) mod restored;
pub(crate) mod revoked_token;
pub(crate) mod session;
mod shelf;
pub(crate) mod signing_key;
pub(crate) mod statistics;
pub(crate) mod status_list;
pub(crate) mod status_node;
pub(crate) mod status_revoked;
pub(crate) mod tally;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod token_family;
pub(crate) mod totp;
pub(crate) mod used_proof;
pub(crate) mod user_account;

use std::future::Future;
use std::time::Duration;

use shared::clock::UnixSeconds;
use sqlx::{Postgres, Sqlite};
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use again::Tries;
use change::Pending;
pub(crate) use connect::OpenFault;
pub(crate) use home::HomePool;
pub(crate) use lease::Lease;
pub(crate) use lite::LitePool;
pub(crate) use migrate::{NotReady, known_migrations};
#[cfg(test)]
pub(crate) use point::How;

/// A statement that takes longer has lost its database.
const DEADLINE: Duration = Duration::from_secs(5);

/// A pool of connections to one of the two databases.
#[derive(Clone, Debug)]
pub(crate) enum Db {
    /// Postgres.
    Pg(HomePool),
    /// The embedded default.
    Lite(LitePool),
}

/// A transaction. Dropped without commit, nothing has happened.
pub(crate) enum Tx {
    Pg(Lease<Postgres>, Pending),
    Lite(Lease<Sqlite>, OwnedSemaphorePermit, Pending),
}

/// The database could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbFault {
    /// No connection, no answer in time, read-only, disk full: it may work later. Whether a commit that was not
    /// answered has happened is not known.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A constraint refused the write; its name or text.
    #[error("the database refused a value: {0}")]
    Constraint(String),
    /// Anything else is a bug of ours or a damaged row.
    #[error("the database answered unexpectedly: {0}")]
    Unexpected(String),
    /// The transaction must be repeated.
    #[error("the transaction collided with others")]
    Collided,
}

/// Runs one expression on the pool or transaction of either database. `$c` is the executor. Outside a transaction it may run
/// several times ([`again`]).
macro_rules! on {
    ($db:expr, $c:ident => $body:expr) => {{
        let mut tries = $crate::db::Tries::default();
        loop {
            let done = match $db {
                $crate::db::Db::Pg(home) => match home.lend().await {
                    Ok(mut lease) => {
                        let point = lease.point();
                        let $c = lease.connection();
                        let result = $crate::db::deadline(point.around(async { $body.await })).await;
                        lease.settle(result)
                    }
                    Err(fault) => Err(fault),
                },
                $crate::db::Db::Lite(lite) => match lite.lend().await {
                    Ok(mut lease) => {
                        let point = lease.point();
                        let $c = lease.connection();
                        let result = $crate::db::deadline(point.around(async { $body.await })).await;
                        lease.settle(result)
                    }
                    Err(fault) => Err(fault),
                },
            };
            if let Some(done) = tries.judge(done).await {
                break done;
            }
        }
    }};
    // One statement that writes, a transaction of its own.
    (write $db:expr, $c:ident => $body:expr) => {
        match $db {
            $crate::db::Db::Pg(_) => $crate::db::on!($db, $c => $body),
            $crate::db::Db::Lite(lite) => match lite.turn_to_write().await {
                Ok(_turn) => $crate::db::on!($db, $c => $body),
                Err(fault) => Err(fault),
            },
        }
    };
    (tx $tx:expr, $c:ident => $body:expr) => {
        $crate::db::deadline(async {
            match $tx {
                $crate::db::Tx::Pg(lease, _) => {
                    let point = lease.point();
                    let $c = lease.connection();
                    point.around(async { $body.await }).await
                }
                $crate::db::Tx::Lite(lease, ..) => {
                    let point = lease.point();
                    let $c = lease.connection();
                    point.around(async { $body.await }).await
                }
            }
        })
        .await
    };
}
pub(crate) use on;

pub(crate) async fn deadline<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DbFault> {
    match tokio::time::timeout(DEADLINE, statement).await {
        Ok(result) => result.map_err(DbFault::from),
        Err(_) => Err(DbFault::Unavailable("no answer in time".to_owned())),
    }
}

impl Db {
    /// How many connections are at work, and how many there may be.
    pub(crate) fn connections(&self) -> (i64, i64) {
        match self {
            Self::Pg(home) => home.shelf.uses(),
            Self::Lite(lite) => lite.shelf.uses(),
        }
    }

    /// Runs `work` in one transaction and commits it. A refusal that must be remembered is an `Ok`; an `Err` rolls
    /// back. `work` may run several times, so it changes nothing but the transaction.
    pub(crate) async fn write<T>(
        &self,
        work: impl AsyncFn(&mut Tx) -> Result<T, DbFault>,
    ) -> Result<T, DbFault> {
        let mut tries = Tries::default();
        loop {
            // Whoever waits for the next try holds nothing: the transaction ends with the block.
            let done = {
                let mut tx = self.begin().await?;
                match work(&mut tx).await {
                    Ok(value) => tx.commit().await.map(|()| value),
                    Err(fault) => Err(fault),
                }
            };
            if let Some(done) = tries.judge(done).await {
                return done;
            }
        }
    }

    /// As [`Db::write`], where a refusal leaves nothing behind: an inner `Err` rolls back and is returned.
    pub(crate) async fn write_unless<T, R>(
        &self,
        work: impl AsyncFn(&mut Tx) -> Result<Result<T, R>, DbFault>,
    ) -> Result<Result<T, R>, DbFault> {
        let mut tries = Tries::default();
        loop {
            let done = {
                let mut tx = self.begin().await?;
                match work(&mut tx).await {
                    Ok(Ok(value)) => tx.commit().await.map(|()| Ok(value)),
                    other => other,
                }
            };
            if let Some(done) = tries.judge(done).await {
                return done;
            }
        }
    }

    async fn begin(&self) -> Result<Tx, DbFault> {
        match self {
            Self::Pg(home) => {
                let mut lease = home.lend().await?;
                lease.run("BEGIN").await?;
                Ok(Tx::Pg(lease, Pending::default()))
            }
            Self::Lite(lite) => {
                let turn = lite.turn_to_write().await?;
                let mut lease = lite.lend().await?;
                // SQLite must know from the start that this will write: a reader that turns writer may be refused.
                lease.run("BEGIN IMMEDIATE").await?;
                Ok(Tx::Lite(lease, turn, Pending::default()))
            }
        }
    }
}

/// Rows that one clean-up statement deletes at most: it must end long before its deadline, and hold no lock for long.
const BATCH: u32 = 5000;

/// Runs `statement`, which deletes at most `$2` rows from before `$1`, until none is left.
pub(crate) async fn delete_in_batches(
    db: &Db,
    statement: &'static str,
    before: UnixSeconds,
) -> Result<(), DbFault> {
    loop {
        let rows = on!(db, c => async {
            let delete = sqlx::query(statement).bind(before.0).bind(i64::from(BATCH));
            delete.execute(c).await.map(|done| done.rows_affected())
        })?;
        if rows < u64::from(BATCH) {
            return Ok(());
        }
    }
}

impl Tx {
    /// What is to be told to other instances when this commits.
    fn pending(&mut self) -> &mut Pending {
        match self {
            Self::Pg(_, pending) | Self::Lite(_, _, pending) => pending,
        }
    }

    /// A commit that fails closes the connection: SQLite leaves the transaction open, and the next user would write in
    /// it.
    async fn commit(mut self) -> Result<(), DbFault> {
        change::write_pending(&mut self).await?;
        match self {
            Self::Pg(mut lease, _) => {
                lease.run("COMMIT").await?;
                lease.settle(Ok(()))
            }
            Self::Lite(mut lease, _turn, _) => {
                lease.run("COMMIT").await?;
                lease.settle(Ok(()))
            }
        }
    }
}

impl From<sqlx::Error> for DbFault {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(db) => {
                let code = db.code().unwrap_or_default();
                if db.is_unique_violation() || db.is_foreign_key_violation() || db.is_check_violation() {
                    return Self::Constraint(db.message().to_owned());
                }
                match &*code {
                    "40001" | "40P01" => Self::Collided,
                    // Postgres: connection, sign-in, no such database, resources, intervention, system error.
                    _ if ["08", "28", "3D", "53", "57", "58"]
                        .iter()
                        .any(|class| code.len() == 5 && code.starts_with(class)) =>
                    {
                        Self::Unavailable(db.message().to_owned())
                    }
                    // Read-only; the session was idle in a transaction for too long (this program stood still), or the
                    // transaction took too long; the answer to a commit was lost.
                    "25006" | "25P03" | "25P04" | "40003" => Self::Unavailable(db.message().to_owned()),
                    // SQLite: busy 5, locked 6, read-only 8, I/O 10, full 13, cannot open 14, and their extensions.
                    code if code
                        .parse::<i32>()
                        .is_ok_and(|n| matches!(n & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
                        && code.len() < 5 =>
                    {
                        Self::Unavailable(db.message().to_owned())
                    }
                    _ => Self::Unexpected(db.message().to_owned()),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Self::Unavailable(error.to_string()),
            _ => Self::Unexpected(error.to_string()),
        }
    }
}

/// Every statement, for the test that prepares each on both databases.
#[cfg(test)]
pub(crate) fn statements() -> impl Iterator<Item = &'static str> {
    [
        access_grant::STATEMENTS,
        admin_request::STATEMENTS,
        alert::STATEMENTS,
        approval::STATEMENTS,
        audit_event::STATEMENTS,
        authorization_code::STATEMENTS,
        change::STATEMENTS,
        client::STATEMENTS,
        client_life::STATEMENTS,
        client_page::STATEMENTS,
        client_document::STATEMENTS,
        client_secret::STATEMENTS,
        deployment::STATEMENTS,
        device_authorization::STATEMENTS,
        federated_identity::STATEMENTS,
        initial_access_token::STATEMENTS,
        interaction::STATEMENTS,
        migrate::STATEMENTS,
        node::STATEMENTS,
        node_contact::STATEMENTS,
        node_invite::STATEMENTS,
        one_time_link::STATEMENTS,
        passkey::STATEMENTS,
        pushed_request::STATEMENTS,
        recovery_code::STATEMENTS,
        refresh_token::STATEMENTS,
        registration::STATEMENTS,
        resource::STATEMENTS,
        restored::STATEMENTS,
        revoked_token::STATEMENTS,
        session::STATEMENTS,
        signing_key::STATEMENTS,
        statistics::STATEMENTS,
        status_list::STATEMENTS,
        status_node::STATEMENTS,
        status_revoked::STATEMENTS,
        tally::STATEMENTS,
        token_family::STATEMENTS,
        totp::STATEMENTS,
        used_proof::STATEMENTS,
        user_account::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .chain(
        [access_grant::PAGE_STATEMENTS, token_family::PAGE_STATEMENTS]
            .into_iter()
            .flatten()
            .flatten()
            .copied(),
    )
}
