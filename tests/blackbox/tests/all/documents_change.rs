//! CIMD "Changes in Client Metadata", CIMD-15 … CIMD-20: what becomes of consent and tokens when a document changes or
//! cannot be had.

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::person::{Outcome, Person};
use blackbox::published::{Published, document};
use blackbox::publisher::Reply;
use blackbox::{Db, Place, both, near_and_far};
use serde_json::{Value, json};

const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// A client that somebody has allowed, and let us remember.
struct Allowed {
    client: String,
    path: String,
    browser: Person,
    refresh_token: String,
}

impl Allowed {
    fn new(here: &Published, more: &Value) -> Self {
        let (client, path) = here.client(more);
        let ada = here.fleet.person_account();
        let mut browser = here.fleet.person();
        let pkce = Pkce::fresh();
        let page = browser.page(&here.fleet.authorization_url(&client, &pkce, &[]));
        let page = browser.sign_in_at(&page, &ada, PASSWORD).page();
        let redirect = browser.decide(&page, "allow", &[("remember", "on")]).redirect();
        here.fleet.remember(&redirect.code());
        let tokens = granted(&here.fleet.redeem(&client, &redirect.code(), &pkce, &[]));
        let refresh_token = tokens["refresh_token"].as_str().unwrap().to_owned();
        Self {
            client,
            path,
            browser,
            refresh_token,
        }
    }

    /// Whether the client gets a code without a page.
    fn is_remembered(&mut self, here: &Published) -> bool {
        let url = here.fleet.authorization_url(&self.client, &Pkce::fresh(), &[]);
        match self.browser.open(&url) {
            Outcome::Redirect(redirect) => {
                here.fleet.remember(&redirect.code());
                true
            }
            Outcome::Page(page) => {
                assert!(page.has_form("/consent"), "{}", page.answer);
                false
            }
        }
    }

