//! One connection, lent by the pool. Only one whose work came to its end goes back; any other is closed.
//!
//! The pool tests a connection that comes back, and waits for the answer as long as TCP does: a quarter of an hour on
//! a network that swallows packets. After a silent failover every place of the pool would be lost to such tests. And
//! SQLite ends a transaction by itself when the disk is full, of which sqlx's own transactions know nothing: they
//! refuse every later one on that connection. So transactions are plain statements here.

use std::future::Future;

use sqlx::Database;
use sqlx::pool::PoolConnection;

use super::{DbFault, deadline};

/// A lent connection. Dropped before [`Lease::settle`], it is closed, and with it a transaction that was open.
#[derive(Debug)]
pub(crate) struct Lease<D: Database> {
    connection: PoolConnection<D>,
    is_settled: bool,
}

impl<D: Database> Lease<D> {
    /// Takes what the pool's `acquire` gives.
    pub(crate) async fn take(
        acquired: impl Future<Output = Result<PoolConnection<D>, sqlx::Error>>,
    ) -> Result<Self, DbFault> {
        Ok(Self {
            connection: deadline(acquired).await?,
            is_settled: false,
        })
    }

    pub(crate) fn connection(&mut self) -> &mut D::Connection {
        &mut self.connection
    }

    /// Gives the connection back if `result` says that the database answered.
    pub(crate) fn settle<T>(mut self, result: Result<T, DbFault>) -> Result<T, DbFault> {
        self.is_settled = !matches!(result, Err(DbFault::Unavailable(_)));
        result
    }
}

impl<D: Database> Drop for Lease<D> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.connection.close_on_drop();
        }
    }
}
