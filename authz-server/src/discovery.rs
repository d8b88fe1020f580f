//! Who we are and what works here: authorization server metadata (RFC 8414), the same document in the places where
//! OpenID Connect clients look, the key set, and the page about errors.

mod signed_keys;

use std::collections::BTreeMap;

use ::web::answer;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use shared::dpop;
use shared::metadata::AuthorizationServer;

pub(crate) use self::signed_keys::signed_key_set;
use crate::app::App;
use crate::client::AuthMethod;
use crate::client::authenticate::SIGNING_ALGORITHMS;
use crate::conditional::{self, Tagged};
use crate::config::{Changeable, DocumentPolicy, RegistrationMode};
use crate::error::{self, Failure};
use crate::keys::ALGORITHMS;
use crate::openid::{CLAIMS, ID_TOKEN_ALGORITHM};
use crate::token::GrantType;
use crate::token::scopes::IDENTITY;

/// Documents may be kept by others for five minutes.
const CACHED: &str = "public, max-age=300";

/// Key sets for one minute: so long a key that was compromised stays in a copy.
const KEYS_CACHED: &str = "public, max-age=60";

/// Identity Assertion JWT Authorization Grant, "Resource Authorization Server Metadata".
const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";

/// What each error code means, compiled in, so that `error_uri` works in an air-gapped fleet too.
const ERRORS: &str = include_str!("../../docs/errors.md");

/// The metadata document.
pub(crate) async fn metadata(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let written = async {
        catch_up_if_possible(&app).await;
        serde_json::to_vec(&describe(&app).await?).map_err(|e| Failure::Internal(e.to_string()))
    };
    match written.await {
        Ok(document) => {
            let mut answer = answer::json_bytes(document);
            answer.headers_mut().insert(
                CACHE_CONTROL,
                actix_web::http::header::HeaderValue::from_static(CACHED),
            );
            answer
        }
        Err(failure) => error::answer(&app, &request, failure),
    }
}

/// These documents are served from memory when the database is away: a node that starts meanwhile needs them, and
/// nothing in them opens a door.
async fn catch_up_if_possible(app: &App) {
    if let Err(fault) = app.catch_up().await {
        tracing::warn!(reason = %fault, "serving metadata and keys from memory");
    }
}

