//! A node asks whether a call may run, and asks again until somebody has answered.

use std::time::Duration;

use ::web::address::ClientAddress;
use ::web::answer;
use ::web::rates::Exceeded;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use shared::clock::{self, UnixSeconds};
use shared::config::Span;
use shared::fleet::approval::{self, Answer, Decision, MAX_ARGUMENTS, MAX_SUMMARY, MAX_TOOL, Question};
use shared::jose::sha256_base64url;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, SecretKind, random_bytes};

use super::sign;
use crate::app::App;
use crate::client::authenticate;
use crate::client::metadata::is_invisible;
use crate::db::approval::ApprovalRow;
use crate::db::node::NodeRow;
use crate::db::{self};
use crate::error::{self, Failure};
use crate::params::Params;

/// The arguments, three bytes for each where they are escaped, and the rest.
const MAX_BODY: usize = 48 * 1024;
/// Questions of one node that wait: whoever asks for more will not get them answered.
const MAX_OPEN: i64 = 200;
/// Seconds between two looks.
const INTERVAL: u64 = 2;
/// How long a question waits at least: a person has to read it, and questions that end at once would not be counted.
const SHORTEST: Duration = Duration::from_secs(30);
/// How long a question may wait at most.
const LONGEST: Duration = Duration::from_secs(60 * 60);
const FIELDS: [&str; 9] = [
    "tool",
    "summary",
    "arguments",
    "arguments_sha256",
    "caller_iss",
    "caller_sub",
    "caller_client",
    "approver",
    "ttl",
];

/// What the node is told when a question was taken.
#[derive(Serialize)]
struct Taken<'a> {
    approval_id: &'a str,
    /// Where the person answers.
    verification_uri: String,
    /// What the node shows when it asks about the answer.
    poll_token: &'a str,
    expires_in: i64,
    interval: u64,
}