    /// Whether the refresh token still works.
    fn goes_on(&mut self, here: &Published) -> bool {
        let answer = here.fleet.refresh(&self.client, &self.refresh_token, &[]);
        if answer.status != 200 {
            refused_400(&answer, "invalid_grant");
            return false;
        }
        granted(&answer)["refresh_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.refresh_token);
        true
    }

    /// Publishes something else, which the server reads before it relies on the document again: one that was pinned and
    /// is let go is due at once.
    fn publish(&self, here: &Published, reply: Reply) {
        let command = |word| here.fleet.server.json(&["client", word, &self.client]).unwrap();
        command("pin");
        here.publisher.publish(&self.path, reply);
        command("unpin");
    }

    fn publish_document(&self, here: &Published, more: &Value) {
        let mut document = document(more);
        document["client_id"] = Value::from(self.client.clone());
        self.publish(here, Reply::json(&document));
    }
}

fn keys(names: &[&str]) -> Value {
    let key = |name: &&str| json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": X});
    json!({"jwks": {"keys": names.iter().map(key).collect::<Vec<_>>()}})
}

both!(cimd_change_of_a_name_changes_nothing_else);
fn cimd_change_of_a_name_changes_nothing_else(db: Db) {
    let here = Published::shared(db);
    let mut allowed = Allowed::new(&here, &json!({}));
    assert!(allowed.is_remembered(&here) && allowed.goes_on(&here));
    let before = here.publisher.requests(&allowed.path).len();
    allowed.publish_document(&here, &json!({"client_name": "Another Name"}));
    assert!(allowed.is_remembered(&here) && allowed.goes_on(&here));
    assert_eq!(here.row(&allowed.client).unwrap()["client_name"], "Another Name");
    assert_eq!(
        here.publisher.requests(&allowed.path).len(),
        before + 2,
        "once to pin, once when due"
    );
}

both!(cimd_change_leaves_what_the_operator_has_limited);
fn cimd_change_leaves_what_the_operator_has_limited(db: Db) {
    let here = Published::shared(db);
    let mut allowed = Allowed::new(&here, &json!({}));
    assert!(allowed.goes_on(&here));
    let update = |words: &[&str]| {
        let line = ["client", "update", &allowed.client];
        here.fleet.server.json(&[&line[..], words].concat())
    };
    assert!(update(&["--name", "Mine"]).is_err() && update(&["--scopes", "mcp:read"]).is_err());
    let other = here.fleet.resource(&[]);
    update(&["--resource", &other]).unwrap();
    allowed.publish_document(&here, &json!({"client_name": "Another Name"}));
    let answer = here.fleet.refresh(&allowed.client, &allowed.refresh_token, &[]);
    refused_400(&answer, "invalid_target");
    assert_eq!(here.row(&allowed.client).unwrap()["client_name"], "Another Name");
    update(&["--any-resource"]).unwrap();
    assert!(allowed.goes_on(&here));
}

both!(cimd_change_of_redirect_uris_is_asked_about_again);
fn cimd_change_of_redirect_uris_is_asked_about_again(db: Db) {
    let here = Published::shared(db);
    let mut allowed = Allowed::new(&here, &json!({}));
    assert!(allowed.is_remembered(&here));
    allowed.publish_document(
        &here,
        &json!({"redirect_uris": [CALLBACK, "https://client.example/cb"]}),
    );
    assert!(!allowed.is_remembered(&here));
    assert!(allowed.goes_on(&here), "what was granted goes on");
    allowed.publish_document(&here, &json!({"redirect_uris": ["https://client.example/cb"]}));
    assert!(allowed.goes_on(&here));
    let gone = here.fleet.authorization_url(&allowed.client, &Pkce::fresh(), &[]);
    assert_eq!(allowed.browser.page(&gone).answer.status, 400);
}

both!(cimd_change_of_keys_ends_what_was_granted_unless_one_of_them_stays);
fn cimd_change_of_keys_ends_what_was_granted_unless_one_of_them_stays(db: Db) {
    let here = Published::shared(db);
    let mut allowed = Allowed::new(&here, &keys(&["one"]));
    assert!(allowed.is_remembered(&here) && allowed.goes_on(&here));
    allowed.publish_document(&here, &keys(&["one", "two"]));
    assert!(allowed.goes_on(&here) && !allowed.is_remembered(&here));
    allowed.publish_document(&here, &keys(&["two"]));
    assert!(allowed.goes_on(&here));
    // The token endpoint reads the new document before it decides.
    allowed.publish_document(&here, &keys(&["three"]));
    assert!(!allowed.goes_on(&here) && !allowed.is_remembered(&here));
}

both!(cimd_a_document_that_cannot_be_had_ends_nothing_and_begins_nothing);
fn cimd_a_document_that_cannot_be_had_ends_nothing_and_begins_nothing(db: Db) {
    let here = Published::shared(db);
    let mut allowed = Allowed::new(&here, &json!({}));
    for reply in [
        Reply::bytes("").status(500),
        Reply::bytes("not JSON"),
        Reply::json(&document(&json!({"client_secret": "x"}))),
    ] {
        allowed.publish(&here, reply);
        assert!(allowed.goes_on(&here) && allowed.is_remembered(&here));
        // Restored for the next round, as the command line would not pin what is broken.
        here.publisher.publish_client(&allowed.path, document(&json!({})));
    }
    assert!(
        here.reason(&allowed.client).contains("status 500"),
        "{}",
        here.reason(&allowed.client)
    );
    let (unknown, path) = here.client(&json!({}));
    here.publisher.publish(&path, Reply::bytes("").status(500));
    assert_eq!(here.arrive(&unknown).status, 400);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", unknown.as_str()),
        ("refresh_token", "ehr_x"),
    ];
    refused_client(&here.fleet.post_bare("/oauth/token", &form), false);
}

