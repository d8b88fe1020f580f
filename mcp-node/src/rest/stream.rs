//! `GET …/stream`: Server-Sent Events of the node: how it is, and what changes. The stream ends with the caller's token,
//! or with the program.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use shared::clock::now;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::addressed_elsewhere;
use crate::app::Node;
use crate::auth::Caller;
use crate::gate::{Operation, Permit};
use crate::mcp::news::{Change, Heard, Reader};

/// How often something is sent: half of what proxies and browsers take for a dead connection.
const BEAT: Duration = Duration::from_secs(15);
/// Every so many beats the state is told again, even if nothing changed; the beats between are comments.
const BEATS_PER_STATUS: u64 = 4;

/// The endpoint.
pub(super) async fn open(request: HttpRequest, node: web::Data<Node>) -> HttpResponse {
    if let Some(elsewhere) = addressed_elsewhere(&request, &node) {
        return elsewhere;
    }
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.listen),
    };
    let mut permit = match node.gate.permit(&caller, &Operation::listen(), now()) {
        Ok(permit) => permit,
        Err(refusal) => return node.refuse(&refusal, &node.hints.listen),
    };
    permit.is_endless();
    let news = match last_event(request.headers()) {
        Some(id) => node.lasting.news.after(id),
        None => node.lasting.news.read(),
    };
    let node = node.into_inner();
    let end = Arc::clone(&node).end_of_stream(Arc::clone(&caller), true);
    let events = events(node, caller, news, permit).take_until(Box::pin(end));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events.map(Ok::<_, std::convert::Infallible>))
}

/// The last event that a client has seen before it came back; an empty one says nothing (WHATWG HTML §9.2.4).
fn last_event(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    Some(id).filter(|id| !id.is_empty())
}

struct Teller {
    node: Arc<Node>,
    caller: Arc<Caller>,
    news: Reader,
    _permit: Permit,
    beat: Interval,
    beats: u64,
}

fn events(node: Arc<Node>, caller: Arc<Caller>, news: Reader, permit: Permit) -> impl Stream<Item = Bytes> {
    let mut beat = interval_at(Instant::now() + BEAT, BEAT);
    // A caller that reads slowly gets fewer events, not all of them at once.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let teller = Teller {
        node,
        caller,
        news,
        _permit: permit,
        beat,
        beats: 0,
    };
    stream::unfold(teller, |mut teller| async move {
        let event = teller.next().await;
        Some((Bytes::from(event), teller))
    })
}

impl Teller {
    async fn next(&mut self) -> String {
        while self.beats > 0 {
            tokio::select! {
                _ = self.beat.tick() => break,
                heard = self.news.next() => {
                    if self.may_hear(&heard) {
                        return self.event(&heard);
                    }
                }
            }
        }
        let tells = self.beats.is_multiple_of(BEATS_PER_STATUS);
        self.beats += 1;
        match tells {
            true => self.status(&self.news.place()),
            false => ": still here\n\n".to_owned(),
        }
    }

    /// Nobody hears of a resource that it could not read.
    fn may_hear(&self, heard: &Heard) -> bool {
        match heard {
            Heard::Change {
                change: Change::Resource(uri),
                ..
            } => self.node.gate.may_see_resource(&self.caller, uri),
            _ => true,
        }
    }

    fn event(&self, heard: &Heard) -> String {
        let (id, name, data) = match heard {
            Heard::Change { id, change } => match change {
                Change::Node => return self.status(id),
                Change::ToolList => (id, "tools", json!({})),
                Change::PromptList => (id, "prompts", json!({})),
                Change::ResourceList => (id, "resources", json!({})),
                Change::Resource(uri) => (id, "resource", json!({ "uri": **uri })),
                Change::Peer { id: peer, event } => (id, "peer", json!({ "id": **peer, "event": event })),
            },
            // Whoever reads this knows nothing for certain any more.
            Heard::Missed { id } => (id, "missed", json!({})),
        };
        written(id, name, &data)
    }

    fn status(&self, id: &str) -> String {
        match serde_json::to_value(self.node.status()) {
            Ok(status) => written(id, "status", &status),
            Err(_) => ": the status cannot be written\n\n".to_owned(),
        }
    }
}

fn written(id: &str, name: &str, data: &Value) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}
