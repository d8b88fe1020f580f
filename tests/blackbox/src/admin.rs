//! The admin API as a program of an operator uses it. Every answer is held against the API's own document.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xtask::fleet::Credentials;
use xtask::http::{Answer, Request};

use crate::Fleet;
use crate::answers::granted;

/// The base of the API.
pub const BASE: &str = "/admin/v1";

/// A token for the API, and the document.
pub struct Admin<'f> {
    fleet: &'f Fleet,
    /// Without one nothing is shown.
    pub token: Option<String>,
    document: Value,
}

/// One operation of the document.
#[derive(Debug, Clone)]
pub struct Documented {
    /// In upper case.
    pub method: String,
    /// With its parameters in braces.
    pub path: String,
    /// Its entry.
    pub entry: Value,
}

impl Documented {
    /// The scopes, any one of which suffices.
    ///
    /// # Panics
    /// When it needs none.
    #[must_use]
    pub fn scopes(&self) -> Vec<String> {
        let needed = self.entry["security"].as_array().unwrap();
        let scopes = needed
            .iter()
            .map(|one| one["oauth2"][0].as_str().unwrap().to_owned());
        scopes.collect()
    }

    /// Its path with an id in it.
    #[must_use]
    pub fn at(&self, id: &str) -> String {
        self.path.replace("{id}", id)
    }

    /// Whether it has this header parameter.
    #[must_use]
    pub fn has_header(&self, name: &str) -> bool {
        let parameters = self.entry["parameters"].as_array();
        parameters.is_some_and(|list| {
            list.iter()
                .any(|one| one["in"] == "header" && one["name"] == name)
        })
    }
}

/// An id as it stands in a path.
#[must_use]
pub fn path_of(id: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if id.bytes().all(plain) {
        return id.to_owned();
    }
    format!("~{}", crate::forge::encode(id))
}

impl Fleet {
    /// What tokens for the admin API are for.
    #[must_use]
    pub fn admin_resource(&self) -> String {
        format!("{}{BASE}", self.server.issuer)
    }

    /// A client that may ask for tokens for the admin API with these scopes.
    #[must_use]
    pub fn admin_client(&self, scopes: &str) -> Credentials {
        let resource = self.admin_resource();
        self.client_for_any(&["--scopes", scopes, "--resource", &resource])
    }

    /// The API with a token of a client of its own.
    #[must_use]
    pub fn admin(&self, scopes: &str) -> Admin<'_> {
        let token = self.token(&self.admin_client(scopes), &self.admin_resource());
        self.admin_with(Some(token))
    }

    /// The API with this token.
    ///
    /// # Panics
    /// When there is no document.
    #[must_use]
    pub fn admin_with(&self, token: Option<String>) -> Admin<'_> {
        let answer = Request::new("GET", &self.at("/admin/openapi.json")).unwrap();
        Admin {
            fleet: self,
            token,
            document: granted_document(&answer.send().unwrap()),
        }
    }
}

fn granted_document(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer}");
    answer.json().unwrap()
}