/// How a question stands.
#[derive(Serialize)]
struct Standing {
    /// `pending`, `approved`, `denied` or `expired`.
    status: &'static str,
    interval: u64,
    /// The person's answer, signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// `POST /fleet/approvals`.
pub(crate) async fn ask(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = Box::pin(take(&app, &request, body)).await;
    answered.unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

/// `GET /fleet/approvals/{id}`.
pub(crate) async fn poll(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    let answered = look(&app, &request, &id).await;
    answered.unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

/// The living node as whose client a request authenticates.
pub(super) async fn node_of(
    app: &App,
    request: &HttpRequest,
    params: &mut Params,
    now: UnixSeconds,
) -> Result<NodeRow, Failure> {
    app.catch_up().await?;
    let client = authenticate::authenticate(app, request, params, now).await?;
    let node = db::node::of_client(&app.db, &client.client().client_id).await?;
    let node = node.filter(|_| !client.is_public());
    node.ok_or_else(|| no_node().into())
}

fn no_node() -> OAuthError {
    OAuthError::new(
        ErrorCode::UnauthorizedClient,
        "this client is no node of the fleet",
    )
}

async fn take(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let body = ::web::body::read(request, body, MAX_BODY).await?;
    let known = [&authenticate::PARAMETERS[..], &FIELDS[..]].concat();
    let mut params = Params::form(request, &body, &known)?;
    let now = clock::now();
    let node = node_of(app, request, &mut params, now).await?;
    let asked = Asked::read(&mut params)?;
    let user_id = asked.person(app).await?;
    let row = ApprovalRow {
        approval_id: URL_SAFE_NO_PAD.encode(random_bytes::<16>()?),
        node_client: node.client_id,
        tool: asked.tool,
        summary: asked.summary,
        arguments: asked.arguments,
        arguments_sha256: asked.arguments_sha256,
        caller_iss: asked.caller_iss,
        caller_sub: asked.caller_sub,
        caller_client: asked.caller_client,
        resource: node.resource,
        user_id,
        created_at: now.0,
        expires_at: (now + asked.ttl).0,
        decision: None,
        decided_at: None,
        decided_by: None,
    };
    let poll = Secret::generate(SecretKind::ApprovalPoll)?;
    match db::approval::insert(&app.db, &row, &poll.hash(), MAX_OPEN).await? {
        db::approval::Asked::Open => {}
        db::approval::Asked::TooMany => {
            return Err(Exceeded::come_back(Duration::from_secs(60)).into());
        }
        db::approval::Asked::NoNode => return Err(no_node().into()),
    }
    tracing::info!(
        event = "approval.asked",
        approval_id = row.approval_id,
        node_id = node.node_id,
        tool = row.tool,
        caller_sub = row.caller_sub,
        caller_client = row.caller_client,
        "a node asks whether a call may run"
    );
    let issuer = &app.config.issuer;
    let taken = Taken {
        verification_uri: issuer.endpoint(&format!("/approve/{}", row.approval_id)),
        approval_id: &row.approval_id,
        poll_token: poll.reveal(),
        expires_in: row.expires_at - now.0,
        interval: INTERVAL,
    };
    Ok(HttpResponse::build(StatusCode::CREATED)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(taken))
}

/// The question of a node, within bounds.
struct Asked {
    tool: String,
    summary: String,
    arguments: String,
    arguments_sha256: String,
    caller_iss: String,
    caller_sub: String,
    caller_client: String,
    by_operator: bool,
    ttl: Duration,
}

impl Asked {
    fn read(params: &mut Params) -> Result<Self, OAuthError> {
        let wrong = |name: &str| {
            malformed("a parameter is missing, too long or no line of text").because(name.to_owned())
        };
        // What the node hashed is what the person sees, whatever is in it; the page writes out what cannot be seen.
        let arguments = params.take("arguments").unwrap_or_default();
        if arguments.len() > MAX_ARGUMENTS {
            return Err(wrong("arguments"));
        }
        let mut line = |name: &'static str, longest: usize| {
            let text = params.take(name).unwrap_or_default();
            let is_line = !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control);
            is_line.then_some(text).ok_or_else(|| wrong(name))
        };
        let tool = line("tool", MAX_TOOL)?;
        let summary = line("summary", MAX_SUMMARY)?;
        // The node writes both for people; nothing in them may hide or change how the rest reads.
        if tool.chars().chain(summary.chars()).any(is_invisible) {
            return Err(malformed(
                "tool and summary have no invisible or direction-changing characters",
            ));
        }
        let arguments_sha256 = line("arguments_sha256", 64)?;
        if shared::json::object(arguments.as_bytes()).is_err()
            || sha256_base64url(arguments.as_bytes()) != arguments_sha256
        {
            return Err(malformed(
                "arguments is not the JSON object of which arguments_sha256 is the hash",
            ));
        }
        let ttl: Span = line("ttl", 16)?
            .parse()
            .map_err(|_| malformed("ttl is no time such as 10m"))?;
        let caller_iss = line("caller_iss", 1024)?;
        let caller_sub = line("caller_sub", 512)?;
        let caller_client = line("caller_client", 1024)?;
        let by_operator = match params.take("approver").as_deref() {
            None | Some("caller") => false,
            Some("operator") => true,
            Some(_) => return Err(malformed("approver is caller or operator")),
        };
        Ok(Self {
            tool,
            summary,
            arguments,
            arguments_sha256,
            caller_iss,
            caller_sub,
            caller_client,
            by_operator,
            ttl: ttl.0.clamp(SHORTEST, LONGEST),
        })
    }

    /// The one person who may answer: the one for whom the call is made, if this server knows them.
    async fn person(&self, app: &App) -> Result<Option<String>, Failure> {
        if self.by_operator || self.caller_iss != app.config.issuer.as_str() {
            return Ok(None);
        }
        let user = db::user_account::find(&app.db, &self.caller_sub).await?;
        Ok(user.map(|user| user.user_id))
    }
}

async fn look(app: &App, request: &HttpRequest, id: &str) -> Result<HttpResponse, Failure> {
    let now = clock::now();
    app.catch_up().await?;
    let row = match bearer(request).filter(|_| is_id(id)) {
        Some(poll) => db::approval::find_polled(&app.db, id, &poll.hash()).await?,
        None => None,
    };
    let living = match &row {
        Some(row) => db::node::of_client(&app.db, &row.node_client).await?,
        None => None,
    };
    let (Some(row), Some(_)) = (row, living) else {
        app.per_ip_failures
            .check(ClientAddress::of(request).limit_key())?;
        return Ok(answer::not_found().await);
    };
    let (status, answer) = match (row.decision.as_deref(), row.expires_at <= now.0) {
        (None, false) => ("pending", None),
        (_, true) => ("expired", None),
        (Some("approved"), false) => ("approved", Some(signed(app, row, Decision::Approved).await?)),
        (Some(_), false) => ("denied", Some(signed(app, row, Decision::Denied).await?)),
    };
    let standing = Standing {
        status,
        interval: INTERVAL,
        answer,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(standing))
}

async fn signed(app: &App, row: ApprovalRow, decision: Decision) -> Result<String, Failure> {
    let damaged = || Failure::Internal("an approval that was decided says not by whom".to_owned());
    let answer = Answer {
        iss: app.config.issuer.as_str().to_owned(),
        aud: row.node_client,
        jti: row.approval_id,
        iat: UnixSeconds(row.decided_at.ok_or_else(damaged)?),
        exp: UnixSeconds(row.expires_at),
        question: Question {
            tool: row.tool,
            arguments_sha256: row.arguments_sha256,
            caller_iss: row.caller_iss,
            caller_sub: row.caller_sub,
            caller_client: row.caller_client,
            resource: row.resource,
        },
        decision,
        approver: row.decided_by.ok_or_else(damaged)?,
    };
    sign(app, approval::TYPE, &answer).await
}

/// Whether `text` can be the id of a question: 128 bits in base64url.
pub(super) fn is_id(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.len() == 22 && text.bytes().all(is_plain)
}

/// The token of the one `Authorization: Bearer …` header.
fn bearer(request: &HttpRequest) -> Option<Secret> {
    let mut values = request.headers().get_all(AUTHORIZATION);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| Secret::from(token.trim_matches(' ').to_owned()))
}

fn malformed(sentence: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, sentence)
}
