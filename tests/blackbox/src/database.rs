//! Which database a test runs on, and the one Postgres of a test run.

use std::sync::OnceLock;

use xtask::postgres::{Cluster, Durability};

/// The two databases that must not differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Db {
    /// A file in the server's folder.
    Sqlite,
    /// A database of its own in the run's Postgres.
    Postgres,
}

/// The Postgres of this test run: started on first use, ended with the test program.
///
/// # Panics
/// When Postgres is not installed or does not start.
#[must_use]
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(Durability::None, None).unwrap())
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
