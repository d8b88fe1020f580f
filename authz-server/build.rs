//! New migrations are compiled in, so they must trigger a build.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
