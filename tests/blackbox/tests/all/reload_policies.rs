//! Providers, policies and every limit change without a restart, on SIGHUP or by the admin API; what is taken away counts no
//! more, and what a file with a fault says counts for nothing (docs/configuration.md).

use std::fs;
use std::process::Command;

use blackbox::answers::{granted, refused_400};
use blackbox::fleet::Wishes;
use blackbox::forge::{self, Key, with};
use blackbox::issuer::Issuer;
use blackbox::people::{PASSWORD, Pkce};
use blackbox::provider::Provider;
use blackbox::published::{Published, UNLIMITED_FETCHES};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::{Credentials, UNLIMITED_SERVER};
use xtask::http::{Answer, Request};

use super::reload::{details, hang_up, reloads, wait_for};
use super::upstream::{elsewhere, is_in, is_out, press};

const RELOADS: &str = "/admin/v1/configuration-reloads";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Another file for the server, from the next reload on: what every test has, and `more`.
fn write(fleet: &mut Fleet, more: &str) {
    fleet.server.extra = format!("{UNLIMITED_SERVER}{more}");
    fleet.server.write_config().unwrap();
}

/// Asks for a reload as whoever may; it must be done.
fn reload(fleet: &Fleet) -> Value {
    let admin = fleet.admin("admin:configuration:write");
    let answer = admin.send(&admin.request("POST", RELOADS), ("POST", RELOADS));
    assert_eq!(answer.status, 200, "{answer}");
    answer.json().unwrap()
}

/// The keys in a part of what a reload answers.
fn keys(part: &Value) -> Vec<&str> {
    let all = part.as_array().unwrap().iter();
    all.map(|one| one["key"].as_str().unwrap()).collect()
}

fn exchange(fleet: &Fleet, gateway: &Credentials, token: &str) -> Answer {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    fleet.post("/oauth/token", gateway, &form)
}

fn grants(fleet: &Fleet) -> Value {
    let url = fleet.at("/.well-known/oauth-authorization-server");
    let answer = Request::new("GET", &url).unwrap().send().unwrap();
    answer.json().unwrap()["grant_types_supported"].clone()
}

