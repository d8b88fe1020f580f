//! The form of an answer: JSON when one message is all of it, else Server-Sent Events; and what the client accepts.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use actix_web::web::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use rmcp::model::ServerJsonRpcMessage;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How often a stream without news says that it is there.
const BEAT: Duration = Duration::from_secs(15);
/// So many bytes of answers are collected for one array. Where the client reads events, more become a stream; where it does
/// not, those that are too many become errors.
const MAX_WHOLE: usize = 16 * 1024 * 1024;
/// When a client whose stream broke comes back.
const RETRY: Duration = Duration::from_secs(3);

/// Which forms of an answer a client reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepts {
    /// As MCP asks of clients.
    Both,
    /// Messages before the answer are left out.
    Json,
    /// A single message comes as an event too.
    Events,
}

impl Accepts {
    /// What `Accept` allows; without the header everything (RFC 9110 §12.5.1). `None` when it allows neither.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut json = false;
        let mut events = false;
        let mut written = false;
        for value in headers.get_all(ACCEPT) {
            written = true;
            for range in value.to_str().unwrap_or_default().split(',') {
                let mut parts = range.split(';').map(str::trim);
                let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
                // A weight of nothing is a refusal: q=0, q=0.0 …
                let refused = parts.any(|part| {
                    let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
                    weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
                });
                if refused {
                    continue;
                }
                json |= matches!(essence.as_str(), "*/*" | "application/*" | "application/json");
                events |= matches!(essence.as_str(), "*/*" | "text/*" | "text/event-stream");
            }
        }
        match (json, events) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Json),
            (false, true) => Some(Self::Events),
            (false, false) if !written => Some(Self::Both),
            (false, false) => None,
        }
    }
}

/// One message on its way to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// Its id, where a stream can be resumed.
    pub(super) id: Option<String>,
    /// The message.
    pub(super) json: String,
    /// Whether it is the answer to a request, rather than something before it.
    pub(super) is_answer: bool,
}

impl Piece {
    /// A message that cannot be sent again.
    pub(super) fn of(message: &ServerJsonRpcMessage) -> Self {
        Self {
            id: None,
            json: written(message),
            is_answer: is_answer(message),
        }
    }

    fn event(&self) -> String {
        let id = self
            .id
            .as_ref()
            .map(|id| format!("id: {id}\n"))
            .unwrap_or_default();
        format!("{id}event: message\ndata: {}\n\n", self.json)
    }
}

/// Whether `message` answers a request.
pub(super) fn is_answer(message: &ServerJsonRpcMessage) -> bool {
    matches!(
        message,
        ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_)
    )
}

/// The text of a message.
pub(super) fn written(message: &ServerJsonRpcMessage) -> String {
    serde_json::to_string(message).unwrap_or_else(|fault| {
        tracing::error!(%fault, "a message cannot be written");
        r#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"the answer cannot be written"}}"#.to_owned()
    })
}

/// How an answer is to be given.
pub(super) struct Plan {
    pub(super) accepts: Accepts,
    /// So many requests are answered.
    pub(super) answers: usize,
    /// Whether the answers are one array, even if there is only one of them.
    pub(super) is_batch: bool,
    /// The place from which the stream can be resumed: it is told before anything else, and there is a stream even if
    /// one message is all of the answer.
    pub(super) resumable_from: Option<String>,
}

/// The answer whose messages are `pieces`; a stream ends at `cut` at the latest.
pub(super) async fn give(
    pieces: impl Stream<Item = Piece> + 'static,
    plan: Plan,
    cut: impl Future<Output = ()> + 'static,
) -> HttpResponse {
    let mut pieces: Pin<Box<dyn Stream<Item = Piece>>> = Box::pin(pieces);
    let mut held = VecDeque::new();
    let streams = plan.resumable_from.is_some() && plan.accepts != Accepts::Json;
    let (mut answers, mut bytes) = (0, 0);
    while !streams && answers < plan.answers {
        match pieces.next().await {
            Some(piece) if piece.is_answer => {
                answers += 1;
                bytes += piece.json.len();
                let is_too_much = bytes > MAX_WHOLE && answers > 1;
                match plan.accepts {
                    Accepts::Json if is_too_much => {
                        bytes -= piece.json.len();
                        held.push_back(too_much(&piece));
                    }
                    _ => held.push_back(piece),
                }
                if is_too_much && plan.accepts != Accepts::Json {
                    break;
                }
            }
            // Who reads no events has no use for what comes before the answer.
            Some(_) if plan.accepts == Accepts::Json => {}
            Some(piece) => {
                held.push_back(piece);
                break;
            }
            // The request was cancelled, and nobody waits.
            None => return HttpResponse::NoContent().finish(),
        }
    }
    let fits = plan.accepts == Accepts::Json || bytes <= MAX_WHOLE || answers == 1;
    if answers == plan.answers && plan.accepts != Accepts::Events && !streams && fits {
        return whole(&held, plan.is_batch);
    }
    let pieces = stream::iter(held).chain(pieces);
    let first = plan.resumable_from.as_deref().map(primed);
    events(pieces, Some(plan.answers), first, cut)
}

/// In the place of an answer for which there is no room beside the others.
fn too_much(answer: &Piece) -> Piece {
    #[derive(Deserialize)]
    struct Answered {
        #[serde(default)]
        id: Value,
    }
    let id = serde_json::from_str(&answer.json).map_or(Value::Null, |answered: Answered| answered.id);
    let sentence =
        "the answers of this batch are too large for one array; ask one by one, or accept text/event-stream";
    let error = json!({"code": -32603, "message": sentence});
    Piece {
        id: None,
        json: json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string(),
        is_answer: true,
    }
}

