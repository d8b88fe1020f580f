//! REV-02 … REV-08, RFC 7009: taking a token back.

use blackbox::answers::{granted, oauth_error, refused_400, refused_client};
use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, both};
use xtask::fleet::Credentials;

fn revoke(fleet: &Fleet, client: &Credentials, token: &str) -> u16 {
    fleet.post("/oauth/revoke", client, &[("token", token)]).status
}

both!(rev_01_a_revoked_token_is_inactive_at_once);
fn rev_01_a_revoked_token_is_inactive_at_once(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let (revoked, kept) = (
        fleet.token(&client, &fleet.node.url()),
        fleet.token(&client, &fleet.node.url()),
    );
    assert_eq!(revoke(&fleet, &client, &revoked), 200);
    assert_eq!(fleet.introspect(&client, &revoked)["active"], false);
    assert_eq!(fleet.introspect(&client, &kept)["active"], true);
}

both!(rev_02_what_is_not_there_is_revoked_already);
fn rev_02_what_is_not_there_is_revoked_already(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    for unknown in ["x", "a.b.c", "ehr_unknown", &token, &token] {
        assert_eq!(revoke(&fleet, &client, unknown), 200);
    }
    refused_400(&fleet.post("/oauth/revoke", &client, &[]), "invalid_request");
    for hint in ["refresh_token", "nonsense"] {
        let form = [("token", token.as_str()), ("token_type_hint", hint)];
        assert_eq!(fleet.post("/oauth/revoke", &client, &form).status, 200);
    }
}

both!(rev_03_the_caller_must_be_known);
fn rev_03_the_caller_must_be_known(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    refused_client(&fleet.post_bare("/oauth/revoke", &[("token", &token)]), false);
    let wrong = Credentials {
        id: client.id.clone(),
        secret: "ehs_x".into(),
    };
    refused_client(&fleet.post("/oauth/revoke", &wrong, &[("token", &token)]), true);
    assert_eq!(fleet.introspect(&client, &token)["active"], true);
    assert_eq!(revoke(&fleet, &client, &token), 200);
    assert_eq!(fleet.introspect(&client, &token)["active"], false);
}

both!(rev_04_anothers_token_lives_on);
fn rev_04_anothers_token_lives_on(db: Db) {
    let fleet = Fleet::shared(db);
    let (owner, stranger) = (fleet.client(&[]), fleet.client(&[]));
    let token = fleet.token(&owner, &fleet.node.url());
    let answer = fleet.post("/oauth/revoke", &stranger, &[("token", &token)]);
    refused_400(&answer, "invalid_request");
    assert_eq!(fleet.introspect(&owner, &token)["active"], true);
    assert_eq!(revoke(&fleet, &owner, &token), 200);
    assert_eq!(fleet.introspect(&owner, &token)["active"], false);
}

both!(dur_06_a_revocation_survives_a_kill);
fn dur_06_a_revocation_survives_a_kill(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    let (revoked, kept) = (
        fleet.token(&client, &fleet.node.url()),
        fleet.token(&client, &fleet.node.url()),
    );
    assert_eq!(revoke(&fleet, &client, &revoked), 200);
    fleet.programs().get_mut("authz-server").unwrap().kill();
    let again = fleet.server.serve_ready().unwrap();
    fleet.programs().insert("authz-server", again);
    assert_eq!(fleet.introspect(&client, &revoked)["active"], false);
    assert_eq!(fleet.introspect(&client, &kept)["active"], true);
    granted(&fleet.ask_token(&client, &[]));
}

/// REV-08, DUR-05, DUR-13: the answer 200 would be a lie while nothing can be written.
#[test]
fn rev_08_no_database_no_revocation_postgres() {
    use xtask::postgres::{Cluster, Durability};

    let cluster = Cluster::start(Durability::Full, None).unwrap();
    let url = cluster.create_database().unwrap();
    let fleet = Fleet::start(
        Db::Postgres,
        &Wishes {
            database: Some(url),
            ..Wishes::default()
        },
    );
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    // The node has the issuer's keys and the list of this token from now on.
    assert_eq!(fleet.call(&token).status, 200);
    let mut cluster = cluster;
    cluster.crash().unwrap();
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        let answer = fleet.post(path, &client, &[("token", &token)]);
        oauth_error(&answer, 503, "temporarily_unavailable");
        blackbox::answers::refused_503(&answer);
    }
    assert_eq!(xtask::http::get(&fleet.at("/readyz")).unwrap().status, 503);
    assert_eq!(xtask::http::get(&fleet.at("/healthz")).unwrap().status, 200);
    granted(&xtask::http::get(&fleet.at("/.well-known/jwks.json")).unwrap());
    // It needs no database to judge a token.
    assert_eq!(fleet.call(&token).status, 200);

    cluster.revive(Durability::Full).unwrap();
    fleet.wait_ready();
    assert_eq!(fleet.introspect(&client, &token)["active"], true);
    assert_eq!(revoke(&fleet, &client, &token), 200);
    assert_eq!(fleet.introspect(&client, &token)["active"], false);
}
