//! Every address of the server, in one table.

use ::web::answer::{document, get, resource};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue,
};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpResponse, Resource, guard, web};

use crate::account::{change, link, page, passkey, second_factor, sign_in, sign_out, totp, upstream};
use crate::admin;
use crate::app::App;
use crate::authorize::device;
use crate::client::registration;
use crate::config::RegistrationMode;
use crate::pages::assets;
use crate::{authorize, console, discovery, fleet, health, openid, status_list, token};

/// The probes, which no rate limit and no check of `Host` touches.
pub(crate) fn probes(app: &web::Data<App>, config: &mut web::ServiceConfig) {
    config
        .app_data(app.clone())
        .service(document("/healthz", health::live))
        .service(document("/readyz", health::ready));
}

/// Everything else. The issuer may have a path: endpoints are below it, metadata is inserted before it (RFC 8414 §3.1).
pub(crate) fn routes(app: &web::Data<App>, config: &mut web::ServiceConfig) {
    let base = app.config.issuer.path().to_owned();
    let below = |path: &str| format!("{base}{path}");
    config.app_data(app.clone());
    for well_known in [
        format!("/.well-known/oauth-authorization-server{base}"),
        format!("/.well-known/openid-configuration{base}"),
    ] {
        config.service(readable(
            resource(&well_known, "GET, HEAD, OPTIONS").route(get().to(discovery::metadata)),
        ));
    }
    if !base.is_empty() {
        let appended = below("/.well-known/openid-configuration");
        config.service(readable(
            resource(&appended, "GET, HEAD, OPTIONS").route(get().to(discovery::metadata)),
        ));
    }
    let key_set =
        resource(&below("/.well-known/jwks.json"), "GET, HEAD, OPTIONS").route(get().to(discovery::key_set));
    let signed_key_set = resource(&below("/.well-known/jwks.jwt"), "GET, HEAD, OPTIONS")
        .route(get().to(discovery::signed_key_set));
    config
        .service(readable(key_set))
        .service(readable(signed_key_set))
        .service(readable(post(&below("/oauth/token")).route(web::post().to(token::token))))
        .service(readable(post(&below("/mcp/auth/token")).route(web::post().to(token::token_form_or_json))))
        .service(readable(post(&below("/oauth/par")).route(web::post().to(authorize::push))))
        .service(readable(
            post(&below("/oauth/device_authorization")).route(web::post().to(token::device_authorization)),
        ))
        .service(readable(
            resource(&below("/oauth/status"), "GET, HEAD, OPTIONS").route(get().to(status_list::aggregation)),
        ))
        .service(readable(
            resource(&below("/oauth/status/{list}"), "GET, HEAD, OPTIONS").route(get().to(status_list::list)),
        ))
        .service(readable(post(&below("/oauth/revoke")).route(web::post().to(token::revoke))))
        .service(readable(
            resource(&below("/oauth/userinfo"), "GET, HEAD, POST, OPTIONS")
                .route(get().to(openid::userinfo))
                .route(web::post().to(openid::userinfo)),
        ))
        // A resource server introspects, never a page in a browser.
        .service(resource(&below("/oauth/introspect"), "POST").route(web::post().to(token::introspect)))
        // Without CORS: no script may read what a person is sent to (OAuth 2.1 §3.1).
        .service(
            resource(&below("/oauth/authorize"), "GET, HEAD, POST")
                .route(get().to(authorize::authorize))
                .route(web::post().to(authorize::authorize_form)),
        )
        .service(document(&below("/docs/errors"), discovery::errors));
    registrations(app, &below, config);
    people(&below, config);
    own_account(&below, config);
    nodes(&below, config);
    admin::routes(app, config);
    console::routes(app, config);
}

/// What nodes of the fleet ask, and what anybody may know of them. Programs ask, never a page in a browser; except the
/// page on which a person answers a node.
fn nodes(below: &impl Fn(&str) -> String, config: &mut web::ServiceConfig) {
    config
        .service(resource(&below("/fleet/enroll"), "POST").route(web::post().to(fleet::enroll)))
        .service(document(&below("/fleet/nodes"), fleet::nodes))
        .service(document(&below("/fleet/nodes/{node_id}"), fleet::record))
        .service(resource(&below("/fleet/report"), "POST").route(web::post().to(fleet::report)))
        .service(resource(&below("/fleet/invites"), "POST").route(web::post().to(fleet::provision)))
        .service(resource(&below("/fleet/approvals"), "POST").route(web::post().to(fleet::ask)))
        .service(document(&below("/fleet/approvals/{id}"), fleet::poll))
        .service(
            form(&below("/approve/{id}"))
                .route(get().to(fleet::show))
                .route(web::post().to(fleet::decide)),
        );
}

