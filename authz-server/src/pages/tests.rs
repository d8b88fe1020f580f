//! Every page, in every language, with plain and with hostile values. They are written to `target/pages` too, to be
//! looked at.

use std::path::Path;

use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, VARY};
use askama::Template;
use shared::clock::UnixSeconds;

use super::lang::Reason;
use super::*;
use crate::authorization_details::AuthorizationDetails;
use crate::client::Origin;

const HOSTILE: &str = "\"><script>alert(1)</script>";
const NOW: UnixSeconds = UnixSeconds(1_795_255_440);
const LANGS: [Lang; 2] = [Lang::En, Lang::Es];
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0";

/// The values that a page shows.
struct Values<'a> {
    client: &'a str,
    person: &'a str,
    node: &'a str,
    uri: &'a str,
    host: &'a str,
    provider: &'a str,
    agent: &'a str,
    other: &'a str,
    secret: &'a str,
    scopes: Vec<ScopeLine>,
    details: Vec<DetailItem>,
}

impl<'a> Values<'a> {
    fn plain(lang: Lang) -> Self {
        Self {
            client: "Claude Code",
            person: "Ana Ruiz",
            node: "Greenhouse",
            uri: "https://greenhouse.example/mcp",
            host: "127.0.0.1",
            provider: "Example ID",
            agent: AGENT,
            other: "ana",
            secret: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
            scopes: ["mcp:read", "mcp:call", "mcp:resources", "greenhouse:water"]
                .into_iter()
                .map(|scope| ScopeLine::new(lang, scope, false))
                .collect(),
            details: details(
                lang,
                r#"[{"type":"water","actions":["open","close"],"identifier":"bed 7","limits":[20,30]}]"#,
            ),
        }
    }

    fn hostile(lang: Lang) -> Self {
        Self {
            client: HOSTILE,
            person: HOSTILE,
            node: HOSTILE,
            uri: HOSTILE,
            host: HOSTILE,
            provider: HOSTILE,
            agent: HOSTILE,
            other: HOSTILE,
            secret: HOSTILE,
            scopes: vec![ScopeLine::new(lang, HOSTILE, true)],
            details: details(
                lang,
                r#"[{"type":"><script>alert(1)</script>","actions":["\"><script>alert(1)</script>"],
                    "identifier":"\"><script>alert(1)</script>","\"><script>alert(1)</script>":["x",1],
                    "more":{"\"><script>alert(1)</script>":"<script>alert(1)</script>"}}]"#,
            ),
        }
    }
}

fn details(lang: Lang, text: &str) -> Vec<DetailItem> {
    let details = AuthorizationDetails::stored(text).unwrap();
    DetailItem::list(lang, Some(&details))
}

fn rendered(page: &impl Template) -> String {
    page.render().unwrap()
}

fn entrances(page: Page<'_>, v: &Values<'_>) -> Vec<(&'static str, String)> {
    let t = page.texts();
    let sign_in = SignIn {
        page,
        interaction: Some(v.other),
        client: Some(v.client),
        username: "",
        notice: Some(t.sign_in_with_new_password),
        error: None,
        passwords: true,
        passkeys: true,
        upstream: Some(v.provider),
    };
    let wrong = SignIn {
        username: v.other,
        notice: None,
        error: Some(t.wrong_password),
        client: None,
        upstream: None,
        ..sign_in
    };
    let set_password = SetPassword {
        page,
        link: v.secret,
        person: Some(v.person),
        username: v.other,
        display_name: v.person,
        min_length: 12,
        error: None,
    };
    let first_admin = SetPassword {
        person: None,
        error: Some(t.passwords_differ),
        ..set_password
    };
    let second = SecondFactor {
        page,
        interaction: v.other,
        error: None,
    };
    let second_wrong = SecondFactor {
        error: Some(t.wrong_code),
        ..second
    };
    vec![
        ("sign_in", rendered(&sign_in)),
        ("sign_in_wrong", rendered(&wrong)),
        ("set_password", rendered(&set_password)),
        ("first_admin", rendered(&first_admin)),
        ("second_factor", rendered(&second)),
        ("second_factor_wrong", rendered(&second_wrong)),
    ]
}

