//! Schemathesis over `/admin/openapi.json`, on both databases: requests made of the document, good ones and bad ones, and
//! every check that it knows. The seed is fixed (`tests/interop/python/schemathesis.toml`): what it finds it finds again.

use xtask::fleet::{AuthzServer, UNLIMITED_OPERATORS, UNLIMITED_SERVER, free_port};
use xtask::postgres::{Cluster, Durability};
use xtask::shell::{self, say};
use xtask::{Explain, Outcome};

use crate::{install, interop, program_files};

pub(crate) fn run() -> Outcome<()> {
    install::for_interop()?;
    install::for_black_box()?;
    interop::install_python()?;
    let programs = program_files::build(false)?;
    let folder = program_files::target_folder()?.join("xtask/admin-document");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let cluster = Cluster::start(Durability::None, None)?;
    for (name, database) in [("SQLite", None), ("Postgres", Some(cluster.create_database()?))] {
        say(format!("\n-- {name}"));
        let mut server = AuthzServer::new(programs.authz_server.clone(), &folder.join(name), free_port()?);
        server.extra = format!("{UNLIMITED_SERVER}{UNLIMITED_OPERATORS}");
        server.database = database;
        server.write_config()?;
        let _running = server.serve_ready()?;
        examine(&server).explain(name)?;
    }
    Ok(())
}

fn examine(server: &AuthzServer) -> Outcome<()> {
    let resource = format!("{}/admin/v1", server.issuer);
    let words = ["--scopes", "admin:read admin:write", "--resource", &resource];
    let client = server.create_client("schemathesis", &words)?;
    let python = shell::workspace().join("tests/interop/python");
    let mut command = interop::patient(&interop::venv()?.join("bin/schemathesis"));
    command
        .arg("--config-file")
        .arg(python.join("schemathesis.toml"))
        .args(["run", &format!("{}/admin/openapi.json", server.issuer)])
        .current_dir(&server.folder)
        .env("PYTHONPATH", &python)
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("ISSUER", &server.issuer)
        .env("CLIENT_ID", client.id)
        .env("CLIENT_SECRET", client.secret);
    shell::run(&mut command)
}
