//! Installing what is missing, and saying so. Debian packages need root or sudo; everything else stays in `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use xtask::shell::{self, say};
use xtask::{Fault, Outcome, postgres};

use crate::program_files;

/// Where Debian has nginx's module njs.
pub(crate) const NGINX_NJS: &str = "/usr/lib/nginx/modules/ngx_http_js_module.so";

const DENY_VERSION: &str = "0.20.2";

/// Compilers and libraries.
pub(crate) fn for_building() -> Outcome<()> {
    for (tool, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        if !shell::has(tool) {
            shell::run(shell::command("rustup").args(["component", "add", component]))?;
            say(format!("  installed the Rust component {component}"));
        }
    }
    need(shell::has("cc"), "build-essential")?;
    need(shell::has("pkg-config"), "pkg-config")?;
    let openssl = shell::openssl_features("").is_empty();
    if let Err(fault) = need(openssl, "libssl-dev") {
        // Only a matter of minutes: OpenSSL is built from source then.
        say(format!("  {fault}; OpenSSL is built from source instead"));
    }
    Ok(())
}

/// What the black-box tests need: a database, what makes disks and programs fail and looks at what is left, what moves
/// the clock of a program, and what makes networks.
pub(crate) fn for_black_box() -> Outcome<()> {
    need(postgres::binaries().is_some(), "postgresql")?;
    need(shell::has("strace"), "strace")?;
    need(shell::has("sqlite3"), "sqlite3")?;
    need(shell::has("faketime"), "faketime")?;
    need(shell::has("ip"), "iproute2")
}

/// Node's package installer, Python's environments, and the browser of the people.
pub(crate) fn for_interop() -> Outcome<()> {
    need(shell::has("npm"), "npm")?;
    need(shell::has("python3"), "python3")?;
    need(shell::has("chromium"), "chromium")?;
    let works = shell::command("python3")
        .args(["-c", "import venv, ensurepip"])
        .output();
    need(works.is_ok_and(|output| output.status.success()), "python3-venv")
}

/// The proxies of `compose/proxies` that Debian has, where installing them starts none: systemd would, at port 80. What is
/// absent then is told as not checked.
pub(crate) fn for_proxies() {
    if Path::new("/run/systemd/system").exists() {
        return;
    }
    let programs = ["nginx", "haproxy", "caddy"].map(|program| (shell::has(program), program));
    let module = (Path::new(NGINX_NJS).exists(), "libnginx-mod-http-js");
    for (present, package) in programs.into_iter().chain([module]) {
        if let Err(fault) = need(present, package) {
            say(format!("  {fault}"));
        }
    }
}

/// What readers of the book type beside the two programs.
pub(crate) fn for_walks() -> Outcome<()> {
    need(shell::has("curl"), "curl")?;
    need(shell::has("openssl"), "openssl")?;
    need(shell::has("unshare"), "util-linux")?;
    need(shell::has("ip"), "iproute2")
}

/// What reads counters of programs that a compiler with this major version of LLVM has made.
pub(crate) fn llvm(major: &str) -> Outcome<()> {
    need(false, &format!("llvm-{major}"))
}

/// The load generator of the benchmark.
pub(crate) fn for_bench() -> Outcome<()> {
    need(shell::has("wrk"), "wrk")?;
    for_black_box()
}

/// cargo-deny, from `target/tools` or the path.
pub(crate) fn cargo_deny() -> Outcome<PathBuf> {
    let root = program_files::target_folder()?.join("tools");
    let program = root.join("bin/cargo-deny");
    let works = |program: &PathBuf| {
        let answer = Command::new(program).arg("--version").output();
        answer.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(DENY_VERSION))
    };
    if !works(&program) {
        let mut install = shell::cargo();
        install
            .args([
                "install",
                "cargo-deny",
                "--version",
                DENY_VERSION,
                "--locked",
                "--root",
            ])
            .arg(&root);
        shell::run(&mut install)?;
        say(format!(
            "  installed cargo-deny {DENY_VERSION} into {}",
            root.display()
        ));
    }
    Ok(program)
}

fn need(present: bool, package: &str) -> Outcome<()> {
    if present {
        return Ok(());
    }
    let Some(mut apt) = apt() else {
        return Err(Fault::new(format!(
            "{package} is missing, and only root or sudo can `apt-get install {package}`"
        )));
    };
    static UPDATE: Once = Once::new();
    UPDATE.call_once(|| {
        // Stale lists still know most packages; the install below says so when they do not.
        if let Some(mut update) = self::apt() {
            shell::run(update.arg("update")).ok();
        }
    });
    shell::run(apt.args(["install", "--yes", "--no-install-recommends", package]))?;
    say(format!("  installed the Debian package {package}"));
    Ok(())
}

fn apt() -> Option<Command> {
    use std::os::unix::fs::MetadataExt;
    if !shell::has("apt-get") {
        return None;
    }
    let root = std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0);
    let mut command = if root {
        shell::command("apt-get")
    } else {
        let allowed = Command::new("sudo")
            .args(["-n", "true"])
            .output()
            .is_ok_and(|output| output.status.success());
        let mut sudo = allowed.then(|| shell::command("sudo"))?;
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
    Some(command)
}
