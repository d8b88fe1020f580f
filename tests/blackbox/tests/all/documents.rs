//! CIMD-01 … CIMD-22: a client whose id is the address of its own metadata
//! (draft-ietf-oauth-client-id-metadata-document, MCP 2026-07-28).

use blackbox::answers::{granted, json, refused_client};
use blackbox::people::{PASSWORD, Pkce};
use blackbox::published::{Published, UNLIMITED_FETCHES, document};
use blackbox::publisher::Reply;
use blackbox::{Db, Fleet, Place, both, near_and_far};
use serde_json::{Value, json};

both!(cimd_01_a_published_client_gets_tokens_once_somebody_allows_it);
fn cimd_01_a_published_client_gets_tokens_once_somebody_allows_it(db: Db) {
    let here = Published::start(db, UNLIMITED_FETCHES);
    let (client, path) = here.client(&json!({}));
    let ada = here.fleet.person_account();
    let mut browser = here.fleet.person();
    let pkce = Pkce::fresh();
    let url = here.fleet.authorization_url(&client, &pkce, &[]);
    assert!(browser.page(&url).has_form("/login"));
    // Strangers cannot fill the database: there is a row when a person has said yes.
    assert_eq!(here.row(&client), None);
    let redirect = browser.allow(&url, (&ada, PASSWORD));
    here.fleet.remember(&redirect.code());
    assert_eq!(here.row(&client).unwrap()["client_name"], "Example Agent");
    let tokens = granted(&here.fleet.redeem(&client, &redirect.code(), &pkce, &[]));
    assert_eq!(
        here.fleet.call(tokens["access_token"].as_str().unwrap()).status,
        200
    );
    let refreshed = here
        .fleet
        .refresh(&client, tokens["refresh_token"].as_str().unwrap(), &[]);
    assert!(granted(&refreshed)["access_token"].is_string());
    assert_eq!(
        here.publisher.requests(&path).len(),
        1,
        "it was fetched once for all that"
    );
    // The server knows it from now on without asking anybody.
    here.fleet.restart_server();
    let again = granted(&refreshed)["refresh_token"].as_str().unwrap().to_owned();
    assert!(granted(&here.fleet.refresh(&client, &again, &[]))["access_token"].is_string());
    assert_eq!(here.publisher.requests(&path).len(), 1);
}

/// The documents as they were published on 2026-09-08.
fn fixture(name: &str) -> (std::path::PathBuf, Value) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/client-metadata");
    let file = folder.join(name);
    let text = std::fs::read(&file).unwrap();
    (file, serde_json::from_slice(&text).unwrap())
}

both!(cimd_01_clients_in_use_can_be_pinned_and_get_tokens);
fn cimd_01_clients_in_use_can_be_pinned_and_get_tokens(db: Db) {
    let fleet = Fleet::shared(db);
    let ada = fleet.person_account();
    for (name, redirects) in [
        (
            "claude-code.json",
            &["http://localhost:41234/callback", "http://127.0.0.1:5/callback"][..],
        ),
        (
            "vscode.json",
            &[
                "http://127.0.0.1:33418/",
                "http://127.0.0.1:50000/",
                "https://vscode.dev/redirect",
            ],
        ),
        (
            "chatgpt-choices-only.json",
            &["https://chatgpt.com/connector_platform_oauth_redirect"],
        ),
    ] {
        let (file, document) = fixture(name);
        let client = document["client_id"].as_str().unwrap();
        let made = fleet
            .server
            .json(&["client", "import", "--pin", "--document", file.to_str().unwrap()])
            .unwrap();
        assert_eq!(
            (&made["client_id"], &made["client_name"]),
            (&document["client_id"], &document["client_name"])
        );
        for redirect_uri in redirects {
            let (mut browser, pkce) = (fleet.person(), Pkce::fresh());
            let more = [
                ("redirect_uri", *redirect_uri),
                ("scope", "mcp:read mcp:call offline_access"),
            ];
            let redirect = fleet.allowed(&mut browser, &ada, client, (&pkce, &more));
            assert!(redirect.url.starts_with(redirect_uri), "{}", redirect.url);
            let redeemed = fleet.redeem(client, &redirect.code(), &pkce, &[("redirect_uri", redirect_uri)]);
            let tokens = granted(&redeemed);
            assert_eq!(fleet.call(tokens["access_token"].as_str().unwrap()).status, 200);
            granted(&fleet.refresh(client, tokens["refresh_token"].as_str().unwrap(), &[]));
        }
        let (mut browser, pkce) = (fleet.person(), Pkce::fresh());
        let elsewhere = [("redirect_uri", "https://evil.example/cb")];
        let page = browser.page(&fleet.authorization_url(client, &pkce, &elsewhere));
        assert_eq!(page.answer.status, 400, "{}", page.answer);
    }
    // The newer form asks for keys that nobody here can show: it is authorized, and not taken for a public client.
    let (file, document) = fixture("chatgpt.json");
    let client = document["client_id"].as_str().unwrap();
    let made = fleet
        .server
        .json(&["client", "import", "--pin", "--document", file.to_str().unwrap()])
        .unwrap();
    assert_eq!(
        made["token_endpoint_auth_methods_supported"][0],
        "private_key_jwt"
    );
    let (mut browser, pkce) = (fleet.person(), Pkce::fresh());
    let redirect_uri = (
        "redirect_uri",
        "https://chatgpt.com/connector_platform_oauth_redirect",
    );
    let redirect = fleet.allowed(&mut browser, &ada, client, (&pkce, &[redirect_uri]));
    refused_client(
        &fleet.redeem(client, &redirect.code(), &pkce, &[redirect_uri]),
        false,
    );
}