impl Admin<'_> {
    /// Every operation of the document.
    ///
    /// # Panics
    /// When the document has no paths.
    #[must_use]
    pub fn operations(&self) -> Vec<Documented> {
        let mut all = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, entry) in item.as_object().unwrap() {
                all.push(Documented {
                    method: method.to_ascii_uppercase(),
                    path: path.clone(),
                    entry: entry.clone(),
                });
            }
        }
        all
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// A request with the token.
    ///
    /// # Panics
    /// When the path is none.
    #[must_use]
    pub fn request(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, &self.fleet.at(path)).unwrap();
        match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        }
    }

    /// Sends a request; the answer must be one that the document knows.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn send(&self, request: &Request, (method, path): (&str, &str)) -> Answer {
        let answer = request.send().unwrap();
        self.check(&answer, (method, path));
        if let Ok(body) = answer.json() {
            for name in ["client_secret", "invite", "initial_access_token"] {
                if let Some(secret) = body.get(name).and_then(Value::as_str) {
                    self.fleet.remember(secret);
                }
            }
        }
        answer
    }

    /// GET.
    ///
    /// # Panics
    /// As [`Self::send`].
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send(&self.request("GET", path), ("GET", path))
    }

    /// GET of what must be there: the body and its tag.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn read(&self, path: &str) -> (Value, String) {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{answer}");
        (
            answer.json().unwrap(),
            answer.header("etag").unwrap_or_default().to_owned(),
        )
    }

    /// POST of a JSON body.
    ///
    /// # Panics
    /// As [`Self::send`].
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(&self.request("POST", path).json(body), ("POST", path))
    }

    /// POST that must make something.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn made(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body);
        assert_eq!(answer.status, 201, "{answer}");
        answer.json().unwrap()
    }

    /// PATCH of what has this tag.
    ///
    /// # Panics
    /// As [`Self::send`].
    #[track_caller]
    pub fn patch(&self, path: &str, tag: &str, body: &Value) -> Answer {
        let request = self.request("PATCH", path).header("If-Match", tag).json(body);
        self.send(&request, ("PATCH", path))
    }

    /// DELETE of what has this tag.
    ///
    /// # Panics
    /// As [`Self::send`].
    #[track_caller]
    pub fn delete(&self, path: &str, tag: &str) -> Answer {
        let request = self.request("DELETE", path).header("If-Match", tag);
        self.send(&request, ("DELETE", path))
    }

    /// Every item of a list, page by page.
    ///
    /// # Panics
    /// When a page is refused.
    #[track_caller]
    pub fn all(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let (page, _) = self.read(&format!("{path}{separator}limit=7{cursor}"));
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Whether the document has the route, the status, the media type and the form of the body.
    #[track_caller]
    fn check(&self, answer: &Answer, (method, path): (&str, &str)) {
        let path = path.split('?').next().unwrap_or_default();
        let found = self
            .operations()
            .into_iter()
            .find(|known| known.method == method && is_at(&known.path, path));
        let operation = found.unwrap_or_else(|| panic!("the document has no {method} {path}"));
        let documented = &operation.entry["responses"][answer.status.to_string()];
        assert!(
            documented.is_object(),
            "{method} {path}: the document has no such answer: {answer}"
        );
        let Some(content) = documented["content"].as_object() else {
            assert!(answer.body.is_empty(), "{method} {path}: {answer}");
            return;
        };
        let (media_type, form) = content.iter().next().unwrap();
        assert_eq!(answer.header("content-type"), Some(&**media_type), "{answer}");
        let schema = json!({
            "$ref": form["schema"]["$ref"],
            "components": self.document["components"],
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let body = answer.json().unwrap();
        if let Err(fault) = validator.validate(&body) {
            panic!("{method} {path}: {fault} at {}: {body}", fault.instance_path());
        }
        for name in documented["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            assert!(
                answer.header(name).is_some(),
                "{method} {path}: no {name} in {answer}"
            );
        }
        // RFC 9457: the status is told again.
        if media_type == "application/problem+json" {
            assert_eq!(body["status"], answer.status, "{answer}");
        }
    }

    /// Every scope that the document names.
    #[must_use]
    pub fn scopes(&self) -> BTreeSet<String> {
        self.operations().iter().flat_map(Documented::scopes).collect()
    }
}

fn is_at(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(known), Some(_)) if known.starts_with('{') => {}
            (Some(known), Some(segment)) if known == segment => {}
            _ => return false,
        }
    }
}

/// A token of a person for the API, who grants it to a public client of this kind.
///
/// # Panics
/// When it is not granted.
#[must_use]
pub fn token_of_person(fleet: &Fleet, username: &str, scopes: &str) -> String {
    let resource = fleet.admin_resource();
    let callback = crate::people::CALLBACK;
    let client = fleet.web_client(callback, &["--resource", &resource, "--scopes", scopes]);
    let pkce = crate::people::Pkce::fresh();
    let more = [("resource", resource.as_str())];
    let redirect = fleet.allowed(&mut fleet.person(), username, &client, (&pkce, &more));
    let tokens = granted(&fleet.redeem(&client, &redirect.code(), &pkce, &[]));
    let token = tokens["access_token"].as_str().unwrap().to_owned();
    fleet.remember(&token);
    token
}
