//! The requests of the flows of people and their clients.

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::web;
use serde_json::Value;
use shared::clock;
use shared::secret::Secret;

use super::{Ask, Done, examine};
use crate::account::{password, users};
use crate::app::App;
use crate::browsing::{Answer, Browsing, account};
use crate::db;
use crate::db::resource::ResourceRow;
use crate::token::GrantType;
use crate::token::testing::{VERIFIER, client_row};

const NODE: &str = "https://rs/mcp";
const CALLBACK: &str = "http://127.0.0.1:9/cb";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const PASSWORD: &str = "correct horse battery staple";

const GRANTED: Done = Done(StatusCode::OK, "\"access_token\"");
const INVALID_GRANT: Done = Done(StatusCode::BAD_REQUEST, "invalid_grant");
const TO_ACCOUNT: Done = Done(StatusCode::SEE_OTHER, "/account");

/// A person who is signed in, and a client of theirs.
struct Scene {
    browsing: Browsing,
    user_id: String,
    client_id: String,
}

impl Scene {
    async fn new(app: &web::Data<App>) -> Self {
        let user_id = account(app).await;
        let client_id = format!("c_{user_id}");
        let grants = format!(
            "authorization_code refresh_token {}",
            GrantType::DeviceCode.as_str()
        );
        let mut row = client_row(&grants, "a b openid");
        row.client_id.clone_from(&client_id);
        row.auth_methods = "none".to_owned();
        row.redirect_uris = format!("[\"{CALLBACK}\"]");
        db::client::insert(&app.db, &row, None).await.unwrap();
        if app.resources().await.unwrap().find(NODE).is_none() {
            add_node(app).await;
        }
        Self {
            browsing: Browsing::signed_in(app, &user_id, 0).await,
            user_id,
            client_id,
        }
    }

    fn authorization(&self) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", CALLBACK)
            .append_pair("state", "st")
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256")
            .append_pair("resource", NODE)
            .append_pair("scope", "a openid")
            .finish();
        format!("/oauth/authorize?{query}")
    }

    /// The path of the consent page, and what its form sends besides the decision.
    async fn asked(&self) -> (String, Vec<(String, String)>) {
        let to = self.browsing.get(&self.authorization()).await.location;
        let (_, i) = to.split_once("/consent?i=").unwrap_or_else(|| panic!("{to}"));
        let fields = [("i", i), ("scope", "a openid"), ("remember", "on")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (to.clone(), fields.to_vec())
    }

    async fn code(&self) -> String {
        let (_, mut fields) = self.asked().await;
        fields.push(("decision".to_owned(), "allow".to_owned()));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        code_in(&self.browsing.post("/consent", &fields).await)
    }

    fn redemption(&self, code: &str) -> Vec<(String, String)> {
        pairs(&[
            ("grant_type", "authorization_code"),
            ("client_id", &self.client_id),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ])
    }

    fn renewal(&self, tokens: &Value) -> Vec<(String, String)> {
        pairs(&[
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("refresh_token", text(tokens, "refresh_token")),
        ])
    }

    async fn token(&self, form: Vec<(String, String)>) -> Answer {
        let request = TestRequest::post().uri("/oauth/token").set_form(form);
        self.browsing.send(request).await
    }

    async fn tokens(&self) -> Value {
        let code = self.code().await;
        self.token(self.redemption(&code)).await.json()
    }

    /// A device that waits: its answer.
    async fn device(&self) -> Value {
        let form = self.device_wish();
        let request = TestRequest::post().uri("/oauth/device_authorization");
        self.browsing.send(request.set_form(form)).await.json()
    }

    fn device_wish(&self) -> Vec<(String, String)> {
        pairs(&[("client_id", &self.client_id), ("scope", "a"), ("resource", NODE)])
    }

    fn decision(device: &Value) -> Vec<(String, String)> {
        pairs(&[
            ("user_code", text(device, "user_code")),
            ("scope", "a"),
            ("decision", "allow"),
        ])
    }

    /// Asks without a browser.
    fn client_asks(self, path: &'static str, form: Vec<(String, String)>, done: Done) -> Ask {
        Ask {
            browsing: Browsing::new(&self.browsing.app),
            request: Box::new(move |_| TestRequest::post().uri(path).set_form(&form)),
            done,
            over: None,
        }
    }

    /// Sends a form of a page.
    fn sends(self, path: &'static str, fields: Vec<(String, String)>, done: Done) -> Ask {
        Ask {
            browsing: self.browsing,
            request: Box::new(move |browsing| {
                let mut fields = fields.clone();
                fields.push(("csrf".to_owned(), browsing.csrf()));
                TestRequest::post().uri(path).set_form(&fields)
            }),
            done,
            over: None,
        }
    }

    fn opens(self, path: String, done: Done) -> Ask {
        Ask {
            browsing: self.browsing,
            request: Box::new(move |_| TestRequest::get().uri(&path)),
            done,
            over: None,
        }
    }
}

