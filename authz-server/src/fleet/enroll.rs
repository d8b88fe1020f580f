//! `POST /fleet/enroll`: an invite and a key become a node, a client and a resource, all at once or not at all.

use std::net::IpAddr;

use ::web::address::ClientAddress;
use ::web::body;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::clock::{self, UnixSeconds};
use shared::fleet::enrolment::{self, Description};
use shared::fleet::name;
use shared::jose::{Algorithm, VerifyingKey};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, SecretHash};
use shared::uri::ResourceUri;

use super::directory::signed_record;
use super::examine::{Candidate, Obstacle, examine, invite_refused, resource};
use super::invite::id_of;
use crate::app::App;
use crate::audit::{self, Actor, Event, Name, Target};
use crate::client::Origin;
use crate::client::metadata::{Metadata, Policy};
use crate::client::register::new_client_id;
use crate::db::change::{self, Noun};
use crate::db::client::ClientRow;
use crate::db::node::NodeRow;
use crate::db::node_invite::InviteRow;
use crate::db::resource::ResourceRow;
use crate::db::status_node::NODES;
use crate::db::{self, DbFault, Tx};
use crate::error::{self, Failure};
use crate::params::Params;
use crate::resource::DEFAULT_SCOPES;
use crate::status_list::{Place, new_list_id};

/// A larger body is not read.
const MAX_BODY: usize = 16 * 1024;
/// What every node may ask for on its own behalf.
const NODE_SCOPES: &str = "fleet:announce fleet:connect fleet:read";

/// What a node is told when it has enrolled: all that it needs to run.
#[derive(Serialize)]
struct Welcome<'a> {
    issuer: &'a str,
    /// The keys that sign tokens and records.
    jwks: Value,
    jwks_uri: String,
    node_id: &'a str,
    peer_id: String,
    client_id: &'a str,
    resource: &'a str,
    name: &'a str,
    scope: &'a str,
    /// The node's record, signed.
    record: String,
    directory_uri: String,
}

/// `POST /fleet/enroll`.
pub(crate) async fn enroll(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = Box::pin(admit(&app, &request, body)).await;
    answered.unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

async fn admit(app: &App, request: &HttpRequest, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let bytes = body::read(request, payload, MAX_BODY).await?;
    if !Params::is_json(request) {
        return Err(malformed("the body must be application/json").into());
    }
    let asked = Asked::parse(&bytes)?;
    let now = clock::now();
    app.catch_up().await?;
    let hash = asked.invite.hash();
    // What is written could not be answered without them.
    app.keys().await?;
    let Some(invite) = db::node_invite::standing(&app.db, &hash, now).await? else {
        return again(app, request, (&asked, &hash), now).await;
    };
    let said = asked.verify(app, now)?;
    let plan = Plan::new(app, (&invite, hash), &asked, said, now)?;
    let source = ClientAddress::of(request).0;
    let outcome = app
        .db
        .write_unless(async |tx| plan.carry_out(tx, &invite, source, now).await);
    let (node, place) = match outcome.await? {
        Ok(enrolled) => enrolled,
        Err(obstacle) => {
            app.per_ip_failures
                .check(ClientAddress::of(request).limit_key())?;
            return Err(obstacle.refusal().into());
        }
    };
    tracing::info!(
        event = "node.enrolled",
        node_id = node.node_id,
        client_id = node.client_id,
        resource = node.resource,
        client = %source,
        "a node enrolled"
    );
    welcome(app, (node, &place), &plan.client.scopes, now).await
}

/// An invite that cannot be used. To the very node that has used it, the answer is given again: it may have been lost.
async fn again(
    app: &App,
    request: &HttpRequest,
    (asked, hash): (&Asked, &SecretHash),
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let used_by = db::node_invite::used_by(&app.db, hash).await?;
    if let Some(Some(client_id)) = &used_by
        && let Some(node) = db::node::of_client(&app.db, client_id).await?
        && node.thumbprint == asked.key.kid()
        && let Some(client) = app.client(client_id).await?
    {
        asked.verify(app, now)?;
        let place = app.status_lists.place_of_node(app, client_id, now).await?;
        let place = place.ok_or_else(|| invite_refused("the node was revoked meanwhile"))?;
        return welcome(app, (node, &place), &client.scopes.to_string(), now).await;
    }
    // Whoever fails often is told to wait, as at every other door with a secret.
    app.per_ip_failures
        .check(ClientAddress::of(request).limit_key())?;
    let reason = match used_by {
        Some(Some(_)) => "the invite was used before",
        Some(None) => "the invite has expired",
        None => "there is no such invite",
    };
    Err(invite_refused(reason).into())
}

/// Reads nothing that may be out of reach: what has enrolled is told.
async fn welcome(
    app: &App,
    (node, place): (NodeRow, &Place),
    scope: &str,
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let keys = app.keys().await?;
    let issuer = &app.config.issuer;
    let peer_id = super::node::record(node.clone())?.peer_id;
    let record = signed_record(app, (node.clone(), place), now).await?;
    let welcome = Welcome {
        issuer: issuer.as_str(),
        jwks: serde_json::from_str(&keys.document).map_err(|e| Failure::Internal(e.to_string()))?,
        jwks_uri: issuer.endpoint("/.well-known/jwks.json"),
        node_id: &node.node_id,
        peer_id,
        client_id: &node.client_id,
        resource: &node.resource,
        name: &node.name,
        scope,
        record,
        directory_uri: issuer.endpoint("/fleet/nodes"),
    };
    Ok(HttpResponse::build(StatusCode::CREATED)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(welcome))
}

/// The request, with nothing proven yet.
struct Asked {
    invite: Secret,
    jwk: Map<String, Value>,
    key: VerifyingKey,
    proof: String,
}

impl Asked {
    fn parse(bytes: &[u8]) -> Result<Self, OAuthError> {
        let mut members = shared::json::object(bytes).map_err(|fault| {
            malformed("the body must be one JSON object without repeated members").because(fault.to_string())
        })?;
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            _ => Err(malformed(
                "invite, jwk and proof are needed: text, an object, text",
            )),
        };
        let (invite, proof) = (Secret::from(text("invite")?), text("proof")?);
        let Some(Value::Object(jwk)) = members.remove("jwk") else {
            return Err(malformed(
                "invite, jwk and proof are needed: text, an object, text",
            ));
        };
        let key = VerifyingKey::from_public_jwk(&jwk, Algorithm::EdDSA).map_err(|fault| {
            let sentence =
                "the key must be a public Ed25519 key as a JWK, and none with which anybody could sign";
            OAuthError::new(ErrorCode::InvalidProof, sentence).because(fault.to_string())
        })?;
        Ok(Self {
            invite,
            jwk,
            key,
            proof,
        })
    }
}

