//! What is published: signed lists, and the directory that names those of a resource.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use serde::Serialize;
use shared::clock::UnixSeconds;
use shared::jose::{Algorithm, sha256_base64url};
use shared::status_list::{Claims, Packed, TYPE, pack};

use super::{PATH, StatusLists, address, tag_in, tag_of};
use crate::app::App;
use crate::db;
use crate::db::change::{Change, MANY, Noun};
use crate::db::status_list::{CAPACITY, ListRow};
use crate::db::status_node::NODES;
use crate::db::status_revoked::GRACE;
use crate::error::Failure;

/// How long a list may serve before we are asked again (§5.1, `ttl`), in seconds. Nodes of ours are told sooner.
pub(super) const TTL: u64 = 5;
/// A list is signed anew this often even if nothing in it changed, in seconds: whoever gets it on other ways than from
/// us sees by `iat` how fresh it is.
const SIGNED_EVERY: i64 = 300;
/// A directory is made anew after this time: lists end.
const DIRECTORY_LIFE: Duration = Duration::from_secs(60);
/// Stands for all resources: no resource has that name, and none that tag.
const WHOLE: &str = "";

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
    named: DirectoryDocument,
    pub(super) document: Bytes,
    pub(super) etag: String,
    resource: String,
    made_at: UnixSeconds,
}

/// Status List Aggregation (§9.3), and what each list says now.
#[derive(Clone, Default, Serialize)]
struct DirectoryDocument {
    status_lists: Vec<String>,
    /// In the same order: another text when a bit changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<String>,
}

impl Published {
    fn is_good(&self, now: UnixSeconds) -> bool {
        self.issued_at >= signing_time(now) && now < self.ends
    }
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
            && published.is_good(now)
        {
            return Ok(Some(published));
        }
        let is_good = |made: &Option<Arc<Published>>| made.as_ref().is_some_and(|made| made.is_good(now));
        let make = async || {
            let epoch = app.epoch();
            let Some(row) = db::status_list::find(&app.db, list_id, now - GRACE).await? else {
                return Ok(None);
            };
            let published = Arc::new(make(app, row, now).await?);
            let concerns =
                |change: &Change| change.is_about(Noun::Token, list_id) || change.is_of(&[Noun::Key]);
            app.keep(epoch, concerns, || {
                self.published.insert(list_id.to_owned(), Arc::clone(&published));
            });
            Ok(Some(published))
        };
        self.packing.join(app.changes(), list_id, is_good, make).await
    }

    /// The lists of `resource`, as of the caller's last catch-up.
    pub(super) async fn directory(
        &self,
        app: &App,
        resource: &str,
        now: UnixSeconds,
    ) -> Result<Arc<Directory>, Failure> {
        let tag = tag_of(resource);
        let is_good =
            |known: &Arc<Directory>| known.resource == resource && now.since(known.made_at) < DIRECTORY_LIFE;
        if let Some(known) = self.directories.get(&tag).filter(is_good) {
            return Ok(known);
        }
        let make = async || {
            let epoch = app.epoch();
            let directory = Arc::new(self.gather(app, resource, now).await?);
            // A stranger could fill memory with names: what is not registered has no place in it.
            let is_registered = resource == NODES
                || app
                    .resources()
                    .await?
                    .find(resource)
                    .is_some_and(|found| found.uri == resource);
            if is_registered {
                let concerns = |change: &Change| {
                    let is_its_list = change.subject == MANY || tag_in(&change.subject) == Some(&tag);
                    change.is_of(&[Noun::Resource, Noun::Key])
                        || (change.is_of(&[Noun::Token]) && is_its_list)
                };
                app.keep(epoch, concerns, || {
                    self.directories.insert(tag.clone(), Arc::clone(&directory));
                });
            }
            Ok(directory)
        };
        self.gathering.join(app.changes(), resource, is_good, make).await
    }

    async fn gather(&self, app: &App, resource: &str, now: UnixSeconds) -> Result<Directory, Failure> {
        let rows = db::status_list::of_resource(&app.db, resource, now - GRACE).await?;
        let mut document = DirectoryDocument::default();
        for row in rows {
            if let Some(list) = self.published(app, &row.list_id, now).await? {
                document
                    .status_lists
                    .push(address(&app.config.issuer, &row.list_id));
                document.versions.push(list.version.clone());
            }
        }
        Directory::new(document, resource, now)
    }

    /// Every list there is, for whoever has tokens for several resources. It says nothing of what is in them, and may be as
    /// old as the caches on the way may let it become.
    pub(super) async fn whole_directory(
        &self,
        app: &App,
        now: UnixSeconds,
    ) -> Result<Arc<Directory>, Failure> {
        let is_good = |known: &Arc<Directory>| now.since(known.made_at) < Duration::from_secs(TTL);
        if let Some(known) = self.directories.get(WHOLE).filter(is_good) {
            return Ok(known);
        }
        let make = async || {
            let rows = db::status_list::all(&app.db, now - GRACE).await?;
            let document = DirectoryDocument {
                status_lists: rows
                    .iter()
                    .map(|row| address(&app.config.issuer, &row.list_id))
                    .collect(),
                versions: Vec::new(),
            };
            let directory = Arc::new(Directory::new(document, WHOLE, now)?);
            self.directories.insert(WHOLE.to_owned(), Arc::clone(&directory));
            Ok(directory)
        };
        self.gathering.join(app.changes(), WHOLE, is_good, make).await
    }
}