both!(an_edge_counts_from_a_reload_to_the_next_and_only_who_may_reloads);
fn an_edge_counts_from_a_reload_to_the_next_and_only_who_may_reloads(db: Db) {
    let mut fleet = Fleet::start(db, &Wishes::default());
    let gateway = fleet.client_for_any(&["--grants", "token_exchange"]);
    let (first, second) = (fleet.node.url(), fleet.resource(&[]));
    let token = fleet.token(&fleet.client(&[]), &first);
    let edge = format!(
        "\n[[exchange]]\nfrom_client = \"{}\"\nsubject_audience = \"{first}\"\nto_resource = \"{second}\"\nscopes = \"mcp:read\"\n",
        gateway.id
    );
    refused_400(&exchange(&fleet, &gateway, &token), "unauthorized_client");
    let exchanges = json!("urn:ietf:params:oauth:grant-type:token-exchange");
    assert!(!grants(&fleet).as_array().unwrap().contains(&exchanges));

    // Whoever may see everything, or change everything else, may not.
    write(&mut fleet, &format!("{edge}\n[tokens]\naccess_ttl = \"5m\"\n"));
    for scopes in ["admin:read", "admin:policies:write admin:configuration:read"] {
        let viewer = fleet.admin(scopes);
        let answer = viewer.send(&viewer.request("POST", RELOADS), ("POST", RELOADS));
        assert_eq!(answer.status, 403, "{answer}");
    }
    let nobody = fleet.admin_with(None);
    let answer = nobody.send(&nobody.request("POST", RELOADS), ("POST", RELOADS));
    assert_eq!(answer.status, 401, "{answer}");
    refused_400(&exchange(&fleet, &gateway, &token), "unauthorized_client");
    assert!(reloads(&fleet.server).is_empty());

    // Whoever may is told what counts now, and what needs a restart; the audit log has both, and who it was.
    let admin_client = fleet.admin_client("admin:configuration:write");
    let token_of_admin = fleet.token(&admin_client, &fleet.admin_resource());
    let ask = |fleet: &Fleet| {
        let admin = fleet.admin_with(Some(token_of_admin.clone()));
        admin.send(&admin.request("POST", RELOADS), ("POST", RELOADS))
    };
    let answer = ask(&fleet);
    let done: Value = granted_json(&answer);
    assert!(
        keys(&done["changed"]).contains(&"exchange.0.from_client"),
        "{done}"
    );
    assert_eq!(keys(&done["after_restart"]), ["tokens.access_ttl"], "{done}");
    granted(&exchange(&fleet, &gateway, &token));
    assert!(grants(&fleet).as_array().unwrap().contains(&exchanges));
    let told = reloads(&fleet.server);
    assert_eq!(
        (told.len(), &told[0]["actor"]),
        (1, &json!(admin_client.id)),
        "{told:?}"
    );
    let of = details(&told[0]);
    assert_eq!(
        of["changed"]["exchange.0.from_client"]["after"],
        gateway.id.as_str()
    );
    assert_eq!(of["after_restart"]["tokens.access_ttl"]["after"], "5m");
    // As the server shows itself.
    let viewer = fleet.admin("admin:policies:read");
    assert_eq!(viewer.all("/admin/v1/policies?kind=exchange").len(), 1);

    // Every fault at once, and nothing of the rest of the file.
    write(
        &mut fleet,
        "\n[[exchange]]\nfrom_client = \"c_x\"\n\n[log]\nfilter = \"=,=\"\n",
    );
    let answer = ask(&fleet);
    assert_eq!(answer.status, 409, "{answer}");
    let problem: Value = answer.json().unwrap();
    assert_eq!(problem["code"], "invalid_configuration");
    let faults = problem["faults"].to_string();
    for part in ["exchange.0.to_resource", "exchange.0.scopes", "log.filter"] {
        assert!(faults.contains(part), "{part}: {problem}");
    }
    granted(&exchange(&fleet, &gateway, &token));

    // Taken away, it leads nowhere, also for a token that was there before.
    write(&mut fleet, "");
    assert!(keys(&reload(&fleet)["changed"]).contains(&"exchange.0.from_client"));
    refused_400(&exchange(&fleet, &gateway, &token), "unauthorized_client");
    assert!(!grants(&fleet).as_array().unwrap().contains(&exchanges));
    assert_eq!(reloads(&fleet.server).len(), 2);
    let metrics = Request::new("GET", &fleet.at("/metrics"))
        .unwrap()
        .send()
        .unwrap()
        .text();
    for line in [
        "configuration_reloads_total{outcome=\"changed\"} 2",
        "configuration_reloads_total{outcome=\"refused\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

fn granted_json(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer}");
    answer.json().unwrap()
}

both!(the_command_line_has_a_server_reload_and_prints_what_came_of_it);
fn the_command_line_has_a_server_reload_and_prints_what_came_of_it(db: Db) {
    let mut fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.admin_client("admin:configuration:write");
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), &client.secret).unwrap();
    let run = |fleet: &Fleet, more: &[&str]| {
        let mut command = Command::new(&fleet.server.program);
        command.arg("reload").args(more).current_dir(&fleet.server.folder);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let path = secret.path().to_str().unwrap();
    let issuer = fleet.server.issuer.clone();
    let there = [
        "--server",
        &issuer,
        "--as-client",
        &client.id,
        "--secret-file",
        path,
    ];
    write(&mut fleet, "\n[clients]\nrequire_pushed_requests = true\n");
    let (done, text) = run(&fleet, &there);
    let line = "changed: clients.require_pushed_requests: true instead of false";
    assert!(done && text.contains(line), "{text}");
    let (done, text) = run(&fleet, &there);
    assert!(done && text.contains("is as before"), "{text}");
    write(
        &mut fleet,
        "\n[clients]\nrequire_pushed_requests = \"perhaps\"\nscopes = \"\\u0001\"\n",
    );
    let (done, text) = run(&fleet, &there);
    let names = ["clients.require_pushed_requests", "clients.scopes"];
    assert!(!done && names.iter().all(|name| text.contains(name)), "{text}");
    // Without a server there is nobody to ask.
    let (done, text) = run(&fleet, &[]);
    assert!(!done && text.contains("--server"), "{text}");
}

