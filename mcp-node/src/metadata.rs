//! Public documents: what this node is as a protected resource (RFC 9728), and what it is as a node. They come from
//! the configuration, never from a `Host` header.

use ::web::answer;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::clock::now;
use shared::dpop;
use shared::metadata::ProtectedResource;

use crate::advertisement::own;
use crate::app::Node;
use crate::config::NodeConfig;
use crate::gate::{Operation, Outcome};
use crate::status::{Versions, versions};

/// What a caller must be allowed to see what the node offers.
const LIST_TOOLS: &str = "tools/list";

/// The documents as they are sent.
#[derive(Debug)]
pub(crate) struct Documents {
    resource: Vec<u8>,
    information: Vec<u8>,
}

/// What anyone may know of the node.
#[derive(Serialize)]
struct Information<'a> {
    id: &'a str,
    peer_id: &'a str,
    name: &'a str,
    versions: Versions,
    capabilities: [&'static str; 2],
    resource: &'a str,
    resource_metadata: String,
    authorization_servers: &'a [String],
}

impl Documents {
    /// Writes both.
    pub(crate) fn new(config: &NodeConfig, (id, peer_id): (&str, &str), name: &str) -> Self {
        let authorization_servers: Vec<_> = config
            .issuers
            .iter()
            .map(|issuer| issuer.issuer.to_string())
            .collect();
        let information = Information {
            id,
            peer_id,
            name,
            versions: versions(),
            capabilities: ["tools", "resources"],
            resource: config.resource.as_str(),
            resource_metadata: config.resource.metadata_url(),
            authorization_servers: &authorization_servers,
        };
        // Plain strings and lists cannot fail to be written.
        let information = serde_json::to_vec(&information).unwrap_or_default();
        Self {
            resource: resource_document(config, name, config.scopes.for_metadata()),
            information,
        }
    }
}

/// The metadata of a protected resource (RFC 9728 §2), as it is sent.
pub(crate) fn resource_document(config: &NodeConfig, name: &str, scopes_supported: Vec<String>) -> Vec<u8> {
    let document = ProtectedResource {
        resource: config.resource.as_str().to_owned(),
        authorization_servers: config
            .issuers
            .iter()
            .map(|issuer| issuer.issuer.to_string())
            .collect(),
        scopes_supported,
        bearer_methods_supported: vec!["header".to_owned()],
        dpop_signing_alg_values_supported: dpop::algorithms().map(str::to_owned).collect(),
        dpop_bound_access_tokens_required: config.is_dpop_only(),
        tls_client_certificate_bound_access_tokens: config.client_certificates.can_be_shown(),
        resource_name: name.to_owned(),
    };
    // Plain strings and lists cannot fail to be written.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// `/.well-known/oauth-protected-resource`, alone and with the resource's path behind it.
pub(crate) async fn resource(node: web::Data<Node>) -> HttpResponse {
    cacheable(node.documents.resource.clone())
}

/// `/mcp/node/{id}/info`. Whoever shows a token for reading gets to know what the node offers them, how it is and where
/// it is reached; everybody else what it is and where to get such a token.
pub(crate) async fn information(
    request: HttpRequest,
    node: web::Data<Node>,
    id: web::Path<String>,
) -> HttpResponse {
    if !node.observer.is_called(&id) {
        return answer::not_found().await;
    }
    let mut answer = if request.headers().contains_key(AUTHORIZATION) {
        details(&request, &node).await
    } else {
        cacheable(node.documents.information.clone())
    };
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("authorization"));
    answer
}

async fn details(request: &HttpRequest, node: &Node) -> HttpResponse {
    let permitted = async {
        let caller = node.admit(request).await?;
        let permit = node.gate.permit(&caller, &Operation::plain(LIST_TOOLS), now())?;
        Ok((caller, permit))
    };
    let (caller, permit) = match permitted.await {
        Ok(permitted) => permitted,
        Err(refusal) => return node.refuse(&refusal, &node.hints.basic),
    };
    let said = own::for_caller(node, &caller, now()).await;
    let mut document: Map<String, Value> =
        serde_json::from_slice(&node.documents.information).unwrap_or_default();
    let more = json!({
        "platform": said.platform, "uptime_seconds": said.uptime_seconds, "load": said.load,
        "offers": said.capabilities, "p2p": said.p2p, "scopes_supported": said.access.scopes_supported,
    });
    if let Value::Object(more) = more {
        document.extend(more);
    }
    permit.end(Outcome::Done);
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .json(document)
}

pub(crate) fn cacheable(document: Vec<u8>) -> HttpResponse {
    let mut answer = answer::json_bytes(document);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    answer
}
