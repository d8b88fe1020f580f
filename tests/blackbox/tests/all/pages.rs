//! UI-01, UI-02, UI-10, UI-14, UI-22, UI-25: what every page is like, whatever a client has sent.

use blackbox::answers::granted;
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::person::{Page, Person};
use blackbox::registered::{open_fleet, public};
use blackbox::{Db, Fleet, both};
use serde_json::json;
use xtask::http::Answer;

/// Every page that a person meets, up to the one before a decision; nothing of them is decided.
fn pages(fleet: &Fleet, client: &str, more: &[(&str, &str)]) -> (Person, Vec<Page>) {
    let ada = fleet.person_account();
    let mut browser = fleet.person();
    let login = browser.page(&fleet.authorization_url(client, &Pkce::fresh(), more));
    let form = login.form("/login");
    let fields = [("username", ada.as_str()), ("password", "wrong wrong wrong")];
    let wrong = browser.submit(&login, &form, &fields).page();
    assert_eq!(wrong.answer.status, 401);
    let consent = browser.sign_in_at(&wrong, &ada, PASSWORD).page();
    assert!(consent.has_form("/consent"), "{}", consent.answer);
    let mut all = vec![login, wrong, consent];
    for path in [
        "/account",
        "/device",
        "/device?user_code=BCDF-GHJK",
        "/logout",
        "/login/link",
        "/oauth/authorize?client_id=nobody",
        "/consent?i=nothing",
    ] {
        all.push(browser.page(path));
    }
    (browser, all)
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .header(name)
        .unwrap_or_else(|| panic!("no {name} in {answer}"))
}

both!(ui_01_ui_02_no_page_is_framed_or_runs_what_is_not_ours);
fn ui_01_ui_02_no_page_is_framed_or_runs_what_is_not_ours(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let (_, pages) = pages(&fleet, &client, &[]);
    for page in &pages {
        let answer = &page.answer;
        assert_eq!(header(answer, "x-frame-options"), "DENY", "{}", page.url);
        let policy = header(answer, "content-security-policy");
        let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
        for needed in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
        ] {
            assert!(directives.contains(&needed), "{needed} in {policy}");
        }
        let form = directives
            .iter()
            .find(|one| one.starts_with("form-action "))
            .unwrap();
        let to = form.trim_start_matches("form-action 'self'").trim();
        assert!(to.is_empty() || to == "http://127.0.0.1:9", "{form}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let html = answer.text();
        for inline in [
            "<style",
            "style=\"",
            " onclick",
            " onload",
            " onerror",
            "javascript:",
        ] {
            assert!(!html.contains(inline), "{inline} at {}", page.url);
        }
        for script in html.split("<script").skip(1) {
            assert!(script.contains(" src=\"/assets/"), "{script}");
            assert_eq!(script.split('>').nth(1), Some("</script"), "a script on the page");
        }
        assert_eq!(header(answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(answer, "cache-control"), "no-store");
    }
}

both!(ui_10_what_others_wrote_stays_text);
fn ui_10_what_others_wrote_stays_text(db: Db) {
    const HOSTILE: &str = "\"><script>alert(1)</script>";
    let fleet = Fleet::shared(db);
    let scope = "a><script>alert(1)</script>";
    let node = fleet.resource(&["--scopes", &format!("mcp:read {scope}")]);
    let words = [
        "--resource",
        node.as_str(),
        "--scopes",
        &format!("mcp:read {scope}"),
    ];
    let client = fleet.web_client(CALLBACK, &words);
    let rename = ["client", "update", &client, "--name", HOSTILE];
    fleet.server.json(&rename).unwrap();
    let more = [
        ("resource", node.as_str()),
        ("scope", scope),
        ("state", HOSTILE),
        ("login_hint", HOSTILE),
        ("ui_locales", HOSTILE),
        ("nonce", HOSTILE),
    ];
    let (mut browser, pages) = pages(&fleet, &client, &more);
    let faults = [
        format!("/oauth/authorize?client_id={HOSTILE}&error={HOSTILE}"),
        format!("/login?i={HOSTILE}&done={HOSTILE}&error={HOSTILE}"),
        format!("/device?user_code={HOSTILE}"),
        format!("/consent?i={HOSTILE}"),
    ];
    let encoded = |path: &String| path.replace('"', "%22").replace('<', "%3C").replace('>', "%3E");
    let faults = faults.iter().map(|path| browser.page(&encoded(path)));
    let mut shown = 0;
    for page in pages.into_iter().chain(faults.collect::<Vec<_>>()) {
        let html = page.answer.text();
        assert!(!html.contains("<script>"), "{}: {html}", page.url);
        shown += usize::from(html.contains("alert(1)"));
    }
    // The positive twin: name, scope and hint are shown, as text.
    assert!(shown >= 2, "nothing of it was shown");
}

// UI-14, UI-11: a form carries the number of what the server keeps, and nothing that could be changed to more.
both!(ui_14_a_changed_form_grants_nothing_else);
fn ui_14_a_changed_form_grants_nothing_else(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &["--scopes", "mcp:read"]);
    let ada = fleet.person_account();
    let pkce = Pkce::fresh();
    let mut browser = fleet.person();
    let page = browser.page(&fleet.authorization_url(&client, &pkce, &[]));
    let page = browser.sign_in_at(&page, &ada, PASSWORD).page();
    for (name, value) in [("i", "AAAAAAAAAAAAAAAAAAAAAA"), ("i", ""), ("csrf", "x")] {
        let refused = browser.decide(&page, "allow", &[(name, value)]).page();
        assert_eq!(refused.answer.status, 403, "{name}: {}", refused.answer);
    }
    let added = [
        ("scope", "mcp:read mcp:call admin"),
        ("client_id", "c_other"),
        ("redirect_uri", "https://evil.example/cb"),
        ("resource", "https://evil.example/mcp"),
        ("user_id", "u_other"),
    ];
    let redirect = browser.decide(&page, "allow", &added).redirect();
    assert!(
        redirect.url.starts_with(&format!("{CALLBACK}?code=")),
        "{}",
        redirect.url
    );
    let code = redirect.code();
    fleet.remember(&code);
    let tokens = granted(&fleet.redeem(&client, &code, &pkce, &[]));
    assert_eq!(tokens["scope"], "mcp:read");
}

