//! A fleet whose server may fetch from a [`Publisher`], shared by the tests of metadata documents.

use std::sync::Arc;

use serde_json::{Value, json};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::Answer;

use crate::Fleet;
use crate::database::{Place, Shared};
use crate::fleet::Wishes;
use crate::people::{CALLBACK, PASSWORD, Pkce};
use crate::person::{Page, Person};
use crate::publisher::Publisher;

/// TOML: no limit on fetches either.
pub const UNLIMITED_FETCHES: &str =
    "\n[clients]\nfetches_per_address = \"off\"\nfetches_per_host = \"off\"\n";

/// A fleet and whom its server fetches from.
pub struct Published {
    /// The programs.
    pub fleet: Fleet,
    /// Where documents are.
    pub publisher: Publisher,
}

impl Published {
    /// The one that tests of one place share while any of them runs.
    ///
    /// # Panics
    /// When a program does not start.
    #[must_use]
    pub fn shared(place: impl Into<Place>) -> Arc<Self> {
        static SHARED: Shared<Published> = Shared::nothing();
        let place = place.into();
        SHARED.get(place, || Self::start(place, UNLIMITED_FETCHES))
    }

    /// One of one's own, with this TOML at the end of the server's file.
    ///
    /// # Panics
    /// When a program does not start.
    #[must_use]
    pub fn start(place: impl Into<Place>, more: &str) -> Self {
        let publisher = Publisher::start();
        let wishes = Wishes {
            server: Some(format!("{UNLIMITED_SERVER}{more}{}", publisher.rule())),
            ..Wishes::default()
        };
        let fleet = Fleet::start(place, &wishes);
        Self { fleet, publisher }
    }

    /// A path that no other test uses.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/client.json", self.fleet.fresh_name())
    }

    /// Publishes a client under a path of its own; returns its id and that path.
    #[must_use]
    pub fn client(&self, more: &Value) -> (String, String) {
        let path = self.path();
        (self.publisher.publish_client(&path, document(more)), path)
    }

    /// What somebody sees who is sent by this client.
    #[must_use]
    pub fn arrive(&self, client_id: &str) -> Answer {
        let url = self.fleet.authorization_url(client_id, &Pkce::fresh(), &[]);
        self.fleet.person().get(&url)
    }

    /// Why the server could not use the document, according to its log.
    ///
    /// # Panics
    /// When the log does not say.
    #[must_use]
    #[track_caller]
    pub fn reason(&self, client_id: &str) -> String {
        let logs = self.fleet.logs();
        let line = logs
            .lines()
            .rfind(|line| line.contains("could not be had") && line.contains(client_id));
        line.unwrap_or_else(|| panic!("nothing about {client_id} in the log"))
            .to_owned()
    }

    /// Somebody new who looks at the consent page of this client.
    ///
    /// # Panics
    /// When another page is shown.
    #[must_use]
    #[track_caller]
    pub fn asked(&self, client_id: &str) -> (Person, Page, String) {
        let ada = self.fleet.person_account();
        let mut browser = self.fleet.person();
        let url = self.fleet.authorization_url(client_id, &Pkce::fresh(), &[]);
        let page = browser.page(&url);
        let page = browser.sign_in_at(&page, &ada, PASSWORD).page();
        assert!(page.has_form("/consent"), "{}", page.answer);
        (browser, page, ada)
    }

    /// The client as the command line shows it, if there is a row of it.
    ///
    /// # Panics
    /// When the command fails.
    #[must_use]
    pub fn row(&self, client_id: &str) -> Option<Value> {
        let list = self.fleet.server.json(&["client", "list"]).unwrap();
        let mut found = list.as_array().unwrap().iter();
        found.find(|client| client["client_id"] == client_id).cloned()
    }
}

/// A usable document, with these members over it; `null` takes one out. `client_id` is still to be set.
///
/// # Panics
/// When `more` is no object.
#[must_use]
pub fn document(more: &Value) -> Value {
    let mut document = json!({
        "client_name": "Example Agent", "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
    });
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}
