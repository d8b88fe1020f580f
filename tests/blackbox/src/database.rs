//! Which database a test runs on, and the one Postgres of a test run.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use xtask::postgres::Cluster;

/// The two databases that must not differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Db {
    /// A file in the server's folder.
    Sqlite,
    /// A database of its own in the run's Postgres.
    Postgres,
}

/// Where the command lines of a test are carried out, and on which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The server's database.
    pub db: Db,
    /// Whether they ask the server (`--server`), as from another machine; otherwise they work on its database.
    pub is_far: bool,
}

impl From<Db> for Place {
    fn from(db: Db) -> Self {
        Self { db, is_far: false }
    }
}

/// What the tests of one place share while any of them runs.
pub struct Shared<T>([Mutex<Weak<T>>; 4]);

impl<T> Shared<T> {
    /// Nothing is there yet.
    #[must_use]
    pub const fn nothing() -> Self {
        Self([const { Mutex::new(Weak::new()) }; 4])
    }

    /// What is there for this place; made if nobody has it.
    pub fn get(&self, place: Place, make: impl FnOnce() -> T) -> Arc<T> {
        let at = 2 * usize::from(place.is_far) + usize::from(place.db == Db::Postgres);
        let mut shared = self.0[at].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = shared.upgrade() {
            return there;
        }
        let made = Arc::new(make());
        *shared = Arc::downgrade(&made);
        made
    }
}

/// The Postgres of this test run: started on first use, ended with the test program.
///
/// # Panics
/// When Postgres is not installed or does not start.
#[must_use]
pub fn cluster() -> &'static Cluster {
    Cluster::shared().unwrap()
}

impl Db {
    /// The URL of a new, empty Postgres database; none for SQLite, where the file is made in the server's folder.
    ///
    /// # Panics
    /// When Postgres refuses.
    #[must_use]
    pub fn create(self) -> Option<String> {
        (self == Self::Postgres).then(|| cluster().create_database().unwrap())
    }
}

/// Makes two tests of the function of that name, `name::sqlite` and `name::postgres`. The function takes a [`Db`].
#[macro_export]
macro_rules! both {
    ($name:ident) => {
        mod $name {
            #[test]
            fn sqlite() {
                super::$name($crate::Db::Sqlite);
            }

            #[test]
            fn postgres() {
                super::$name($crate::Db::Postgres);
            }
        }
    };
}

/// As [`both!`], for a function about command lines that takes a [`Place`](crate::Place): a third test,
/// `name::from_far_sqlite`, does the same with `--server`. Which database the server has its answers from is no matter of
/// the command line.
#[macro_export]
macro_rules! near_and_far {
    ($name:ident) => {
        mod $name {
            #[test]
            fn sqlite() {
                super::$name($crate::Db::Sqlite.into());
            }

            #[test]
            fn postgres() {
                super::$name($crate::Db::Postgres.into());
            }

            #[test]
            fn from_far_sqlite() {
                super::$name($crate::Place {
                    db: $crate::Db::Sqlite,
                    is_far: true,
                });
            }
        }
    };
}