fn whole(pieces: &VecDeque<Piece>, is_batch: bool) -> HttpResponse {
    let texts: Vec<&str> = pieces.iter().map(|piece| piece.json.as_str()).collect();
    let body = match is_batch {
        true => format!("[{}]", texts.join(",")),
        false => texts.concat(),
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}

/// An event without content: only its id counts (MCP 2025-11-25, "Sending messages to the server").
pub(super) fn primed(place: &str) -> String {
    format!("id: {place}\nretry: {}\ndata: \n\n", RETRY.as_millis())
}

/// A stream that begins with the event `first`, and ends with the last of `answers`, if it is to end by itself.
pub(super) fn events(
    pieces: impl Stream<Item = Piece> + 'static,
    answers: Option<usize>,
    first: Option<String>,
    cut: impl Future<Output = ()> + 'static,
) -> HttpResponse {
    let mut beat = interval_at(Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let teller = Teller {
        pieces: Box::pin(pieces),
        left: answers,
        beat,
    };
    let rest = stream::unfold(teller, |mut teller| async move {
        let event = teller.next().await?;
        Some((event, teller))
    });
    let all = stream::iter(first)
        .chain(rest)
        .map(|event| Ok::<_, Infallible>(Bytes::from(event)))
        .take_until(Box::pin(cut));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(all)
}

struct Teller {
    pieces: Pin<Box<dyn Stream<Item = Piece>>>,
    left: Option<usize>,
    beat: Interval,
}

impl Teller {
    async fn next(&mut self) -> Option<String> {
        if self.left == Some(0) {
            return None;
        }
        tokio::select! {
            piece = self.pieces.next() => {
                let piece = piece?;
                if let Some(left) = &mut self.left
                    && piece.is_answer
                {
                    *left -= 1;
                }
                Some(piece.event())
            }
            _ = self.beat.tick() => Some(": still here\n\n".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn mcp_27_one_of_the_two_media_types_suffices() {
        let accepts = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
            }
            Accepts::of(&headers)
        };
        for (values, expected) in [
            (&["application/json, text/event-stream"][..], Some(Accepts::Both)),
            (&["*/*"], Some(Accepts::Both)),
            (&[], Some(Accepts::Both)),
            (
                &["application/json", "text/event-stream;q=0.5"],
                Some(Accepts::Both),
            ),
            (&["APPLICATION/JSON;charset=utf-8,Text/*"], Some(Accepts::Both)),
            (&["application/json"], Some(Accepts::Json)),
            (&["application/json, text/event-stream;q=0"], Some(Accepts::Json)),
            (&["text/event-stream"], Some(Accepts::Events)),
            (&["text/html"], None),
            (&[""], None),
            (&["application/json;q=0"], None),
        ] {
            assert_eq!(accepts(values), expected, "{values:?}");
        }
    }

    fn piece(json: &str, is_answer: bool) -> Piece {
        Piece {
            id: None,
            json: json.to_owned(),
            is_answer,
        }
    }

    async fn shown(pieces: &[Piece], accepts: Accepts, is_batch: bool) -> (String, String) {
        let plan = Plan {
            accepts,
            answers: pieces.iter().filter(|piece| piece.is_answer).count(),
            is_batch,
            resumable_from: None,
        };
        let answer = give(stream::iter(pieces.to_vec()), plan, std::future::pending()).await;
        let kind = answer
            .headers()
            .get(CONTENT_TYPE)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let body = to_bytes(answer.into_body()).await.unwrap();
        (kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[actix_web::test]
    async fn the_form_follows_what_there_is_to_say_and_what_the_client_reads() {
        let json = |text: &str| ("application/json".to_owned(), text.to_owned());
        let events = |texts: &[&str]| {
            let all: String = texts
                .iter()
                .map(|text| format!("event: message\ndata: {text}\n\n"))
                .collect();
            ("text/event-stream".to_owned(), all)
        };
        let one = [piece("1", true)];
        assert_eq!(shown(&one, Accepts::Both, false).await, json("1"));
        assert_eq!(shown(&one, Accepts::Json, false).await, json("1"));
        assert_eq!(shown(&one, Accepts::Events, false).await, events(&["1"]));
        let told = [piece("0", false), piece("1", true)];
        assert_eq!(shown(&told, Accepts::Both, false).await, events(&["0", "1"]));
        assert_eq!(shown(&told, Accepts::Json, false).await, json("1"));
        assert_eq!(shown(&one, Accepts::Both, true).await, json("[1]"));
        let two = [piece("1", true), piece("2", true)];
        assert_eq!(shown(&two, Accepts::Both, true).await, json("[1,2]"));
        // One that is large is given as it is; of several, what is too much for an array comes as it can be read.
        let large = |id: u32| format!("{{\"id\":{id},\"x\":\"{}\"}}", "x".repeat(MAX_WHOLE * 2 / 3));
        let (one, other) = (large(1), large(2));
        assert_eq!(
            shown(&[piece(&one, true)], Accepts::Json, true).await,
            json(&format!("[{one}]"))
        );
        let several = [piece(&one, true), piece(&other, true), piece("{\"id\":3}", true)];
        let (kind, body) = shown(&several, Accepts::Json, true).await;
        assert_eq!(kind, "application/json");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&body[0]["id"], &body[1]["id"], &body[2]["id"]),
            (&json!(1), &json!(2), &json!(3))
        );
        assert!(body[1]["error"]["code"] == -32603 && body[2]["error"].is_null());
        let told = shown(&several, Accepts::Both, true).await;
        assert_eq!(told, events(&[&one, &other, "{\"id\":3}"]));
        let late = [piece("1", true), piece("0", false), piece("2", true)];
        assert_eq!(shown(&late, Accepts::Both, true).await, events(&["1", "0", "2"]));
    }
}