/// TOML of a platform whose robot gets a token for the node; `keys` says where its keys are.
fn platform(fleet: &Fleet, client: &str, keys: &str) -> String {
    format!(
        "\n[[federation.workload]]\nname = \"p\"\nissuer = \"urn:p\"\n{keys}\n\
         [[federation.workload.rule]]\nclient = \"{client}\"\nmatch = {{ sub = \"robot\" }}\n\
         resource = \"{}\"\nscopes = \"mcp:read\"\n",
        fleet.node.url()
    )
}

both!(a_platform_is_believed_with_the_keys_that_the_present_file_names);
fn a_platform_is_believed_with_the_keys_that_the_present_file_names(db: Db) {
    let mut fleet = Fleet::start(db, &Wishes::default());
    let words = ["--public", "--grants", "jwt_bearer", "--scopes", "mcp:read"];
    let client = fleet.server.create_public_client("robots", &words).unwrap();
    let (old, new) = (Key::ed25519("k-1"), Key::ed25519("k-1"));
    let (there, elsewhere) = (
        Issuer::start(forge::key_set(&[&old])),
        Issuer::start(forge::key_set(&[&new])),
    );
    let ask = |fleet: &Fleet, key: &Key| {
        let now = forge::now();
        let claims = json!({
            "iss": "urn:p", "sub": "robot", "aud": fleet.server.issuer, "jti": forge::fresh_id(), "iat": now, "exp": now + 300,
        });
        let header = json!({"alg": key.algorithm(), "kid": key.kid});
        let assertion = key.sign(&with(&header, "typ", json!("JWT")), &claims);
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", &assertion),
        ];
        fleet.post_bare("/oauth/token", &form)
    };
    refused_400(&ask(&fleet, &old), "invalid_grant");
    let more = platform(&fleet, &client, &format!("jwks_uri = \"{}/keys\"", there.url));
    write(&mut fleet, &more);
    reload(&fleet);
    granted(&ask(&fleet, &old));
    refused_400(&ask(&fleet, &new), "invalid_grant");
    // A reload about something else fetches nothing again.
    let fetched = there.requests("/keys");
    write(&mut fleet, &format!("{more}\n[admin]\nrate = \"1000/min\"\n"));
    reload(&fleet);
    granted(&ask(&fleet, &old));
    assert_eq!(there.requests("/keys"), fetched);
    // Keys that were fetched from the old address open nothing any more, although they have the same name.
    let more = platform(&fleet, &client, &format!("jwks_uri = \"{}/keys\"", elsewhere.url));
    write(&mut fleet, &more);
    reload(&fleet);
    refused_400(&ask(&fleet, &old), "invalid_grant");
    granted(&ask(&fleet, &new));
    // Nor do those that were in a file before its content changed.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), forge::key_set(&[&old]).to_string()).unwrap();
    let more = platform(
        &fleet,
        &client,
        &format!("jwks_file = \"{}\"", file.path().display()),
    );
    write(&mut fleet, &more);
    reload(&fleet);
    granted(&ask(&fleet, &old));
    fs::write(file.path(), forge::key_set(&[&new]).to_string()).unwrap();
    let done = reload(&fleet);
    assert_eq!(keys(&done["changed"]), ["federation.workload.0.jwks_file"]);
    assert_eq!(done["changed"][0]["content_changed"], true);
    refused_400(&ask(&fleet, &old), "invalid_grant");
    granted(&ask(&fleet, &new));
    write(&mut fleet, "");
    reload(&fleet);
    refused_400(&ask(&fleet, &new), "invalid_grant");
}