both!(cimd_02_03_an_address_that_programs_read_in_two_ways_is_not_fetched);
fn cimd_02_03_an_address_that_programs_read_in_two_ways_is_not_fetched(db: Db) {
    let here = Published::shared(db);
    let (good, path) = here.client(&json!({}));
    assert_eq!(here.arrive(&good).status, 303);
    let fetched = here.publisher.requests(&path).len();
    let root = here.publisher.at("");
    for bad in [
        root.clone(),
        format!("{root}/"),
        format!("{root}/?a"),
        format!("{good}#f"),
        format!("{root}/x/..{path}"),
        format!("{root}/.{path}"),
        format!("{root}/x/%2e%2e{path}"),
        format!("{root}\\{path}"),
        format!("{root}/ {path}"),
        format!("\t{good}"),
        format!("{good}\n"),
        good.replace("https://", "https:/"),
        good.replace("https://", "https:"),
        good.replace("https://", "HTTPS://"),
        good.replace("https://", "http://"),
        good.replace("https://", "https://u@"),
        good.replace("127.0.0.1", "0x7f.1"),
        good.replace("127.0.0.1", "2130706433"),
    ] {
        let answer = here.arrive(&bad);
        assert_eq!(answer.status, 400, "{bad:?}: {answer}");
        assert!(!answer.text().contains(&path), "{bad:?} is repeated");
    }
    assert_eq!(here.publisher.requests(&path).len(), fetched);
}

both!(cimd_04_10_11_13_14_a_document_that_says_what_it_may_not);
fn cimd_04_10_11_13_14_a_document_that_says_what_it_may_not(db: Db) {
    let here = Published::shared(db);
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    for (more, reason) in [
        (json!({"client_name": null}), "client_name"),
        (json!({"redirect_uris": null}), "redirect"),
        (
            json!({"redirect_uris": ["http://client.example/cb"]}),
            "redirect URI",
        ),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "redirect URI"),
        (json!({"client_secret": "x"}), "no secret"),
        (
            json!({"token_endpoint_auth_method": "client_secret_post"}),
            "no secret",
        ),
        (json!({"token_endpoint_auth_method": "private_key_jwt"}), "jwks"),
        (
            json!({"jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "d": x}]}}),
            "jwks",
        ),
        (json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}), "jwks"),
        (json!({"grant_types": ["client_credentials"]}), "grant_types"),
        (json!({"scope": "root"}), "scopes"),
    ] {
        let (client, path) = here.client(&more);
        let answer = here.arrive(&client);
        assert_eq!(answer.status, 400, "{more}: {answer}");
        assert!(
            here.reason(&client).contains(reason),
            "{more}: {}",
            here.reason(&client)
        );
        // CIMD-20: nothing of it is kept. Once it is right it works.
        here.publisher.publish_client(&path, document(&json!({})));
        assert_eq!(here.arrive(&client).status, 303, "{more}");
    }
    let path = here.path();
    let address = here.publisher.at(&path);
    for other in [
        address.to_uppercase(),
        format!("{address}/"),
        address.replace("client", "%63lient"),
        String::new(),
    ] {
        let mut document = document(&json!({}));
        document["client_id"] = Value::from(other);
        here.publisher.publish(&path, Reply::json(&document));
        assert_eq!(here.arrive(&address).status, 400, "{document}");
        assert!(
            here.reason(&address).contains("not the address"),
            "{}",
            here.reason(&address)
        );
    }
}