// UI-22: no picture of a client is fetched, kept or shown, so none can be a script, or tell others who looks.
both!(ui_22_no_picture_of_a_client_is_shown);
fn ui_22_no_picture_of_a_client_is_shown(db: Db) {
    let fleet = open_fleet(db);
    let pictured = public(&json!({
        "client_name": "Pictured", "logo_uri": "https://client.example/logo.svg",
        "client_uri": "https://client.example/", "policy_uri": "https://client.example/policy",
    }));
    let client = fleet.registered(&pictured);
    let (_, pages) = pages(&fleet, client["client_id"].as_str().unwrap(), &[]);
    assert!(pages[2].text().contains("Pictured"));
    for page in &pages {
        let html = page.answer.text();
        assert!(!html.contains("logo.svg"), "{html}");
        for image in html.split("<img").skip(1) {
            assert!(image.contains(" src=\"/assets/"), "{image}");
        }
    }
}

// UI-25: [`Person`] runs no script, so all of these tests do without; a page needs one for passkeys alone, and is made
// for readers and keyboards.
both!(ui_25_pages_need_no_script_and_name_what_is_on_them);
fn ui_25_pages_need_no_script_and_name_what_is_on_them(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let (mut browser, pages) = pages(&fleet, &client, &[]);
    for page in &pages {
        let html = page.answer.text();
        assert!(html.contains("<html lang=\"en\">"), "{}", page.url);
        assert!(html.contains("<main") && html.contains("<h1"), "{}", page.url);
        assert!(html.contains("name=\"viewport\""), "{}", page.url);
        for form in page.forms() {
            assert_eq!(form.method, "post", "{form:?}");
        }
        for input in html.split("<input").skip(1) {
            let input = input.split('>').next().unwrap();
            if input.contains("aria-hidden=\"true\"") {
                // For password stores, which want to see whose password is typed.
                continue;
            }
            let Some(id) = input
                .split(" id=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
            else {
                let is_labelled = ["hidden", "radio", "checkbox"]
                    .iter()
                    .any(|kind| input.contains(&format!("type=\"{kind}\"")));
                assert!(is_labelled, "no label for {input}");
                continue;
            };
            assert!(
                html.contains(&format!("<label for=\"{id}\"")),
                "no label for {id} at {}",
                page.url
            );
        }
        assert!(!html.contains("tabindex=\"1"), "{}", page.url);
    }
    let redirect = browser.decide(&pages[2], "allow", &[]).redirect();
    fleet.remember(&redirect.code());
}