impl Asked {
    /// Checks the statement: what the node says of itself.
    fn verify(&self, app: &App, now: UnixSeconds) -> Result<Description, OAuthError> {
        let bound = (app.config.issuer.as_str(), &self.invite);
        enrolment::verify(&self.proof, &self.key, bound, now).map_err(|fault| {
            let sentence =
                "the statement is not signed by the key beside it for this server and this invite, or not now";
            OAuthError::new(ErrorCode::InvalidProof, sentence).because(fault.to_string())
        })
    }
}

/// Everything that is to be written.
struct Plan {
    invite: SecretHash,
    resource: ResourceUri,
    client: ClientRow,
    node: NodeRow,
    /// The resource, if it is not registered yet.
    new_resource: ResourceRow,
    /// The name of the list for the record's place, should a new one be needed.
    new_list: String,
}

impl Plan {
    fn new(
        app: &App,
        (invite, hash): (&InviteRow, SecretHash),
        asked: &Asked,
        said: Description,
        now: UnixSeconds,
    ) -> Result<Self, Failure> {
        let resource = resource(invite, said.resource.as_deref())?;
        let public = asked
            .key
            .ed25519()
            .ok_or_else(|| Failure::Internal("an EdDSA key is no Ed25519 key".to_owned()))?;
        let node_id = name::node_id(public);
        // The operator's word for it goes over the node's own.
        let name = invite
            .name
            .clone()
            .or(said.name)
            .unwrap_or_else(|| node_id.clone());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": asked.jwk["x"], "kid": asked.key.kid(), "alg": "EdDSA", "use": "sig"});
        let scope = format!("{NODE_SCOPES} {}", invite.scopes);
        let document = json!({
            "client_name": name,
            "client_type": "service",
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "EdDSA",
            "grant_types": ["client_credentials"],
            "scope": scope.trim_end(),
            "jwks": {"keys": [jwk]},
        });
        let metadata = document
            .as_object()
            .map(|document| Metadata::read(document, &Policy::OPERATOR))
            .ok_or_else(|| Failure::Internal("the client's metadata are no object".to_owned()))?;
        let metadata = metadata.map_err(OAuthError::from)?;
        let client = metadata
            .new_row(new_client_id()?, Origin::Operator, now)
            .map_err(|e| Failure::Internal(e.to_string()))?;
        let node = NodeRow {
            client_id: client.client_id.clone(),
            node_id,
            thumbprint: asked.key.kid().to_owned(),
            jwk: jwk.to_string(),
            name: name.clone(),
            resource: resource.as_str().to_owned(),
            capabilities: said.capabilities.join(" "),
            version: said.version,
            enrolled_at: now.0,
            ended_at: None,
            ended_by: None,
        };
        let new_resource = ResourceRow {
            uri: resource.as_str().to_owned(),
            lookup_key: resource.lookup_key(),
            name,
            scopes: DEFAULT_SCOPES.join(" "),
            alg: app.config.default_algorithm.as_str().to_owned(),
            access_ttl: i64::try_from(app.config.access_ttl.as_secs()).unwrap_or(i64::MAX),
            client_id: Some(client.client_id.clone()),
            created_at: now.0,
            authorization_details_types: String::new(),
        };
        Ok(Self {
            invite: hash,
            resource,
            client,
            node,
            new_resource,
            new_list: new_list_id(NODES)?,
        })
    }

