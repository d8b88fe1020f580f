//! The Postgres pool and the runtime that its sockets belong to.
//!
//! A socket belongs to the runtime in which it was opened, and each worker of the HTTP server has one of its own. At
//! a graceful stop a worker without work ends first: with it would go the connections that it opened, and the request
//! of another worker that uses one of them. So every connection is opened in the program's own runtime, which ends last.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::runtime::Handle;

use super::shelf::Shelf;
use super::{DbFault, Lease};

/// A pool whose connections live in the runtime that made it.
#[derive(Clone, Debug)]
pub(crate) struct HomePool {
    pub(super) pool: PgPool,
    home: Handle,
    pub(super) shelf: Arc<Shelf<Postgres>>,
}

impl HomePool {
    /// Call it in the program's own runtime.
    pub(super) fn new(pool: PgPool) -> Self {
        let home = Handle::current();
        let shelf = Shelf::new(pool.options().get_max_connections());
        Self { pool, home, shelf }
    }

    /// A connection for one piece of work.
    pub(crate) async fn lend(&self) -> Result<Lease<Postgres>, DbFault> {
        self.shelf.lend(self.acquire()).await
    }

    /// As the pool's own `acquire`.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let mut acquiring = pin!(self.pool.acquire());
        let at_home = poll_fn(|context| {
            let _entered = self.home.enter();
            acquiring.as_mut().poll(context)
        });
        at_home.await
    }
}