both!(cimd_05_06_07_08_an_answer_that_is_no_document);
fn cimd_05_06_07_08_an_answer_that_is_no_document(db: Db) {
    let here = Published::shared(db);
    let (target, target_path) = here.client(&json!({}));
    let good = |address: &str| {
        let mut document = document(&json!({}));
        document["client_id"] = Value::from(address);
        document
    };
    let path = here.path();
    let address = here.publisher.at(&path);
    let text = good(&address).to_string();
    let padded = format!("{}{}", text, " ".repeat(5 * 1024));
    let statuses = [201, 203, 204, 206, 304, 404, 500]
        .map(|status| (Reply::json(&good(&address)).status(status), "status"));
    let redirects = [301, 302, 303, 307, 308].map(|status| {
        (
            Reply::json(&good(&address))
                .status(status)
                .header("Location", &target),
            "status",
        )
    });
    let bodies = [
        ("<html></html>".to_owned(), "JSON"),
        (format!("[{text}]"), "JSON"),
        (format!("\u{feff}{text}"), "JSON"),
        (format!("{text}x"), "JSON"),
        (text.replacen('{', "{\"client_name\":\"Other\",", 1), "twice"),
        (padded, "more than 5120 bytes"),
    ]
    .map(|(body, reason)| (Reply::bytes(body), reason));
    for (reply, reason) in statuses.into_iter().chain(redirects).chain(bodies) {
        here.publisher.publish(&path, reply.clone());
        let answer = here.arrive(&address);
        assert_eq!(answer.status, 400, "{reply:?}: {answer}");
        assert!(
            here.reason(&address).contains(reason),
            "{}",
            here.reason(&address)
        );
    }
    assert!(
        here.publisher.requests(&target_path).is_empty(),
        "a redirect was followed"
    );
    here.publisher.publish(&path, Reply::json(&good(&address)));
    assert_eq!(here.arrive(&address).status, 303);
}

near_and_far!(cimd_15_whom_an_operator_registered_is_not_fetched);
fn cimd_15_whom_an_operator_registered_is_not_fetched(place: Place) {
    let here = Published::shared(place);
    let (client, path) = here.client(&json!({"client_name": "Published"}));
    let mut registered = document(&json!({"client_name": "Registered"}));
    registered["client_id"] = Value::from(client.clone());
    let file = here
        .fleet
        .server
        .folder
        .join(format!("{}.json", here.fleet.fresh_name()));
    std::fs::write(&file, registered.to_string()).unwrap();
    let import = [
        "client",
        "import",
        "--vouch",
        "--document",
        file.to_str().unwrap(),
    ];
    here.fleet.server.json(&import).unwrap();
    let (_, page, _) = here.asked(&client);
    assert!(
        page.text().contains("Registered by the operator"),
        "{}",
        page.answer
    );
    assert!(!page.text().contains("Published"), "{}", page.answer);
    assert!(here.publisher.requests(&path).is_empty());
    assert!(here.fleet.server.json(&import).is_err(), "it is there already");
}

both!(cimd_05_a_document_says_that_it_is_json);
fn cimd_05_a_document_says_that_it_is_json(db: Db) {
    let here = Published::shared(db);
    for (media_type, is_good) in [
        ("text/html", false),
        ("application/octet-stream", false),
        ("Application/JSON; charset=utf-8", true),
        ("application/client-metadata+json", true),
    ] {
        let path = here.path();
        let mut published = document(&json!({}));
        let client = here.publisher.at(&path);
        published["client_id"] = Value::from(client.clone());
        here.publisher
            .publish(&path, Reply::json(&published).media_type(media_type));
        let status = here.arrive(&client).status;
        assert_eq!(status, if is_good { 303 } else { 400 }, "{media_type}");
        if !is_good {
            assert!(here.reason(&client).contains("not JSON, by its Content-Type"));
            assert!(here.fleet.server.json(&["client", "pin", &client]).is_err());
        }
    }
}

both!(cimd_19_everybody_who_waits_shares_one_fetch);
fn cimd_19_everybody_who_waits_shares_one_fetch(db: Db) {
    let here = Published::start(db, UNLIMITED_FETCHES);
    let path = here.path();
    let mut published = document(&json!({}));
    published["client_id"] = Value::from(here.publisher.at(&path));
    here.publisher.publish(&path, Reply::json(&published).held());
    let client = here.publisher.at(&path);
    std::thread::scope(|scope| {
        let arrivals: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| here.arrive(&client).status))
            .collect();
        while here.publisher.requests(&path).is_empty() {
            std::thread::yield_now();
        }
        here.publisher.release();
        for arrival in arrivals {
            assert_eq!(arrival.join().unwrap(), 303);
        }
    });
    assert_eq!(here.publisher.requests(&path).len(), 1);
}

