//! The operators' console: its files, who enters it, and with what its client is content. What it shows in a browser is
//! `tests/interop/node/console.mjs`.

use blackbox::answers::{granted, refused_400};
use blackbox::dpop::Holder;
use blackbox::fleet::Wishes;
use blackbox::location::query;
use blackbox::people::Pkce;
use blackbox::person::{Page, Person};
use blackbox::{Db, Fleet, PASSWORD, both};
use serde_json::{Value, json};
use xtask::fleet::{UNLIMITED_SERVER, free_port};
use xtask::http::{Answer, Request};

use super::account::{second_step, signed_in};
use super::second_step::set_up;

const CLIENT_ID: &str = "edge-hive-console";
const CLIENTS: &str = "/admin/v1/clients";

fn get(url: &str) -> Request {
    Request::new("GET", url).unwrap()
}

/// The addresses in quotes that follow `before`.
fn named<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(before)
        .skip(1)
        .map(|rest| rest.split(['"', '\'']).next().unwrap())
}

#[test]
fn console_files_run_nothing_but_themselves() {
    let fleet = Fleet::shared(Db::Sqlite);
    let page = get(&fleet.at("/console")).send().unwrap();
    assert_eq!(page.status, 200, "{page}");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let html = page.text();
    // Everything that the page and its modules name.
    let mut files: Vec<String> = named(&html, "\"console/")
        .map(|name| format!("/console/{name}"))
        .collect();
    assert_eq!(files.len(), 2, "{html}");
    let mut seen = 0;
    while seen < files.len() {
        let file = files[seen].clone();
        seen += 1;
        let answer = get(&fleet.at(&file)).send().unwrap();
        assert_eq!(answer.status, 200, "{file}: {answer}");
        let is_script = file.ends_with(".js");
        let kind = if is_script {
            "text/javascript; charset=utf-8"
        } else {
            "text/css; charset=utf-8"
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{file}");
        let text = answer.text();
        let folder = file.rsplit_once('/').unwrap().0;
        // Names of packages stand in lines that are shown.
        for name in named(&text, "from '.") {
            let path = match name.strip_prefix("./") {
                Some(above) => format!("{}/{above}", folder.rsplit_once('/').unwrap().0),
                None => format!("{folder}{name}"),
            };
            if !files.contains(&path) {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 15, "{files:?}");
    files.push("/console".to_owned());
    for file in &files {
        let answer = get(&fleet.at(file)).send().unwrap();
        let policy = answer.header("content-security-policy").unwrap();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split("; ").any(|known| known == rule), "{file}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{file}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{file}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{file}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{file}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{file}");
        assert!(
            answer.header("set-cookie").is_none() && answer.header("access-control-allow-origin").is_none()
        );
        let tag = answer.header("etag").unwrap();
        let again = get(&fleet.at(file)).header("If-None-Match", tag).send().unwrap();
        assert_eq!((again.status, again.body.len()), (304, 0), "{file}: {again}");
    }
    // No script and no style stands in the page itself.
    assert!(html.matches("<script").count() == 1 && html.contains("<script type=\"module\" src="));
    assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("onclick"));
}

#[test]
fn console_addresses_have_one_reading() {
    let fleet = Fleet::shared(Db::Sqlite);
    assert_eq!(get(&fleet.at("/console")).send().unwrap().status, 200);
    let moved = get(&fleet.at("/console/")).send().unwrap();
    assert_eq!(
        (moved.status, moved.header("location")),
        (308, Some("/console")),
        "{moved}"
    );
    for path in [
        "/console/nothing.js",
        "/console/index.html",
        "/console/views",
        "/console/main.js/",
        "/Console",
        "/console/views/../main.js",
        "/console/%6dain.js",
        "/console;x",
    ] {
        let status = get(&fleet.at(path)).send().unwrap().status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    let posted = Request::post(&fleet.at("/console"))
        .unwrap()
        .form(&[])
        .send()
        .unwrap();
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, Some("GET, HEAD")),
        "{posted}"
    );
}

/// The address of a request of the console, at this base.
fn asked(fleet: &Fleet, base: &str, (pkce, more): (&Pkce, &[(&str, &str)])) -> String {
    let (callback, resource) = (format!("{base}/console"), fleet.admin_resource());
    let own = [
        ("redirect_uri", callback.as_str()),
        ("resource", &resource),
        ("scope", "openid admin:read admin:write"),
    ];
    let kept = own
        .iter()
        .filter(|(name, _)| !more.iter().any(|(set, _)| set == name));
    let all: Vec<_> = kept.chain(more).copied().collect();
    let url = fleet.authorization_url(CLIENT_ID, pkce, &all);
    format!("{base}{}", url.strip_prefix(&fleet.server.issuer).unwrap())
}

