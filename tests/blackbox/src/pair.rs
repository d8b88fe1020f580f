//! Two instances of the server on one Postgres, behind a balancer that sends each request to the other one.

use tempfile::TempDir;
use xtask::fleet::{AuthzServer, UNLIMITED_SERVER, free_port};
use xtask::http::{Answer, Request};
use xtask::program::Program;

use crate::Db;
use crate::balancer::Balancer;
use crate::fleet::built;

/// A resource that both know.
pub const RESOURCE: &str = "http://localhost:1/mcp";

/// Both end when this is dropped.
pub struct Pair {
    /// What people and clients see.
    pub issuer: String,
    /// Where their requests arrive.
    pub balancer: Balancer,
    /// One instance.
    pub first: AuthzServer,
    /// The other.
    pub second: AuthzServer,
    /// The first and the second, as they run.
    pub programs: [Program; 2],
    _folder: TempDir,
}

impl Pair {
    /// Starts both without limits.
    ///
    /// # Panics
    /// When one does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same; `more` is TOML of both instances.
    ///
    /// # Panics
    /// When one does not start.
    #[must_use]
    pub fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Db::Postgres.create();
        let ports = [free_port().unwrap(), free_port().unwrap()];
        let balancer = Balancer::start(ports.to_vec());
        let issuer = format!("http://localhost:{}", balancer.port);
        let instance = |number: usize| {
            let place = folder.path().join(number.to_string());
            let mut server = AuthzServer::new(built("authz-server"), &place, ports[number]);
            server.issuer.clone_from(&issuer);
            server.database.clone_from(&database);
            server.extra = format!("{more}{UNLIMITED_SERVER}");
            server.write_config().unwrap();
            server
        };
        let (first, second) = (instance(0), instance(1));
        let one = first.serve_ready().unwrap();
        // An operator gives all instances the same master key.
        std::fs::copy(first.folder.join("master.key"), second.folder.join("master.key")).unwrap();
        let other = second.serve_ready().unwrap();
        first.ensure_resource(RESOURCE, &[]).unwrap();
        Self {
            issuer,
            balancer,
            first,
            second,
            programs: [one, other],
            _folder: folder,
        }
    }

    /// Asks the token endpoint of whichever is next.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn ask(&self, form: &[(&str, &str)]) -> Answer {
        let url = format!("{}/oauth/token", self.issuer);
        Request::post(&url).unwrap().form(form).send().unwrap()
    }

    /// Refreshes at whichever is next.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn refresh(&self, client: &str, token: &str) -> Answer {
        self.ask(&[
            ("grant_type", "refresh_token"),
            ("client_id", client),
            ("refresh_token", token),
        ])
    }
}
