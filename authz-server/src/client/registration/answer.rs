//! What a client is told about its registration (RFC 7591 §3.2.1, RFC 7592 §3).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use serde_json::json;
use shared::clock::UnixSeconds;
use shared::secret::Secret;

use crate::app::App;
use crate::client::metadata;
use crate::db::client::ClientRow;
use crate::error::Failure;

/// A secret that is shown now and never again.
pub(super) struct NewSecret<'a> {
    pub(super) secret: &'a Secret,
    /// Until when the one before works, if there was one.
    pub(super) old_until: Option<UnixSeconds>,
}

/// A registration as it is.
pub(super) struct Registered<'a> {
    pub(super) row: &'a ClientRow,
    pub(super) token: &'a Secret,
    pub(super) new_secret: Option<NewSecret<'a>>,
    /// The software statement that came with this request, unmodified.
    pub(super) statement: Option<&'a str>,
}

impl Registered<'_> {
    /// Everything that is registered, whatever was asked for.
    pub(super) fn send(self, app: &App, status: StatusCode) -> Result<HttpResponse, Failure> {
        let client_id = &self.row.client_id;
        let mut body = metadata::document(self.row)?;
        let mut set = |name: &str, value| body.insert(name.to_owned(), value);
        set("client_id", json!(client_id));
        set("client_id_issued_at", json!(self.row.created_at));
        set("registration_access_token", json!(self.token.reveal()));
        let address = app
            .config
            .issuer
            .endpoint(&format!("/oauth/register/{client_id}"));
        set("registration_client_uri", json!(address));
        if let Some(new) = &self.new_secret {
            set("client_secret", json!(new.secret.reveal()));
            // It does not end by itself.
            set("client_secret_expires_at", json!(0));
            if let Some(old_until) = new.old_until {
                set("previous_client_secret_expires_at", json!(old_until));
            }
        }
        if let Some(statement) = self.statement {
            set("software_statement", json!(statement));
        }
        Ok(HttpResponse::build(status)
            .insert_header((CACHE_CONTROL, "no-store"))
            .json(body))
    }
}
