//! Clients, resources and a whole server for the tests of this folder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::config::Reader;
use shared::jose::Algorithm;
use shared::oauth_error::ErrorCode;
use shared::secret::{Secret, SecretKind};
use xtask::timing::{self, Difference, Way};

use super::request::{ExchangeRequest, GrantType, TokenRequest};
use super::{authorization_code, refresh_token};
use crate::app::App;
use crate::client::Client;
use crate::client::authenticate::AuthenticatedClient;
use crate::config::Config;
use crate::db::access_grant::GrantRow;
use crate::db::authorization_code::CodeRow;
use crate::db::client::ClientRow;
use crate::db::resource::ResourceRow;
use crate::db::tests::{NOW, add_user};
use crate::db::{self, Db};
use crate::error::Failure;
use crate::registry::Resource;
use crate::status_list::Place;

/// The row of a client with these grants and scopes.
pub(crate) fn client_row(grants: &str, scopes: &str) -> ClientRow {
    ClientRow {
        client_id: "c_x".to_owned(),
        name: "x".to_owned(),
        client_type: "service".to_owned(),
        auth_methods: "client_secret_basic".to_owned(),
        grants: grants.to_owned(),
        scopes: scopes.to_owned(),
        resources: "[]".to_owned(),
        created_at: 0,
        tokens_not_before: 0,
        revoked_at: None,
        redirect_uris: "[]".to_owned(),
        approves_as: None,
        origin: "operator".to_owned(),
        details: "{}".to_owned(),
        last_used_at: None,
        expires_at: None,
    }
}

/// A client with these grants and scopes.
pub(crate) fn client(grants: &str, scopes: &str) -> Client {
    Client::from_rows(client_row(grants, scopes), Vec::new()).unwrap()
}

/// A resource with these scopes.
pub(crate) fn resource(scopes: &str) -> Resource {
    Resource {
        uri: "https://rs/mcp".to_owned(),
        lookup_key: "https://rs/mcp".to_owned(),
        name: "https://rs/mcp".to_owned(),
        scopes: scopes.parse().unwrap(),
        algorithm: Algorithm::EdDSA,
        access_ttl: Duration::from_secs(60),
        client_id: None,
        authorization_details_types: Vec::new(),
        created_at: UnixSeconds(0),
        is_built_in: false,
    }
}

/// Who and what the tests are about: a person, a client of theirs, another client, a node, and the server.
pub(crate) struct House {
    pub(crate) app: Arc<App>,
    pub(crate) client: AuthenticatedClient,
    pub(crate) other: AuthenticatedClient,
    pub(crate) grant_id: String,
    folder: Arc<tempfile::TempDir>,
}

/// The verifier of RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Where the client's codes go.
pub(crate) const REDIRECT: &str = "http://127.0.0.1:1234/callback";
/// The node.
pub(crate) const NODE: &str = "https://rs/mcp";

impl House {
    /// On an empty database. `tokens` are lines of the configuration's section of that name.
    pub(crate) async fn new(url: &str, tokens: &str) -> Self {
        // A future that holds a whole configuration is a large one.
        Box::pin(Self::built(url, tokens)).await
    }

    async fn built(url: &str, tokens: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("master.key");
        let text = format!(
            "[keys]\nmaster_key_file = \"{}\"\n[tokens]\n{tokens}",
            key.display()
        );
        let config = Config::read(Reader::from_text(text, &BTreeMap::new()).unwrap()).unwrap();
        let db = Db::open(url, &config.issuer, NOW).await.unwrap();
        let row = ResourceRow {
            uri: NODE.to_owned(),
            lookup_key: NODE.to_owned(),
            name: "node".to_owned(),
            scopes: "a b c".to_owned(),
            alg: "EdDSA".to_owned(),
            access_ttl: 3600,
            client_id: None,
            created_at: 0,
            authorization_details_types: String::new(),
        };
        db::resource::insert(&db, &row).await.unwrap();
        add_user(&db, "u_1").await;
        let app = Box::pin(App::new(config, db, NOW)).await.unwrap();
        let client = add_client(&app, "c_x").await;
        let other = add_client(&app, "c_y").await;
        let mut house = Self {
            app,
            client,
            other,
            grant_id: String::new(),
            folder: Arc::new(folder),
        };
        house.grant_id = house.approve("g_1", "a b c offline_access", None).await;
        house
    }

    /// The same house, whose codes come of another grant.
    pub(crate) fn with_grant(&self, grant_id: String) -> Self {
        Self {
            app: Arc::clone(&self.app),
            client: AuthenticatedClient::assumed(Arc::clone(self.client.client())),
            other: AuthenticatedClient::assumed(Arc::clone(self.other.client())),
            grant_id,
            folder: Arc::clone(&self.folder),
        }
    }

    /// What the person allows the client at the node from now on.
    pub(crate) async fn approve(&self, grant_id: &str, scopes: &str, expires_at: Option<i64>) -> String {
        let grant = GrantRow {
            grant_id: grant_id.to_owned(),
            user_id: "u_1".to_owned(),
            client_id: "c_x".to_owned(),
            resource: NODE.to_owned(),
            scopes: scopes.to_owned(),
            remembered_scopes: String::new(),
            created_at: NOW.0,
            updated_at: NOW.0,
            expires_at,
        };
        let approved = self.app.db.write(async |tx| {
            let held = db::access_grant::hold(tx, &grant).await?;
            let amended = GrantRow {
                grant_id: held.grant_id.clone(),
                ..grant.clone()
            };
            db::access_grant::amend(tx, &amended).await?;
            Ok(held.grant_id)
        });
        approved.await.unwrap()
    }