near_and_far!(cimd_a_pinned_document_is_never_fetched);
fn cimd_a_pinned_document_is_never_fetched(place: Place) {
    let here = Published::shared(place);
    let (client, path) = here.client(&json!({"client_name": "Pinned"}));
    let pinned = here.fleet.server.json(&["client", "pin", &client]).unwrap();
    assert_eq!(pinned["client_name"], "Pinned");
    here.publisher
        .publish_client(&path, document(&json!({"client_name": "Changed"})));
    let (_, page, _) = here.asked(&client);
    assert!(
        page.text().contains("Pinned") && !page.text().contains("Changed"),
        "{}",
        page.answer
    );
    assert_eq!(here.publisher.requests(&path).len(), 1);
    here.fleet.server.json(&["client", "unpin", &client]).unwrap();
    let (_, page, _) = here.asked(&client);
    assert!(page.text().contains("Changed"), "{}", page.answer);
    assert!(here.fleet.server.json(&["client", "unpin", &client]).is_err());
    // An operator who pins is told why it does not work.
    here.publisher.publish(&path, Reply::bytes("").status(404));
    let refused = here.fleet.server.json(&["client", "pin", &client]).unwrap_err();
    assert!(refused.to_string().contains("status 404"), "{refused}");
}

both!(cimd_a_revoked_client_does_not_come_back_by_its_document);
fn cimd_a_revoked_client_does_not_come_back_by_its_document(db: Db) {
    let here = Published::shared(db);
    let mut allowed = Allowed::new(&here, &json!({}));
    assert!(allowed.is_remembered(&here));
    allowed.publish_document(&here, &json!({}));
    here.fleet
        .server
        .json(&["client", "revoke", &allowed.client])
        .unwrap();
    let before = here.publisher.requests(&allowed.path).len();
    assert_eq!(here.arrive(&allowed.client).status, 400);
    let answer = here.fleet.refresh(&allowed.client, &allowed.refresh_token, &[]);
    refused_client(&answer, false);
    let after = here.publisher.requests(&allowed.path).len();
    assert_eq!(after, before, "it was due, and is asked about no more");
    assert!(
        here.fleet
            .server
            .json(&["client", "pin", &allowed.client])
            .is_err()
    );
}

both!(cimd_a_published_client_of_a_device_is_known_by_its_host);
fn cimd_a_published_client_of_a_device_is_known_by_its_host(db: Db) {
    let here = Published::shared(db);
    let device_code = "urn:ietf:params:oauth:grant-type:device_code";
    let (client, _) =
        here.client(&json!({"grant_types": ["authorization_code", device_code, "refresh_token"]}));
    let resource = here.fleet.node.url();
    let form = [("client_id", client.as_str()), ("resource", resource.as_str())];
    let begun = granted(&here.fleet.post_bare("/oauth/device_authorization", &form));
    here.fleet.remember(begun["device_code"].as_str().unwrap());
    assert_eq!(here.row(&client), None);
    let ada = here.fleet.person_account();
    let mut browser = here.fleet.person();
    assert_eq!(browser.sign_in(&ada, PASSWORD).page().answer.status, 200);
    let page = browser.page("/device");
    let form = page.form("/device");
    let page = browser
        .submit(
            &page,
            &form,
            &[("user_code", begun["user_code"].as_str().unwrap())],
        )
        .page();
    let host = client.trim_start_matches("https://").split('/').next().unwrap();
    let host = host.split(':').next().unwrap();
    let text = page.text();
    // The host in a sentence of its own: a name could contain anything.
    assert!(
        text.contains("Example Agent") && text.contains(&format!("Identified as {host}")),
        "{text}"
    );
    let form = page.form("/device/decision");
    let done = browser.submit(&page, &form, &[("decision", "allow")]).page();
    assert_eq!(done.answer.status, 200, "{}", done.answer);
    let poll = [
        ("grant_type", device_code),
        ("client_id", client.as_str()),
        ("device_code", begun["device_code"].as_str().unwrap()),
    ];
    let tokens = granted(&here.fleet.post_bare("/oauth/token", &poll));
    here.fleet.remember(tokens["refresh_token"].as_str().unwrap());
    assert_eq!(
        here.fleet.call(tokens["access_token"].as_str().unwrap()).status,
        200
    );
    assert!(here.row(&client).is_some());
}
