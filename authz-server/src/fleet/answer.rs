//! `/approve/{id}`: the person sees which call of whom waits at which node, and decides. Opening the address decides
//! nothing, and only the one whom it concerns sees anything (RFC 9700 §4.14 on clickjacking).

use std::net::IpAddr;

use ::web::address::ClientAddress;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};
use shared::fleet::approval::Decision;
use shared::oauth_error::{ErrorCode, OAuthError};

use super::ask::is_id;
use crate::account::{self, Browser, Reader, SignedIn};
use crate::app::App;
use crate::audit::{self, Actor, Event, Name, Outcome, Target};
use crate::authorize::interaction::{self, Purpose};
use crate::client::document;
use crate::db;
use crate::db::approval::ApprovalRow;
use crate::db::node::NodeRow;
use crate::error::{self, Failure, Trouble};
use crate::pages::{ApprovalDone, ApprovalQuestion, ClientIdentity, indented, visible};

/// `GET /approve/{id}`.
pub(crate) async fn show(app: web::Data<App>, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    let shown = async {
        let now = clock::now();
        let browser = Browser::of(&app, &request)?;
        app.catch_up().await?;
        let Some(person) = account::find(&app, &browser, now).await? else {
            return sign_in_first(&app, (&request, &browser), &id, now).await;
        };
        let waiting = look_up(&app, &person, &id, now).await?;
        page(&app, (&request, &browser), &person, &waiting).await
    };
    shown
        .await
        .unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// `POST /approve/{id}`: `decision` is `approve` or `deny`.
pub(crate) async fn decide(
    app: web::Data<App>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Payload,
) -> HttpResponse {
    let decided = answer(&app, &request, &id, body).await;
    decided.unwrap_or_else(|failure| error::page(&app, &request, failure))
}

async fn answer(
    app: &App,
    request: &HttpRequest,
    id: &str,
    body: web::Payload,
) -> Result<HttpResponse, Failure> {
    let (browser, mut params) = account::form(app, request, body, &["decision"]).await?;
    let now = clock::now();
    app.catch_up().await?;
    let decision = match params.take("decision").as_deref() {
        Some("approve") => Decision::Approved,
        Some("deny") => Decision::Denied,
        _ => {
            let sentence = "the form has no decision";
            return Err(OAuthError::new(ErrorCode::InvalidRequest, sentence).into());
        }
    };
    let Some(person) = account::find(app, &browser, now).await? else {
        return sign_in_first(app, (request, &browser), id, now).await;
    };
    let waiting = look_up(app, &person, id, now).await?;
    let word = match decision {
        Decision::Approved => "approved",
        Decision::Denied => "denied",
    };
    let (user_id, row) = (&person.user.user_id, &waiting.row);
    let written = app.db.write(async |tx| {
        if !db::session::stands(tx, (user_id, &person.session_id), now).await? {
            return Ok(false);
        }
        if !db::approval::decide(tx, &row.approval_id, (word, user_id), now).await? {
            return Ok(false);
        }
        let source = ClientAddress::of(request).0;
        db::audit_event::append(tx, &told(&waiting, (user_id, source), decision), now).await?;
        Ok(true)
    });
    if !written.await? {
        return Err(Failure::Shown(Trouble::Decided));
    }
    tracing::info!(
        event = "approval.decided",
        approval_id = row.approval_id,
        node_id = waiting.node.node_id,
        tool = row.tool,
        decision = word,
        user_id,
        caller_sub = row.caller_sub,
        caller_client = row.caller_client,
        "a person decided about a call"
    );
    let reader = Reader::new(app, request, &browser, None);
    let done = ApprovalDone {
        page: reader.page(),
        is_approved: decision == Decision::Approved,
        tool: &visible(&row.tool),
    };
    Ok(reader.show(&done, StatusCode::OK))
}

fn told<'a>(waiting: &'a Waiting, (user_id, source): (&'a str, IpAddr), decision: Decision) -> Event<'a> {
    let row = &waiting.row;
    let details = [
        ("node_id", &waiting.node.node_id),
        ("tool", &row.tool),
        ("arguments_sha256", &row.arguments_sha256),
        ("caller_iss", &row.caller_iss),
        ("caller_client", &row.caller_client),
    ];
    Event {
        name: Name::ApprovalDecided,
        actor: Actor::User(user_id),
        on_behalf_of: Some(&row.caller_sub),
        target: Target::Approval(&row.approval_id),
        source: Some(source),
        outcome: match decision {
            Decision::Approved => Outcome::Approved,
            Decision::Denied => Outcome::Denied,
        },
        reason: None,
        details: audit::details(details.map(|(name, value)| (name, Some(value.as_str())))),
    }
}

/// A question that waits for this person.
struct Waiting {
    row: ApprovalRow,
    node: NodeRow,
}

/// What is not theirs looks like what is not there. What they can answer no more is told apart.
async fn look_up(app: &App, person: &SignedIn, id: &str, now: UnixSeconds) -> Result<Waiting, Failure> {
    let row = match is_id(id) {
        true => db::approval::find(&app.db, id).await?,
        false => None,
    };
    let missing = || Failure::Shown(Trouble::Approval);
    let row = row.ok_or_else(missing)?;
    let may_answer = match &row.user_id {
        Some(user_id) => *user_id == person.user.user_id,
        None => {
            let user = db::user_account::find(&app.db, &person.user.user_id).await?;
            user.is_some_and(|user| user.is_admin && user.disabled_at.is_none())
        }
    };
    let node = db::node::of_client(&app.db, &row.node_client).await?;
    let node = node.filter(|_| may_answer).ok_or_else(missing)?;
    if row.decision.is_some() {
        return Err(Failure::Shown(Trouble::Decided));
    }
    if row.expires_at <= now.0 {
        return Err(Failure::Shown(Trouble::Expired));
    }
    Ok(Waiting { row, node })
}

async fn page(
    app: &App,
    (request, browser): (&HttpRequest, &Browser),
    person: &SignedIn,
    Waiting { row, node }: &Waiting,
) -> Result<HttpResponse, Failure> {
    // What another issuer calls a client is nobody's name here.
    let is_ours = row.caller_iss == app.config.issuer.as_str();
    let client = match is_ours {
        true => app.client(&row.caller_client).await?,
        false => None,
    };
    let host = client.as_ref().and_then(|client| document::host(client));
    let reader = Reader::new(app, request, browser, None);
    let question = ApprovalQuestion {
        page: reader.page(),
        approval_id: &row.approval_id,
        tool: &visible(&row.tool),
        summary: &visible(&row.summary),
        arguments: &indented(&row.arguments),
        client: &client
            .as_ref()
            .map_or_else(|| visible(&row.caller_client), |client| client.name.clone()),
        identity: client.as_ref().map_or(ClientIdentity::Unverified, |client| {
            ClientIdentity::new(client.origin, host.as_deref())
        }),
        subject: &visible(&row.caller_sub),
        is_own: row.user_id.is_some(),
        vouched_by: &visible(if is_ours { "" } else { &row.caller_iss }),
        node: &node.name,
        node_id: &node.node_id,
        node_uri: &node.resource,
        ends: UnixSeconds(row.expires_at),
        person: &person.user.display_name,
    };
    Ok(reader.show(&question, StatusCode::OK))
}

async fn sign_in_first(
    app: &App,
    (request, browser): (&HttpRequest, &Browser),
    id: &str,
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    if !is_id(id) {
        return Err(Failure::Shown(Trouble::Approval));
    }
    let purpose = Purpose::Approval {
        approval_id: id.to_owned(),
    };
    let opened = interaction::open(app, request, browser, purpose, now).await?;
    let place = format!("{}/login?i={}", app.config.issuer.path(), opened.id);
    let mut response = HttpResponse::SeeOther().insert_header((LOCATION, place)).finish();
    browser.remember(&mut response);
    Ok(response)
}