both!(cimd_21_one_address_causes_a_bounded_number_of_fetches);
fn cimd_21_one_address_causes_a_bounded_number_of_fetches(db: Db) {
    let here = Published::start(
        db,
        "\n[clients]\nfetches_per_address = \"3/h\"\nfetches_per_host = \"4/h\"\n",
    );
    let clients: Vec<_> = (0..4).map(|_| here.client(&json!({}))).collect();
    for (client, _) in &clients[..3] {
        assert_eq!(here.arrive(client).status, 303);
    }
    let refused = here.arrive(&clients[3].0);
    assert_eq!(refused.status, 429, "{refused}");
    assert!(refused.header("retry-after").is_some());
    assert!(here.publisher.requests(&clients[3].1).is_empty());
    // What has been fetched is no fetch any more, and the token endpoint counts together with this one.
    assert_eq!(here.arrive(&clients[0].0).status, 303);
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", clients[3].0.as_str()),
        ("code", "x"),
    ];
    assert_eq!(here.fleet.post_bare("/oauth/token", &form).status, 429);
}

both!(cimd_21_one_host_is_asked_a_bounded_number_of_times);
fn cimd_21_one_host_is_asked_a_bounded_number_of_times(db: Db) {
    let here = Published::start(
        db,
        "\n[clients]\nfetches_per_address = \"off\"\nfetches_per_host = \"2/h\"\n",
    );
    let clients: Vec<_> = (0..4).map(|_| here.client(&json!({}))).collect();
    // One that every address has to itself, and two that all of them share.
    for (client, _) in &clients[..3] {
        assert_eq!(here.arrive(client).status, 303);
    }
    let refused = here.arrive(&clients[3].0);
    assert_eq!(refused.status, 429, "{refused}");
    assert!(here.publisher.requests(&clients[3].1).is_empty());
    assert!(
        here.fleet
            .logs()
            .contains("the share of documents of a host is used up")
    );
    let elsewhere = here.publisher.at_host("localhost", &clients[3].1);
    let mut document = document(&json!({}));
    document["client_id"] = Value::from(elsewhere.clone());
    here.publisher.publish(&clients[3].1, Reply::json(&document));
    assert_eq!(
        here.arrive(&elsewhere).status,
        303,
        "another host has its own share"
    );
}

both!(cimd_22_people_see_whose_client_it_is);
fn cimd_22_people_see_whose_client_it_is(db: Db) {
    let here = Published::shared(db);
    let (client, _) =
        here.client(&json!({"client_name": "Claude", "redirect_uris": ["http://127.0.0.1/callback"]}));
    let (mut person, page, _) = here.asked(&client);
    let host = client.trim_start_matches("https://").split('/').next().unwrap();
    for part in [
        "Claude",
        &format!("Identified as {host}"),
        "127.0.0.1:9",
        "any program here could use that name",
    ] {
        assert!(page.text().contains(part), "{part}: {}", page.answer);
    }
    assert!(
        !page.text().contains("Registered by the operator"),
        "{}",
        page.answer
    );
    // Where they look at what they allowed, too.
    let code = person.decide(&page, "allow", &[]).redirect().code();
    here.fleet.remember(&code);
    let account = person.page("/account");
    assert!(
        account.text().contains(&format!("Identified as {host}")),
        "{}",
        account.answer
    );
    // Nobody vouches for it, so it is told nothing before somebody has seen a page.
    let mut browser = here.fleet.person();
    let url = here
        .fleet
        .authorization_url(&client, &Pkce::fresh(), &[("prompt", "none")]);
    assert_eq!(browser.page(&url).answer.status, 400);
}

both!(cimd_metadata_says_whether_documents_are_fetched);
fn cimd_metadata_says_whether_documents_are_fetched(db: Db) {
    let says = |here: &Published| {
        let answer = here.fleet.person().get("/.well-known/oauth-authorization-server");
        json(&answer)["client_id_metadata_document_supported"].clone()
    };
    let here = Published::shared(db);
    assert_eq!(says(&here), true);
    let off = Published::start(db, "\n[clients]\nmetadata_documents = \"off\"\n");
    assert_eq!(says(&off), Value::Null);
    let (client, path) = off.client(&json!({}));
    assert_eq!(off.arrive(&client).status, 400);
    let listed = "\n[clients]\nmetadata_documents = \"allowlist\"\ndocument_hosts = [\"localhost\"]\n";
    let listed = Published::start(db, listed);
    assert_eq!(says(&listed), true);
    let (client, _) = listed.client(&json!({}));
    assert_eq!(listed.arrive(&client).status, 400, "127.0.0.1 is not listed");
    let client = listed.publisher.at_host("localhost", &path);
    let mut document = document(&json!({}));
    document["client_id"] = Value::from(client.clone());
    listed.publisher.publish(&path, Reply::json(&document));
    assert_eq!(listed.arrive(&client).status, 303);
    assert!(off.publisher.requests(&path).is_empty());
}
