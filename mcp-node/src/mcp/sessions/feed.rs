//! One reader of one stream of a session.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use rmcp::model::RequestId;
use serde_json::json;
use tokio::sync::watch;

use super::log::STANDALONE;
use super::session::Session;
use crate::gate::Needs;
use crate::mcp::news::Heard;
use crate::mcp::reply::Piece;

/// Whether a reader may hear what took this. Another token of the same caller may be able to do less.
pub(in crate::mcp) type MayHear = Box<dyn Fn(&Needs) -> bool>;

/// A reader; the messages stay in the session, so that another one can go on.
pub(in crate::mcp) struct Feed {
    session: Arc<Session>,
    stream: u64,
    after: u64,
    reader: u64,
    changed: watch::Receiver<()>,
    extra: VecDeque<Piece>,
    may_hear: MayHear,
    /// The session is this connection: it ends with it.
    ends_session: bool,
}

impl Feed {
    pub(super) fn new(
        session: Arc<Session>,
        (stream, after): (u64, u64),
        reader: u64,
        may_hear: MayHear,
    ) -> Self {
        Self {
            changed: session.changed.subscribe(),
            session,
            stream,
            after,
            reader,
            extra: VecDeque::new(),
            may_hear,
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
                self.extra
                    .push_back(instead(&id, "the answer had to go because nobody read it"));
            }
            if self.stream == STANDALONE {
                let missed = Heard::Missed { id: String::new() };
                let notices = self.session.notices(&state, &missed).into_iter();
                let heard = notices.filter(|(_, needs)| (self.may_hear)(needs));
                self.extra.extend(heard.map(|(notice, _)| Piece {
                    id: None,
                    json: notice.to_string(),
                    is_answer: false,
                }));
            }
        }
        if let Some(piece) = self.extra.pop_front() {
            return Some(Some(piece));
        }
        while let Some(event) = state.log.after(self.stream, self.after) {
            let id = format!("{}-{}", self.stream, event.number);
            let piece = match (&event.answers, (self.may_hear)(&event.needs)) {
                (answers, true) => Some(Piece {
                    id: Some(id),
                    json: event.json.clone(),
                    is_answer: answers.is_some(),
                }),
                // Somebody waits for it.
                (Some(request), false) => Some(Piece {
                    id: Some(id),
                    ..instead(
                        request,
                        "the token by which this stream was opened may not hear the answer",
                    )
                }),
                (None, false) => None,
            };
            self.after = event.number;
            let after = self.after;
            if let Some(channel) = state.log.stream(self.stream) {
                channel.read = channel.read.max(after);
            }
            if piece.is_some() {
                return Some(piece);
            }
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

/// An error in the place of an answer.
fn instead(request: &RequestId, sentence: &str) -> Piece {
    let error = json!({"code": -32603, "message": sentence});
    Piece {
        id: None,
        json: json!({"jsonrpc": "2.0", "id": request, "error": error}).to_string(),
        is_answer: true,
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