fn decisions(page: Page<'_>, v: &Values<'_>) -> Vec<(&'static str, String)> {
    let consent = Consent {
        page,
        interaction: v.other,
        client: v.client,
        identity: ClientIdentity::Operator,
        redirect_host: v.host,
        is_loopback: true,
        node: v.node,
        node_uri: v.uri,
        scopes: &v.scopes,
        details: &[],
        granted: v.other,
        person: v.person,
        before_upstream: None,
    };
    let mut more = v.scopes.clone();
    more.push(ScopeLine::new(page.lang, "fleet:connect", true));
    let step_up = Consent {
        scopes: &more,
        details: &v.details,
        identity: ClientIdentity::Host(v.host),
        is_loopback: false,
        ..consent
    };
    let before = Consent {
        before_upstream: Some(v.provider),
        identity: ClientIdentity::Unverified,
        ..consent
    };
    let code = Code::new("https://auth.example/device?user_code=BCDF-GHJK").unwrap();
    let user_code = if v.client == HOSTILE { HOSTILE } else { "BCDF-GHJK" };
    let entry = DeviceEntry {
        page,
        user_code,
        code: Some(&code),
        error: Some(page.texts().wrong_user_code),
    };
    let confirm = DeviceConfirm {
        page,
        user_code,
        client: v.client,
        identity: ClientIdentity::Unverified,
        address: v.host,
        agent: v.agent,
        asked_at: NOW,
        node: v.node,
        node_uri: v.uri,
        scopes: &v.scopes,
        details: &v.details,
        granted: v.other,
        person: v.person,
    };
    let from_document = DeviceConfirm {
        identity: ClientIdentity::Host(v.host),
        ..confirm
    };
    vec![
        ("consent", rendered(&consent)),
        ("consent_step_up", rendered(&step_up)),
        ("consent_before_upstream", rendered(&before)),
        ("device_entry", rendered(&entry)),
        ("device_confirm", rendered(&confirm)),
        ("device_confirm_document", rendered(&from_document)),
    ]
}

fn own(page: Page<'_>, v: &Values<'_>) -> Vec<(&'static str, String)> {
    let grant = |client: &str, last_used, ends: Option<UnixSeconds>| GrantRow {
        grant_id: v.other.to_owned(),
        client: client.to_owned(),
        origin: if ends.is_some() {
            Origin::Registration
        } else {
            Origin::Document
        },
        host: Some(v.host.to_owned()),
        node: v.node.to_owned(),
        node_uri: v.uri.to_owned(),
        scopes: v.scopes.clone(),
        since: UnixSeconds(NOW.0 - 2_000_000),
        last_used,
        ends,
    };
    let session = |agent: &str, is_this| SessionRow {
        session_id: v.other.to_owned(),
        agent: agent.to_owned(),
        address: v.host.to_owned(),
        since: UnixSeconds(NOW.0 - 90_000),
        last_seen: NOW,
        is_this,
    };
    let passkey = PasskeyRow {
        credential_id: v.other.to_owned(),
        name: v.client.to_owned(),
        since: NOW,
        last_used: Some(NOW),
    };
    let linked = LinkedRow {
        provider: v.provider.to_owned(),
        subject: v.other.to_owned(),
        since: NOW,
    };
    let grants = [
        grant(v.client, Some(NOW), None),
        grant("Cursor", None, Some(UnixSeconds(NOW.0 + 86_400))),
    ];
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1";
    let sessions = [session(v.agent, true), session(phone, false)];
    let account = Account {
        page,
        display_name: v.person,
        username: v.other,
        notice: Some(page.texts().done_revoked),
        error: None,
        grants: &grants,
        sessions: &sessions,
        passkeys: Some(&[passkey]),
        has_totp: true,
        recovery_codes_left: 8,
        linked: &[linked],
        has_password: true,
        min_length: 12,
    };
    let empty = Account {
        notice: None,
        error: Some(page.texts().wrong_current_password),
        grants: &[],
        sessions: &sessions[..1],
        passkeys: Some(&[]),
        has_totp: false,
        linked: &[],
        ..account
    };
    let code = Code::new("otpauth://totp/Edge%20Hive:ana?secret=JBSWY3DPEHPK3PXP").unwrap();
    let enrol = EnrolTotp {
        page,
        code: Some(&code),
        secret: v.secret,
        error: None,
    };
    let sign_out = SignOut {
        page,
        interaction: Some(v.other),
        person: v.person,
    };
    vec![
        ("account", rendered(&account)),
        ("account_empty", rendered(&empty)),
        ("enrol_totp", rendered(&enrol)),
        ("sign_out", rendered(&sign_out)),
    ]
}

