//! One reader of one stream of a session.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use serde_json::json;
use tokio::sync::watch;

use super::log::STANDALONE;
use super::session::Session;
use crate::mcp::news::Heard;
use crate::mcp::reply::Piece;

/// A reader; the messages stay in the session, so that another one can go on.
pub(in crate::mcp) struct Feed {
    session: Arc<Session>,
    stream: u64,
    after: u64,
    reader: u64,
    changed: watch::Receiver<()>,
    extra: VecDeque<Piece>,
    /// The session is this connection: it ends with it.
    ends_session: bool,
}

impl Feed {
    pub(super) fn new(session: Arc<Session>, stream: u64, after: u64, reader: u64) -> Self {
        Self {
            changed: session.changed.subscribe(),
            session,
            stream,
            after,
            reader,
            extra: VecDeque::new(),
            ends_session: false,
        }
    }

    /// The place after which it reads.
    pub(in crate::mcp) fn place(&self) -> String {
        format!("{}-{}", self.stream, self.after)
    }

    /// Ends the session when nobody reads any more.
    pub(in crate::mcp) fn ending_the_session(mut self) -> Self {
        self.ends_session = true;
        self
    }

    /// The messages, as they come.
    pub(in crate::mcp) fn pieces(self) -> impl Stream<Item = Piece> {
        stream::unfold(self, |mut feed| async move {
            let piece = feed.next().await?;
            Some((piece, feed))
        })
    }

    /// The next message; none when the stream has ended, another reader took over, or the session is over.
    async fn next(&mut self) -> Option<Piece> {
        loop {
            self.changed.borrow_and_update();
            if let Some(piece) = self.take()? {
                return Some(piece);
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                () = self.session.end.cancelled() => return None,
            }
        }
    }

    /// What is there to read now; the outer `None` at the end.
    fn take(&mut self) -> Option<Option<Piece>> {
        let mut state = self.session.state();
        let channel = state.log.stream(self.stream)?;
        if channel.reader != self.reader {
            return None;
        }
        if std::mem::take(&mut channel.lost) {
            for id in std::mem::take(&mut channel.lost_answers) {
                let error = json!({"code": -32603, "message": "the answer had to go because nobody read it"});
                self.extra.push_back(Piece {
                    id: None,
                    json: json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string(),
                    is_answer: true,
                });
            }
            if self.stream == STANDALONE {
                let missed = Heard::Missed { id: String::new() };
                let notices = self.session.notices(&state, &missed);
                self.extra.extend(notices.into_iter().map(|notice| Piece {
                    id: None,
                    json: notice.to_string(),
                    is_answer: false,
                }));
            }
        }
        if let Some(piece) = self.extra.pop_front() {
            return Some(Some(piece));
        }
        if let Some(event) = state.log.after(self.stream, self.after) {
            let piece = Piece {
                id: Some(format!("{}-{}", self.stream, event.number)),
                json: event.json.clone(),
                is_answer: event.answers.is_some(),
            };
            self.after = event.number;
            let after = self.after;
            if let Some(channel) = state.log.stream(self.stream) {
                channel.read = channel.read.max(after);
            }
            return Some(Some(piece));
        }
        let is_over = state
            .log
            .stream(self.stream)
            .is_none_or(|channel| channel.pending.is_empty());
        match is_over && self.stream != STANDALONE {
            true => None,
            false => Some(None),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut state = self.session.state();
        state.readers -= 1;
        state.log.drop_if_over(self.stream);
        drop(state);
        self.session.touch(tokio::time::Instant::now());
        if self.ends_session {
            self.session.close();
        }
    }
}
