//! For unit tests: an issuer that signs whatever it is told to, and a whole node without its listener.

mod holder;
mod messages;

use std::sync::Arc;
use std::time::Duration;

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::test::{TestRequest, init_service};
use actix_web::web::Data;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rmcp::ServerHandler;
use serde_json::{Value, json};
use shared::access_token::{Expectation, Shape};
use shared::clock::UnixSeconds;
use shared::jose::Algorithm;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

pub(crate) use self::holder::Holder;
pub(crate) use self::messages::Messages;
use crate::app::{Node, routes};
use crate::config::NodeConfig;
use crate::health;
use crate::logs::Ring;
use crate::mcp::news::News;
use crate::mcp::{EdgeHive, Lasting, Transport};
use crate::server::build;

pub(crate) const AUDIENCE: &str = "http://localhost:8080/mcp";
pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// An issuer with one Ed25519 key.
pub(crate) struct Forge {
    pub(crate) issuer: String,
    pub(crate) kid: String,
    key: Ed25519KeyPair,
}

impl Forge {
    pub(crate) fn new(issuer: &str) -> Self {
        Self::with_key(issuer, "key-1", [7; 32])
    }

    pub(crate) fn with_key(issuer: &str, kid: &str, seed: [u8; 32]) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        Self {
            issuer: issuer.to_owned(),
            kid: kid.to_owned(),
            key,
        }
    }

    /// An issuer that publishes its metadata and key set on a port of this machine.
    pub(crate) async fn published() -> (MockServer, Self) {
        let server = MockServer::start().await;
        let forge = Self::new(&server.uri());
        forge.publish(&server).await;
        (server, forge)
    }

    pub(crate) async fn publish(&self, server: &MockServer) {
        let metadata = json!({"issuer": self.issuer, "jwks_uri": format!("{}/jwks", self.issuer)});
        for (place, document) in [
            ("/.well-known/oauth-authorization-server", metadata),
            ("/jwks", self.jwks()),
        ] {
            Mock::given(path(place))
                .respond_with(ResponseTemplate::new(200).set_body_json(document))
                .mount(server)
                .await;
        }
    }

    pub(crate) fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "alg": "EdDSA", "use": "sig"}]})
    }

    pub(crate) fn expectation(&self) -> Expectation {
        Expectation {
            issuer: self.issuer.as_str().into(),
            audience: AUDIENCE.into(),
            algorithms: vec![Algorithm::EdDSA],
            leeway: Duration::from_secs(60),
            shape: Shape::EdgeHive,
            clients: Vec::new(),
            scope_claim: None,
            scope_prefix: None,
            kept_claims: Vec::new(),
        }
    }

    /// A token that is good at [`NOW`], but for `change`.
    pub(crate) fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        self.token_at(NOW, change)
    }

    /// A token that is good at `now`, but for `change`.
    pub(crate) fn token_at(&self, now: UnixSeconds, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": self.issuer, "sub": "client:agent", "aud": AUDIENCE, "exp": now.0 + 300, "iat": now.0,
            "jti": "j", "client_id": "agent", "scope": "mcp:call mcp:read",
        });
        change(&mut claims);
        self.sign("at+jwt", &claims)
    }

    /// A JWT of this type.
    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> String {
        let header = json!({"typ": typ, "alg": "EdDSA", "kid": self.kid});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()))
        )
    }
}

/// A whole node without its listener, and the issuer that it trusts.
pub(crate) struct Site {
    pub(crate) forge: Forge,
    pub(crate) id: String,
    node: Data<Node>,
    transport: Data<Transport<EdgeHive>>,
    pub(crate) issuer: Option<MockServer>,
    _folder: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With more configuration.
    pub(crate) async fn with(configuration: &str) -> Self {
        let (server, forge) = Forge::published().await;
        Self::build(Some(server), forge, "", configuration)
    }

    /// With more keys in `[server]`.
    pub(crate) async fn with_server(keys: &str) -> Self {
        let (server, forge) = Forge::published().await;
        Self::build(Some(server), forge, keys, "")
    }

    /// Its issuer cannot be reached.
    pub(crate) async fn without_issuer() -> Self {
        Self::build(None, Forge::new("http://127.0.0.1:1"), "", "")
    }

    fn build(issuer: Option<MockServer>, forge: Forge, server: &str, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[server]\nallowed_origins = [\"https://app.example\"]\n{server}\n[node]\ndata_dir = {:?}\n[[issuer]]\nurl = \"{}\"\n{configuration}",
            folder.path(),
            forge.issuer,
        );
        let config = NodeConfig::from_text(&text).unwrap();
        let node = build(&config, Ring::default()).unwrap();
        let handler = Arc::clone(&node);
        let make = move || EdgeHive::new(Arc::clone(&handler));
        let transport = Data::new(Transport::new(make, node.body_limit));
        let id = node.observer.id().to_owned();
        Self {
            forge,
            id,
            node: Data::from(node),
            transport,
            issuer,
            _folder: folder,
        }
    }

    /// The answer to `request`.
    pub(crate) async fn send(&self, request: TestRequest) -> ServiceResponse {
        self.send_to(&self.transport, request).await
    }

    /// The answer of another handler behind the same door.
    pub(crate) async fn send_to<H: ServerHandler>(
        &self,
        transport: &Data<Transport<H>>,
        request: TestRequest,
    ) -> ServiceResponse {
        let app = App::new()
            .app_data(self.node.clone())
            .configure(health::routes)
            .configure(|app| routes(app, &self.node, transport, true))
            .default_service(actix_web::web::to(::web::answer::not_found));
        let app = init_service(app).await;
        app.call(request.to_request())
            .await
            .unwrap()
            .map_into_boxed_body()
    }

    /// Where the node's news are told.
    pub(crate) fn news(&self) -> News {
        self.node.lasting.news.clone()
    }

    /// What outlives requests.
    pub(crate) fn lasting(&self) -> Lasting {
        self.node.lasting.clone()
    }

    /// The header of a token of somebody else, and of this scope.
    pub(crate) fn bearer_of(&self, claim: &str, value: &str, scope: &str) -> (&'static str, String) {
        let token = self.forge.token_at(shared::clock::now(), |claims| {
            claims["scope"] = scope.into();
            claims[claim] = value.into();
        });
        ("authorization", format!("Bearer {token}"))
    }

    /// What happens when the program is asked to stop.
    pub(crate) fn stop(&self) {
        self.node.stopping.cancel();
    }

    /// The header of a token with this scope.
    pub(crate) fn bearer(&self, scope: &str) -> (&'static str, String) {
        let token = self
            .forge
            .token_at(shared::clock::now(), |claims| claims["scope"] = scope.into());
        ("authorization", format!("Bearer {token}"))
    }
}

/// The JSON body of an answer.
pub(crate) async fn body_of(answer: ServiceResponse) -> Value {
    let bytes = to_bytes(answer.into_body()).await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&bytes)))
}
