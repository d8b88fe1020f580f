use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use shared::access_token::EntraVersion;
use shared::jose::Algorithm;

use super::*;
use crate::config::NodeConfig;

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn read_one(kind: &str, url: &str, more: &str) -> Result<IssuerConfig, Vec<String>> {
    let text = format!("[[issuer]]\nurl = \"{url}\"\nkind = \"{kind}\"\n{more}\n");
    match NodeConfig::from_text(&text) {
        Ok(config) => Ok(config.issuers[0].clone()),
        Err(faults) => Err(faults.0),
    }
}

#[track_caller]
fn fault(kind: &str, more: &str, expected: &str) {
    let found = read_one(kind, "https://as.example", more).unwrap_err();
    assert!(
        found.len() == 1 && found[0].contains(expected),
        "{more}: {found:#?}"
    );
}

fn secret(folder: &Path, content: &[u8], mode: u32) -> String {
    let path = folder.join(format!("{}-{mode:o}", content.len()));
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn every_kind_knows_its_shape() {
    for (kind, shape) in [
        ("edge-hive", Shape::EdgeHive),
        ("generic", Shape::Rfc9068),
        ("auth0", Shape::Auth0),
        ("okta", Shape::Okta),
        ("cognito", Shape::Cognito),
        ("keycloak", Shape::Keycloak),
    ] {
        let issuer = read_one(kind, "https://as.example", "").unwrap();
        assert_eq!(issuer.shape, shape, "{kind}");
        let Validation::Keys(algorithms) = issuer.validation else {
            panic!("{kind} has keys")
        };
        assert!(algorithms.contains(&Algorithm::RS256), "{kind}");
    }
    let found = read_one("oauth0", "https://as.example", "").unwrap_err();
    assert!(found[0].contains("\"auth0\", \"okta\""), "{found:?}");
}

#[test]
fn a_slash_at_the_end_belongs_to_others_only() {
    let auth0 = read_one("auth0", "https://tenant.example/", "").unwrap();
    assert_eq!(auth0.issuer.as_str(), "https://tenant.example/");
    assert!(read_one("edge-hive", "https://as.example/", "").unwrap_err()[0].contains("slash"));
    for bad in ["http://as.example/", "https://as.example/?x", "as.example"] {
        assert!(read_one("auth0", bad, "").is_err(), "{bad}");
    }
}

#[test]
fn entra_is_one_tenant_in_one_of_its_forms() {
    let shape = |version| Shape::Entra {
        tenant: TENANT.to_owned(),
        version,
    };
    let v2 = read_one(
        "entra",
        &format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "",
    )
    .unwrap();
    assert_eq!((v2.shape, v2.jwks_uri), (shape(EntraVersion::V2), None));
    let v1 = read_one("entra", &format!("https://sts.windows.net/{TENANT}/"), "").unwrap();
    assert_eq!(v1.shape, shape(EntraVersion::V1));
    assert_eq!(
        v1.jwks_uri.unwrap().as_str(),
        format!("https://login.microsoftonline.com/{TENANT}/discovery/keys")
    );
    for path in [
        "common/v2.0",
        "organizations/v2.0",
        "contoso.onmicrosoft.com/v2.0",
        &TENANT.to_uppercase(),
        TENANT,
        &format!("{TENANT}/v2.0/"),
        "",
    ] {
        let found = read_one("entra", &format!("https://login.microsoftonline.com/{path}"), "").unwrap_err();
        assert!(
            found.len() == 1 && found[0].contains("tenant"),
            "{path}: {found:?}"
        );
    }
}

#[test]
fn only_a_generic_issuer_is_told_its_types() {
    let generic = read_one(
        "generic",
        "https://as.example",
        "token_types = [\"JWT\", \"none\"]",
    )
    .unwrap();
    assert!(matches!(generic.shape, Shape::Plain(types) if types.jwt && types.missing && !types.at_jwt));
    assert_eq!(
        read_one("generic", "https://as.example", "token_types = [\"at+jwt\"]")
            .unwrap()
            .shape,
        Shape::Rfc9068
    );
    fault("generic", "token_types = [\"id+jwt\"]", "token_types");
    fault("auth0", "token_types = [\"JWT\"]", "token_types");
    fault("edge-hive", "token_types = [\"JWT\"]", "token_types");
}

#[test]
fn a_shared_secret_is_long_private_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let good = secret(folder.path(), &[b's'; 32], 0o600);
    let with = |file: &str, more: &str| format!("shared_secret_file = \"{file}\"\n{more}");
    for more in ["", "algorithms = [\"HS256\"]"] {
        for kind in ["generic", "auth0"] {
            let issuer = read_one(kind, "https://as.example", &with(&good, more)).unwrap();
            assert!(matches!(issuer.validation, Validation::Secret(_)));
        }
    }
    let longer = secret(folder.path(), &[b's'; 64], 0o600);
    read_one(
        "generic",
        "https://as.example",
        &with(&longer, "algorithms = [\"HS512\"]"),
    )
    .unwrap();
    fault(
        "generic",
        &with(&good, "algorithms = [\"HS384\"]"),
        "HS384 needs 48",
    );
    let short = secret(folder.path(), &[b's'; 31], 0o600);
    fault("generic", &with(&short, ""), "31 bytes");
    let open = secret(folder.path(), &[b's'; 33], 0o644);
    fault("generic", &with(&open, ""), "chmod 600");
    fault("generic", &with("/nowhere", ""), "cannot read");
    for algorithms in [
        "[\"HS256\", \"RS256\"]",
        "[\"RS256\"]",
        "[\"HS256\", \"HS512\"]",
        "[]",
    ] {
        fault(
            "generic",
            &with(&good, &format!("algorithms = {algorithms}")),
            "exactly one",
        );
    }
    fault(
        "generic",
        &with(&good, "jwks_uri = \"https://as.example/keys\""),
        "no public keys",
    );
    fault("generic", "algorithms = [\"HS256\"]", "shared_secret_file");
    fault(
        "generic",
        "algorithms = [\"RS256\", \"HS256\"]",
        "anybody could sign",
    );
    for kind in ["edge-hive", "okta", "cognito", "keycloak"] {
        fault(kind, &with(&good, ""), "shared_secret_file");
    }
}

