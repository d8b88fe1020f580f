//! CA-32 … CA-40, RFC 8705, RFC 9440: clients that a proxy vouches to have shown a certificate. The tests play the proxy.

use std::path::Path;

use blackbox::answers::{granted, refused_400, refused_401, refused_client};
use blackbox::assertion;
use blackbox::certificate::{Authority, Identity, Name};
use blackbox::fleet::Wishes;
use blackbox::people::{CALLBACK, Pkce};
use blackbox::published::{UNLIMITED_FETCHES, document};
use blackbox::publisher::Publisher;
use blackbox::{Db, Fleet, both, forge};
use rcgen::{ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};
use serde_json::{Value, json};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::{Answer, Request};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// A fleet whose server believes the tests' headers and this authority.
fn fleet(db: Db, ca: &Path, more: &[(&str, String)]) -> Fleet {
    fleet_with(db, ca, more, None)
}

/// The same, with this TOML for its server.
fn fleet_with(db: Db, ca: &Path, more: &[(&str, String)], server: Option<String>) -> Fleet {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let proxy = [
        pair("EDGE_HIVE_SERVER__TRUSTED_PROXIES", "127.0.0.1/32,::1/128"),
        pair("EDGE_HIVE_TLS__CLIENT_CERTIFICATE_HEADER", "client-cert"),
    ];
    let mut environment = proxy.to_vec();
    environment.push(pair("EDGE_HIVE_TLS__CLIENT_CA_FILE", &ca.display().to_string()));
    environment.extend(more.iter().map(|(name, value)| pair(name, value)));
    Fleet::start(
        db,
        &Wishes {
            server,
            environment,
            node_environment: proxy.to_vec(),
            ..Wishes::default()
        },
    )
}

/// POSTs a form as the proxy would pass it on.
fn post(fleet: &Fleet, path: &str, certificate: Option<&str>, form: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(&fleet.at(path)).unwrap();
    if let Some(certificate) = certificate {
        request = request.header("Client-Cert", certificate);
    }
    let answer = request.form(form).send().unwrap();
    for name in ["access_token", "refresh_token"] {
        if let Some(token) = answer.json().unwrap_or_default()[name].as_str() {
            fleet.remember(token);
        }
    }
    answer
}

fn ask(fleet: &Fleet, client: &str, shown: Option<&Identity>) -> Answer {
    let header = shown.map(Identity::header);
    post(
        fleet,
        "/oauth/token",
        header.as_deref(),
        &[GRANT, ("client_id", client)],
    )
}

/// A client of a method, for the node.
fn client(fleet: &Fleet, method: &str, words: &[&str]) -> String {
    let node = fleet.node.url();
    let line = [
        "--auth-method",
        method,
        "--resource",
        &node,
        "--scopes",
        "mcp:read mcp:call",
    ];
    let name = fleet.fresh_name();
    fleet
        .server
        .create_public_client(&name, &[&line[..], words].concat())
        .unwrap()
}

/// A client that registered the keys of these identities, with their certificates or without.
fn self_signed(fleet: &Fleet, known: &[&Identity], with_certificate: bool, words: &[&str]) -> String {
    let keys: Vec<_> = known
        .iter()
        .map(|identity| identity.jwk(with_certificate))
        .collect();
    let file = fleet.server.folder.join(format!("{}.json", fleet.fresh_name()));
    std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    let file = file.display().to_string();
    client(
        fleet,
        "self_signed_tls_client_auth",
        &[&["--jwks", &file], words].concat(),
    )
}

#[track_caller]
fn refused(fleet: &Fleet, client: &str, shown: Option<&Identity>, reason: &str) {
    refused_client(&ask(fleet, client, shown), false);
    let logs = fleet.logs();
    let mut told = logs.lines().filter(|line| line.contains(client));
    assert!(told.any(|line| line.contains(reason)), "nothing says {reason:?}");
}

