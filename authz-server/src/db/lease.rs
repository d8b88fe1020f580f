//! One connection to Postgres, lent by the pool.
//!
//! The pool tests a connection that comes back, and waits for the answer as long as TCP does: a quarter of an hour on
//! a network that swallows packets. After a silent failover every place of the pool would be lost to such tests. So
//! only a connection whose last statement came to its end goes back; any other is closed, which has a limit.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::{DbFault, deadline};

/// A lent connection. Dropped before [`Lease::settle`], it is closed, and with it a transaction that was open.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: PoolConnection<Postgres>,
    is_settled: bool,
}

impl Lease {
    pub(crate) async fn take(pool: &PgPool) -> Result<Self, DbFault> {
        Ok(Self {
            connection: deadline(pool.acquire()).await?,
            is_settled: false,
        })
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Gives the connection back if `result` says that its statement came to an end.
    pub(crate) fn settle<T>(mut self, result: Result<T, DbFault>) -> Result<T, DbFault> {
        self.is_settled = !matches!(result, Err(DbFault::Unavailable(_)));
        result
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_settled {
            self.connection.close_on_drop();
        }
    }
}
