//! The REST face: from a request to an operation, and from what became of it to an answer.

use std::collections::BTreeMap;

use ::web::body::{self, BodyFault};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LOCATION,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, guard, web};
use shared::clock;

use super::ask::{Answer, Ask, Place, Said, Stop};
use super::by::By;
use super::id::id_of;
use super::input::{Body, Query};
use super::once::Once;
use super::operation::{Method, Operation};
use super::problem::{Code, Problem};
use super::resource::PATH;
use super::tag::Condition;
use super::{TABLE, document, door, explorer, right};
use crate::app::App;
use crate::dpop;
use crate::error::Failure;
use crate::token::shown;

/// Largest body.
const MAX_BODY: usize = 64 * 1024;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Every operation at its address, the document, and the metadata of the resource (RFC 9728 §3.1).
pub(crate) fn routes(app: &web::Data<App>, config: &mut web::ServiceConfig) {
    let base = app.config.issuer.path();
    let mut addresses: BTreeMap<&str, Vec<&'static Operation>> = BTreeMap::new();
    for operation in TABLE {
        addresses.entry(operation.path).or_default().push(operation);
    }
    let mut scope = web::scope(&format!("{base}{PATH}"))
        .wrap(from_fn(where_operators_are))
        .default_service(web::to(nothing_here));
    for (path, operations) in addresses {
        scope = scope.service(address(path, &operations));
    }
    let read = |path: &str| web::resource(path.to_owned()).wrap(from_fn(where_operators_are));
    for (path, route) in explorer::files(base) {
        config.service(read(&path).route(route).default_service(web::to(only_read)));
    }
    config
        .service(scope)
        .service(
            read(&format!("{base}/admin/openapi.json"))
                .route(::web::answer::get().to(document::serve))
                .default_service(web::to(only_read)),
        )
        .service(
            read(&metadata_path(base))
                .route(::web::answer::get().to(document::metadata))
                .default_service(web::to(only_read)),
        );
}

fn metadata_path(base: &str) -> String {
    format!("/.well-known/oauth-protected-resource{base}{PATH}")
}