both!(ca_32_33_34_a_certificate_of_an_authority);
fn ca_32_33_34_a_certificate_of_an_authority(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let fleet = fleet(db, &ours.write(folder.path(), "ca.pem"), &[]);
    let by_subject = client(
        &fleet,
        "tls_client_auth",
        &["--tls-subject-dn", "CN=agent,O=Edge Hive,C=AT"],
    );
    let by_name = client(&fleet, "tls_client_auth", &["--tls-san-dns", "agent.example"]);
    let by_uri = client(
        &fleet,
        "tls_client_auth",
        &["--tls-san-uri", "spiffe://fleet/agent"],
    );
    let agent = ours.sign(
        "agent",
        &[Name::Dns("agent.example"), Name::Uri("spiffe://fleet/agent")],
    );
    for id in [&by_subject, &by_name, &by_uri] {
        let token = granted(&ask(&fleet, id, Some(&agent)));
        let claims = forge::part(token["access_token"].as_str().unwrap(), 1);
        assert_eq!(claims["client_id"], id.as_str());
        // RFC 8705 §3 is for clients that registered for it.
        assert!(claims.get("cnf").is_none());
    }
    // Another's names, and the same name in another place (CA-33, CA-34).
    let other = ours.sign("Agent", &[Name::Uri("agent.example"), Name::Dns("spiffe")]);
    for id in [&by_subject, &by_name, &by_uri] {
        refused(&fleet, id, Some(&other), "its certificate names somebody else");
        refused(&fleet, id, None, "it showed no certificate");
        // The right names, but nobody of ours signed them.
        let stranger = theirs.sign(
            "agent",
            &[Name::Dns("agent.example"), Name::Uri("spiffe://fleet/agent")],
        );
        refused(
            &fleet,
            id,
            Some(&stranger),
            "no authority vouches for its certificate",
        );
        refused(
            &fleet,
            id,
            Some(&Identity::self_signed("agent")),
            "no authority vouches for its certificate",
        );
    }
    let expired = ours.sign_changed("agent", |params| params.not_after = date_time_ymd(2020, 1, 1));
    refused(&fleet, &by_subject, Some(&expired), "no authority vouches");
    let early = ours.sign_changed("agent", |params| params.not_before = date_time_ymd(2090, 1, 1));
    refused(&fleet, &by_subject, Some(&early), "no authority vouches");
    let for_servers = ours.sign_changed("agent", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    refused(&fleet, &by_subject, Some(&for_servers), "no authority vouches");
    granted(&ask(&fleet, &by_subject, Some(&ours.sign("agent", &[]))));
}

both!(ca_35_a_certificate_of_the_clients_own_making);
fn ca_35_a_certificate_of_the_clients_own_making(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let fleet = fleet(db, &Authority::new("ours").write(folder.path(), "ca.pem"), &[]);
    let (one, two, stranger) = (
        Identity::self_signed("one"),
        Identity::self_signed("two"),
        Identity::self_signed("one"),
    );
    for with_certificate in [true, false] {
        let id = self_signed(&fleet, &[&one, &two], with_certificate, &[]);
        for known in [&one, &two, &one.renewed()] {
            granted(&ask(&fleet, &id, Some(known)));
        }
        refused(
            &fleet,
            &id,
            Some(&stranger),
            "its certificate is none that it registered",
        );
        refused(&fleet, &id, None, "it showed no certificate");
    }
    // Everywhere that clients authenticate.
    let id = self_signed(&fleet, &[&one], false, &[]);
    let token = granted(&ask(&fleet, &id, Some(&one)));
    let form = [
        ("client_id", id.as_str()),
        ("token", token["access_token"].as_str().unwrap()),
    ];
    let header = one.header();
    assert_eq!(
        granted(&post(&fleet, "/oauth/introspect", Some(&header), &form))["active"],
        true
    );
    refused_client(&post(&fleet, "/oauth/introspect", None, &form), false);
    assert_eq!(post(&fleet, "/oauth/revoke", Some(&header), &form).status, 200);
    assert_eq!(
        granted(&post(&fleet, "/oauth/introspect", Some(&header), &form))["active"],
        false
    );
}

both!(ca_38_the_registered_method_counts_whatever_certificate_is_there);
fn ca_38_the_registered_method_counts_whatever_certificate_is_there(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let fleet = fleet(db, &ours.write(folder.path(), "ca.pem"), &[]);
    let (own, agent) = (Identity::self_signed("own"), ours.sign("agent", &[]));
    let secretive = fleet.client(&[]);
    granted(&fleet.ask_token(&secretive, &[]));
    refused_client(&ask(&fleet, &secretive.id, Some(&agent)), false);
    // A client of an authority's certificate does not get in with one of its own making, nor the other way round.
    let (pki, bare) = (
        client(
            &fleet,
            "tls_client_auth",
            &["--tls-subject-dn", "CN=own,O=Edge Hive,C=AT"],
        ),
        self_signed(&fleet, &[&own], true, &[]),
    );
    refused(&fleet, &pki, Some(&own), "no authority vouches");
    refused(
        &fleet,
        &bare,
        Some(&agent),
        "its certificate is none that it registered",
    );
    let form = [GRANT, ("client_id", bare.as_str()), ("client_secret", "ehs_x")];
    refused_client(&post(&fleet, "/oauth/token", Some(&own.header()), &form), false);
    granted(&ask(&fleet, &bare, Some(&own)));
    // A client of assertions has no use for a certificate.
    let key = forge::Key::ed25519("k");
    let signing = assertion::client(&fleet, &[&key], &[]);
    refused_client(&ask(&fleet, &signing, Some(&agent)), false);
    granted(&assertion::ask_token(
        &fleet,
        &assertion::assertion(&fleet, &signing, &key),
    ));
}

both!(ca_36_a_header_from_anybody_else_is_not_looked_at);
fn ca_36_a_header_from_anybody_else_is_not_looked_at(db: Db) {
    let fleet = Fleet::shared(db);
    let own = Identity::self_signed("own");
    let id = self_signed(&fleet, &[&own], true, &[]);
    refused(&fleet, &id, Some(&own), "it showed no certificate");
    for name in ["X-SSL-Client-Cert", "X-Forwarded-Client-Cert", "SSL_CLIENT_CERT"] {
        let request = Request::post(&fleet.at("/oauth/token")).unwrap();
        let request = request
            .header(name, &own.header())
            .form(&[GRANT, ("client_id", &id)]);
        refused_client(&request.send().unwrap(), false);
    }
}

both!(ca_36_the_proxy_is_believed_and_only_in_the_one_form);
fn ca_36_the_proxy_is_believed_and_only_in_the_one_form(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let fleet = fleet(db, &Authority::new("ours").write(folder.path(), "ca.pem"), &[]);
    let own = Identity::self_signed("own");
    let id = self_signed(&fleet, &[&own], true, &[]);
    let form = [GRANT, ("client_id", id.as_str())];
    let header = own.header();
    for bad in [
        header.trim_matches(':').to_owned(),
        format!("{header}, {header}"),
        format!(":{}:", "A".repeat(100)),
        "::".to_owned(),
    ] {
        refused_client(&post(&fleet, "/oauth/token", Some(&bad), &form), false);
    }
    let twice = Request::post(&fleet.at("/oauth/token")).unwrap().form(&form);
    let twice = twice
        .header("Client-Cert", &header)
        .header("Client-Cert", &header);
    refused_client(&twice.send().unwrap(), false);
    granted(&post(&fleet, "/oauth/token", Some(&header), &form));
}

both!(jwt_39_rt_11_tokens_are_bound_to_the_certificate);
fn jwt_39_rt_11_tokens_are_bound_to_the_certificate(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let fleet = fleet(db, &Authority::new("ours").write(folder.path(), "ca.pem"), &[]);
    let (own, thief) = (Identity::self_signed("own"), Identity::self_signed("own"));
    let id = self_signed(&fleet, &[&own], true, &["--certificate-bound"]);
    let answer = granted(&ask(&fleet, &id, Some(&own)));
    // RFC 8705 §3: to the eye it is a bearer token.
    assert_eq!(answer["token_type"], "Bearer");
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(
        forge::part(token, 1)["cnf"],
        json!({"x5t#S256": own.thumbprint()})
    );
    let form = [("client_id", id.as_str()), ("token", token)];
    let told = granted(&post(&fleet, "/oauth/introspect", Some(&own.header()), &form));
    assert_eq!(told["cnf"]["x5t#S256"], own.thumbprint().as_str());
    // At the node.
    let call = |shown: Option<&Identity>| {
        let mut request = Request::post(&fleet.node_at("/mcp/tools/call"))
            .unwrap()
            .bearer(token);
        if let Some(shown) = shown {
            request = request.header("Client-Cert", &shown.header());
        }
        request
            .json(&json!({"name": "get_status", "arguments": {}}))
            .send()
            .unwrap()
    };
    assert_eq!(call(Some(&own)).status, 200);
    refused_401(&call(None), Some("invalid_token"));
    refused_401(&call(Some(&thief)), Some("invalid_token"));
    assert_eq!(call(Some(&own)).status, 200);

    // A public client: its refresh tokens are bound too, and its code is redeemed with the certificate only.
    let app = fleet.web_client(CALLBACK, &["--certificate-bound"]);
    let (username, pkce, mut person) = (fleet.person_account(), Pkce::fresh(), fleet.person());
    let code = |person: &mut blackbox::Person| fleet.allowed(person, &username, &app, (&pkce, &[])).code();
    let redeem = |code: &str, shown: Option<&Identity>| {
        let header = shown.map(Identity::header);
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", app.as_str()),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", &pkce.verifier),
        ];
        post(&fleet, "/oauth/token", header.as_deref(), &form)
    };
    let refresh = |token: &Value, shown: Option<&Identity>| {
        let header = shown.map(Identity::header);
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", app.as_str()),
            ("refresh_token", token.as_str().unwrap()),
        ];
        post(&fleet, "/oauth/token", header.as_deref(), &form)
    };
    let first = code(&mut person);
    refused_400(&redeem(&first, None), "invalid_request");
    let tokens = granted(&redeem(&first, Some(&own)));
    refused_400(&refresh(&tokens["refresh_token"], None), "invalid_request");
    refused_400(&refresh(&tokens["refresh_token"], Some(&thief)), "invalid_grant");
    let next = granted(&refresh(&tokens["refresh_token"], Some(&own)));
    let cnf = forge::part(next["access_token"].as_str().unwrap(), 1)["cnf"].clone();
    assert_eq!(cnf, json!({"x5t#S256": own.thumbprint()}));
}

