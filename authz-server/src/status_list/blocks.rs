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
/// What an instance keeps of one kind: each block weighs its places, four bytes each, and [`BARE`] for the rest of it. So
/// there are at most some 60 000 blocks, and 30 MB of both kinds.
const MOST: usize = 4_000_000;
const BARE: usize = 64;
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

/// Blocks, and what they weigh together.
#[derive(Default)]
struct Shelf {
    blocks: OfClients,
    weight: usize,
}

#[derive(Default)]
struct Held {
    plain: Shelf,
    /// Whose tokens name people.
    of_people: Shelf,
}

impl Held {
    fn of(&mut self, key: &Key) -> &mut Shelf {
        match key.user_id {
            Some(_) => &mut self.of_people,
            None => &mut self.plain,
        }
    }

    fn both(&mut self) -> [&mut Shelf; 2] {
        [&mut self.plain, &mut self.of_people]
    }
}

impl Block {
    /// As it was leased: what is handed out leaves its room behind.
    fn weight(&self) -> usize {
        BARE + usize::try_from(self.length).unwrap_or_default()
    }
}

impl Shelf {
    fn get(&mut self, client_id: &str, key: &Key) -> Option<&mut Block> {
        self.blocks.get_mut(client_id)?.get_mut(key)
    }

    /// Keeps a block. When there is no room, what is left of those whose window is over is given up, then all of them.
    fn keep(&mut self, client_id: &str, key: Key, block: Block, now: UnixSeconds) {
        if self.weight + block.weight() > MOST {
            self.retain(|_, _, block| block.window_end > now);
        }
        if self.weight + block.weight() > MOST {
            *self = Self::default();
        }
        self.weight += block.weight();
        let blocks = self.blocks.entry(client_id.to_owned()).or_default();
        if let Some(former) = blocks.insert(key, block) {
            self.weight -= former.weight();
        }
    }

    fn retain(&mut self, stays: impl Fn(&str, &Key, &Block) -> bool) {
        let mut weight = 0;
        self.blocks.retain(|client_id, blocks| {
            blocks.retain(|key, block| stays(client_id, key, block));
            weight += blocks.values().map(Block::weight).sum::<usize>();
            !blocks.is_empty()
        });
        self.weight = weight;
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
                is_built_in: resource.is_built_in,
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
            lock(&self.held).of(&key).keep(client_id, key.clone(), block, now);
        }
    }

    fn take(&self, client_id: &str, key: &Key, window_end: UnixSeconds) -> Option<Place> {
        let mut held = lock(&self.held);
        let block = held.of(key).get(client_id, key)?;
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
        match lock(&self.held).of(key).get(client_id, key) {
            Some(before) if before.window_end == window_end => (before.length * 4).min(LARGEST),
            // As busy as in the window before, more or less.
            Some(before) => (before.length / 4).max(FIRST.0),
            None if client_id.is_empty() => FIRST.1,
            None => FIRST.0,
        }
    }

    /// What was leased for a client may be revoked by now.
    pub(super) fn forget_client(&self, client_id: &str) {
        for shelf in lock(&self.held).both() {
            if let Some(blocks) = shelf.blocks.remove(client_id) {
                shelf.weight -= blocks.values().map(Block::weight).sum::<usize>();
            }
        }
    }

    pub(super) fn forget_resource(&self, resource: &str) {
        for shelf in lock(&self.held).both() {
            shelf.retain(|_, key, _| key.resource != resource);
        }
    }

    /// What was leased in a list for tokens that name people may be revoked by now.
    pub(super) fn forget_people(&self, list_id: &str) {
        let mut held = lock(&self.held);
        held.of_people.retain(|_, _, block| *block.list_id != *list_id);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn block(length: i64, window_end: i64) -> Block {
        Block {
            list_id: "l".into(),
            window_end: UnixSeconds(window_end),
            places: Vec::new(),
            length,
        }
    }

    fn key(n: usize) -> Key {
        Key {
            resource: format!("https://rs/{n}"),
            user_id: None,
        }
    }

    fn count(shelf: &Shelf) -> (usize, usize) {
        let blocks = shelf.blocks.values().flat_map(HashMap::values);
        (blocks.clone().count(), blocks.map(Block::weight).sum())
    }

    #[test]
    fn what_is_kept_is_bounded_however_it_is_spread() {
        for clients in [1, 100, 1_000_000] {
            let (mut shelf, mut given_up) = (Shelf::default(), false);
            for n in 0..100_000 {
                let before = shelf.weight;
                let client_id = format!("c_{}", n % clients);
                shelf.keep(&client_id, key(n), block(16, 10), UnixSeconds(5));
                assert!(shelf.weight <= MOST);
                given_up |= shelf.weight < before;
            }
            assert!(given_up);
            assert_eq!(count(&shelf).1, shelf.weight, "{clients}");
        }
    }

    #[test]
    fn windows_that_are_over_make_room_first() {
        let mut shelf = Shelf::default();
        let size = LARGEST + BARE as i64;
        let fit = MOST / usize::try_from(size).unwrap();
        for n in 0..fit {
            let window_end = if n % 2 == 0 { 1 } else { 10 };
            shelf.keep("c", key(n), block(LARGEST, window_end), UnixSeconds(0));
        }
        assert_eq!(count(&shelf).0, fit);
        shelf.keep("c", key(fit), block(LARGEST, 10), UnixSeconds(5));
        assert_eq!(count(&shelf).0, fit / 2 + 1);
        // The same block again weighs nothing more, and what is forgotten weighs nothing.
        let weight = shelf.weight;
        shelf.keep("c", key(fit), block(LARGEST, 10), UnixSeconds(5));
        assert_eq!((count(&shelf).1, shelf.weight), (weight, weight));
        shelf.retain(|_, key, _| key.resource != "https://rs/1");
        assert_eq!(count(&shelf).1, shelf.weight);
        assert!(shelf.weight < weight);
    }
}
