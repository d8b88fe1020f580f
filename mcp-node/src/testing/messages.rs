//! The messages of an answer that streams, as they come.

use std::pin::Pin;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header;
use serde_json::Value;

/// An open stream.
pub(crate) struct Messages {
    body: Pin<Box<BoxBody>>,
    text: String,
    /// The id of the latest event that had one.
    pub(crate) last_id: String,
}

impl Messages {
    pub(crate) fn of(answer: ServiceResponse) -> Self {
        assert_eq!(answer.status(), 200);
        let kind = answer.headers().get(header::CONTENT_TYPE).unwrap();
        assert_eq!(kind, "text/event-stream");
        Self {
            body: Box::pin(answer.into_body()),
            text: String::new(),
            last_id: String::new(),
        }
    }

    /// The next message; none at the end. Events without one are passed over.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let (_, data) = self.event().await?;
            if !data.is_empty() {
                return Some(serde_json::from_str(&data).unwrap());
            }
        }
    }

    /// The name and the data of the next event; comments are passed over.
    pub(crate) async fn event(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let part = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim_start().to_owned())
                };
                let found = part("data:").map(|data| (part("event:").unwrap_or_default(), data));
                let id = part("id:");
                self.text = rest.to_owned();
                if let Some(id) = id {
                    self.last_id = id;
                }
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let bytes = std::future::poll_fn(|cx| self.body.as_mut().poll_next(cx))
                .await?
                .unwrap();
            self.text += std::str::from_utf8(&bytes).unwrap();
        }
    }
}
