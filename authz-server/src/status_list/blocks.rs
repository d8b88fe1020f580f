//! Blocks of places that this instance has leased. Places of a block are handed out in random order, so that they tell
//! nothing of when, or how often, a client asks.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{NoRandomness, random_bytes};

use super::{Place, new_list_id};
use crate::db::Db;
use crate::db::status_list::{self, BlockOwner, Wanted};
use crate::error::Failure;
use crate::registry::Resource;

/// Places of an owner's first block; of a family's, which all share, more.
const FIRST: (i64, i64) = (16, 256);
/// Each block has four times as many as the one before, up to so many.
const LARGEST: i64 = 16_384;
/// The shortest and the longest window of a list, in seconds.
const WINDOWS: (i64, i64) = (3600, 86_400);
/// More blocks than this are not kept: what is left of them is given up.
const BLOCKS: usize = 20_000;
/// So many leases may be under way at once, one for each owner.
const TURNS: usize = 16;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    resource: String,
    user_id: Option<String>,
}

struct Block {
    list_id: Arc<str>,
    window_end: UnixSeconds,
    /// Those that are left, shuffled.
    places: Vec<u32>,
    /// How many there were.
    length: i64,
}

/// By the client that asks in its own name; families' under the empty name.
type OfClients = HashMap<String, HashMap<Key, Block>>;

#[derive(Default)]
struct Held {
    plain: OfClients,
    /// Whose tokens name people.
    of_people: OfClients,
}

impl Held {
    fn of(&mut self, key: &Key) -> &mut OfClients {
        match key.user_id {
            Some(_) => &mut self.of_people,
            None => &mut self.plain,
        }
    }

    fn both(&mut self) -> [&mut OfClients; 2] {
        [&mut self.plain, &mut self.of_people]
    }
}

pub(super) struct Blocks {
    held: Mutex<Held>,
    turns: [tokio::sync::Mutex<()>; TURNS],
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self {
            held: Mutex::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        }
    }

    /// See [`super::StatusLists::allot`].
    pub(super) async fn allot(
        &self,
        db: &Db,
        resource: &Resource,
        owner: Option<BlockOwner<'_>>,
        now: UnixSeconds,
    ) -> Result<Place, Failure> {
        let window_end = window_end(resource, now);
        let client_id = owner.map_or("", |owner| owner.client_id);
        let key = Key {
            resource: resource.uri.clone(),
            user_id: owner.and_then(|owner| owner.user_id).map(str::to_owned),
        };
        if let Some(place) = self.take(client_id, &key, window_end) {
            return Ok(place);
        }
        // Of many who find the block empty one leases the next.
        let _turn = self.turns[turn_of(client_id, &key)].lock().await;
        loop {
            if let Some(place) = self.take(client_id, &key, window_end) {
                return Ok(place);
            }
            let length = self.next_length(client_id, &key, window_end);
            let new_list = new_list_id(&resource.uri)?;
            let wanted = Wanted {
                resource: &resource.uri,
                window_end,
                owner,
                length,
                new_list: &new_list,
            };
            let leased = status_list::lease(db, wanted, now).await?.ok_or_else(ended)?;
            let block = Block {
                places: shuffled(leased.first_index, length)?,
                list_id: Arc::from(leased.list_id),
                window_end,
                length,
            };
            self.keep(client_id, key.clone(), block, now);
        }
    }

    fn take(&self, client_id: &str, key: &Key, window_end: UnixSeconds) -> Option<Place> {
        let mut held = lock(&self.held);
        let block = held.of(key).get_mut(client_id)?.get_mut(key)?;
        if block.window_end != window_end {
            return None;
        }
        let index = block.places.pop()?;
        Some(Place {
            list_id: Arc::clone(&block.list_id),
            index: i64::from(index),
        })
    }

    fn next_length(&self, client_id: &str, key: &Key, window_end: UnixSeconds) -> i64 {
        let mut held = lock(&self.held);
        let before = held.of(key).get(client_id).and_then(|blocks| blocks.get(key));
        match before {
            Some(before) if before.window_end == window_end => (before.length * 4).min(LARGEST),
            // As busy as in the window before, more or less.
            Some(before) => (before.length / 4).max(FIRST.0),
            None if client_id.is_empty() => FIRST.1,
            None => FIRST.0,
        }
    }

    fn keep(&self, client_id: &str, key: Key, block: Block, now: UnixSeconds) {
        let mut held = lock(&self.held);
        let held = held.of(&key);
        if held.len() >= BLOCKS {
            held.values_mut()
                .for_each(|blocks| blocks.retain(|_, block| block.window_end > now));
            held.retain(|_, blocks| !blocks.is_empty());
        }
        if held.len() >= BLOCKS {
            held.clear();
        }
        let blocks = held.entry(client_id.to_owned()).or_default();
        if blocks.len() >= BLOCKS {
            blocks.clear();
        }
        blocks.insert(key, block);
    }

    /// What was leased for a client may be revoked by now.
    pub(super) fn forget_client(&self, client_id: &str) {
        for held in lock(&self.held).both() {
            held.remove(client_id);
        }
    }

    pub(super) fn forget_resource(&self, resource: &str) {
        for held in lock(&self.held).both() {
            for blocks in held.values_mut() {
                blocks.retain(|key, _| key.resource != resource);
            }
        }
    }

    /// What was leased in a list for tokens that name people may be revoked by now.
    pub(super) fn forget_people(&self, list_id: &str) {
        for blocks in lock(&self.held).of_people.values_mut() {
            blocks.retain(|_, block| *block.list_id != *list_id);
        }
    }

    pub(super) fn forget_all(&self) {
        *lock(&self.held) = Held::default();
    }
}

/// By when the tokens expire that are issued with this one: windows are as long as tokens live, so that two or three
/// lists are alive at a time.
fn window_end(resource: &Resource, now: UnixSeconds) -> UnixSeconds {
    let lives = i64::try_from(resource.access_ttl.as_secs()).unwrap_or(WINDOWS.1);
    let width = lives.clamp(WINDOWS.0, WINDOWS.1);
    let end = (now + resource.access_ttl).0;
    UnixSeconds(end.div_euclid(width).saturating_add(1).saturating_mul(width))
}

/// The places of a block in random order (Fisher and Yates).
fn shuffled(first: i64, length: i64) -> Result<Vec<u32>, NoRandomness> {
    let first = u32::try_from(first).unwrap_or_default();
    let length = u32::try_from(length).unwrap_or_default();
    let mut places: Vec<u32> = (first..first + length).collect();
    let mut random: Vec<u8> = Vec::new();
    for at in (1..places.len()).rev() {
        if random.len() < 4 {
            random = random_bytes::<1024>()?.to_vec();
        }
        let drawn = random.split_off(random.len() - 4);
        let drawn = drawn
            .iter()
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        places.swap(at, drawn % (at + 1));
    }
    Ok(places)
}

fn turn_of(client_id: &str, key: &Key) -> usize {
    let mut hasher = DefaultHasher::new();
    (client_id, key).hash(&mut hasher);
    (hasher.finish() % TURNS as u64) as usize
}

/// Revoked, disabled or forgotten since the request was looked at.
fn ended() -> OAuthError {
    let sentence = "the client, the person or the resource has just ended";
    OAuthError::new(ErrorCode::InvalidGrant, sentence)
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    // Nothing under this lock panics half-way through a change.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