async fn describe(app: &App) -> Result<AuthorizationServer, Failure> {
    let resources = app.resources().await?;
    let mut scopes: Vec<String> = resources
        .iter()
        .flat_map(|resource| resource.scopes.iter())
        .chain(IDENTITY)
        .map(str::to_owned)
        .collect();
    scopes.sort_unstable();
    scopes.dedup();
    let mut details_types: Vec<String> = resources
        .iter()
        .flat_map(|resource| resource.authorization_details_types.iter().cloned())
        .collect();
    details_types.sort_unstable();
    details_types.dedup();
    let in_force = app.in_force();
    let configured = &in_force.changeable;
    let issuer = &app.config.issuer;
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let methods: Vec<_> = AuthMethod::ALL.into_iter().filter(|m| app.takes(*m)).collect();
    let method_names = |of: &dyn Fn(&AuthMethod) -> bool| {
        let chosen = methods.iter().filter(|method| of(method));
        chosen
            .map(|method| method.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    let algorithms = SIGNING_ALGORITHMS
        .map(|algorithm| algorithm.as_str().to_owned())
        .to_vec();
    Ok(AuthorizationServer {
        issuer: issuer.as_str().to_owned(),
        authorization_endpoint: issuer.endpoint("/oauth/authorize"),
        token_endpoint: issuer.endpoint("/oauth/token"),
        jwks_uri: issuer.endpoint("/.well-known/jwks.json"),
        signed_jwks_uri: Some(issuer.endpoint("/.well-known/jwks.jwt")),
        introspection_endpoint: issuer.endpoint("/oauth/introspect"),
        revocation_endpoint: issuer.endpoint("/oauth/revoke"),
        status_list_aggregation_endpoint: Some(issuer.endpoint("/oauth/status")),
        scopes_supported: scopes,
        response_types_supported: names(&["code"]),
        response_modes_supported: names(&["query"]),
        grant_types_supported: GrantType::ALL
            .iter()
            .filter(|grant| is_configured(configured, **grant))
            .map(|grant| grant.as_str().to_owned())
            .collect(),
        authorization_grant_profiles_supported: if configured.assertions.id_jag.is_empty() {
            Vec::new()
        } else {
            names(&[ID_JAG_PROFILE])
        },
        token_endpoint_auth_methods_supported: method_names(&|_| true),
        token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        // A public client may not introspect.
        introspection_endpoint_auth_methods_supported: method_names(&|m| *m != AuthMethod::None),
        introspection_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        revocation_endpoint_auth_methods_supported: method_names(&|_| true),
        revocation_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
        introspection_signing_alg_values_supported: ALGORITHMS.map(|alg| alg.as_str().to_owned()).to_vec(),
        tls_client_certificate_bound_access_tokens: app.config.mutual_tls.is_on(),
        mtls_endpoint_aliases: aliases(app),
        code_challenge_methods_supported: names(&["S256"]),
        dpop_signing_alg_values_supported: dpop::algorithms().map(str::to_owned).collect(),
        subject_types_supported: names(&["public"]),
        id_token_signing_alg_values_supported: names(&[ID_TOKEN_ALGORITHM.as_str()]),
        userinfo_endpoint: issuer.endpoint("/oauth/userinfo"),
        registration_endpoint: (configured.clients.registration.mode != RegistrationMode::Off)
            .then(|| issuer.endpoint("/oauth/register")),
        device_authorization_endpoint: Some(issuer.endpoint("/oauth/device_authorization")),
        claims_supported: names(&CLAIMS),
        authorization_response_iss_parameter_supported: true,
        prompt_values_supported: names(&["none", "login", "consent", "select_account"]),
        ui_locales_supported: names(&["en", "es"]),
        request_parameter_supported: true,
        client_id_metadata_document_supported: configured.clients.metadata_documents != DocumentPolicy::Off,
        request_uri_parameter_supported: false,
        request_object_signing_alg_values_supported: algorithms,
        require_signed_request_object: false,
        pushed_authorization_request_endpoint: issuer.endpoint("/oauth/par"),
        require_pushed_authorization_requests: configured.clients.require_pushed_requests,
        authorization_details_types_supported: details_types,
        service_documentation: issuer.endpoint("/docs/errors"),
    })
}

/// The endpoints at which a client may show a certificate, under the addresses where it is asked for one (RFC 8705 §5).
fn aliases(app: &App) -> BTreeMap<String, String> {
    let Some(base) = &app.config.mutual_tls.url else {
        return BTreeMap::new();
    };
    let endpoints = [
        ("token_endpoint", "/oauth/token"),
        ("introspection_endpoint", "/oauth/introspect"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("device_authorization_endpoint", "/oauth/device_authorization"),
        ("pushed_authorization_request_endpoint", "/oauth/par"),
        ("userinfo_endpoint", "/oauth/userinfo"),
    ];
    let alias = |(name, path): (&str, &str)| (name.to_owned(), base.endpoint(path));
    endpoints.into_iter().map(alias).collect()
}

/// Whether a grant can ever succeed here: some need somebody to believe, or an edge.
fn is_configured(config: &Changeable, grant: GrantType) -> bool {
    match grant {
        GrantType::JwtBearer => {
            !config.assertions.id_jag.is_empty() || !config.assertions.workloads.is_empty()
        }
        GrantType::TokenExchange => !config.exchange.is_empty(),
        _ => true,
    }
}

/// `GET /.well-known/jwks.json` (RFC 7517 §5).
pub(crate) async fn key_set(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    catch_up_if_possible(&app).await;
    let keys = app.published_keys().await;
    let document = Tagged {
        etag: &keys.etag,
        content_type: "application/json",
        cache_control: KEYS_CACHED,
        body: keys.document.clone(),
    };
    conditional::answer(&request, document)
}

/// `GET /docs/errors`.
pub(crate) async fn errors() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/markdown; charset=utf-8"))
        .insert_header((CACHE_CONTROL, CACHED))
        .body(ERRORS)
}
