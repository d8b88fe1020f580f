//! A program that is given away ends with the code that most nodes never run: `link-last.txt` names it
//! (docs/performance.md).

use std::env::var;
use std::fmt::Write;
use std::path::Path;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script by its environment"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=link-last.txt");
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    // Other linkers than Rust's own there may not know scripts.
    let is_rusts_linker = is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && var("RUSTC_LINKER").is_err()
        && !var("CARGO_ENCODED_RUSTFLAGS")
            .is_ok_and(|flags| flags.contains("linker=") || flags.contains("fuse-ld"));
    if !(is("PROFILE", "release") && is_rusts_linker) {
        return Ok(());
    }
    let listed = std::fs::read_to_string("link-last.txt")?;
    let path = Path::new(&var("OUT_DIR")?).join("link-last.ld");
    std::fs::write(&path, script(&listed)?)?;
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", path.display());
    Ok(())
}

/// A linker script with the sections of all that is of a crate or module in `listed`, or of a type of it. There is one
/// section a function, called by its mangled name.
fn script(listed: &str) -> Result<String, std::fmt::Error> {
    let mut script = String::from("SECTIONS {\n  .text.last : {\n");
    for path in listed.lines().filter(|line| !line.starts_with('#')) {
        // A path is written with the length of each part; in names of types, older mangling has dots between them.
        let mut sized = String::new();
        for part in path.split("::") {
            write!(sized, "{}{part}", part.len())?;
        }
        let dotted = path.replace("::", "..");
        writeln!(script, "    *(.text.*[!0-9]{sized}* .text.*${dotted}..*)")?;
    }
    script.push_str("  }\n}\nINSERT AFTER .text;\n");
    Ok(script)
}
