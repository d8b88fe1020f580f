//! The SQLite pool and the turn to write.
//!
//! SQLite has one writer. Those who wait for it wait here, without a connection: four that waited inside SQLite would
//! hold every place of the pool, and nobody could read.

use std::sync::Arc;

use sqlx::{Sqlite, SqlitePool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::WAIT;
use super::shelf::Shelf;
use super::{DbFault, Lease};

/// A pool whose writers form a queue.
#[derive(Clone, Debug)]
pub(crate) struct LitePool {
    pool: SqlitePool,
    pub(super) shelf: Arc<Shelf<Sqlite>>,
    writer: Arc<Semaphore>,
}

impl LitePool {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self {
            shelf: Shelf::new(pool.options().get_max_connections()),
            pool,
            writer: Arc::new(Semaphore::new(1)),
        }
    }

    /// For migrations.
    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// A connection for one piece of work.
    pub(crate) async fn lend(&self) -> Result<Lease<Sqlite>, DbFault> {
        self.shelf.lend(self.pool.acquire()).await
    }

    /// Waits for the turn to write, which lasts as long as what is returned.
    pub(super) async fn turn_to_write(&self) -> Result<OwnedSemaphorePermit, DbFault> {
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.writer).acquire_owned()).await;
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(DbFault::Unavailable("others are writing".to_owned())),
        }
    }
}