fn ends(page: Page<'_>, v: &Values<'_>) -> Vec<(&'static str, String)> {
    let t = page.texts();
    let done = |is_allowed| rendered(&DeviceDone { page, is_allowed });
    let codes: Vec<String> = if v.client == HOSTILE {
        vec![HOSTILE.to_owned()]
    } else {
        (0..10).map(|n| format!("7k{n}m-q2xz-9w{n}t")).collect()
    };
    let recovery = RecoveryCodes { page, codes: &codes };
    let message = Message {
        page,
        title: t.signed_out_title,
        sentence: t.signed_out,
    };
    let mut all = vec![
        ("device_allowed", done(true)),
        ("device_denied", done(false)),
        ("recovery_codes", rendered(&recovery)),
        ("message", rendered(&message)),
    ];
    let failed = |reason: &'static Reason| {
        rendered(&Failed {
            page,
            reason,
            code: "invalid_request",
        })
    };
    all.push(("failed_redirect", failed(&t.failed_redirect)));
    all.push(("failed_busy", failed(&t.failed_busy)));
    all
}

fn page(lang: Lang) -> Page<'static> {
    Page {
        lang,
        base: "",
        csrf: "the-anti-forgery-token",
    }
}

fn with_forms(lang: Lang, values: &Values<'_>) -> Vec<(&'static str, String)> {
    let page = page(lang);
    [
        entrances(page, values),
        decisions(page, values),
        own(page, values),
    ]
    .concat()
}

#[test]
fn every_page_is_whole_in_every_language() {
    for lang in LANGS {
        let values = Values::plain(lang);
        let mut pages = with_forms(lang, &values);
        pages.extend(ends(page(lang), &values));
        for (name, html) in pages {
            let at = format!("{name} in {}", lang.tag());
            assert!(html.contains(&format!("<html lang=\"{}\">", lang.tag())), "{at}");
            assert!(!html.contains(['{', '}']), "{at}: a placeholder is left");
            assert!(
                !html.contains("style=") && !html.contains("<style"),
                "{at}: inline style"
            );
            assert!(
                !html.contains(" on") || !html.contains("onclick"),
                "{at}: inline script"
            );
            assert_eq!(html.matches("<h1").count(), 1, "{at}");
            assert_eq!(html.matches("<main").count(), 1, "{at}");
            labels_and_descriptions_exist(&at, &html);
        }
    }
}

/// What `for`, `aria-describedby` and `aria-labelledby` name is on the page, once.
fn labels_and_descriptions_exist(at: &str, html: &str) {
    for attribute in [" for=\"", "aria-describedby=\"", "aria-labelledby=\"", "href=\"#"] {
        for value in html.split(attribute).skip(1) {
            for id in value.split('"').next().unwrap().split(' ') {
                let found = html.matches(&format!(" id=\"{id}\"")).count();
                assert_eq!(found, 1, "{at}: {attribute}{id}");
            }
        }
    }
    let inputs = html.split("<input").skip(1);
    for input in inputs.map(|rest| rest.split('>').next().unwrap()) {
        let id = input.split(" id=\"").nth(1);
        let is_labelled = id.is_none_or(|id| {
            let id = id.split('"').next().unwrap();
            html.contains(&format!("<label for=\"{id}\""))
        });
        assert!(is_labelled, "{at}: an input without its label: {input}");
    }
}

#[test]
fn every_form_is_a_post_with_the_anti_forgery_token() {
    for (name, html) in with_forms(Lang::En, &Values::plain(Lang::En)) {
        let forms: Vec<&str> = html.split("<form").skip(1).collect();
        assert!(!forms.is_empty(), "{name}");
        for form in forms {
            let form = form.split("</form>").next().unwrap();
            assert!(form.contains("method=\"post\""), "{name}");
            let field = "<input type=\"hidden\" name=\"csrf\" value=\"the-anti-forgery-token\">";
            assert!(form.contains(field), "{name}: {form}");
        }
    }
}

#[test]
fn hostile_values_stay_text() {
    for lang in LANGS {
        let values = Values::hostile(lang);
        let mut pages = with_forms(lang, &values);
        pages.extend(ends(page(lang), &values));
        for (name, html) in pages {
            assert!(!html.contains("<script>"), "{name}");
            assert!(!html.contains("alert(1)</"), "{name}");
        }
        for (name, html) in with_forms(lang, &values) {
            // The only value of that page is shown in groups of four.
            let shown = if name == "enrol_totp" {
                "&#62;&#60;s crip"
            } else {
                "&#60;script&#62;alert(1)"
            };
            assert!(html.contains(shown), "{name} lost the value");
        }
    }
}

#[test]
fn links_are_below_the_issuers_path() {
    let page = Page {
        base: "/hive",
        ..page(Lang::En)
    };
    let values = Values::plain(Lang::En);
    for (name, html) in [
        entrances(page, &values),
        decisions(page, &values),
        own(page, &values),
    ]
    .concat()
    {
        for attribute in ["action=\"", "href=\"", "src=\""] {
            for value in html.split(attribute).skip(1) {
                assert!(
                    value.starts_with("/hive/") || value.starts_with('#'),
                    "{name}: {value:.40}"
                );
            }
        }
        assert!(
            !html.contains("data-base") || html.contains("data-base=\"/hive\""),
            "{name}"
        );
    }
}

