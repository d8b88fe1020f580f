//! `GET …/stream`: Server-Sent Events of the node. The stream ends with the caller's token, or with the program.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use shared::clock::now;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::addressed_elsewhere;
use crate::app::Node;
use crate::auth::Caller;
use crate::gate::{Operation, Permit};

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
    let permit = match node.gate.permit(&caller, &Operation::listen(), now()) {
        Ok(permit) => permit,
        Err(refusal) => return node.refuse(&refusal, &node.hints.listen),
    };
    let end = node.end_of_stream(&caller, true);
    let events = events(node.into_inner(), caller, permit).take_until(Box::pin(end));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events.map(Ok::<_, std::convert::Infallible>))
}

struct Teller {
    node: Arc<Node>,
    caller: Arc<Caller>,
    _permit: Permit,
    beat: Interval,
    beats: u64,
}

fn events(node: Arc<Node>, caller: Arc<Caller>, permit: Permit) -> impl Stream<Item = Bytes> {
    let mut beat = interval(BEAT);
    // A caller that reads slowly gets fewer events, not all of them at once.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let teller = Teller {
        node,
        caller,
        _permit: permit,
        beat,
        beats: 0,
    };
    stream::unfold(teller, |mut teller| async move {
        teller.beat.tick().await;
        // The key may be gone by now, and the timer does not see the wall clock jump or the machine sleep.
        if !teller.node.door.still_admits(&teller.caller, now()) {
            return None;
        }
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
