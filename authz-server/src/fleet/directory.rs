//! What everybody may know of the living nodes: the signed directory, and each node's record.
//!
//! Both say when they were made only to the minute and the hour, so that every instance signs the same bytes, and a
//! tag stands for them. A node that is revoked is not in the next answer.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use arc_swap::ArcSwapOption;
use serde::Serialize;
use shared::clock::{self, UnixSeconds};
use shared::fleet::name::is_node_id;
use shared::fleet::record::{DIRECTORY_TYPE, NodeRecord, RECORD_TYPE, RecordStatus};
use shared::jose::sha256_base64url;

use super::{sign, sign_with};
use crate::app::App;
use crate::changes::Memory;
use crate::conditional::{self, Tagged};
use crate::db::change::{Change, Noun};
use crate::db::node::NodeRow;
use crate::db::{self};
use crate::error::{self, Failure};
use crate::flight::Flights;
use crate::keys::KeyRing;
use crate::status_list::Place;

/// Others may keep the directory for a minute: so long a revoked node may stay in their copy.
const CACHED: &str = "public, max-age=60";
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// How long the directory and a record count: nodes must know each other while the server is away.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// The directory, as it was signed last.
pub(crate) struct Directory {
    signed: ArcSwapOption<Signed>,
    signing: Flights<Arc<Signed>>,
}

struct Signed {
    iat: UnixSeconds,
    text: Bytes,
    etag: String,
}

impl Directory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            signed: ArcSwapOption::empty(),
            signing: Flights::new(),
        })
    }
}

impl Memory for Directory {
    fn forget(&self, change: &Change) {
        if concerns(change) {
            self.forget_all();
        }
    }

    fn forget_all(&self) {
        self.signed.store(None);
    }
}

/// Nodes come and go with their clients.
fn concerns(change: &Change) -> bool {
    change.is_of(&[Noun::Client, Noun::Key])
}

#[derive(Serialize)]
struct DirectoryClaims<'a> {
    iss: &'a str,
    iat: UnixSeconds,
    exp: UnixSeconds,
    nodes: Vec<NodeRecord>,
}

#[derive(Serialize)]
struct RecordClaims<'a> {
    iss: &'a str,
    sub: String,
    iat: UnixSeconds,
    exp: UnixSeconds,
    #[serde(flatten)]
    record: NodeRecord,
}

/// `GET /fleet/nodes`.
pub(crate) async fn nodes(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let answered = async {
        app.catch_up().await?;
        let signed = directory(&app, clock::now()).await?;
        let document = (signed.text.clone(), &*signed.etag);
        Ok(cacheable(&request, document, DIRECTORY_TYPE))
    };
    answered
        .await
        .unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

/// `GET /fleet/nodes/{node_id}`: the record of one living node.
pub(crate) async fn record(
    app: web::Data<App>,
    request: HttpRequest,
    node_id: web::Path<String>,
) -> HttpResponse {
    let answered = async {
        app.catch_up().await?;
        let node = match is_node_id(&node_id) {
            true => db::node::newest(&app.db, &node_id).await?,
            false => None,
        };
        let living = match node {
            Some(node) => db::node::of_client(&app.db, &node.client_id).await?,
            None => None,
        };
        let Some(living) = living else {
            return Ok(::web::answer::not_found().await);
        };
        let now = clock::now();
        let place = app
            .status_lists
            .place_of_node(&app, &living.client_id, now)
            .await?;
        let Some(place) = place else {
            return Ok(::web::answer::not_found().await);
        };
        let text = signed_record(&app, (living, &place), now).await?;
        let etag = tag(&text);
        Ok(cacheable(&request, (text.into(), &etag), RECORD_TYPE))
    };
    answered
        .await
        .unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

/// The record of a node, signed for this hour and a day on. Its place in a status list is what cuts it off before.
pub(super) async fn signed_record(
    app: &App,
    (node, place): (NodeRow, &Place),
    now: UnixSeconds,
) -> Result<String, Failure> {
    let mut record = super::node::record(node)?;
    record.status = Some(RecordStatus {
        status_list: place.reference(&app.config.issuer),
    });
    let iat = floor(now, HOUR);
    let claims = RecordClaims {
        iss: app.config.issuer.as_str(),
        sub: record.node_id.clone(),
        iat,
        exp: iat + LIFE,
        record,
    };
    sign(app, RECORD_TYPE, &claims).await
}

async fn directory(app: &App, now: UnixSeconds) -> Result<Arc<Signed>, Failure> {
    let iat = floor(now, MINUTE);
    let is_good = |signed: &Arc<Signed>| signed.iat == iat;
    if let Some(signed) = &*app.directory.signed.load()
        && is_good(signed)
    {
        return Ok(Arc::clone(signed));
    }
    let make = async || {
        let epoch = app.epoch();
        let rows = db::node::living(&app.db).await?;
        let (keys, issuer) = (app.keys().await?, app.config.issuer.clone());
        // Of thousands of nodes each key is looked at: nobody else who is served by this thread should wait for that.
        let signed = tokio::task::spawn_blocking(move || sign_all(&keys, issuer.as_str(), rows, iat)).await;
        let signed = Arc::new(signed.map_err(|e| Failure::Internal(e.to_string()))??);
        app.keep(epoch, concerns, || {
            app.directory.signed.store(Some(Arc::clone(&signed)));
        });
        Ok(signed)
    };
    app.directory.signing.join(app.changes(), "", is_good, make).await
}

fn sign_all(keys: &KeyRing, issuer: &str, rows: Vec<NodeRow>, iat: UnixSeconds) -> Result<Signed, Failure> {
    let nodes: Result<Vec<_>, _> = rows.into_iter().map(super::node::record).collect();
    let claims = DirectoryClaims {
        iss: issuer,
        iat,
        exp: iat + LIFE,
        nodes: nodes?,
    };
    let text = sign_with(keys, DIRECTORY_TYPE, &claims)?;
    Ok(Signed {
        iat,
        etag: tag(&text),
        text: text.into(),
    })
}

/// What is kept is sent from where it is: a directory of thousands of nodes is megabytes.
fn cacheable(request: &HttpRequest, (text, etag): (Bytes, &str), typ: &str) -> HttpResponse {
    let document = Tagged {
        etag,
        content_type: &format!("application/{typ}"),
        cache_control: CACHED,
        body: text,
    };
    conditional::answer(request, document)
}

fn tag(text: &str) -> String {
    format!("\"{}\"", sha256_base64url(text.as_bytes()))
}

fn floor(now: UnixSeconds, step: i64) -> UnixSeconds {
    UnixSeconds(now.0 - now.0.rem_euclid(step))
}