/// DCR-16, CIMD-22: who chooses a name must not choose what stands in for whoever vouches for it.
#[test]
fn who_vouches_for_a_client_stands_apart_from_its_name() {
    for (lang, nobody, host) in [
        (
            Lang::En,
            "Registered itself; nobody has checked this name",
            "Identified as",
        ),
        (
            Lang::Es,
            "Se registró por su cuenta; nadie ha comprobado este nombre",
            "Identificado como",
        ),
    ] {
        let values = Values {
            client: "Claude (claude.ai)",
            ..Values::plain(lang)
        };
        let (host, t) = (format!("{host} {}", values.host), lang.texts());
        let mut pages = decisions(page(lang), &values);
        pages.extend(own(page(lang), &values));
        let html = |wanted| &pages.iter().find(|(name, _)| *name == wanted).unwrap().1;
        let beside = |name: &str, sentence: &str| {
            format!("<strong>{name}</strong><span class=\"sub\">{sentence}</span>")
        };
        let below = |name: &str, sentence: &str| format!("<h3>{name}</h3>\n<p class=\"sub\">{sentence}</p>");
        for (name, part) in [
            ("consent", beside(values.client, t.by_operator)),
            ("consent_before_upstream", beside(values.client, nobody)),
            ("device_confirm", beside(values.client, nobody)),
            ("device_confirm_document", beside(values.client, &host)),
            ("account", below(values.client, &host)),
            ("account", below("Cursor", nobody)),
        ] {
            assert!(html(name).contains(&part), "{name}: {part}");
        }
    }
}

#[test]
fn a_step_up_marks_what_is_new() {
    let pages = decisions(page(Lang::En), &Values::plain(Lang::En));
    let html = |wanted| &pages.iter().find(|(name, _)| *name == wanted).unwrap().1;
    assert!(html("consent_step_up").contains("to do more?"));
    assert!(!html("consent").contains("In detail"));
    for part in [
        "In detail",
        "bed 7",
        "<code>limits</code>",
        "[20,30]",
        "Which one",
    ] {
        assert!(
            html("consent_step_up").contains(part) && html("device_confirm").contains(part),
            "{part}"
        );
    }
    assert_eq!(html("consent_step_up").matches("class=\"badge\"").count(), 1);
    assert!(!html("consent").contains("class=\"badge\""));
    assert!(html("consent").contains("a program on this device"));
    assert!(!html("consent_step_up").contains("a program on this device"));
    assert!(html("consent").contains("<code>greenhouse:water</code>"));
    assert!(html("consent_before_upstream").contains("action=\"/login/upstream/consent\""));
    assert!(!html("consent_before_upstream").contains("/logout"));
}

#[actix_web::test]
async fn a_page_says_what_a_browser_may_do_with_it() {
    let message = Message {
        page: page(Lang::En),
        title: "t",
        sentence: "s",
    };
    let answer = render(&message, StatusCode::FORBIDDEN, &["http://127.0.0.1:1234"]);
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let policy = answer
        .headers()
        .get(CONTENT_SECURITY_POLICY)
        .unwrap()
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(
        policy.ends_with("form-action 'self' http://127.0.0.1:1234"),
        "{policy}"
    );
    assert_eq!(answer.headers().get("x-frame-options").unwrap(), "DENY");
    assert_eq!(answer.headers().get("referrer-policy").unwrap(), "no-referrer");
    assert_eq!(answer.headers().get(CACHE_CONTROL).unwrap(), "no-store");
    assert_eq!(answer.headers().get(VARY).unwrap(), "Accept-Language, Cookie");
    let body = to_bytes(answer.into_body()).await.unwrap();
    assert!(body.starts_with(b"<!doctype html>"));
}

/// Writes the pages where a person can open them.
#[test]
fn the_pages_can_be_looked_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pages");
    std::fs::create_dir_all(folder.join("assets")).unwrap();
    for file in ["style.css", "passkey.js", "mark.svg"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/assets");
        std::fs::copy(from.join(file), folder.join("assets").join(file)).unwrap();
    }
    for lang in LANGS {
        let page = Page {
            base: ".",
            ..page(lang)
        };
        let values = Values::plain(lang);
        for (name, html) in [
            entrances(page, &values),
            decisions(page, &values),
            own(page, &values),
            ends(page, &values),
        ]
        .concat()
        {
            let file = folder.join(format!("{name}.{}.html", lang.tag()));
            std::fs::write(file, html).unwrap();
        }
    }
}