    /// A code as the authorization endpoint would send it, for `scopes`, approved in a session or not.
    pub(crate) async fn code(&self, scopes: &str, session_id: Option<&str>) -> Secret {
        let code = Secret::generate(SecretKind::AuthorizationCode).unwrap();
        let row = CodeRow {
            grant_id: self.grant_id.clone(),
            client_id: "c_x".to_owned(),
            user_id: "u_1".to_owned(),
            redirect_uri: REDIRECT.to_owned(),
            code_challenge: CHALLENGE.to_owned(),
            resource: NODE.to_owned(),
            scopes: scopes.to_owned(),
            nonce: Some("n".to_owned()),
            session_id: session_id.map(str::to_owned),
            auth_time: NOW.0 - 5,
            methods: "pwd otp".to_owned(),
            created_at: NOW.0,
            expires_at: NOW.0 + 60,
            authorization_details: None,
            dpop_jkt: None,
        };
        let insert = self
            .app
            .db
            .write(async |tx| db::authorization_code::insert(tx, &code.hash(), &row).await);
        insert.await.unwrap();
        code
    }

    /// A refresh token as the first exchange gives it.
    pub(crate) async fn refresh_token(&self) -> Secret {
        let code = self.code("a b offline_access", None).await;
        let permit = authorization_code::decide(&self.app, &self.client, &with_code(&code), NOW)
            .await
            .unwrap();
        permit.lineage.unwrap().refresh_token.unwrap()
    }

    /// What a refresh token is exchanged for at `now`.
    pub(crate) async fn refreshed(&self, token: &Secret, now: UnixSeconds) -> Result<Secret, Failure> {
        let asked = with_refresh_token(token);
        let permit = refresh_token::decide(&self.app, &self.client, &asked, now).await?;
        Ok(permit.lineage.unwrap().refresh_token.unwrap())
    }

    /// The family of a refresh token that stands.
    pub(crate) async fn family_of(&self, token: &Secret) -> String {
        let known = db::refresh_token::find(&self.app.db, &token.hash(), NOW).await;
        known.unwrap().unwrap().family_id
    }

    /// Whether the access tokens of a family are taken back.
    pub(crate) async fn is_taken_back(&self, family_id: &str) -> bool {
        self.app.catch_up().await.unwrap();
        self.app.is_revoked(&format!("{family_id}.x")).await.unwrap()
    }
}

async fn add_client(app: &App, client_id: &str) -> AuthenticatedClient {
    let mut row = client_row("authorization_code refresh_token", "a b c");
    client_id.clone_into(&mut row.client_id);
    db::client::insert(&app.db, &row, None).await.unwrap();
    AuthenticatedClient::assumed(app.client(client_id).await.unwrap().unwrap())
}

/// What becomes of a request with a code.
pub(crate) async fn redeemed(house: &House, code: &Secret) -> Result<(), Failure> {
    let asked = with_code(code);
    let permit = authorization_code::decide(&house.app, &house.client, &asked, NOW).await;
    permit.map(|_| ())
}

/// The right request for a code.
pub(super) fn with_code(code: &Secret) -> TokenRequest {
    TokenRequest {
        grant_type: GrantType::AuthorizationCode,
        scope: None,
        resource: None,
        code: Some(code.clone()),
        device_code: None,
        authorization_details: None,
        confirmation: None,
        code_verifier: Some(Secret::from(VERIFIER.to_owned())),
        redirect_uri: None,
        refresh_token: None,
        assertion: None,
        exchange: ExchangeRequest::default(),
        source: None,
    }
}

/// The right request for a refresh token.
pub(super) fn with_refresh_token(token: &Secret) -> TokenRequest {
    TokenRequest {
        grant_type: GrantType::RefreshToken,
        scope: None,
        resource: None,
        code: None,
        device_code: None,
        authorization_details: None,
        confirmation: None,
        code_verifier: None,
        redirect_uri: None,
        refresh_token: Some(token.clone()),
        assertion: None,
        exchange: ExchangeRequest::default(),
        source: None,
    }
}

/// Runs all of them at once.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in pending.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(cx) {
                *output = Some(ready);
            }
        }
        if pending.iter().all(|(_, output)| output.is_some()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}

/// The error code of a refusal.
pub(crate) fn code_of<T>(answer: Result<T, Failure>) -> ErrorCode {
    match answer {
        Err(Failure::Refused(refusal)) => refusal.code,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was granted"),
    }
}

/// Refreshes; the next refresh token, the place of the access token, and the family.
pub(crate) async fn refresh(
    house: &House,
    token: &Secret,
    now: UnixSeconds,
) -> Result<(Secret, Place, String), Failure> {
    let asked = with_refresh_token(token);
    let permit = super::refresh_token::decide(&house.app, &house.client, &asked, now).await?;
    let lineage = permit.lineage.unwrap();
    let next = lineage.refresh_token.unwrap();
    Ok((next, permit.place.unwrap(), lineage.family_id))
}

/// Lets `judge` refuse what is wrong early and what is wrong late, by turns, and compares the times.
pub(crate) fn by_place<T: ?Sized>(judge: &dyn Fn(&T) -> bool, (early, late): (&T, &T)) -> Difference {
    fn way<'a, T: ?Sized>(judge: &'a dyn Fn(&T) -> bool, value: &'a T) -> Way<'a> {
        Box::new(move || {
            for _ in 0..64 {
                assert!(!judge(std::hint::black_box(value)));
            }
        })
    }
    timing::compare(1000, &mut [way(judge, early), way(judge, late)])[0]
}
