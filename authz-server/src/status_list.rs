//! Status lists of our access tokens (Token Status List, docs/decisions/0013): which place a token gets, what the lists
//! say, and who is told when they change.

mod blocks;
mod endpoint;
mod news;
mod publish;

use std::sync::Arc;

use quick_cache::sync::Cache;
use shared::clock::UnixSeconds;
use shared::secret::{NoRandomness, random_bytes};
use shared::status_list::StatusReference;
use shared::uri::Issuer;

use self::blocks::Blocks;
pub(crate) use self::endpoint::{aggregation, list};
use self::news::News;
pub(crate) use self::news::follow;
use self::publish::{Directory, Published};
use crate::app::App;
use crate::changes::Memory;
use crate::db::change::{Change, MANY, Noun};
use crate::db::status_list::{BlockOwner, Leased};
use crate::db::status_node::{self, NODES};
use crate::error::Failure;
use crate::flight::Flights;
use crate::registry::Resource;

/// Where the lists are.
const PATH: &str = "/oauth/status";
/// What the ids of lists begin with. Then comes a tag of the resource: whoever hears of a changed list knows without a
/// query whom it concerns.
const PREFIX: &str = "l_";
const TAG_LENGTH: usize = 8;
/// What follows the tag: 12 random bytes in base64url.
const RANDOM_LENGTH: usize = 16;
/// Lists that are kept ready to be served.
const LISTS: usize = 4096;

/// The place of a token in one of our lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) list_id: Arc<str>,
    pub(crate) index: i64,
}

impl From<Leased> for Place {
    /// The first of a block.
    fn from(leased: Leased) -> Self {
        Self {
            list_id: Arc::from(leased.list_id),
            index: leased.first_index,
        }
    }
}

impl Place {
    /// As the database keeps it.
    pub(crate) fn stored(&self) -> (&str, i64) {
        (&self.list_id, self.index)
    }

    /// As a token names it.
    pub(crate) fn reference(&self, issuer: &Issuer) -> StatusReference {
        StatusReference {
            index: u64::try_from(self.index).unwrap_or_default(),
            uri: address(issuer, &self.list_id),
        }
    }

    /// What a token of ours names.
    pub(crate) fn named(issuer: &Issuer, reference: &StatusReference) -> Option<Self> {
        let list_id = reference
            .uri
            .strip_prefix(&issuer.endpoint(PATH))?
            .strip_prefix('/')?;
        Some(Self {
            list_id: Arc::from(list_id),
            index: i64::try_from(reference.index).ok()?,
        })
    }
}

/// Everything that one server knows of its lists.
pub(crate) struct StatusLists {
    blocks: Blocks,
    news: News,
    published: Cache<String, Arc<Published>>,
    /// Lists that are being packed and signed.
    packing: Flights<Option<Arc<Published>>>,
    /// Of registered resources, by their tag.
    directories: Cache<String, Arc<Directory>>,
    gathering: Flights<Arc<Directory>>,
}

impl StatusLists {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            blocks: Blocks::new(),
            news: News::new(),
            published: Cache::new(LISTS),
            packing: Flights::new(),
            directories: Cache::new(LISTS),
            gathering: Flights::new(),
        })
    }

    /// A place for a token for `resource` that is issued now; it is nobody else's, whatever becomes of the token.
    /// `owner` is whoever asks in their own name; the place of a family's token is kept with the family.
    pub(crate) async fn allot(
        &self,
        app: &App,
        resource: &Resource,
        owner: Option<BlockOwner<'_>>,
        now: UnixSeconds,
    ) -> Result<Place, Failure> {
        self.blocks.allot(&app.db, resource, owner, now).await
    }

    /// The place of the record of the node whose client this is; `None` when the client has ended.
    pub(crate) async fn place_of_node(
        &self,
        app: &App,
        client_id: &str,
        now: UnixSeconds,
    ) -> Result<Option<Place>, Failure> {
        let new_list = new_list_id(NODES)?;
        let leased = status_node::place(&app.db, (client_id, &new_list), now).await?;
        Ok(leased.map(Place::from))
    }

    /// No answer waits for news any more.
    pub(crate) fn stop(&self) {
        self.news.stop();
    }
}

impl Memory for StatusLists {
    fn forget(&self, change: &Change) {
        match change.noun() {
            Some(Noun::Client) => self.blocks.forget_client(&change.subject),
            Some(Noun::Resource) => {
                self.blocks.forget_resource(&change.subject);
                self.directories.clear();
            }
            Some(Noun::Key) => {
                // Whoever waits for news fetches what is signed anew, and learns of a key that was taken out.
                self.published.clear();
                self.directories.clear();
                self.news.tell_all();
            }
            Some(Noun::Token) if change.subject == MANY => self.forget_all(),
            Some(Noun::Token) => {
                if let Some(tag) = tag_in(&change.subject) {
                    self.published.remove(&change.subject);
                    self.directories.remove(tag);
                    self.blocks.forget_people(&change.subject);
                    self.news.tell(tag);
                }
            }
            None => self.forget_all(),
        }
    }

    fn forget_all(&self) {
        self.blocks.forget_all();
        self.published.clear();
        self.directories.clear();
        self.news.tell_all();
    }
}

/// The address of a list.
fn address(issuer: &Issuer, list_id: &str) -> String {
    format!("{}/{list_id}", issuer.endpoint(PATH))
}

/// The tag of a resource in the ids of its lists.
fn tag_of(resource: &str) -> String {
    let mut tag = shared::jose::sha256_base64url(resource.as_bytes());
    tag.truncate(TAG_LENGTH);
    tag
}

/// The tag in the id of a list; `None` when `subject` is no such id.
fn tag_in(subject: &str) -> Option<&str> {
    subject.strip_prefix(PREFIX)?.get(..TAG_LENGTH)
}

/// Whether `text` can be the id of a list.
fn is_list_id(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == TAG_LENGTH + RANDOM_LENGTH && rest.bytes().all(is_plain))
}

/// A name for a new list of a resource.
pub(crate) fn new_list_id(resource: &str) -> Result<String, NoRandomness> {
    use base64::Engine;

    let random = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random_bytes::<12>()?);
    Ok(format!("{PREFIX}{}{random}", tag_of(resource)))
}

#[cfg(test)]
mod tests;
