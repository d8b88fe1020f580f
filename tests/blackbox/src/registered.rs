//! Clients that register themselves (RFC 7591, 7592), as the tests do it.

use serde_json::{Value, json};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::{Answer, Request};

use crate::answers::{json as body_of, not_stored};
use crate::fleet::Wishes;
use crate::people::CALLBACK;
use crate::{Db, Fleet, Place};

/// Where clients register.
pub const REGISTER: &str = "/oauth/register";

/// A fleet whose server has no limits and this `[clients]` section.
///
/// # Panics
/// When a program does not start.
#[must_use]
pub fn fleet_with(place: impl Into<Place>, clients: &str) -> Fleet {
    Fleet::start(
        place,
        &Wishes {
            server: Some(format!("{UNLIMITED_SERVER}\n[clients]\n{clients}\n")),
            ..Wishes::default()
        },
    )
}

/// A fleet where anybody may register as often as they like.
///
/// # Panics
/// When a program does not start.
#[must_use]
pub fn open_fleet(db: Db) -> Fleet {
    fleet_with(db, "registration = \"open\"\nregistrations_per_address = \"off\"")
}

/// A public client of people, with these members over the usual ones.
///
/// # Panics
/// When `more` is no object.
#[must_use]
pub fn public(more: &Value) -> Value {
    let mut document = json!({
        "client_name": "A client", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    });
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

impl Fleet {
    /// Sends a registration; secrets of the answer are remembered.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn register(&self, document: &Value, token: Option<&str>) -> Answer {
        let request = Request::post(&self.at(REGISTER)).unwrap().json(document);
        self.send_registration(request, token)
    }

    /// A registration that must succeed.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn registered(&self, document: &Value) -> Value {
        let answer = self.register(document, None);
        assert_eq!(answer.status, 201, "{answer}");
        not_stored(&answer);
        body_of(&answer)
    }

    /// One request to the address of a registration.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn manage(
        &self,
        method: &str,
        client_id: &str,
        token: Option<&str>,
        document: Option<&Value>,
    ) -> Answer {
        let mut request = Request::new(method, &self.at(&format!("{REGISTER}/{client_id}"))).unwrap();
        if let Some(document) = document {
            request = request.json(document);
        }
        self.send_registration(request, token)
    }

    fn send_registration(&self, mut request: Request, token: Option<&str>) -> Answer {
        if let Some(token) = token {
            request = request.bearer(token);
        }
        let answer = request.send().unwrap();
        if let Ok(body) = answer.json() {
            for name in ["client_secret", "registration_access_token"] {
                if let Some(secret) = body.get(name).and_then(Value::as_str) {
                    self.remember(secret);
                }
            }
        }
        answer
    }
}

/// A member that must be text.
///
/// # Panics
/// When it is not.
#[must_use]
#[track_caller]
pub fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {body}"))
}
