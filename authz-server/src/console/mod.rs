//! The operators' console (docs/console.md): files for a browser, and the client as which they ask for tokens. Whatever it
//! shows and does goes through the admin API ([`crate::admin`]); here is no other way to anything.

mod files;

use actix_web::http::header::LOCATION;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::oauth_error::ErrorCode;

use crate::account::SignedIn;
use crate::admin;
use crate::app::App;
use crate::client::{AuthMethod, Client, ClientType, Origin};
use crate::config::Config;
use crate::db::client::ClientRow;
use crate::db::{self, DbFault};

/// The client of the console. No other is ever called so: ids are made here, or are addresses.
pub(crate) const CLIENT_ID: &str = "edge-hive-console";
/// What people see of it among what they have granted.
const NAME: &str = "Console of this server";
const PATH: &str = "/console";
/// To look, and to change; whoever signs in chooses.
const SCOPES: &str = "admin:read admin:write";

/// The files, where operators are.
pub(crate) fn routes(app: &web::Data<App>, config: &mut web::ServiceConfig) {
    if !app.config.admin.has_console {
        return;
    }
    let base = app.config.issuer.path();
    for file in files::all() {
        let address = ::web::answer::resource(&format!("{base}{PATH}{}", file.path), "GET, HEAD").route(
            ::web::answer::get().to(move |request: HttpRequest| async move { files::answer(&request, file) }),
        );
        config.service(address.wrap(from_fn(admin::where_operators_are)));
    }
    // Its files are named relative to the address without a slash.
    let target = format!("{base}{PATH}");
    let moved = ::web::answer::resource(&format!("{base}{PATH}/"), "GET, HEAD").route(
        ::web::answer::get().to(move || {
            let moved = HttpResponse::PermanentRedirect()
                .insert_header((LOCATION, target.as_str()))
                .finish();
            async move { moved }
        }),
    );
    config.service(moved.wrap(from_fn(admin::where_operators_are)));
}

/// The client as it is without anybody's doing; none where the console is off.
pub(crate) fn client(config: &Config) -> Option<ClientRow> {
    if !config.admin.has_console || !config.admin.is_served() {
        return None;
    }
    let bases = [Some(&config.issuer), config.admin.url.as_ref()];
    let redirect_uris: Vec<_> = bases
        .into_iter()
        .flatten()
        .map(|base| base.endpoint(PATH))
        .collect();
    Some(ClientRow {
        client_id: CLIENT_ID.to_owned(),
        name: NAME.to_owned(),
        client_type: ClientType::Web.as_str().to_owned(),
        auth_methods: AuthMethod::None.as_str().to_owned(),
        grants: "authorization_code refresh_token".to_owned(),
        scopes: SCOPES.to_owned(),
        resources: Value::from(vec![admin::uri(&config.issuer)]).to_string(),
        created_at: 0,
        tokens_not_before: 0,
        revoked_at: None,
        redirect_uris: Value::from(redirect_uris).to_string(),
        approves_as: None,
        origin: Origin::Operator.as_str().to_owned(),
        // It has a key in each browser (RFC 9449): what somebody reads of its traffic is worth nothing elsewhere.
        details: r#"{"dpop_bound_access_tokens":true}"#.to_owned(),
        last_used_at: None,
        expires_at: None,
    })
}

/// What counts of a client that is in the database already: when it ended. Everything else is the program's to say, and
/// follows the configuration.
pub(crate) fn as_kept(own: &ClientRow, kept: Option<ClientRow>) -> ClientRow {
    let Some(kept) = kept else {
        return own.clone();
    };
    ClientRow {
        created_at: kept.created_at,
        tokens_not_before: kept.tokens_not_before,
        revoked_at: kept.revoked_at,
        last_used_at: kept.last_used_at,
        ..own.clone()
    }
}

/// Whether a client is the console.
pub(crate) fn is_it(client: &Client) -> bool {
    client.client_id == CLIENT_ID
}

