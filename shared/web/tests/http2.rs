//! A reminder: HTTP/2 is off because of the h2 that actix-http uses (docs/decisions/0004).

#[test]
fn http2_stays_off_until_somebody_looks_again() {
    let lock = include_str!("../../../Cargo.lock");
    let version_of = |name: &str| {
        let packages = lock.split("[[package]]");
        let mut found = packages.filter_map(|p| p.split_once(&format!("name = \"{name}\"\nversion = \"")));
        found.next().and_then(|(_, rest)| rest.split('"').next())
    };
    assert_eq!(
        version_of("actix-http"),
        Some("3.20.0"),
        "actix-http changed: does it use h2 0.4 now? See docs/decisions/0004"
    );
    assert!(
        !lock.contains("name = \"h2\"\nversion = \"0.3"),
        "h2 0.3 is back in the graph: RUSTSEC-2026-0258"
    );
}
