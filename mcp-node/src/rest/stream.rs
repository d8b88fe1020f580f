//! `GET …/stream`: Server-Sent Events of the node. The stream ends with the caller's token, or with the program.

use std::sync::Arc;
use std::time::Duration;

use ::web::answer;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::addressed_elsewhere;
use crate::app::Node;
use crate::error::Refusal;
use crate::scopes::LISTEN;

/// How often something is sent: half of what proxies and browsers take for a dead connection.
const BEAT: Duration = Duration::from_secs(15);
/// Every so many beats the state is told again, even if nothing changed; the beats between are comments.
const BEATS_PER_STATUS: u64 = 4;
/// So many streams are open at once; further ones are told to come back.
pub(crate) const MAX_STREAMS: usize = 256;

/// The endpoint.
pub(super) async fn open(request: HttpRequest, node: web::Data<Node>) -> HttpResponse {
    if let Some(elsewhere) = addressed_elsewhere(&request, &node) {
        return elsewhere;
    }
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.listen),
    };
    if let Err(needed) = node.scopes.check(caller.claims().scope(), LISTEN, None) {
        return node.refuse(&Refusal::Scope(needed), &node.hints.listen);
    }
    let Ok(permit) = Arc::clone(&node.streams).try_acquire_owned() else {
        return answer::unavailable("too many streams are open", BEAT.as_secs());
    };
    let end = node.end_of_stream(&caller, true);
    let events = events(node.into_inner(), permit).take_until(Box::pin(end));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events.map(Ok::<_, std::convert::Infallible>))
}

struct Teller {
    node: Arc<Node>,
    _permit: OwnedSemaphorePermit,
    beat: Interval,
    beats: u64,
}

fn events(node: Arc<Node>, permit: OwnedSemaphorePermit) -> impl Stream<Item = Bytes> {
    let mut beat = interval(BEAT);
    // A caller that reads slowly gets fewer events, not all of them at once.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let teller = Teller {
        node,
        _permit: permit,
        beat,
        beats: 0,
    };
    stream::unfold(teller, |mut teller| async move {
        teller.beat.tick().await;
        let event = if teller.beats.is_multiple_of(BEATS_PER_STATUS) {
            teller.status()
        } else {
            ": still here\n\n".into()
        };
        teller.beats += 1;
        Some((Bytes::from(event), teller))
    })
}

impl Teller {
    fn status(&self) -> String {
        match serde_json::to_string(&self.node.status()) {
            Ok(status) => format!("event: status\ndata: {status}\n\n"),
            Err(_) => ": the status cannot be written\n\n".to_owned(),
        }
    }
}