#[test]
fn jwt_39_a_node_that_asks_nobody_takes_no_bound_token() {
    let own = Identity::self_signed("own");
    let node = blackbox::lone_node::LoneNode::shared();
    let cnf = json!({"x5t#S256": own.thumbprint()});
    let token = node.ed.token(&forge::with(&node.claims(), "cnf", cnf));
    refused_401(&node.call(&token), Some("invalid_token"));
    let request = Request::post(&format!("http://localhost:{}/mcp/tools/call", node.node.port)).unwrap();
    let request = request.bearer(&token).header("Client-Cert", &own.header());
    refused_401(
        &request.json(&json!({"name": "get_status"})).send().unwrap(),
        Some("invalid_token"),
    );
    assert_eq!(node.call(&node.good_token()).status, 200);
}

both!(ca_39_revoked_certificates_and_old_lists);
fn ca_39_revoked_certificates_and_old_lists(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let ca = ours.write(folder.path(), "ca.pem");
    let numbered = |serial: u64| {
        ours.sign_changed("agent", |params| {
            params.serial_number = Some(SerialNumber::from(serial))
        })
    };
    let words = ["--tls-subject-dn", "CN=agent,O=Edge Hive,C=AT"];
    let with_list = |until: i32| {
        let list = ours.revoke(7, until, folder.path().join(format!("{until}.pem")));
        fleet(
            db,
            &ca,
            &[("EDGE_HIVE_TLS__CLIENT_CRL_FILE", list.display().to_string())],
        )
    };
    let current = with_list(2090);
    let id = client(&current, "tls_client_auth", &words);
    granted(&ask(&current, &id, Some(&numbered(8))));
    refused(&current, &id, Some(&numbered(7)), "no authority vouches");
    drop(current);
    // A list that is out of date says nothing about anybody: nobody gets in.
    let old = with_list(2025);
    let id = client(&old, "tls_client_auth", &words);
    refused(&old, &id, Some(&numbered(8)), "no authority vouches");
}