both!(ui_11_who_is_away_at_a_provider_comes_back_to_it_or_to_nobody);
fn ui_11_who_is_away_at_a_provider_comes_back_to_it_or_to_nobody(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "first-secret-of-ours").unwrap();
    let with_secret = format!("client_secret_file = \"{}\"", file.display());
    let mut elsewhere = elsewhere(db, &with_secret);
    for secret in ["first-secret-of-ours", "second-secret-of-ours"] {
        elsewhere.fleet.remember(secret);
    }
    // Away while something else changes.
    let mut person = elsewhere.fleet.person();
    let there = elsewhere.leave(&mut person);
    let known = elsewhere.provider.section(&with_secret);
    write(
        &mut elsewhere.fleet,
        &format!("{known}\n[clients]\nmax_unused = 7\n"),
    );
    assert_eq!(keys(&reload(&elsewhere.fleet)["changed"]), ["clients.max_unused"]);
    let claims = elsewhere.provider.claims(&there, "ada");
    is_in(&elsewhere.come_back(&mut person, &there, &claims), &person);

    // Another secret in the same file is used at once; the log of changes says so, and not what it is.
    fs::write(&file, "second-secret-of-ours").unwrap();
    let done = reload(&elsewhere.fleet);
    assert_eq!(keys(&done["changed"]), ["federation.client_secret_file"]);
    assert_eq!(done["changed"][0]["content_changed"], true);
    let told = details(&reloads(&elsewhere.fleet.server)[0]).to_string();
    assert!(
        told.contains("\"content\":\"changed\"") && !told.contains("secret-of-ours"),
        "{told}"
    );
    let mut other = elsewhere.fleet.person();
    is_in(&elsewhere.sign_in(&mut other, "ada"), &other);
    let shown = elsewhere.provider.asked().pop().unwrap().authorization;
    let expected = xtask::http::base64(b"edge-hive:second-secret-of-ours");
    assert_eq!(shown, format!("Basic {expected}"));

    // Away while another provider takes the place of the one: its code is shown to neither, and a page says what to do.
    let mut late = elsewhere.fleet.person();
    let there = elsewhere.leave(&mut late);
    let next = Provider::start(Key::ed25519("op-2"));
    write(&mut elsewhere.fleet, &next.section(""));
    reload(&elsewhere.fleet);
    let (before, claims) = (
        elsewhere.provider.asked().len(),
        elsewhere.provider.claims(&there, "ada"),
    );
    let answer = elsewhere.come_back(&mut late, &there, &claims);
    is_out(&answer, &late, 400);
    assert!(answer.text().contains("Begin again"), "{answer}");
    assert_eq!(
        (elsewhere.provider.asked().len(), next.asked().len()),
        (before, 0)
    );
    // And the button leads to the other one.
    let there = elsewhere.leave(&mut late);
    assert!(there.url.starts_with(&next.url), "{}", there.url);

    // Gone altogether: no way back, and no button.
    write(&mut elsewhere.fleet, "");
    reload(&elsewhere.fleet);
    let code = next.code(&there, &next.claims(&there, "ada"));
    let answer = elsewhere.answer(&mut late, &there, &[("code", &code)]);
    is_out(&answer, &late, 400);
    assert!(answer.text().contains("Begin again"), "{answer}");
    assert!(next.asked().is_empty());
    assert!(!late.get("/login").text().contains("/login/upstream"));
    // Put back, it signs people in again: the account is still theirs.
    write(&mut elsewhere.fleet, &known);
    reload(&elsewhere.fleet);
    let page = late.page("/login");
    let there = press(&mut late, &page).redirect();
    let claims = elsewhere.provider.claims(&there, "ada");
    is_in(&elsewhere.come_back(&mut late, &there, &claims), &late);
}

both!(every_limit_changes_without_a_restart);
fn every_limit_changes_without_a_restart(db: Db) {
    let mut fleet = Fleet::start(db, &Wishes::default());
    let get = |fleet: &Fleet| {
        let request = Request::new("GET", &fleet.at("/.well-known/jwks.json")).unwrap();
        request.send().unwrap().status
    };
    let text = UNLIMITED_SERVER.replace("per_ip = \"off\"", "per_ip = \"20/h\"");
    fleet.server.extra = format!("{text}\n[admin]\nrate = \"2/h\"\n\n[login]\nper_account = \"9/min\"\n");
    fleet.server.write_config().unwrap();
    let rated = fleet.admin("admin:read admin:configuration:write");
    let answer = rated.send(&rated.request("POST", RELOADS), ("POST", RELOADS));
    let done = granted_json(&answer);
    assert_eq!(
        keys(&done["changed"]),
        ["admin.rate", "limits.per_ip", "login.per_account"]
    );
    // Those of operators: two more from the reload on.
    let asked = [(); 3].map(|()| rated.get("/admin/v1/statistics").status);
    assert_eq!(asked, [200, 200, 429]);
    // Those by address: twenty, of which some are used, whichever worker answers.
    let limited = (0..20)
        .map(|_| get(&fleet))
        .filter(|status| *status == 429)
        .count();
    assert!((1..20).contains(&limited), "{limited}");
    assert_eq!(get(&fleet), 429);
    write(&mut fleet, "");
    hang_up(&fleet);
    wait_for("there is no limit", || get(&fleet) == 200);
    assert!((0..40).all(|_| get(&fleet) == 200));
    assert_eq!(reloads(&fleet.server).len(), 2);
}

