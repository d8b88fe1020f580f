//! The node's door for other programs: an actix program puts it before endpoints of its own, and they are reached with
//! good access tokens only. It is the door that the node itself uses: the same issuers, key sets, checks, proofs of
//! possession and challenges.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use mcp_node::door::{Admitted, Door};
//!
//! async fn orders(caller: Admitted) -> String {
//!     format!("the orders of {}", caller.claims().subject())
//! }
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let door = Door::open("https://shop.example/orders", "https://as.example", &["orders:read"])?;
//! let read = door.needs("orders:read")?;
//! HttpServer::new(move || {
//!     let own = web::scope("/orders").wrap(read.clone()).route("", web::get().to(orders));
//!     App::new().configure(|app| door.metadata(app)).service(own)
//! })
//! .bind("127.0.0.1:8090")?
//! .run()
//! .await?;
//! # Ok(())
//! # }
//! ```

mod admitted;
mod needs;

use std::sync::Arc;

use ::web::answer;
pub use ::web::client_certificate::keep as keep_client_certificate;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::now;
use shared::config::ConfigFaults;
use shared::dpop::ProofFault;
use shared::http_client::ClientFault;
use shared::scope::{Scope, ScopeFault};

pub use self::admitted::Admitted;
pub use self::needs::Needs;
use crate::app::NONCE;
pub use crate::auth::Caller;
use crate::auth::{self, Bindings, NonceKeyFault, Shown, nonces};
use crate::config::NodeConfig;
use crate::error::{Asks, Refusal};
use crate::gate::ScopeTable;
use crate::issuers::Issuers;
use crate::metadata::{cacheable, resource_document};
use crate::origin::open;

/// The door to one protected resource. Cheap to clone; make one and share it, for it remembers what it verified.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    door: auth::Door,
    asks: Asks,
    scopes: ScopeTable,
    /// The metadata of the resource (RFC 9728), as it is sent.
    document: Vec<u8>,
    /// The path of the resource, without a slash at its end.
    path: String,
}

/// A door cannot be made.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "each carries the fault of the part that it is named after"
)]
pub enum DoorFault {
    #[error(transparent)]
    Config(#[from] ConfigFaults),
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error(transparent)]
    Nonces(#[from] NonceKeyFault),
    #[error("{0:?} is no URL without quotes")]
    Quotes(String),
}

impl Door {
    /// A door to `resource`, the address that tokens name as their audience, for tokens of `issuer`. Metadata offers
    /// `scopes`.
    ///
    /// # Errors
    /// When one of them is no URL that can be used, or the outbound client cannot be made.
    pub fn open(resource: &str, issuer: &str, scopes: &[&str]) -> Result<Self, DoorFault> {
        for text in [resource, issuer] {
            if text.contains(['"', '\\']) || text.chars().any(char::is_control) {
                return Err(DoorFault::Quotes(text.to_owned()));
            }
        }
        let text = format!("[server]\nresource = \"{resource}\"\n[[issuer]]\nurl = \"{issuer}\"\n");
        Self::of(&NodeConfig::from_text(&text)?, scopes)
    }

    /// A door as a node's configuration describes it: `server.resource`, `server.dpop_nonce…`, every `[[issuer]]`,
    /// `scopes.hierarchy` and `[scopes.implies]`. Everything else in it is not looked at.
    ///
    /// # Errors
    /// When the outbound client cannot be made, or a key file cannot be read.
    pub fn of(config: &NodeConfig, scopes: &[&str]) -> Result<Self, DoorFault> {
        let scopes_supported = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let resource = &config.resource;
        let name = config.name.as_deref().unwrap_or(resource.as_str());
        let bindings = Bindings::new(resource.clone(), nonces(config)?);
        Ok(Self(Arc::new(Inner {
            door: auth::Door::new(Issuers::in_memory(config)?, bindings),
            asks: Asks {
                resource_metadata: resource.metadata_url(),
                dpop_only: config.is_dpop_only(),
            },
            scopes: config.scopes.clone(),
            document: resource_document(config, name, scopes_supported),
            path: resource.url().path().trim_end_matches('/').to_owned(),
        })))
    }

    /// The middleware for endpoints that need `scope`: all of its tokens, or others that contain them (`orders:*`).
    ///
    /// # Errors
    /// When it is no scope.
    pub fn needs(&self, scope: &str) -> Result<Needs, ScopeFault> {
        Ok(Needs::new(self.clone(), scope.parse()?))
    }

    /// Adds the metadata of the resource, by which clients find the authorization server (RFC 9728 §3): at
    /// `/.well-known/oauth-protected-resource`, and there with the resource's path behind it. Pages of every origin may
    /// read it.
    pub fn metadata(&self, app: &mut web::ServiceConfig) {
        const AT_ROOT: &str = "/.well-known/oauth-protected-resource";
        let below = format!("{AT_ROOT}{}", self.0.path);
        let places = [Some(AT_ROOT), Some(&*below).filter(|path| *path != AT_ROOT)];
        for place in places.into_iter().flatten() {
            let door = self.clone();
            let document = move || {
                let document = door.0.document.clone();
                async move { cacheable(document) }
            };
            app.service(
                answer::resource(place, "GET, HEAD")
                    .wrap(from_fn(open))
                    .route(answer::get().to(document)),
            );
        }
    }

    /// Who sent `request`, if that may do what needs `scope`; else the answer to it.
    async fn admit(&self, request: &HttpRequest, scope: &Scope) -> Result<Arc<Caller>, HttpResponse> {
        let admitted = self
            .0
            .door
            .authenticate(&Shown::of_connection(request), now())
            .await;
        let refusal = match admitted {
            Ok(caller) if self.0.scopes.covers(caller.claims().scope(), scope) => return Ok(caller),
            Ok(caller) => caller.lacks(scope.clone()),
            Err(refusal) => refusal,
        };
        Err(self.refuse(&refusal, scope))
    }

    fn refuse(&self, refusal: &Refusal, scope: &Scope) -> HttpResponse {
        let mut answer = refusal.answer(&self.0.asks, &scope.to_string());
        if matches!(refusal, Refusal::Proof(ProofFault::Nonce(_)))
            && let Ok(nonce) = self.0.door.nonces().current(now()).parse()
        {
            answer.headers_mut().insert(NONCE, nonce);
        }
        answer
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({})", self.0.asks.resource_metadata)
    }
}

#[cfg(test)]
mod tests;