    /// In one turn with all other changes: what is read is what holds when it is written.
    async fn carry_out(
        &self,
        tx: &mut Tx,
        invite: &InviteRow,
        source: IpAddr,
        now: UnixSeconds,
    ) -> Result<Result<(NodeRow, Place), Obstacle>, DbFault> {
        let turn = change::take_turn(tx).await?;
        // A number without a change would make instances forget everything.
        change::record_at(tx, turn, (Noun::Client, &self.client.client_id), now).await?;
        if let Some(inviter) = &invite.asked_by
            && db::node::of_client_in(tx, inviter).await?.is_none()
        {
            return Ok(Err(Obstacle::Inviter));
        }
        let registered = db::resource::find_in(tx, &self.resource.lookup_key()).await?;
        let mut node = self.node.clone();
        if let Some(registered) = &registered {
            node.resource.clone_from(&registered.uri);
        }
        let names = (&*node.thumbprint, &*node.node_id, &*node.resource);
        let others = db::node::in_the_way(tx, names).await?;
        let candidate = Candidate {
            thumbprint: &node.thumbprint,
            node_id: &node.node_id,
            resource: &node.resource,
        };
        if let Err(obstacle) = examine(candidate, invite, &others, registered.as_ref()) {
            return Ok(Err(obstacle));
        }
        if !db::node_invite::take(tx, (&self.invite, &node.client_id), now).await? {
            return Ok(Err(Obstacle::Invite));
        }
        let mut forgotten = None;
        if let Some(replaced) = &invite.replaces {
            // What only the other one served is served by nobody.
            if let Some(former) = db::node::find_in(tx, replaced).await?
                && former.resource != node.resource
                && db::resource::delete_of(tx, (&former.resource, replaced), now).await?
            {
                forgotten = Some(former.resource);
            }
            db::node::replace(tx, replaced, now).await?;
            db::client::revoke_in(tx, replaced, now).await?;
        }
        db::client::insert_in(tx, &self.client, None).await?;
        if registered.is_some() {
            db::resource::give_to(tx, (&node.resource, &node.client_id), now).await?;
        } else {
            db::resource::insert_in(tx, &self.new_resource).await?;
        }
        db::node::insert(tx, &node).await?;
        let place = db::status_node::allot(tx, (&node.client_id, &self.new_list), now).await?;
        let (actor, source) = (Actor::Client(&node.client_id), Some(source));
        if let Some(uri) = &forgotten {
            let event = Event {
                actor,
                source,
                ..Event::of_operator(Name::ResourceDeleted, Target::Resource(uri))
            };
            db::audit_event::append(tx, &event, now).await?;
        }
        let invite_id = id_of(self.invite.as_bytes());
        let event = Event {
            actor,
            source,
            details: audit::details([
                ("name", Some(&*node.name)),
                ("resource", Some(&*node.resource)),
                ("invite", Some(&*invite_id)),
                ("replaces", invite.replaces.as_deref()),
                ("invited_by", invite.asked_by.as_deref()),
            ]),
            ..Event::of_operator(Name::NodeEnrolled, Target::Node(&node.node_id))
        };
        db::audit_event::append(tx, &event, now).await?;
        Ok(Ok((node, place.into())))
    }
}

fn malformed(sentence: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, sentence)
}