impl Ask {
    /// What works once and has worked is answered like this.
    fn or_then(mut self, over: Done) -> Self {
        self.over = Some(over);
        self
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = pairs
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    owned.collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{value}"))
}

fn code_in(answer: &Answer) -> String {
    let code = answer
        .location
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("code="));
    code.unwrap_or_else(|| panic!("{} {} {}", answer.status, answer.location, answer.text))
        .to_owned()
}

async fn add_node(app: &App) {
    let row = ResourceRow {
        uri: NODE.to_owned(),
        lookup_key: NODE.to_owned(),
        name: "node".to_owned(),
        scopes: "a b".to_owned(),
        alg: "EdDSA".to_owned(),
        access_ttl: 3600,
        client_id: None,
        created_at: 0,
        authorization_details_types: String::new(),
    };
    db::resource::insert(&app.db, &row).await.unwrap();
    app.catch_up().await.unwrap();
}

macro_rules! dur_13 {
    ($(#[$doc:meta])* $name:ident, $app:ident => $ask:expr) => {
        $(#[$doc])*
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            examine(async |$app: &web::Data<App>| $ask).await;
        }
    };
}

dur_13!(dur_13_a_request_for_authorization, app => {
    let scene = Scene::new(app).await;
    let path = scene.authorization();
    scene.opens(path, Done(StatusCode::SEE_OTHER, "/consent?i="))
});

dur_13!(dur_13_a_request_of_somebody_who_is_not_signed_in, app => {
    let mut scene = Scene::new(app).await;
    scene.browsing = Browsing::new(app);
    let path = scene.authorization();
    scene.opens(path, Done(StatusCode::SEE_OTHER, "/login?i="))
});

dur_13!(dur_13_a_request_that_was_remembered, app => {
    let scene = Scene::new(app).await;
    scene.code().await;
    let path = scene.authorization();
    scene.opens(path, Done(StatusCode::SEE_OTHER, "code=eha_"))
});

dur_13!(dur_13_the_consent_page, app => {
    let scene = Scene::new(app).await;
    let (path, _) = scene.asked().await;
    scene.opens(path, Done(StatusCode::OK, "name=\"decision\""))
});

dur_13!(dur_13_a_yes, app => {
    let scene = Scene::new(app).await;
    let (_, mut fields) = scene.asked().await;
    fields.push(("decision".to_owned(), "allow".to_owned()));
    let ask = scene.sends("/consent", fields, Done(StatusCode::SEE_OTHER, "code=eha_"));
    ask.or_then(Done(StatusCode::BAD_REQUEST, "invalid_request"))
});

dur_13!(dur_13_a_no, app => {
    let scene = Scene::new(app).await;
    let (_, mut fields) = scene.asked().await;
    fields.push(("decision".to_owned(), "deny".to_owned()));
    let ask = scene.sends("/consent", fields, Done(StatusCode::SEE_OTHER, "error=access_denied"));
    ask.or_then(Done(StatusCode::BAD_REQUEST, "invalid_request"))
});

dur_13!(dur_13_a_code_is_redeemed, app => {
    let scene = Scene::new(app).await;
    let form = scene.redemption(&scene.code().await);
    // DUR-03: a second 200 would be a replay that works.
    scene.client_asks("/oauth/token", form, GRANTED).or_then(INVALID_GRANT)
});

dur_13!(dur_13_a_code_is_replayed, app => {
    let scene = Scene::new(app).await;
    let form = scene.redemption(&scene.code().await);
    assert!(GRANTED.is(&scene.token(form.clone()).await));
    scene.client_asks("/oauth/token", form, INVALID_GRANT)
});

dur_13!(dur_13_a_wrong_verifier_is_counted, app => {
    let scene = Scene::new(app).await;
    let mut form = scene.redemption(&scene.code().await);
    form.last_mut().unwrap().1 = "x".repeat(43);
    scene.client_asks("/oauth/token", form, INVALID_GRANT)
});

dur_13!(dur_13_a_token_is_refreshed, app => {
    let scene = Scene::new(app).await;
    let form = scene.renewal(&scene.tokens().await);
    // RT-05: also when the answer was lost.
    scene.client_asks("/oauth/token", form, GRANTED)
});

dur_13!(dur_13_a_used_refresh_token_is_replayed, app => {
    let scene = Scene::new(app).await;
    let first = scene.tokens().await;
    let second = scene.token(scene.renewal(&first)).await.json();
    assert!(GRANTED.is(&scene.token(scene.renewal(&second)).await));
    let form = scene.renewal(&first);
    scene.client_asks("/oauth/token", form, INVALID_GRANT)
});

dur_13!(dur_13_a_device_asks, app => {
    let scene = Scene::new(app).await;
    let form = scene.device_wish();
    scene.client_asks("/oauth/device_authorization", form, Done(StatusCode::OK, "\"device_code\""))
});

dur_13!(dur_13_a_devices_code_is_typed, app => {
    let scene = Scene::new(app).await;
    let device = scene.device().await;
    let fields = pairs(&[("user_code", text(&device, "user_code"))]);
    scene.sends("/device", fields, Done(StatusCode::OK, "name=\"decision\""))
});

dur_13!(dur_13_a_device_is_allowed, app => {
    let scene = Scene::new(app).await;
    let fields = Scene::decision(&scene.device().await);
    let ask = scene.sends("/device/decision", fields, Done(StatusCode::OK, "<h1"));
    ask.or_then(Done(StatusCode::BAD_REQUEST, "name=\"user_code\""))
});

dur_13!(dur_13_a_device_gets_its_tokens, app => {
    let scene = Scene::new(app).await;
    let device = scene.device().await;
    let fields = Scene::decision(&device);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(scene.browsing.post("/device/decision", &fields).await.status, StatusCode::OK);
    let form = pairs(&[
        ("grant_type", GrantType::DeviceCode.as_str()),
        ("client_id", &scene.client_id),
        ("device_code", text(&device, "device_code")),
    ]);
    scene.client_asks("/oauth/token", form, GRANTED).or_then(INVALID_GRANT)
});

dur_13!(dur_13_a_person_signs_in, app => {
    let mut scene = Scene::new(app).await;
    let profile = users::Profile {
        username: scene.user_id.clone(),
        display_name: None,
        email: None,
        is_admin: false,
    };
    let hash = password::phc_string(&Secret::from(PASSWORD.to_owned())).unwrap();
    let draft = users::draft(profile, Some(hash), clock::now()).unwrap();
    let made = app.db.write(async |tx| db::user_account::insert(tx, &draft).await);
    made.await.unwrap();
    scene.browsing = Browsing::new(app);
    let fields = pairs(&[("username", &scene.user_id), ("password", PASSWORD)]);
    scene.sends("/login", fields, TO_ACCOUNT)
});

dur_13!(dur_13_a_person_signs_out, app => {
    let scene = Scene::new(app).await;
    scene.sends("/logout", Vec::new(), Done(StatusCode::SEE_OTHER, "/logout"))
});

dur_13!(dur_13_a_refresh_token_is_revoked, app => {
    let scene = Scene::new(app).await;
    let tokens = scene.tokens().await;
    let form = pairs(&[("client_id", &scene.client_id), ("token", text(&tokens, "refresh_token"))]);
    scene.client_asks("/oauth/revoke", form, Done(StatusCode::OK, ""))
});

dur_13!(dur_13_an_access_token_is_revoked, app => {
    let scene = Scene::new(app).await;
    let tokens = scene.tokens().await;
    let form = pairs(&[("client_id", &scene.client_id), ("token", text(&tokens, "access_token"))]);
    scene.client_asks("/oauth/revoke", form, Done(StatusCode::OK, ""))
});

dur_13!(dur_13_userinfo, app => {
    let scene = Scene::new(app).await;
    let tokens = scene.tokens().await;
    let bearer = format!("Bearer {}", text(&tokens, "access_token"));
    let mut ask = scene.opens("/oauth/userinfo".to_owned(), Done(StatusCode::OK, "\"sub\""));
    ask.request = Box::new(move |_| {
        TestRequest::get().uri("/oauth/userinfo").insert_header(("Authorization", bearer.clone()))
    });
    ask
});

dur_13!(dur_13_the_account_page, app => {
    let scene = Scene::new(app).await;
    scene.tokens().await;
    scene.opens("/account".to_owned(), Done(StatusCode::OK, "/account/grants/revoke"))
});

dur_13!(dur_13_every_grant_is_taken_back, app => {
    let scene = Scene::new(app).await;
    scene.tokens().await;
    scene.sends("/account/grants/revoke-all", Vec::new(), TO_ACCOUNT)
});

dur_13!(dur_13_a_request_is_pushed, app => {
    let scene = Scene::new(app).await;
    let query = scene.authorization();
    let (_, query) = query.split_once('?').unwrap();
    let form: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    scene.client_asks("/oauth/par", form, Done(StatusCode::CREATED, "\"request_uri\""))
});