fn address(path: &str, operations: &[&'static Operation]) -> actix_web::Resource {
    let allow: Vec<_> = operations
        .iter()
        .flat_map(|operation| match operation.method {
            Method::Get => vec!["GET", "HEAD"],
            other => vec![other.as_str()],
        })
        .collect();
    let allow = allow.join(", ");
    let mut resource = web::resource(path.to_owned()).default_service(web::to(move |app: web::Data<App>| {
        let answer = wrong_method(&app, &allow);
        async move { answer }
    }));
    for operation in operations.iter().copied() {
        let route = match operation.method {
            Method::Get => ::web::answer::get(),
            Method::Ask | Method::Post | Method::Again => web::route().guard(guard::Post()),
            Method::Patch => web::route().guard(guard::Patch()),
            Method::Delete => web::route().guard(guard::Delete()),
        };
        resource = resource.route(route.to(
            move |app: web::Data<App>, request: HttpRequest, payload: web::Payload| async move {
                let done = Box::pin(carry_out(&app, &request, payload, operation)).await;
                let answer = done.unwrap_or_else(|refusal| refusal.answer(&app, &request, operation));
                dpop::with_nonce(&app, answer)
            },
        ));
    }
    resource
}

/// 404 at addresses of this server that are not for operators (ADM-10).
pub(crate) async fn where_operators_are(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let here = request.app_config().local_addr();
    let app = request.app_data::<web::Data<App>>();
    if app.is_some_and(|app| app.config.admin.is_at(here)) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    Ok(request.into_response(::web::answer::not_found().await))
}

/// Why a request was not carried out: what it showed is not enough, or the rest.
enum Refusal {
    Door(Failure),
    Problem(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        Self::Problem(stop.into())
    }
}

/// From the token to the answer. Nothing of the request is looked at before the token.
async fn carry_out(
    app: &App,
    request: &HttpRequest,
    payload: web::Payload,
    operation: &Operation,
) -> Result<HttpResponse, Refusal> {
    let now = clock::now();
    let by = match door::enter(app, request, operation, now).await {
        Ok(by) => by,
        Err(failure) => {
            check_guesses(app, request, &failure)?;
            return Err(Refusal::Door(failure));
        }
    };
    let said = read(app, request, payload, (operation, by)).await?;
    let ask = Ask::new(Place::Server(app), said, now);
    let answer = (operation.run)(&ask).await?;
    Ok(sent(app, answer))
}

/// Tokens that are no good count as failed authentications do (ADM-15).
fn check_guesses(app: &App, request: &HttpRequest, failure: &Failure) -> Result<(), Problem> {
    let was_shown = request
        .headers()
        .contains_key(actix_web::http::header::AUTHORIZATION);
    let is_refused = matches!(failure, Failure::Refused(_));
    if was_shown && is_refused {
        let address = ::web::address::ClientAddress::of(request).limit_key();
        app.per_ip_failures.check(address)?;
    }
    Ok(())
}

/// What the request says, once it is known who says it.
async fn read<'a>(
    app: &'a App,
    request: &HttpRequest,
    payload: web::Payload,
    (operation, by): (&Operation, By),
) -> Result<Said<'a>, Problem> {
    let headers = request.headers();
    let id = match request.match_info().get("id") {
        None => None,
        Some(segment) => Some(id_of(segment).ok_or_else(|| {
            Problem::new(
                Code::NotFound,
                "there is no such thing: no id is written like that",
            )
        })?),
    };
    let query = Query::read(request.query_string(), &operation.known())?;
    let condition = condition(headers, operation)?;
    let bytes = body::read(request, payload, MAX_BODY).await.map_err(unread)?;
    let body = body_of(headers, operation, &bytes)?;
    let once = match one(headers, IDEMPOTENCY_KEY)? {
        Some(key) if operation.is_repeatable() => {
            let content = (operation.method.as_str(), request.path(), &*bytes);
            Some(Once::of(key, &by, content, app.master())?)
        }
        // Other methods may be repeated as they are (RFC 9110 §9.2.2), or say what they change.
        _ => None,
    };
    Ok(Said {
        by,
        id,
        query,
        body,
        condition,
        once,
    })
}

/// RFC 6585 §3: what is changed must have been seen (ADM-05).
fn condition(headers: &HeaderMap, operation: &Operation) -> Result<Condition, Problem> {
    let lines: Vec<_> = headers.get_all(IF_MATCH).collect();
    if lines.is_empty() {
        if operation.is_conditional {
            let sentence =
                "say what you change: If-Match with the ETag that you have read, or * for whatever is there";
            return Err(Problem::new(Code::PreconditionRequired, sentence));
        }
        return Ok(Condition::None);
    }
    let texts: Option<Vec<_>> = lines.iter().map(|line| line.to_str().ok()).collect();
    Condition::read(&texts.unwrap_or_default().join(", "))
}

fn body_of(headers: &HeaderMap, operation: &Operation, bytes: &[u8]) -> Result<Body, Problem> {
    if operation.takes.is_none() {
        if bytes.is_empty() {
            return Ok(Body::default());
        }
        return Err(Problem::new(Code::InvalidRequest, "this operation takes no body"));
    }
    let media_type = one(headers, CONTENT_TYPE.as_str())?.unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let is_patch =
        operation.method == Method::Patch && essence.eq_ignore_ascii_case("application/merge-patch+json");
    if !essence.eq_ignore_ascii_case("application/json") && !is_patch {
        let sentence = "the body is application/json, and Content-Type says so";
        return Err(Problem::new(Code::UnsupportedMediaType, sentence));
    }
    Body::read(bytes)
}

/// A header that stands there once.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.map(Some).ok_or_else(|| {
        let sentence = format!("the header {name} stands twice, or is no text");
        Problem::new(Code::InvalidRequest, sentence)
    })
}

