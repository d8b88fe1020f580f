//! `GET …/stream`: Server-Sent Events of the node. The stream ends with the caller's token, or with the program.

use std::sync::Arc;
use std::time::Duration;

use ::web::answer;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use shared::clock::now;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::addressed_elsewhere;
use super::seats::{Full, Seat};
use crate::app::Node;
use crate::auth::Caller;
use crate::scopes::LISTEN;

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
    if let Err(needed) = node.scopes.check(caller.claims().scope(), LISTEN, None) {
        return node.refuse(&caller.lacks(needed), &node.hints.listen);
    }
    let owner = (caller.issuer_index(), caller.claims().subject().to_owned());
    let seat = match node.streams.take(owner) {
        Ok(seat) => seat,
        Err(Full::Node) => return answer::unavailable("too many streams are open", BEAT.as_secs()),
        Err(Full::Subject) => return too_many_of_one(),
    };
    let end = node.end_of_stream(&caller, true);
    let events = events(node.into_inner(), caller, seat).take_until(Box::pin(end));
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events.map(Ok::<_, std::convert::Infallible>))
}

fn too_many_of_one() -> HttpResponse {
    let sentence = "this subject has too many streams open; close one first";
    let mut answer = answer::error(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", sentence);
    answer.headers_mut().insert(RETRY_AFTER, BEAT.as_secs().into());
    answer
}

struct Teller {
    node: Arc<Node>,
    caller: Arc<Caller>,
    _seat: Seat,
    beat: Interval,
    beats: u64,
}

fn events(node: Arc<Node>, caller: Arc<Caller>, seat: Seat) -> impl Stream<Item = Bytes> {
    let mut beat = interval(BEAT);
    // A caller that reads slowly gets fewer events, not all of them at once.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let teller = Teller {
        node,
        caller,
        _seat: seat,
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