both!(documents_of_a_host_that_is_allowed_no_more_open_nothing);
fn documents_of_a_host_that_is_allowed_no_more_open_nothing(db: Db) {
    let mut published = Published::start(db, UNLIMITED_FETCHES);
    let (client, _) = published.client(&json!({}));
    assert_eq!(published.arrive(&client).status, 303);
    let rule = published.publisher.rule();
    let clients =
        "\n[clients]\nmetadata_documents = \"allowlist\"\ndocument_hosts = [\"elsewhere.example\"]\n";
    write(&mut published.fleet, &format!("{clients}{rule}"));
    reload(&published.fleet);
    // Nor the one that is still in memory.
    assert_eq!(published.arrive(&client).status, 400);
    write(&mut published.fleet, &format!("{UNLIMITED_FETCHES}{rule}"));
    reload(&published.fleet);
    assert_eq!(published.arrive(&client).status, 303);
    // Without the rule, the address is not fetched from.
    write(&mut published.fleet, UNLIMITED_FETCHES);
    reload(&published.fleet);
    assert_eq!(published.arrive(&client).status, 400);
}

both!(documents_that_were_kept_are_fetched_again_by_the_present_rules);
fn documents_that_were_kept_are_fetched_again_by_the_present_rules(db: Db) {
    let mut published = Published::start(db, UNLIMITED_FETCHES);
    let (client, path) = published.client(&json!({}));
    let (ada, pkce) = (published.fleet.person_account(), Pkce::fresh());
    let url = published.fleet.authorization_url(&client, &pkce, &[]);
    let redirect = published.fleet.person().allow(&url, (&ada, PASSWORD));
    published.fleet.remember(&redirect.code());
    let tokens = granted(&published.fleet.redeem(&client, &redirect.code(), &pkce, &[]));
    let mut token = tokens["refresh_token"].as_str().unwrap().to_owned();
    let mut go_on = |published: &Published| {
        let refreshed = granted(&published.fleet.refresh(&client, &token, &[]));
        refreshed["refresh_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut token);
        published.publisher.requests(&path).len()
    };
    let rule = published.publisher.rule();
    // What concerns no document leaves it as it is.
    let other = "\n[admin]\nrate = \"1000/min\"\n";
    write(&mut published.fleet, &format!("{UNLIMITED_FETCHES}{rule}{other}"));
    reload(&published.fleet);
    assert_eq!(go_on(&published), 1);
    // Worth other scopes, it is read anew.
    let scopes = "scopes = \"mcp:read mcp:call mcp:resources mcp:subscribe mcp:more\"\n";
    write(
        &mut published.fleet,
        &format!("{UNLIMITED_FETCHES}{scopes}{rule}"),
    );
    reload(&published.fleet);
    assert_eq!([go_on(&published), go_on(&published)], [2, 2]);
    // Where nothing may be fetched from, what is kept opens nothing; and it does again when it may.
    write(&mut published.fleet, &format!("{UNLIMITED_FETCHES}{scopes}"));
    reload(&published.fleet);
    assert_eq!(published.arrive(&client).status, 400);
    assert_eq!(published.publisher.requests(&path).len(), 2);
    write(
        &mut published.fleet,
        &format!("{UNLIMITED_FETCHES}{scopes}{rule}"),
    );
    reload(&published.fleet);
    assert_eq!(go_on(&published), 3);
}

both!(registration_opens_and_closes_without_a_restart);
fn registration_opens_and_closes_without_a_restart(db: Db) {
    let mut fleet = Fleet::start(db, &Wishes::default());
    let register = |fleet: &Fleet| {
        let wish = json!({"client_name": "x", "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none"});
        let request = Request::new("POST", &fleet.at("/oauth/register")).unwrap();
        request.json(&wish).send().unwrap().status
    };
    assert_eq!(register(&fleet), 404);
    write(
        &mut fleet,
        "\n[clients]\nregistration = \"open\"\nregistrations_per_address = \"off\"\n",
    );
    reload(&fleet);
    assert_eq!(register(&fleet), 201);
    write(&mut fleet, "");
    reload(&fleet);
    assert_eq!(register(&fleet), 404);
}
