//! The rows of the table: what is started, asked and counted for each.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::Command;

use xtask::code_flow::TESTING_DOOR;
use xtask::fleet::{self, AuthzServer, Credentials, START, UNLIMITED_OPERATORS, free_port};
use xtask::http::{Request, base64, form_encode};
use xtask::journey;
use xtask::postgres::Cluster;
use xtask::program::Program;
use xtask::shell::say;
use xtask::{Explain, Fault, Outcome};

use super::calls::Shown;
use super::load::{Load, Shot};
use super::{SERVER_CORE, meter};
use crate::program_files::{self, Examples, Programs};

pub(super) const SCOPES: &str = "mcp:read mcp:call";
const ALGORITHMS: [&str; 3] = ["EdDSA", "ES256", "RS256"];

/// Everything a run needs.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    /// The node without its door, and what tells the price of a signature.
    pub(crate) examples: OnceCell<Examples>,
    pub(crate) cluster: Cluster,
    pub(crate) folder: PathBuf,
    pub(crate) seconds: u64,
    pub(crate) tokens: usize,
    pub(crate) only: Option<String>,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) load: Load,
    /// Answers per second of processor time.
    pub(crate) per_core: f64,
    /// Resident memory after the first answer.
    pub(crate) rest_mb: f64,
    /// Resident memory after the load.
    pub(crate) load_mb: f64,
}

/// A server with a client, ready to be asked.
pub(super) struct Target {
    pub(super) server: AuthzServer,
    pub(super) program: Program,
    pub(super) client: Credentials,
    pub(super) postgres: bool,
}

impl Bench {
    pub(crate) fn measure(&self) -> Outcome<Vec<Row>> {
        let mut rows = Vec::new();
        for postgres in [false, true] {
            let database = if postgres { "Postgres" } else { "SQLite" };
            for algorithm in ALGORITHMS {
                self.row(
                    &mut rows,
                    &format!("token {algorithm}, {database}"),
                    |bench, name| bench.tokens(name, algorithm, postgres),
                )?;
            }
            self.row(&mut rows, &format!("introspection, {database}"), |bench, name| {
                bench.introspections(name, postgres)
            })?;
            self.row(
                &mut rows,
                &format!("code and token, {database}"),
                |bench, name| bench.codes(name, "code", postgres),
            )?;
            self.row(&mut rows, &format!("refresh, {database}"), |bench, name| {
                bench.codes(name, "refresh", postgres)
            })?;
            for (what, proof) in [("private_key_jwt", "assertion"), ("DPoP", "dpop")] {
                self.row(&mut rows, &format!("token, {what}, {database}"), |bench, name| {
                    bench.proofs(name, proof, postgres)
                })?;
            }
            self.row(
                &mut rows,
                &format!("password sign-in, {database}"),
                |bench, name| bench.sign_ins(name, postgres),
            )?;
        }
        for era in ["modern", "legacy"] {
            for shown in [Shown::Warm, Shown::Cold, Shown::Signature, Shown::Nothing] {
                self.row(&mut rows, &format!("tool call, {era}, {shown}"), |bench, name| {
                    bench.calls(name, era, shown)
                })?;
            }
        }
        Ok(rows)
    }

    fn row(
        &self,
        rows: &mut Vec<Row>,
        name: &str,
        measure: impl Fn(&Self, &str) -> Outcome<Row>,
    ) -> Outcome<()> {
        if self.only.as_ref().is_none_or(|part| name.contains(part)) {
            say(format!("measuring {name} …"));
            rows.push(measure(self, name).explain(name)?);
        }
        Ok(())
    }

    fn tokens(&self, name: &str, algorithm: &str, postgres: bool) -> Outcome<Row> {
        let target = self.start(postgres)?;
        let resource = format!("http://localhost/{algorithm}/mcp");
        target.server.ensure_resource(&resource, &["--alg", algorithm])?;
        let endpoint = target.endpoint("token");
        refuse(&endpoint, "grant_type=client_credentials")?;
        journey::fetch_token(&endpoint, &target.client, &resource, SCOPES)?;
        let resource = form_encode(&resource);
        let form = format!(
            "grant_type=client_credentials&scope={}&resource={resource}",
            form_encode(SCOPES)
        );
        let environment = vec![("FORM", form), ("AUTHORIZATION", target.authorization())];
        let shot = Shot {
            script: "token.lua",
            url: endpoint,
            environment,
        };
        self.fire(name, &shot, &target.program, target.postgres)
    }