#[test]
fn algorithms_are_those_that_are_verified() {
    let more = "algorithms = [\"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES384\"]";
    assert!(read_one("generic", "https://as.example", more).is_ok());
    // ring has no P-521.
    for name in ["ES512", "none", "rs256", "ES256K"] {
        fault("generic", &format!("algorithms = [\"{name}\"]"), "algorithms");
    }
}

#[test]
fn introspection_needs_to_know_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let file = secret(folder.path(), b"ehs_secret", 0o600);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .unwrap()
        .serialize_pem();
    let key = secret(folder.path(), key.as_bytes(), 0o600);
    let with = |more: &str| format!("validation = \"introspection\"\n{more}");
    let whole = format!("client_id = \"node\"\nclient_secret_file = \"{file}\"\n");
    let issuer = read_one("generic", "https://as.example", &with(&whole)).unwrap();
    let Validation::Introspection(asked) = &issuer.validation else {
        panic!("it is asked")
    };
    assert_eq!((asked.ttl.as_secs(), asked.opaque_tokens), (30, true));
    assert!(asked.endpoint.is_none() && !format!("{issuer:?}").contains("ehs_secret"));
    let by_key = format!("client_id = \"node\"\nprivate_key_file = \"{key}\"\n");
    read_one("okta", "https://as.example", &with(&by_key)).unwrap();

    let kind = "generic";
    fault(
        kind,
        &with(&format!("client_secret_file = \"{file}\"")),
        "client_id",
    );
    fault(kind, &with("client_id = \"node\""), "client_secret_file");
    fault(
        kind,
        &with(&format!("{whole}private_key_file = \"{key}\"")),
        "either",
    );
    fault(kind, &with(&by_key.replace(&key, &file)), "it is no private key");
    fault(
        kind,
        &with(&format!("{whole}introspection_ttl = \"6m\"")),
        "5m at most",
    );
    fault(
        kind,
        &with(&format!(
            "{whole}introspection_endpoint = \"http://as.example/x\""
        )),
        "https",
    );
    for key in ["algorithms = [\"RS256\"]", "max_stale = \"1h\""] {
        fault(kind, &with(&format!("{whole}{key}")), "no meaning");
    }
    fault(kind, "client_id = \"node\"", "belongs to validation");
    fault(kind, "validation = \"both\"", "introspection");
    for kind in ["auth0", "cognito"] {
        fault(kind, &with(&whole), "no introspection endpoint");
    }
}

#[test]
fn one_issuer_is_asked_about_opaque_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = secret(folder.path(), b"ehs_secret", 0o600);
    let table = |host: &str, more: &str| {
        format!(
            "[[issuer]]\nurl = \"https://{host}\"\nvalidation = \"introspection\"\nclient_id = \"node\"\nclient_secret_file = \"{file}\"\n{more}\n"
        )
    };
    let two = |more: &str| NodeConfig::from_text(&(table("a.example", "") + &table("b.example", more)));
    let found = two("").unwrap_err().0;
    assert!(
        found.len() == 1 && found[0].starts_with("issuer.1.opaque_tokens"),
        "{found:?}"
    );
    assert!(two("opaque_tokens = false").is_ok());
}

#[test]
fn where_scopes_are_and_what_they_are_called() {
    let more = "scope_claim = \"/realm_access/roles\"\nscope_prefix = \"api://node/\"";
    assert!(read_one("keycloak", "https://as.example", more).is_ok());
    fault("keycloak", "scope_claim = \"\"", "scope_claim");
    fault("keycloak", "scope_claim = \"/\"", "scope_claim");
    fault("keycloak", "scope_prefix = \"a b\"", "scope_prefix");
}