/// Writes the client down before the first grant that belongs to it.
pub(crate) async fn keep(app: &App, now: UnixSeconds) -> Result<(), DbFault> {
    if db::client::find(&app.db, CLIENT_ID).await?.is_some() {
        return Ok(());
    }
    let Some(own) = client(&app.config) else {
        return Ok(());
    };
    let row = ClientRow {
        created_at: now.0,
        ..own
    };
    let written = app
        .db
        .write(async |tx| db::client::insert_in(tx, &row, None).await);
    match written.await {
        // Another administrator was faster.
        Err(DbFault::Constraint(_)) => Ok(()),
        written => written,
    }
}

/// Whether somebody who is signed in may enter: an administrator who has shown a passkey, or a second factor beside a
/// password or an account elsewhere.
pub(crate) fn admit(person: &SignedIn) -> Result<(), (ErrorCode, &'static str)> {
    if !person.user.is_admin {
        return Err((ErrorCode::AccessDenied, "the person is no administrator"));
    }
    if !person.has_second_factor() {
        let sentence = "the console takes a passkey, or a second factor";
        return Err((ErrorCode::UnmetAuthenticationRequirements, sentence));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::config::Reader;

    use super::*;
    use crate::account::User;

    fn row(text: &str) -> Option<ClientRow> {
        let reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
        client(&Config::read(reader).unwrap())
    }

    #[test]
    fn the_client_follows_the_configuration() {
        let own = row("").unwrap();
        assert_eq!(own.redirect_uris, r#"["http://localhost:9000/console"]"#);
        assert_eq!(own.resources, r#"["http://localhost:9000/admin/v1"]"#);
        let read = Client::from_rows(own.clone(), Vec::new()).unwrap();
        assert!(is_it(&read) && read.is_trusted() && read.details.dpop_bound_access_tokens);
        let listen = "[admin]\nlisten = [\"127.0.0.1:9001\"]\nurl = \"http://localhost:9001\"";
        let uris = r#"["http://localhost:9000/console","http://localhost:9001/console"]"#;
        assert_eq!(row(listen).unwrap().redirect_uris, uris);
        assert!(row("[admin]\nconsole = false").is_none());
        // Where the API is not served there is nothing that it could ask.
        assert!(row("[server]\nissuer = \"https://as.example\"").is_none());
    }

    #[test]
    fn what_is_kept_says_when_it_ended_and_nothing_else() {
        let own = row("").unwrap();
        let kept = ClientRow {
            redirect_uris: r#"["https://evil.example/"]"#.to_owned(),
            scopes: "mcp:read".to_owned(),
            revoked_at: Some(7),
            created_at: 5,
            ..own.clone()
        };
        let seen = as_kept(&own, Some(kept));
        assert_eq!(
            (&seen.redirect_uris, &seen.scopes),
            (&own.redirect_uris, &own.scopes)
        );
        assert_eq!((seen.revoked_at, seen.created_at), (Some(7), 5));
        assert_eq!(as_kept(&own, None).created_at, 0);
    }

    #[test]
    fn administrators_enter_with_more_than_a_password() {
        let person = |is_admin: bool, methods: &str| SignedIn {
            session_id: "s_x".to_owned(),
            user: User {
                user_id: "u_x".to_owned(),
                username: "ana".to_owned(),
                display_name: "Ana".to_owned(),
                email: None,
                is_admin,
                is_disabled: false,
            },
            authenticated_at: UnixSeconds(1),
            methods: methods.to_owned(),
        };
        for good in ["hwk", "pwd otp", "fed otp"] {
            assert!(admit(&person(true, good)).is_ok(), "{good}");
        }
        for poor in ["pwd", "fed", "", "otpx"] {
            let (code, _) = admit(&person(true, poor)).unwrap_err();
            assert_eq!(code, ErrorCode::UnmetAuthenticationRequirements, "{poor}");
        }
        assert_eq!(
            admit(&person(false, "hwk")).unwrap_err().0,
            ErrorCode::AccessDenied
        );
    }
}