impl Directory {
    /// That of a resource without lists.
    pub(super) fn empty() -> Result<Self, Failure> {
        Self::new(DirectoryDocument::default(), WHOLE, UnixSeconds(0))
    }

    /// This one, and what `other` names.
    pub(super) fn and(&self, other: &Self) -> Result<Self, Failure> {
        let mut named = self.named.clone();
        named.status_lists.extend_from_slice(&other.named.status_lists);
        named.versions.extend_from_slice(&other.named.versions);
        Self::new(named, &self.resource, self.made_at)
    }

    fn new(named: DirectoryDocument, resource: &str, now: UnixSeconds) -> Result<Self, Failure> {
        let document = serde_json::to_vec(&named).map_err(|e| Failure::Internal(e.to_string()))?;
        Ok(Self {
            named,
            etag: format!("\"{}\"", sha256_base64url(&document)),
            document: document.into(),
            resource: resource.to_owned(),
            made_at: now,
        })
    }
}

/// Signs the list anew.
async fn make(app: &App, row: ListRow, now: UnixSeconds) -> Result<Published, Failure> {
    let ranges = db::status_revoked::of_list(&app.db, &row.list_id).await?;
    signed(app, row, ranges, now).await
}

/// Packs and signs a list whose bits are set in `ranges`.
pub(super) async fn signed(
    app: &App,
    row: ListRow,
    ranges: Vec<(i64, i64)>,
    now: UnixSeconds,
) -> Result<Published, Failure> {
    let internal = |reason: String| Failure::Internal(format!("status list {}: {reason}", row.list_id));
    // Milliseconds of one processor, which others who are served by this thread would wait for.
    let packed = tokio::task::spawn_blocking(move || pack(&bits(&ranges))).await;
    let lst = packed
        .map_err(|e| internal(e.to_string()))?
        .map_err(|e| internal(e.to_string()))?;
    let issuer = &app.config.issuer;
    let mut aggregation_uri = url::Url::parse(&issuer.endpoint(PATH)).map_err(|e| internal(e.to_string()))?;
    aggregation_uri
        .query_pairs_mut()
        .append_pair("resource", &row.resource);
    // Every instance writes the same time for the same state.
    let issued_at = UnixSeconds(row.changed_at).max(signing_time(now));
    let ends = UnixSeconds(row.window_end) + GRACE;
    let is_of_tokens = row.resource != NODES;
    let claims = Claims {
        iss: issuer.as_str(),
        sub: &address(issuer, &row.list_id),
        iat: issued_at,
        exp: Some(ends).filter(|_| is_of_tokens),
        ttl: TTL,
        status_list: Packed {
            bits: 1,
            lst: &lst,
            aggregation_uri: Some(aggregation_uri.as_str()).filter(|_| is_of_tokens),
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
        // Another one too when another key signs: it is to be fetched then.
        version: sha256_base64url(format!("{} {lst}", signer.kid()).as_bytes()),
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