fn unread(fault: BodyFault) -> Problem {
    match fault {
        BodyFault::TooLarge(most) => {
            Problem::new(Code::TooLarge, format!("the body has more than {most} bytes"))
        }
        BodyFault::TooSlow | BodyFault::Broken => Problem::new(Code::InvalidRequest, fault.to_string()),
    }
}

fn sent(app: &App, answer: Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store"));
    if let Some(etag) = answer.etag {
        response.insert_header((ETAG, etag));
    }
    if let Some(location) = answer.location {
        response.insert_header((LOCATION, format!("{}{location}", app.config.issuer.path())));
    }
    if answer.body.is_null() {
        return response.finish();
    }
    response.json(answer.body)
}

impl Refusal {
    /// A problem document (RFC 9457); logged once.
    fn answer(self, app: &App, request: &HttpRequest, operation: &Operation) -> HttpResponse {
        let (challenge, problem) = match self {
            Self::Problem(problem) => (None, problem),
            Self::Door(failure) => {
                let needed = right::needed(operation.noun, operation.right());
                let metadata = app.config.issuer.well_known("oauth-protected-resource") + PATH;
                let named = (&*needed[0], Some(&*metadata));
                let challenge = shown::challenge(&failure, request.headers(), named);
                (challenge, Problem::from(failure))
            }
        };
        let client = ::web::address::ClientAddress::of(request).0;
        let (path, code) = (request.path(), problem.code.as_str());
        app.metrics.refused(code);
        let reason = problem.reason.as_deref().unwrap_or(&problem.detail);
        match problem.code {
            Code::ServerError | Code::TemporarilyUnavailable => {
                tracing::error!(%client, path, code, reason, "an operation failed");
            }
            _ => tracing::info!(%client, path, code, reason, "an operation was refused"),
        }
        let mut answer = told(app, &problem);
        let headers = answer.headers_mut();
        let asks_for_token = matches!(problem.code.status(), 401) || problem.code == Code::InsufficientScope;
        if let Some(value) = challenge
            .filter(|_| asks_for_token)
            .and_then(|text| HeaderValue::from_str(&text).ok())
        {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        if problem.code == Code::UseDpopNonce {
            dpop::offer_nonce(app, headers);
        }
        answer
    }
}

fn told(app: &App, problem: &Problem) -> HttpResponse {
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let errors = app.config.issuer.endpoint("/docs/errors");
    let mut answer = HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(problem.body(&errors));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.code == Code::TemporarilyUnavailable {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    if let Some(exceeded) = problem.exceeded {
        // The fields of every limit.
        let limited = exceeded.answer();
        for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
            if let Some(value) = limited.headers().get(name) {
                headers.insert(HeaderName::from_static(name), value.clone());
            }
        }
    }
    answer
}

/// The answer at an address that two programs may read in two ways: a problem document where the API is, and otherwise
/// what is said everywhere (ADM-10).
pub(crate) fn nothing_at(request: &ServiceRequest) -> HttpResponse {
    match request.app_data::<web::Data<App>>() {
        Some(app) if app.config.admin.is_at(request.app_config().local_addr()) => {
            let base = format!("{}{PATH}/", app.config.issuer.path());
            if request.path().starts_with(&base) {
                return told(app, &nothing());
            }
            ::web::answer::nothing()
        }
        _ => ::web::answer::nothing(),
    }
}

fn nothing() -> Problem {
    Problem::new(Code::NotFound, "there is nothing at this address")
}

async fn nothing_here(app: web::Data<App>) -> HttpResponse {
    told(&app, &nothing())
}

async fn only_read(app: web::Data<App>) -> HttpResponse {
    wrong_method(&app, "GET, HEAD")
}

fn wrong_method(app: &App, allow: &str) -> HttpResponse {
    let sentence = "this address does not know the method";
    let mut answer = told(app, &Problem::new(Code::MethodNotAllowed, sentence));
    if let Ok(value) = HeaderValue::from_str(allow) {
        answer.headers_mut().insert(ALLOW, value);
    }
    answer
}