    fn introspections(&self, name: &str, postgres: bool) -> Outcome<Row> {
        let target = self.start(postgres)?;
        let resource = "http://localhost/bench/mcp";
        target.server.ensure_resource(resource, &[])?;
        let mut tokens = String::new();
        for _ in 0..200 {
            tokens += &journey::fetch_token(&target.endpoint("token"), &target.client, resource, SCOPES)?;
            tokens.push('\n');
        }
        let file = target.server.folder.join("tokens");
        std::fs::write(&file, &tokens)?;
        let url = target.endpoint("introspect");
        refuse(&url, "token=x")?;
        let (id, secret) = (&target.client.id, &target.client.secret);
        let first = tokens.lines().next().unwrap_or_default();
        let seen = Request::post(&url)?
            .basic(id, secret)
            .form(&[("token", first)])
            .send()?
            .json()?;
        if seen["active"] != true {
            return Err(Fault::new("a good token introspects as inactive"));
        }
        let environment = vec![
            ("TOKENS", file.display().to_string()),
            ("AUTHORIZATION", target.authorization()),
        ];
        let shot = Shot {
            script: "introspect.lua",
            url,
            environment,
        };
        self.fire(name, &shot, &target.program, target.postgres)
    }

    pub(super) fn fire(&self, name: &str, shot: &Shot, program: &Program, postgres: bool) -> Outcome<Row> {
        let rest_mb = meter::resident_mb(program.id())?;
        shot.fire(1)?;
        let mut ids = vec![program.id()];
        if postgres {
            ids.extend(self.cluster.ids());
        }
        let before = meter::processor_seconds(&ids);
        let load = shot.fire(self.seconds)?;
        let busy = meter::processor_seconds(&ids) - before;
        let load_mb = meter::resident_mb(program.id())?;
        Ok(Row {
            name: name.into(),
            per_core: load.answers as f64 / busy,
            load,
            rest_mb,
            load_mb,
        })
    }

    /// The examples, built when they are first needed.
    pub(super) fn examples(&self) -> Outcome<&Examples> {
        if let Some(examples) = self.examples.get() {
            return Ok(examples);
        }
        let built = program_files::build_examples()?;
        Ok(self.examples.get_or_init(|| built))
    }

    pub(super) fn start(&self, postgres: bool) -> Outcome<Target> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        let program = self.programs.authz_server.clone();
        let mut server = AuthzServer::new(program, &self.folder.join("as"), free_port()?);
        server.extra = format!("{}{TESTING_DOOR}{UNLIMITED_OPERATORS}", fleet::UNLIMITED_SERVER);
        server.database = if postgres {
            Some(self.cluster.create_database()?)
        } else {
            None
        };
        server.write_config()?;
        let mut program = server.serve_under(pinned(&server.program))?;
        program.wait_ready(&format!("{}/readyz", server.issuer), START)?;
        let client = server.create_client("bench", &["--scopes", SCOPES])?;
        Ok(Target {
            server,
            program,
            client,
            postgres,
        })
    }
}

impl Target {
    pub(super) fn endpoint(&self, name: &str) -> String {
        format!("{}/oauth/{name}", self.server.issuer)
    }

    pub(super) fn authorization(&self) -> String {
        format!(
            "Basic {}",
            base64(format!("{}:{}", self.client.id, self.client.secret).as_bytes())
        )
    }
}

/// taskset replaces itself with the program, so the id that is measured is the program's own.
pub(super) fn pinned(program: &PathBuf) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER_CORE.to_string()]).arg(program);
    command
}

/// A door that lets everyone in would be fast: without credentials the answer must be 401.
pub(super) fn refuse(url: &str, body: &str) -> Outcome<()> {
    let kind = if body.starts_with('{') {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    let answer = Request::post(url)?
        .header("Content-Type", kind)
        .body(body)
        .send()?;
    if answer.status == 401 {
        Ok(())
    } else {
        Err(Fault::new(format!(
            "expected 401 without credentials, got {answer}"
        )))
    }
}