fn param(url: &str, name: &str) -> Option<String> {
    query(url)
        .into_iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

/// A browser in which an administrator has shown a password and a second factor.
fn administrator(fleet: &Fleet) -> (Person, String) {
    let username = fleet.fresh_name();
    fleet.user(&username, PASSWORD, &["--admin"]);
    let codes = set_up(&mut signed_in(fleet, &username));
    let mut person = fleet.person();
    let page = person.sign_in(&username, PASSWORD).page();
    assert_eq!(second_step(&mut person, &page, &codes[0]).status, 303);
    (person, username)
}

/// The code with which the console comes up, without that anybody was asked anything.
#[track_caller]
fn entered(fleet: &Fleet, person: &mut Person, (pkce, more): (&Pkce, &[(&str, &str)])) -> String {
    let page = person.page(&asked(fleet, &fleet.server.issuer, (pkce, more)));
    assert!(page.text().contains("console/main.js"), "{}", page.answer);
    assert_eq!(param(&page.url, "iss").as_deref(), Some(&*fleet.server.issuer));
    let code = param(&page.url, "code").unwrap_or_else(|| panic!("{}", page.url));
    fleet.remember(&code);
    code
}

fn redeem(fleet: &Fleet, holder: Option<&Holder>, code: &str, pkce: &Pkce) -> Answer {
    let url = fleet.at("/oauth/token");
    let mut request = Request::post(&url).unwrap();
    if let Some(holder) = holder {
        request = request.header("DPoP", &holder.proof("POST", &url));
    }
    let callback = fleet.at("/console");
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT_ID),
        ("code", code),
        ("redirect_uri", &callback),
        ("code_verifier", &pkce.verifier),
    ];
    request.form(&form).send().unwrap()
}

/// A request to the API as the console makes it.
fn call(fleet: &Fleet, (holder, token): (&Holder, &str), method: &str, body: Option<&Value>) -> Answer {
    let url = fleet.at(CLIENTS);
    let mut request = Request::new(method, &url)
        .unwrap()
        .header("Authorization", &format!("DPoP {token}"))
        .header("DPoP", &holder.proof_for(method, &url, token));
    if let Some(body) = body {
        request = request.json(body);
    }
    request.send().unwrap()
}

both!(console_an_administrator_enters_and_nobody_is_asked);
fn console_an_administrator_enters_and_nobody_is_asked(db: Db) {
    let fleet = Fleet::shared(db);
    let (mut person, _) = administrator(&fleet);
    let (pkce, holder) = (Pkce::fresh(), Holder::fresh());
    // A token that is bound to nothing is none that the console gets.
    let code = entered(&fleet, &mut person, (&pkce, &[]));
    refused_400(&redeem(&fleet, None, &code, &pkce), "invalid_dpop_proof");
    // Whoever only looks may only look, also after more was granted; what is not asked for is not in the token.
    for (scope, status) in [("openid admin:read admin:write", 201), ("openid admin:read", 403)] {
        let pkce = Pkce::fresh();
        let code = entered(&fleet, &mut person, (&pkce, &[("scope", scope)]));
        let tokens = granted(&redeem(&fleet, Some(&holder), &code, &pkce));
        for name in ["access_token", "refresh_token", "id_token"] {
            fleet.remember(tokens[name].as_str().unwrap());
        }
        assert_eq!(tokens["token_type"], "DPoP");
        let shown = (&holder, tokens["access_token"].as_str().unwrap());
        let read = call(&fleet, shown, "GET", None);
        assert_eq!(read.status, 200, "{read}");
        let made = call(
            &fleet,
            shown,
            "POST",
            Some(&json!({"client_name": "from the console"})),
        );
        assert_eq!(made.status, status, "{scope}: {made}");
        if let Some(secret) = made.json().unwrap()["client_secret"].as_str() {
            fleet.remember(secret);
        }
    }
    // It is a part of the server: nobody changes or ends it.
    let admin = fleet.admin("admin:read admin:write");
    let one = format!("{CLIENTS}/{CLIENT_ID}");
    let (shown, tag) = admin.read(&one);
    assert_eq!(shown["origin"], "operator");
    for answer in [
        admin.patch(&one, &tag, &json!({"redirect_uris": ["https://evil.example/"]})),
        admin.delete(&one, &tag),
        admin.post(&format!("{one}/secrets"), &json!({})),
    ] {
        assert_eq!(answer.status, 409, "{answer}");
        assert_eq!(answer.json().unwrap()["code"], "conflict");
    }
    let code = entered(&fleet, &mut person, (&pkce, &[]));
    assert_eq!(redeem(&fleet, Some(&holder), &code, &pkce).status, 200);
}

