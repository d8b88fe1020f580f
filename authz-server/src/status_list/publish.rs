//! What is published: signed lists, and the directory that names those of a resource.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use serde::Serialize;
use shared::clock::UnixSeconds;
use shared::jose::{Algorithm, sha256_base64url};
use shared::status_list::{Claims, Packed, TYPE, pack};

use super::{PATH, StatusLists, address, tag_of};
use crate::app::App;
use crate::db;
use crate::db::status_list::{CAPACITY, ListRow};
use crate::db::status_revoked::GRACE;
use crate::error::Failure;

/// How long a list may serve before we are asked again (§5.1, `ttl`), in seconds. Nodes of ours are told sooner.
pub(super) const TTL: u64 = 5;
/// A list is signed anew this often even if nothing in it changed, in seconds: whoever gets it on other ways than from
/// us sees by `iat` how fresh it is.
const SIGNED_EVERY: i64 = 300;
/// A directory is made anew after this time: lists end.
const DIRECTORY_LIFE: Duration = Duration::from_secs(60);

/// A list as it is served.
pub(super) struct Published {
    pub(super) token: Bytes,
    pub(super) etag: String,
    /// Of the bits alone: the same for every instance and signature.
    version: String,
    issued_at: UnixSeconds,
    /// When nobody may use it any more.
    ends: UnixSeconds,
}

/// The lists of one resource, as they are served.
pub(super) struct Directory {
    pub(super) document: Bytes,
    pub(super) etag: String,
    resource: String,
    made_at: UnixSeconds,
}

/// Status List Aggregation (§9.3), and what each list says now.
#[derive(Serialize)]
struct DirectoryDocument {
    status_lists: Vec<String>,
    /// In the same order: another text when a bit changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<String>,
}

impl StatusLists {
    /// The list named `list_id`, as of the caller's last catch-up; `None` when there is none, or its tokens are gone.
    pub(super) async fn published(
        &self,
        app: &App,
        list_id: &str,
        now: UnixSeconds,
    ) -> Result<Option<Arc<Published>>, Failure> {
        if let Some(published) = self.published.get(list_id)
            && published.issued_at >= signing_time(now)
            && now < published.ends
        {
            return Ok(Some(published));
        }
        let epoch = app.changes().epoch();
        let Some(row) = db::status_list::find(&app.db, list_id, now - GRACE).await? else {
            return Ok(None);
        };
        let published = Arc::new(make(app, &row, now).await?);
        app.changes().fill(epoch, || {
            self.published.insert(list_id.to_owned(), Arc::clone(&published));
        });
        Ok(Some(published))
    }

    /// The lists of `resource`, as of the caller's last catch-up.
    pub(super) async fn directory(
        &self,
        app: &App,
        resource: &str,
        now: UnixSeconds,
    ) -> Result<Arc<Directory>, Failure> {
        let tag = tag_of(resource);
        if let Some(known) = self.directories.get(&tag)
            && known.resource == resource
            && now.since(known.made_at) < DIRECTORY_LIFE
        {
            return Ok(known);
        }
        let epoch = app.changes().epoch();
        let rows = db::status_list::of_resource(&app.db, resource, now - GRACE).await?;
        let mut document = DirectoryDocument {
            status_lists: Vec::new(),
            versions: Vec::new(),
        };
        for row in rows {
            if let Some(list) = self.published(app, &row.list_id, now).await? {
                document
                    .status_lists
                    .push(address(&app.config.issuer, &row.list_id));
                document.versions.push(list.version.clone());
            }
        }
        let directory = Arc::new(Directory::new(&document, resource, now)?);
        app.changes().fill(epoch, || {
            self.directories.insert(tag, Arc::clone(&directory));
        });
        Ok(directory)
    }

