//! The point around each statement, where tests let it fail. In the program there is nothing at it.

use std::future::Future;

#[cfg(test)]
pub(crate) use self::failing::{How, Points};

/// Around one statement.
#[derive(Debug)]
#[cfg(not(test))]
pub(crate) struct Point;

#[cfg(not(test))]
impl Point {
    pub(crate) fn around<T>(
        self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> impl Future<Output = Result<T, sqlx::Error>> {
        statement
    }
}

/// Around one statement: how it fails, if it does.
#[derive(Debug)]
#[cfg(test)]
pub(crate) struct Point(Option<How>);

#[cfg(test)]
impl Point {
    pub(crate) async fn around<T>(
        self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        match self.0 {
            None => statement.await,
            Some(How::Before) => Err(failing::cut()),
            Some(How::After) => {
                statement.await?;
                Err(failing::cut())
            }
            Some(How::Collides) => Err(failing::collision()),
        }
    }
}

#[cfg(test)]
mod failing {
    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt;
    use std::io;
    use std::sync::Mutex;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::Point;

    /// How a statement fails.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum How {
        /// The connection is cut before the database has it.
        Before,
        /// The database has carried it out, and the connection is cut before the answer.
        After,
        /// The database says that transactions collided.
        Collides,
    }

    /// The statements of one pool, one of which fails.
    #[derive(Debug, Default)]
    pub(crate) struct Points(Mutex<Option<(u32, How)>>);

    impl Points {
        /// The `n`th statement from now on (the next is the first) fails once.
        pub(crate) fn fail(&self, n: u32, how: How) {
            *self.0.lock().unwrap() = Some((n, how));
        }

        /// Whether it has come to that. From now on nothing fails.
        pub(crate) fn have_failed(&self) -> bool {
            let mut waiting = self.0.lock().unwrap();
            let has_failed = matches!(*waiting, Some((0, _)));
            *waiting = None;
            has_failed
        }

        pub(in crate::db) fn next(&self) -> Point {
            let mut waiting = self.0.lock().unwrap();
            let Some((left, how)) = waiting.as_mut().filter(|(left, _)| *left > 0) else {
                return Point(None);
            };
            *left -= 1;
            Point((*left == 0).then_some(*how))
        }
    }

    pub(super) fn cut() -> sqlx::Error {
        sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionReset, "cut on purpose"))
    }

    pub(super) fn collision() -> sqlx::Error {
        sqlx::Error::Database(Box::new(Collision))
    }

    /// As Postgres says it (class 40).
    #[derive(Debug)]
    struct Collision;

    impl fmt::Display for Collision {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("collided on purpose")
        }
    }

    impl Error for Collision {}

    impl DatabaseError for Collision {
        fn message(&self) -> &'static str {
            "collided on purpose"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed("40001"))
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }
}
