//! A server without sockets and a person with a browser, for tests against the routes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use actix_web::body::to_bytes;
use actix_web::cookie::Cookie;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::test::{self, TestRequest};
use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use shared::clock::{self, UnixSeconds};
use shared::config::Reader;
use shared::secret::random_bytes;
use xtask::postgres::Cluster;

use crate::account::{Browser, begin, find};
use crate::app::App;
use crate::config::Config;
use crate::db::{self, Db};

/// A server without sockets, on a database of each kind: a file that lasts as long as this value, and one of the Postgres
/// that the tests of this program share.
pub(crate) struct Servers {
    folder: tempfile::TempDir,
}

impl Servers {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) async fn each(&self) -> [web::Data<App>; 2] {
        let lite = format!("sqlite:{}/test.db", self.folder.path().display());
        let pg = Cluster::shared().unwrap().create_database().unwrap();
        [self.serve(&lite).await, self.serve(&pg).await]
    }

    pub(crate) async fn serve(&self, database: &str) -> web::Data<App> {
        let issuer = self.config().issuer;
        self.serve_on(Db::open(database, &issuer, clock::now()).await.unwrap())
            .await
    }

    /// A server that has just begun, and has nothing in memory yet.
    pub(crate) async fn serve_on(&self, db: Db) -> web::Data<App> {
        let app = Box::pin(App::new(self.config(), db, clock::now())).await;
        web::Data::from(app.unwrap())
    }

    fn config(&self) -> Config {
        let key = self.folder.path().join("master.key");
        let text = format!(
            "[keys]\nmaster_key_file = \"{}\"\n[limits]\nper_client = \"off\"\ndevice_codes = \"off\"",
            key.display()
        );
        Config::read(Reader::from_text(text, &BTreeMap::new()).unwrap()).unwrap()
    }
}

/// A new account.
pub(crate) async fn account(app: &App) -> String {
    let user_id = format!("u_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>().unwrap()));
    db::totp::sample_account(&app.db, &user_id).await.unwrap();
    user_id
}

/// One browser.
pub(crate) struct Browsing {
    pub(crate) app: web::Data<App>,
    pub(crate) cookies: RefCell<BTreeMap<String, String>>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    pub(crate) retry_after: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Browsing {
    pub(crate) fn new(app: &web::Data<App>) -> Self {
        Self {
            app: app.clone(),
            cookies: RefCell::default(),
        }
    }

    /// A browser in which `user_id` signed in `ago` seconds ago.
    pub(crate) async fn signed_in(app: &web::Data<App>, user_id: &str, ago: i64) -> Self {
        let browsing = Self::new(app);
        browsing.sign_in(user_id, ago).await;
        browsing
    }

    pub(crate) async fn sign_in(&self, user_id: &str, ago: i64) {
        let request = self.with_cookies(TestRequest::get()).to_http_request();
        let mut answer = HttpResponse::Ok().finish();
        let then = UnixSeconds(clock::now().0 - ago);
        begin(&self.app, &request, (user_id, "pwd"), &mut answer, then)
            .await
            .unwrap();
        self.keep(answer.cookies());
    }

    pub(crate) fn with_cookies(&self, mut request: TestRequest) -> TestRequest {
        for (name, value) in self.cookies.borrow().iter() {
            request = request.cookie(Cookie::new(name.clone(), value.clone()));
        }
        request
    }

    pub(crate) fn keep<'c>(&self, cookies: impl Iterator<Item = Cookie<'c>>) {
        for cookie in cookies {
            let mut kept = self.cookies.borrow_mut();
            if cookie.value().is_empty() {
                kept.remove(cookie.name());
            } else {
                kept.insert(cookie.name().to_owned(), cookie.value().to_owned());
            }
        }
    }

    /// This browser as the server sees it.
    pub(crate) fn seen(&self) -> Browser {
        let request = self.with_cookies(TestRequest::get()).to_http_request();
        Browser::of(&self.app, &request).unwrap()
    }

    pub(crate) fn csrf(&self) -> String {
        if !self.cookies.borrow().contains_key("eh_browser") {
            let id = URL_SAFE_NO_PAD.encode(random_bytes::<16>().unwrap());
            self.cookies.borrow_mut().insert("eh_browser".to_owned(), id);
        }
        self.seen().csrf(&self.app)
    }

    pub(crate) async fn send(&self, request: TestRequest) -> Answer {
        let routes = |config: &mut web::ServiceConfig| crate::routes::routes(&self.app, config);
        let service = test::init_service(actix_web::App::new().configure(routes)).await;
        let request = self.with_cookies(request).to_request();
        let answer: ServiceResponse = test::call_service(&service, request).await.map_into_boxed_body();
        self.keep(answer.response().cookies());
        let status = answer.status();
        let header = |name| {
            let value = answer.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let (location, retry_after) = (header(LOCATION), header(RETRY_AFTER));
        let text = to_bytes(answer.into_body()).await.unwrap();
        Answer {
            status,
            location,
            retry_after,
            text: String::from_utf8(text.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(TestRequest::get().uri(path)).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf();
        let mut fields = fields.to_vec();
        fields.push(("csrf", &csrf));
        self.send(TestRequest::post().uri(path).set_form(fields)).await
    }

    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Answer {
        let request = TestRequest::post()
            .uri(path)
            .insert_header(("x-csrf-token", self.csrf()));
        self.send(request.set_json(body)).await
    }

    pub(crate) async fn is_signed_in(&self) -> Option<String> {
        let found = find(&self.app, &self.seen(), clock::now()).await.unwrap();
        found.map(|person| format!("{} {}", person.user.user_id, person.methods))
    }
}
