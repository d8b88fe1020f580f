//! `POST /fleet/invites`: a node that may invite gets an invite for another one. Each needs the yes of an administrator,
//! which this server looks up itself: a node that was broken into cannot let others in.

use std::time::Duration;

use ::web::address::ClientAddress;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use shared::clock;
use shared::oauth_error::{ErrorCode, OAuthError};

use super::ask::{is_id, node_of};
use super::invite::{Invite, MAY_INVITE, prepare};
use super::node::NodeFault;
use crate::app::App;
use crate::audit::{self, Actor, Event, Name, Target};
use crate::client::authenticate;
use crate::db;
use crate::error::{self, Failure};
use crate::params::{MAX_FORM_BYTES, Params};

/// The tool of nodes that asks.
const TOOL: &str = "provision_node";
/// How long such an invite can be used.
const TTL: Duration = Duration::from_secs(60 * 60);

/// `POST /fleet/invites`: `approval_id`, and perhaps `node_resource` and `name` as they were approved.
pub(crate) async fn provision(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = Box::pin(make(&app, &request, body)).await;
    answered.unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

async fn make(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let body = ::web::body::read(request, body, MAX_FORM_BYTES).await?;
    let known = [
        &authenticate::PARAMETERS[..],
        &["approval_id", "node_resource", "name"][..],
    ]
    .concat();
    let mut params = Params::form(request, &body, &known)?;
    let now = clock::now();
    let node = node_of(app, request, &mut params, now).await?;
    let client = app.client(&node.client_id).await?;
    if client.is_none_or(|client| !client.scopes.contains(MAY_INVITE)) {
        let refusal = OAuthError::new(ErrorCode::UnauthorizedClient, "this node may not invite others");
        return Err(refusal
            .because("its client has not the scope fleet:invite")
            .into());
    }
    let approval_id = params.take("approval_id").unwrap_or_default();
    let denied = || {
        let sentence = "no administrator has approved this, or the approval was used or is over";
        OAuthError::new(ErrorCode::AccessDenied, sentence)
    };
    let asked = match is_id(&approval_id) {
        true => db::approval::find(&app.db, &approval_id).await?,
        false => None,
    };
    let asked = asked.filter(|asked| asked.node_client == node.client_id && asked.tool == TOOL);
    let asked = asked.ok_or_else(denied)?;
    let approved = Approved::read(&asked.arguments)?;
    let said = (params.take("node_resource"), params.take("name"));
    approved.check((said.0.as_ref(), said.1.as_ref()))?;
    let wanted = Invite {
        resource: approved.resource,
        name: approved.name,
        ttl: TTL,
        asked_by: Some(node.client_id.clone()),
        ..Invite::default()
    };
    let issuer = app.config.issuer.as_str();
    let prepared = prepare(&app.db, issuer, wanted, now).await.map_err(refusal)?;
    let source = ClientAddress::of(request).0;
    let is_made = app.db.write(async |tx| {
        if !db::approval::take(tx, &approval_id, (&node.client_id, TOOL), now).await? {
            return Ok(false);
        }
        prepared.write(tx).await?;
        let (actor, source) = (Actor::Client(&node.client_id), Some(source));
        let used = Event {
            actor,
            source,
            on_behalf_of: asked.decided_by.as_deref(),
            details: audit::details([("tool", Some(TOOL)), ("invite", Some(&prepared.shown.invite_id))]),
            ..Event::of_operator(Name::ApprovalUsed, Target::Approval(&approval_id))
        };
        db::audit_event::append(tx, &used, now).await?;
        db::audit_event::append(tx, &prepared.told(actor, source), now).await?;
        Ok(true)
    });
    if !is_made.await? {
        return Err(denied().into());
    }
    tracing::info!(
        event = "node.invited",
        approval_id,
        node_id = node.node_id,
        "a node made an invite"
    );
    Ok(HttpResponse::build(StatusCode::CREATED)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(&prepared.shown))
}

/// What the administrator has seen and approved: the arguments of the call, and nothing that the node says later.
#[derive(Debug)]
struct Approved {
    resource: Option<String>,
    name: Option<String>,
}

impl Approved {
    /// `arguments` is the JSON object that was shown.
    fn read(arguments: &str) -> Result<Self, OAuthError> {
        let wrong = || {
            let sentence =
                "what was approved are not the arguments of provision_node: name and resource, both text";
            OAuthError::new(ErrorCode::InvalidRequest, sentence)
        };
        let mut members = shared::json::object(arguments.as_bytes()).map_err(|_| wrong())?;
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong()),
        };
        let approved = Self {
            resource: text("resource")?,
            name: text("name")?,
        };
        members.is_empty().then_some(approved).ok_or_else(wrong)
    }

    /// A node may repeat what was approved, and say nothing else.
    fn check(&self, (resource, name): (Option<&String>, Option<&String>)) -> Result<(), OAuthError> {
        let differs = |said: Option<&String>, approved: &Option<String>| {
            said.is_some_and(|said| approved.as_ref() != Some(said))
        };
        if differs(resource, &self.resource) || differs(name, &self.name) {
            let sentence = "the administrator has approved another node_resource or name";
            return Err(OAuthError::new(ErrorCode::AccessDenied, sentence));
        }
        Ok(())
    }
}

fn refusal(fault: NodeFault) -> Failure {
    match fault {
        NodeFault::Asked(sentence) => OAuthError::new(ErrorCode::InvalidRequest, sentence).into(),
        NodeFault::NoSuchNode(_) | NodeFault::NoSuchInvite(_) | NodeFault::InviteOver(_) => {
            OAuthError::new(ErrorCode::InvalidRequest, "there is no such node or invite").into()
        }
        NodeFault::Db(fault) => fault.into(),
        NodeFault::NoRandomness(fault) => fault.into(),
    }
}
