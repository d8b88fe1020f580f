//! Public documents: what this node is as a protected resource (RFC 9728), and what it is as a node. They come from
//! the configuration, never from a `Host` header.

use ::web::answer;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpResponse, web};
use serde::Serialize;
use shared::dpop;
use shared::metadata::ProtectedResource;

use crate::app::Node;
use crate::config::NodeConfig;
use crate::status::{Versions, versions};

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
    name: &'a str,
    versions: Versions,
    capabilities: [&'static str; 2],
    resource: &'a str,
    resource_metadata: String,
    authorization_servers: &'a [String],
}

impl Documents {
    /// Writes both.
    pub(crate) fn new(config: &NodeConfig, id: &str, name: &str) -> Self {
        let authorization_servers: Vec<_> = config
            .issuers
            .iter()
            .map(|issuer| issuer.issuer.to_string())
            .collect();
        let information = Information {
            id,
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

/// `/mcp/node/{id}/info`.
pub(crate) async fn information(node: web::Data<Node>, id: web::Path<String>) -> HttpResponse {
    if !node.observer.is_called(&id) {
        return answer::not_found().await;
    }
    cacheable(node.documents.information.clone())
}

pub(crate) fn cacheable(document: Vec<u8>) -> HttpResponse {
    let mut answer = answer::json_bytes(document);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    answer
}
