//! What the authorization server and the nodes both say on the wire.
//!
//! Nothing here knows actix, sqlx, libp2p or rmcp. Each security rule that both sides rely on has its one place here:
//! randomness and secrets, time, scopes, exact identifiers, JOSE, the access token, outbound HTTP, TLS, configuration.

pub mod access_token;
pub mod client_assertion;
pub mod clock;
pub mod config;
pub mod digest;
pub mod discovery;
pub mod dpop;
pub mod fleet;
pub mod http_client;
pub mod id_token;
pub mod jose;
pub mod json;
pub mod jwks;
pub mod lasting_clock;
pub mod metadata;
pub mod oauth_error;
pub mod scope;
pub mod secret;
pub mod signed_jwt;
pub mod status_list;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod uri;