both!(adm_01_a_password_alone_or_a_person_who_is_no_administrator_does_not_enter);
fn adm_01_a_password_alone_or_a_person_who_is_no_administrator_does_not_enter(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.fresh_name();
    fleet.user(&username, PASSWORD, &["--admin"]);
    let request = asked(&fleet, &fleet.server.issuer, (&Pkce::fresh(), &[]));
    let refusal = |person: &mut Person| {
        let page = person.page(&request);
        assert_eq!(param(&page.url, "code"), None, "{}", page.url);
        param(&page.url, "error").unwrap_or_else(|| panic!("{}", page.url))
    };
    let needs_factor = "unmet_authentication_requirements";
    assert_eq!(refusal(&mut signed_in(&fleet, &username)), needs_factor);
    // Who signs in on the way is told the same, and gets nothing by answering what was not asked.
    let mut person = fleet.person();
    let page = person.page(&request);
    let i = page.form("/login").value("i").unwrap().to_owned();
    let page = person.sign_in_at(&page, &username, PASSWORD).page();
    assert_eq!(
        param(&page.url, "error").as_deref(),
        Some(needs_factor),
        "{}",
        page.url
    );
    let csrf = person
        .page("/account")
        .form("/account/password")
        .value("csrf")
        .unwrap()
        .to_owned();
    let yes = [
        ("i", i.as_str()),
        ("csrf", &csrf),
        ("decision", "allow"),
        ("scope", "openid admin:read admin:write"),
    ];
    let answer = person.post("/consent", &yes);
    let location = answer.header("location").unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(
        param(location, "error").as_deref(),
        Some(needs_factor),
        "{location}"
    );
    // With a second factor, but without the role.
    let username = fleet.person_account();
    let codes = set_up(&mut signed_in(&fleet, &username));
    let mut other = fleet.person();
    let page: Page = other.sign_in(&username, PASSWORD).page();
    assert_eq!(second_step(&mut other, &page, &codes[0]).status, 303);
    assert_eq!(refusal(&mut other), "access_denied");
    // The twin: the same request of somebody who may.
    let (mut administrator, _) = administrator(&fleet);
    let page = administrator.page(&request);
    assert!(param(&page.url, "code").is_some(), "{}", page.url);
    fleet.remember(&param(&page.url, "code").unwrap());
}

#[test]
fn adm_10_the_console_is_where_the_api_is() {
    let port = free_port().unwrap();
    let own = format!("http://localhost:{port}");
    let wishes = Wishes {
        server: Some(format!(
            "{UNLIMITED_SERVER}\n[admin]\nlisten = [\"127.0.0.1:{port}\"]\nurl = \"{own}\"\n"
        )),
        ..Wishes::default()
    };
    let fleet = Fleet::start(Db::Sqlite, &wishes);
    for path in ["/console", "/console/", "/console/main.js"] {
        assert_eq!(get(&fleet.at(path)).send().unwrap().status, 404, "{path}");
    }
    for path in ["/console", "/console/main.js"] {
        assert_eq!(get(&format!("{own}{path}")).send().unwrap().status, 200, "{path}");
    }
    // Operators need no other address, and come back to it.
    let username = fleet.fresh_name();
    fleet.user(&username, PASSWORD, &["--admin"]);
    let mut person = Person::new(&own);
    let page = person.page(&asked(&fleet, &own, (&Pkce::fresh(), &[])));
    let page = person.sign_in_at(&page, &username, PASSWORD).page();
    assert!(page.url.starts_with(&format!("{own}/console?")), "{}", page.url);
    assert!(param(&page.url, "error").is_some(), "{}", page.url);
}

#[test]
fn a_console_that_is_off_is_not_there_and_has_no_client() {
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}\n[admin]\nconsole = false\n")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(Db::Sqlite, &wishes);
    for path in ["/console", "/console/main.js"] {
        assert_eq!(get(&fleet.at(path)).send().unwrap().status, 404, "{path}");
    }
    assert_eq!(get(&fleet.at("/admin/openapi.json")).send().unwrap().status, 200);
    let answer = fleet
        .person()
        .get(&asked(&fleet, &fleet.server.issuer, (&Pkce::fresh(), &[])));
    assert_eq!(answer.status, 400, "{answer}");
}