both!(ca_38_a_document_that_lists_several_methods_comes_by_each);
fn ca_38_a_document_that_lists_several_methods_comes_by_each(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let (ours, publisher) = (Authority::new("ours"), Publisher::start());
    let server = format!("{UNLIMITED_SERVER}{UNLIMITED_FETCHES}{}", publisher.rule());
    let fleet = fleet_with(db, &ours.write(folder.path(), "ca.pem"), &[], Some(server));
    let agent = ours.sign("agent", &[Name::Dns("agent.example")]);
    let (own, other) = (Identity::self_signed("own"), Identity::self_signed("other"));
    let listed = document(&json!({
        "token_endpoint_auth_method": null, "tls_client_auth_san_dns": "agent.example",
        "jwks": {"keys": [own.jwk(true)]}, "token_endpoint_auth_methods_supported":
            ["private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth", "none"],
    }));
    let client = publisher.publish_client("/client.json", listed);
    let show = |shown: Option<&Identity>| {
        let header = shown.map(Identity::header);
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client.as_str()),
            ("code", "eha_x"),
            ("redirect_uri", CALLBACK),
            ("code_verifier", "x"),
        ];
        post(&fleet, "/oauth/token", header.as_deref(), &form)
    };
    // Authenticated, and no further.
    for shown in [None, Some(&agent), Some(&own)] {
        refused_400(&show(shown), "invalid_grant");
    }
    refused_client(&show(Some(&other)), false);
    let logs = fleet.logs();
    for reason in [
        "no authority vouches for its certificate",
        "is none that it registered",
    ] {
        assert!(logs.contains(reason), "{reason}");
    }
}
