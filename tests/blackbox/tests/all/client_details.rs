//! What operators say of a client beyond its name and its grants, on the command line.

use blackbox::forge::{Key, key_set};
use blackbox::registered::text;
use blackbox::{Fleet, Place, near_and_far};
use serde_json::json;

near_and_far!(cli_a_client_of_keys_has_no_secret);
fn cli_a_client_of_keys_has_no_secret(place: Place) {
    let fleet = Fleet::shared(place);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, set: &serde_json::Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, set.to_string()).unwrap();
        path.display().to_string()
    };
    let set = key_set(&[&Key::ed25519("a")]);
    let mut private = set.clone();
    private["keys"][0]["d"] = json!("AAAA");
    let (good, bad) = (write("good.json", &set), write("bad.json", &private));
    let name = fleet.fresh_name();
    let create = [
        "client",
        "create",
        "--name",
        &name,
        "--auth-method",
        "private_key_jwt",
    ];
    let with = |words: &[&str]| fleet.server.json(&[&create[..], words].concat());
    for wrong in [
        &[][..],
        &["--jwks", &bad],
        &["--jwks", &good, "--jwks-uri", "https://client.example/jwks"],
        &["--jwks-uri", "ftp://client.example/jwks"],
        &["--jwks", "/nowhere/jwks.json"],
    ] {
        assert!(with(wrong).is_err(), "{wrong:?}");
    }
    let client = with(&["--jwks", &good, "--dpop-bound", "--require-par"]).unwrap();
    assert_eq!(client.get("client_secret"), None, "{client}");
    assert_eq!(client["jwks"], set);
    assert_eq!(client["dpop_bound_access_tokens"], true);
    assert_eq!(client["require_pushed_authorization_requests"], true);
    let id = text(&client, "client_id");
    assert!(fleet.server.json(&["client", "rotate-secret", id]).is_err());
    let update = |words: &[&str]| fleet.server.json(&[&["client", "update", id], words].concat());
    // One takes the other's place; what is not named stays.
    let updated = update(&["--jwks-uri", "https://client.example/jwks", "--dpop-bound=false"]).unwrap();
    assert_eq!(updated.get("jwks"), None);
    assert_eq!(updated["jwks_uri"], "https://client.example/jwks");
    assert_eq!(updated.get("dpop_bound_access_tokens"), None);
    assert_eq!(updated["require_pushed_authorization_requests"], true);
    assert!(update(&["--auth-method", "none"]).is_err());
    assert!(update(&["--auth-method", "tls_client_auth"]).is_err());
    let updated = update(&[
        "--auth-method",
        "tls_client_auth",
        "--tls-subject-dn",
        "CN=agent,O=Example",
    ])
    .unwrap();
    assert_eq!(updated["tls_client_auth_subject_dn"], "CN=agent,O=Example");
    let updated = update(&["--tls-san-dns", "agent.example", "--certificate-bound"]).unwrap();
    assert_eq!(updated.get("tls_client_auth_subject_dn"), None);
    assert_eq!(updated["tls_client_auth_san_dns"], "agent.example");
    assert_eq!(updated["tls_client_certificate_bound_access_tokens"], true);
    assert!(update(&["--tls-san-dns", "a.example", "--tls-san-ip", "192.0.2.1"]).is_err());
}
