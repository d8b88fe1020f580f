//! One connection, lent. Only one whose work came to its end is used again; any other is closed.
//!
//! The pool tests a connection that comes back, and waits for the answer as long as TCP does: a quarter of an hour on
//! a network that swallows packets. After a silent failover every place of the pool would be lost to such tests. And
//! SQLite ends a transaction by itself when the disk is full, of which sqlx's own transactions know nothing: they
//! refuse every later one on that connection. So transactions are plain statements here.

use std::sync::Arc;

use sqlx::{Database, Executor};
use tokio::sync::OwnedSemaphorePermit;

use super::point::Point;
use super::shelf::{Lent, Shelf};
use super::{DbFault, deadline};

/// A lent connection. Dropped before [`Lease::settle`], it is closed, and with it a transaction that was open.
#[derive(Debug)]
pub(crate) struct Lease<D: Database> {
    lent: Lent<D>,
    shelf: Arc<Shelf<D>>,
    place: OwnedSemaphorePermit,
}

impl<D: Database> Lease<D> {
    pub(super) fn new(lent: Lent<D>, shelf: Arc<Shelf<D>>, place: OwnedSemaphorePermit) -> Self {
        Self { lent, shelf, place }
    }

    pub(crate) fn connection(&mut self) -> &mut D::Connection {
        self.lent.connection()
    }

    /// Of the next statement.
    pub(crate) fn point(&self) -> Point {
        self.shelf.point()
    }

    /// Runs one statement without parameters.
    pub(super) async fn run(&mut self, statement: &'static str) -> Result<(), DbFault>
    where
        for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    {
        let point = self.point();
        deadline(point.around(self.connection().execute(statement))).await?;
        Ok(())
    }

    /// Gives the connection back if `result` says that the database answered.
    pub(crate) fn settle<T>(self, result: Result<T, DbFault>) -> Result<T, DbFault> {
        let Self { lent, shelf, place } = self;
        if !matches!(result, Err(DbFault::Unavailable(_))) {
            shelf.take_back(lent);
        }
        // Whoever waits for the place finds the connection on the shelf.
        drop(place);
        result
    }
}
