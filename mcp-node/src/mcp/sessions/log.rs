//! What a session sends, in order, until its client has certainly got it or there is too much of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rmcp::model::RequestId;

use crate::gate::Needs;

/// The stream that belongs to no request.
pub(in crate::mcp) const STANDALONE: u64 = 0;
/// So many messages are kept, however short they are.
const MAX_EVENTS: usize = 256;
/// So many streams are told of answers that are lost, and each of so many. Of older ones nobody will ask any more.
const MAX_LOST: usize = 64;

/// One message.
pub(super) struct Event {
    pub(super) number: u64,
    pub(super) stream: u64,
    pub(super) json: String,
    /// The request that it answers.
    pub(super) answers: Option<RequestId>,
    /// What whoever reads it must be able to do.
    pub(super) needs: Arc<Needs>,
}

/// One stream of messages.
#[derive(Default)]
pub(super) struct Channel {
    /// Requests of this stream that have no answer yet.
    pub(super) pending: Vec<RequestId>,
    /// Who reads it now: a later reader takes over.
    pub(super) reader: u64,
    /// The number of the latest message that a reader got.
    pub(super) read: u64,
    /// Answers that nobody read before they had to go.
    pub(super) lost_answers: Vec<RequestId>,
    /// Whether anything that nobody read had to go.
    pub(super) lost: bool,
}

/// All streams of one session.
pub(super) struct Log {
    limit: usize,
    events: VecDeque<Event>,
    bytes: usize,
    latest: u64,
    streams: HashMap<u64, Channel>,
    next_stream: u64,
    /// Streams that lost answers, the oldest first; some may have been told since.
    lost: VecDeque<u64>,
}

