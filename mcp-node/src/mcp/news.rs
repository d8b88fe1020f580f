//! What has changed at this node, told to every stream that listens: `subscriptions/listen`, the streams of older
//! revisions, and `/mcp/stream`.
//!
//! The board keeps the latest changes and no more. A reader that is slower than that has missed some, is told so once,
//! and reads its lists again; nobody waits for it.

mod followed;
mod listen;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use shared::secret::{NoRandomness, random_bytes};
use tokio::sync::watch;

pub use self::followed::Followed;
pub use self::listen::Mark;

/// So many changes are kept for readers that are slow or come back.
const KEPT: usize = 256;

/// Something that has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// Which tools there are, or how they are described.
    ToolList,
    /// Which prompts there are.
    PromptList,
    /// Which resources there are.
    ResourceList,
    /// The content of the resource of this URI.
    Resource(Arc<str>),
    /// How the node is, apart from what its load does all the time.
    Node,
    /// What is known of another node.
    Peer {
        /// The id of that node.
        id: Arc<str>,
        /// What became of it.
        event: PeerEvent,
    },
}

/// What became of another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerEvent {
    /// It was found.
    Joined,
    /// What it says of itself has changed.
    Changed,
    /// It is gone.
    Left,
}

/// What a reader hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// A change.
    Change {
        /// Its id, for a reader that comes back.
        id: String,
        /// What it is.
        change: Change,
    },
    /// Changes that are no longer kept: whatever the reader knows may be old.
    Missed {
        /// The id of the latest change.
        id: String,
    },
}

/// Where changes are told and heard. A clone is the same board.
#[derive(Clone)]
pub struct News(Arc<Board>);

struct Board {
    /// Ids of another run of the program are not ours.
    run: String,
    kept: Mutex<Kept>,
    /// The number of the latest change.
    latest: watch::Sender<u64>,
    followed: watch::Sender<Followed>,
}

/// Changes in order; the first one has the number `first`.
struct Kept {
    first: u64,
    changes: VecDeque<Change>,
}

impl News {
    /// A board without news.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let run = random_bytes::<8>()?.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Ok(Self(Arc::new(Board {
            run,
            kept: Mutex::new(Kept {
                first: 1,
                changes: VecDeque::with_capacity(KEPT),
            }),
            latest: watch::Sender::new(0),
            followed: watch::Sender::new(Followed::default()),
        })))
    }

    /// Tells everybody. Never waits.
    pub fn tell(&self, change: Change) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.changes.len() == KEPT {
            kept.changes.pop_front();
            kept.first += 1;
        }
        kept.changes.push_back(change);
        let latest = kept.first + kept.changes.len() as u64 - 1;
        // Under the lock, so that no reader sees numbers go back.
        self.0.latest.send_replace(latest);
    }

    /// Reads what comes after this moment.
    pub(crate) fn read(&self) -> Reader {
        let latest = self.0.latest.subscribe();
        let next = *latest.borrow() + 1;
        Reader {
            board: Arc::clone(&self.0),
            latest,
            next,
            missed: false,
        }
    }

    /// Reads what comes after the change of this id; an id that says nothing here has missed everything.
    pub(crate) fn after(&self, id: &str) -> Reader {
        let mut reader = self.read();
        let number = id
            .split_once('-')
            .filter(|(run, _)| *run == self.0.run)
            .and_then(|(_, number)| number.parse::<u64>().ok())
            .filter(|number| *number < reader.next);
        match number {
            Some(number) => reader.next = number + 1,
            None => reader.missed = true,
        }
        reader
    }

    /// Says that `who` waits for changes of these resources, as long as the value lives.
    pub(crate) fn follow(&self, who: &str, uris: impl IntoIterator<Item = String>) -> Following {
        let (who, uris): (Arc<str>, Vec<String>) = (who.into(), uris.into_iter().collect());
        if !uris.is_empty() {
            self.0.followed.send_modify(|followed| followed.add(&who, &uris));
        }
        Following {
            board: Arc::clone(&self.0),
            who,
            uris,
        }
    }

    /// The resources that somebody waits for: what there is to watch elsewhere.
    pub fn followed(&self) -> watch::Receiver<Followed> {
        self.0.followed.subscribe()
    }
}

/// Somebody's interest in resources; it ends when dropped.
pub(crate) struct Following {
    board: Arc<Board>,
    who: Arc<str>,
    uris: Vec<String>,
}