/// Where clients register and look after their registration; from pages of any origin too, as [`readable`]. Nothing is
/// there while nobody may register.
fn registrations(app: &web::Data<App>, below: &impl Fn(&str) -> String, config: &mut web::ServiceConfig) {
    let is_open = || {
        let app = app.clone();
        guard::fn_guard(move |_| {
            let in_force = app.in_force();
            in_force.changeable.clients.registration.mode != RegistrationMode::Off
        })
    };
    let registrations = post(&below("/oauth/register"))
        .guard(is_open())
        .route(web::post().to(registration::register));
    let one = resource(
        &below("/oauth/register/{client_id}"),
        "GET, HEAD, PUT, DELETE, OPTIONS",
    )
    .guard(is_open())
    .route(get().to(registration::read))
    .route(web::put().to(registration::update))
    .route(web::delete().to(registration::delete));
    config.service(readable(registrations)).service(readable(one));
}

/// The pages of people, without CORS: they are for browsers, and for nobody's script.
fn people(below: &impl Fn(&str) -> String, config: &mut web::ServiceConfig) {
    config
        .service(
            form(&below("/consent"))
                .route(get().to(authorize::show))
                .route(web::post().to(authorize::decide)),
        )
        .service(
            form(&below("/login"))
                .route(get().to(sign_in::page))
                .route(web::post().to(sign_in::submit)),
        )
        .service(
            form(&below("/login/link"))
                .route(get().to(link::page))
                .route(web::post().to(link::submit)),
        )
        .service(
            form(&below("/device"))
                .route(get().to(device::entry))
                .route(web::post().to(device::enter)),
        )
        .service(resource(&below("/device/decision"), "POST").route(web::post().to(device::decide)))
        .service(resource(&below("/login/upstream"), "POST").route(web::post().to(upstream::begin)))
        .service(resource(&below("/login/upstream/consent"), "POST").route(web::post().to(upstream::consent)))
        .service(document(&below("/login/upstream/callback"), upstream::callback))
        .service(
            form(&below("/logout"))
                .route(get().to(sign_out::page))
                .route(web::post().to(sign_out::submit)),
        )
        .service(document(&below("/assets/style.css"), assets::style))
        .service(document(&below("/assets/passkey.js"), assets::passkey_script))
        .service(document(&below("/assets/mark.svg"), assets::mark));
}

/// What people see of their own account, and change there. Without CORS, as [`people`].
fn own_account(below: &impl Fn(&str) -> String, config: &mut web::ServiceConfig) {
    config
        .service(resource(&below("/account"), "GET, HEAD").route(get().to(page::show)))
        .service(
            resource(&below("/account/grants/revoke"), "POST").route(web::post().to(change::revoke_grant)),
        )
        .service(
            resource(&below("/account/grants/revoke-all"), "POST")
                .route(web::post().to(change::revoke_grants)),
        )
        .service(resource(&below("/account/password"), "POST").route(web::post().to(change::password)))
        .service(resource(&below("/account/sessions/end"), "POST").route(web::post().to(change::end_session)))
        .service(
            resource(&below("/account/sessions/end-others"), "POST")
                .route(web::post().to(change::end_others)),
        )
        .service(
            resource(&below("/account/passkeys/start"), "POST").route(web::post().to(passkey::start_adding)),
        )
        .service(
            resource(&below("/account/passkeys/finish"), "POST")
                .route(web::post().to(passkey::finish_adding)),
        )
        .service(
            resource(&below("/account/passkeys/remove"), "POST")
                .route(web::post().to(change::remove_passkey)),
        )
        .service(resource(&below("/account/totp/start"), "POST").route(web::post().to(totp::start)))
        .service(resource(&below("/account/totp/confirm"), "POST").route(web::post().to(totp::confirm)))
        .service(resource(&below("/account/totp/remove"), "POST").route(web::post().to(totp::remove)))
        .service(
            resource(&below("/account/recovery-codes"), "POST")
                .route(web::post().to(change::new_recovery_codes)),
        )
        .service(resource(&below("/login/second-factor"), "POST").route(web::post().to(second_factor::check)))
        .service(
            resource(&below("/login/passkey/start"), "POST").route(web::post().to(passkey::start_sign_in)),
        )
        .service(
            resource(&below("/login/passkey/finish"), "POST").route(web::post().to(passkey::finish_sign_in)),
        );
}

/// A page with a form that comes back to its own address.
fn form(path: &str) -> Resource {
    resource(path, "GET, HEAD, POST")
}

fn post(path: &str) -> Resource {
    resource(path, "POST, OPTIONS")
}

/// Lets pages of any origin read the answers: clients in browsers exist (MCP Inspector). Cookies play no part, so
/// the star is safe, and credentials are never allowed.
fn readable(
    resource: Resource,
) -> Resource<
    impl actix_web::dev::ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    resource
        .route(web::method(actix_web::http::Method::OPTIONS).to(preflight))
        .wrap(from_fn(let_anyone_read))
}

async fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, DELETE"))
        .insert_header((
            ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Accept, DPoP, MCP-Protocol-Version",
        ))
        .insert_header((ACCESS_CONTROL_MAX_AGE, "86400"))
        .finish()
}

async fn let_anyone_read(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("WWW-Authenticate, Retry-After, DPoP-Nonce"),
    );
    Ok(response)
}