impl Log {
    /// Keeps at most about `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            events: VecDeque::new(),
            bytes: 0,
            latest: 0,
            streams: HashMap::from([(STANDALONE, Channel::default())]),
            next_stream: STANDALONE + 1,
            lost: VecDeque::new(),
        }
    }

    /// A new stream, for the answers to requests.
    pub(super) fn open(&mut self) -> u64 {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.streams.insert(stream, Channel::default());
        stream
    }

    pub(super) fn stream(&mut self, stream: u64) -> Option<&mut Channel> {
        self.streams.get_mut(&stream)
    }

    /// The number of the latest message.
    pub(super) fn latest(&self) -> u64 {
        self.latest
    }

    /// Appends a message; older ones go if there are too many.
    pub(super) fn push(&mut self, stream: u64, json: String, answers: Option<RequestId>, needs: &Arc<Needs>) {
        self.latest += 1;
        self.bytes += json.len();
        if let (Some(id), Some(channel)) = (&answers, self.streams.get_mut(&stream)) {
            channel.pending.retain(|pending| pending != id);
        }
        self.events.push_back(Event {
            number: self.latest,
            stream,
            json,
            answers,
            needs: Arc::clone(needs),
        });
        while self.events.len() > MAX_EVENTS || (self.bytes > self.limit && self.events.len() > 1) {
            let Some(gone) = self.events.pop_front() else {
                break;
            };
            self.bytes -= gone.json.len();
            self.forget(gone);
        }
    }

    /// Whether this message waits on the standalone stream already.
    pub(super) fn is_unread(&self, json: &str) -> bool {
        let read = self.streams.get(&STANDALONE).map_or(0, |channel| channel.read);
        let mut unread = self.events.iter().filter(|event| event.number > read);
        unread.any(|event| event.stream == STANDALONE && event.json == json)
    }

    /// The request will not be answered.
    pub(super) fn abandon(&mut self, stream: u64, request: &RequestId) {
        if let Some(channel) = self.streams.get_mut(&stream) {
            channel.pending.retain(|pending| pending != request);
        }
        self.drop_if_over(stream);
    }

    /// The first message of `stream` after `number`.
    pub(super) fn after(&self, stream: u64, number: u64) -> Option<&Event> {
        let later = |event: &&Event| event.stream == stream && event.number > number;
        self.events.iter().find(later)
    }

    fn forget(&mut self, gone: Event) {
        if let Some(channel) = self.streams.get_mut(&gone.stream)
            && gone.number > channel.read
        {
            channel.lost = true;
            if let Some(answered) = gone.answers {
                if channel.lost_answers.is_empty() {
                    self.lost.push_back(gone.stream);
                }
                channel.lost_answers.truncate(MAX_LOST - 1);
                channel.lost_answers.push(answered);
            }
        }
        self.drop_if_over(gone.stream);
        if self.lost.len() > MAX_LOST
            && let Some(oldest) = self.lost.pop_front()
        {
            if let Some(channel) = self.streams.get_mut(&oldest) {
                channel.lost_answers.clear();
            }
            self.drop_if_over(oldest);
        }
    }

    /// Forgets a stream of which nothing is left to say or to repeat.
    pub(super) fn drop_if_over(&mut self, stream: u64) {
        let is_over = self
            .streams
            .get(&stream)
            .is_some_and(|channel| channel.pending.is_empty() && channel.lost_answers.is_empty());
        if stream != STANDALONE && is_over && self.after(stream, 0).is_none() {
            self.streams.remove(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> Arc<Needs> {
        Arc::default()
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_was_lost_is_known() {
        let mut log = Log::new(10);
        let stream = log.open();
        let id = RequestId::Number(1);
        log.stream(stream).unwrap().pending.push(id.clone());
        log.push(stream, "12345".to_owned(), None, &free());
        log.push(stream, "12345".to_owned(), Some(id.clone()), &free());
        assert!(log.stream(stream).unwrap().pending.is_empty());
        assert_eq!(log.after(stream, 0).map(|event| event.number), Some(1));
        // A message that is larger than everything is kept while it is the latest.
        log.push(STANDALONE, "x".repeat(99), None, &free());
        assert!(log.after(stream, 0).is_none());
        let channel = log.stream(stream).unwrap();
        assert!(channel.lost && channel.lost_answers == [id]);
        assert_eq!(log.after(STANDALONE, 0).unwrap().json.len(), 99);
        for _ in 0..=MAX_EVENTS {
            log.push(STANDALONE, String::new(), None, &free());
        }
        assert_eq!(log.events.len(), MAX_EVENTS);
        assert_eq!(log.bytes, 0);
    }

    #[test]
    fn lost_answers_are_bounded() {
        let mut log = Log::new(4);
        for n in 0..1000 {
            let stream = log.open();
            let id = RequestId::Number(n);
            log.stream(stream).unwrap().pending.push(id.clone());
            log.push(stream, "1234".to_owned(), Some(id), &free());
        }
        assert!(log.streams.len() <= MAX_LOST + 2 && log.lost.len() <= MAX_LOST);
        let told = |log: &Log| log.streams.values().filter(|channel| channel.lost).count();
        assert_eq!(told(&log), MAX_LOST);
        // Where all answers go to one stream, it does not keep more of them either.
        for n in 0..1000 {
            log.push(STANDALONE, "1234".to_owned(), Some(RequestId::Number(n)), &free());
        }
        assert_eq!(log.stream(STANDALONE).unwrap().lost_answers.len(), MAX_LOST);
    }

    #[test]
    fn a_stream_that_is_over_and_read_is_forgotten() {
        let mut log = Log::new(4);
        let (one, other) = (log.open(), log.open());
        for stream in [one, other] {
            log.stream(stream).unwrap().pending.push(RequestId::Number(1));
        }
        log.abandon(one, &RequestId::Number(1));
        assert!(log.stream(one).is_none());
        log.push(other, "1234".to_owned(), Some(RequestId::Number(1)), &free());
        log.stream(other).unwrap().read = log.latest();
        log.push(STANDALONE, "1234".to_owned(), None, &free());
        assert!(log.stream(other).is_none());
    }
}