impl Drop for Following {
    fn drop(&mut self) {
        if !self.uris.is_empty() {
            let followed = &self.board.followed;
            followed.send_modify(|followed| followed.remove(&self.who, &self.uris));
        }
    }
}

/// One reader's place.
#[derive(Clone)]
pub(crate) struct Reader {
    board: Arc<Board>,
    latest: watch::Receiver<u64>,
    next: u64,
    missed: bool,
}

impl Reader {
    /// The next change, once there is one. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            // Marked as seen before it is looked at: what is told in between is looked at again.
            self.latest.borrow_and_update();
            if let Some(heard) = self.take() {
                return heard;
            }
            if self.latest.changed().await.is_err() {
                // The board lives as long as this reader.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The id of the latest change that was heard.
    pub(crate) fn place(&self) -> String {
        self.id(self.next - 1)
    }

    fn take(&mut self) -> Option<Heard> {
        let kept = self.board.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let end = kept.first + kept.changes.len() as u64;
        if self.missed || self.next < kept.first {
            self.missed = false;
            self.next = end;
            return Some(Heard::Missed { id: self.id(end - 1) });
        }
        let index = usize::try_from(self.next - kept.first).ok()?;
        let change = kept.changes.get(index)?.clone();
        let id = self.id(self.next);
        self.next += 1;
        Some(Heard::Change { id, change })
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.board.run)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn heard(reader: &mut Reader) -> Option<Heard> {
        reader.next().now_or_never()
    }

    fn change(reader: &mut Reader) -> Change {
        match heard(reader) {
            Some(Heard::Change { change, .. }) => change,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_reader_hears_everything_in_order() {
        let news = News::new().unwrap();
        news.tell(Change::PromptList);
        let (mut one, mut other) = (news.read(), news.read());
        assert_eq!(heard(&mut one), None);
        news.tell(Change::ToolList);
        news.tell(Change::Resource("a".into()));
        for reader in [&mut one, &mut other] {
            assert_eq!(change(reader), Change::ToolList);
            assert_eq!(change(reader), Change::Resource("a".into()));
            assert_eq!(heard(reader), None);
        }
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let news = News::new().unwrap();
        let mut reader = news.read();
        let waiting = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        news.tell(Change::Node);
        assert!(matches!(
            waiting.await.unwrap(),
            Heard::Change {
                change: Change::Node,
                ..
            }
        ));
    }

    #[test]
    fn who_is_too_slow_is_told_once_and_goes_on() {
        let news = News::new().unwrap();
        let mut reader = news.read();
        for _ in 0..KEPT {
            news.tell(Change::ToolList);
        }
        let place = reader.place();
        // Exactly what is kept can still be read.
        assert_eq!(change(&mut news.after(&place)), Change::ToolList);
        news.tell(Change::ToolList);
        assert!(matches!(heard(&mut reader), Some(Heard::Missed { .. })));
        assert_eq!(heard(&mut reader), None);
        news.tell(Change::Node);
        assert_eq!(change(&mut reader), Change::Node);
        assert_eq!(news.0.kept.lock().unwrap().changes.len(), KEPT);
    }

    #[test]
    fn who_comes_back_goes_on_where_it_was() {
        let news = News::new().unwrap();
        let mut reader = news.read();
        news.tell(Change::ToolList);
        news.tell(Change::Node);
        let Some(Heard::Change { id, .. }) = heard(&mut reader) else {
            panic!("nothing heard")
        };
        assert_eq!(change(&mut news.after(&id)), Change::Node);
        let another = News::new().unwrap();
        for stranger in [another.read().place(), String::new(), format!("{}-9", news.0.run)] {
            let mut reader = news.after(&stranger);
            assert!(
                matches!(heard(&mut reader), Some(Heard::Missed { .. })),
                "{stranger}"
            );
            assert_eq!(heard(&mut reader), None);
        }
    }

    #[test]
    fn what_somebody_waits_for_is_known_until_nobody_does() {
        let news = News::new().unwrap();
        let followed = news.followed();
        let one = news.follow("x", ["a".to_owned(), "b".to_owned()]);
        let other = news.follow("y", ["a".to_owned()]);
        let counts = |uris: [&str; 2]| uris.map(|uri| followed.borrow().count(uri));
        assert_eq!(counts(["a", "b"]), [2, 1]);
        drop(one);
        assert_eq!(counts(["a", "b"]), [1, 0]);
        drop(other);
        assert!(followed.borrow().is_empty());
    }
}