    /// Every list there is, for whoever has tokens for several resources.
    pub(super) async fn whole_directory(&self, app: &App, now: UnixSeconds) -> Result<Directory, Failure> {
        let rows = db::status_list::all(&app.db, now - GRACE).await?;
        let document = DirectoryDocument {
            status_lists: rows
                .iter()
                .map(|row| address(&app.config.issuer, &row.list_id))
                .collect(),
            versions: Vec::new(),
        };
        Directory::new(&document, "", now)
    }
}

impl Directory {
    /// That of a resource without lists.
    pub(super) fn empty() -> Result<Self, Failure> {
        let document = DirectoryDocument {
            status_lists: Vec::new(),
            versions: Vec::new(),
        };
        Self::new(&document, "", UnixSeconds(0))
    }

    fn new(document: &DirectoryDocument, resource: &str, now: UnixSeconds) -> Result<Self, Failure> {
        let document = serde_json::to_vec(document).map_err(|e| Failure::Internal(e.to_string()))?;
        Ok(Self {
            etag: format!("\"{}\"", sha256_base64url(&document)),
            document: document.into(),
            resource: resource.to_owned(),
            made_at: now,
        })
    }
}

/// Signs the list anew.
async fn make(app: &App, row: &ListRow, now: UnixSeconds) -> Result<Published, Failure> {
    let internal = |reason: String| Failure::Internal(format!("status list {}: {reason}", row.list_id));
    let ranges = db::status_revoked::of_list(&app.db, &row.list_id).await?;
    let lst = pack(&bits(&ranges)).map_err(|e| internal(e.to_string()))?;
    let issuer = &app.config.issuer;
    let mut aggregation_uri = url::Url::parse(&issuer.endpoint(PATH)).map_err(|e| internal(e.to_string()))?;
    aggregation_uri
        .query_pairs_mut()
        .append_pair("resource", &row.resource);
    // Every instance writes the same time for the same state.
    let issued_at = UnixSeconds(row.changed_at).max(signing_time(now));
    let ends = UnixSeconds(row.window_end) + GRACE;
    let claims = Claims {
        iss: issuer.as_str(),
        sub: &address(issuer, &row.list_id),
        iat: issued_at,
        exp: ends,
        ttl: TTL,
        status_list: Packed {
            bits: 1,
            lst: &lst,
            aggregation_uri: aggregation_uri.as_str(),
        },
    };
    let claims = serde_json::to_vec(&claims).map_err(|e| internal(e.to_string()))?;
    // As the tokens of the resource are signed: its servers need understand no more than that.
    let resources = app.resources().await?;
    let resource = resources.find(&row.resource);
    let algorithm = resource.map_or(Algorithm::EdDSA, |resource| resource.algorithm);
    let keys = app.keys().await?;
    let signer = keys
        .signer(algorithm)
        .ok_or_else(|| internal(format!("there is no {algorithm} key")))?;
    let token = signer
        .sign_jwt(TYPE, &claims)
        .map_err(|e| internal(e.to_string()))?;
    Ok(Published {
        etag: format!("\"{}\"", sha256_base64url(token.as_bytes())),
        version: sha256_base64url(lst.as_bytes()),
        token: token.into(),
        issued_at,
        ends,
    })
}

/// The list itself, at full length: a token that is issued later has its place in it already (§4.1).
fn bits(ranges: &[(i64, i64)]) -> Vec<u8> {
    let capacity = usize::try_from(CAPACITY).unwrap_or_default();
    let mut bytes = vec![0_u8; capacity / 8];
    for (first, length) in ranges {
        let first = usize::try_from(*first).unwrap_or(capacity);
        let end = first
            .saturating_add(usize::try_from(*length).unwrap_or_default())
            .min(capacity);
        for place in first..end {
            bytes[place / 8] |= 1 << (place % 8);
        }
    }
    bytes
}

/// The last full five minutes.
fn signing_time(now: UnixSeconds) -> UnixSeconds {
    UnixSeconds(now.0 - now.0.rem_euclid(SIGNED_EVERY))
}
