//! A request in the middle of which the upstream asks the caller something. Each side speaks its own revision: up to
//! 2025-11-25 a question comes while the request waits; since 2026-07-28 it is a result, and the request comes again.
//!
//! | caller | upstream asks while it waits | upstream asks by a result |
//! | --- | --- | --- |
//! | with a session | asked while the request waits | asked; the node makes the request again |
//! | 2026-07-28 | gets a result; the upstream's request is kept until it comes back | gets the result, the upstream's state sealed in ours |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{ClientResult, InputRequest, InputRequiredResult, JsonObject, ServerRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::secret::random_bytes;
use tokio::time::{Instant, sleep_until};

use super::exchange::{Exchange, Next, Reply};
use super::listener::nobody;
use super::seats::Holder;
use super::{Upstream, UpstreamFault};
use crate::mcp::ask::{Ask, Asked, Question};
use crate::mcp::offer::Requester;

/// How long a request is kept whose caller has gone to find an answer: meanwhile no other call can be asked by a server
/// that does not say which call a question is about.
const KEPT_FOR: Duration = Duration::from_secs(3 * 60);
/// How many are kept at a time for one upstream.
const MOST: usize = 32;
/// And for one caller of it.
const MOST_OF_ONE: usize = 2;
/// How often an upstream may ask within one request.
const ROUNDS: usize = 10;
/// The key of a question that has none of its own.
const KEY: &str = "question";

/// How a request goes on.
pub(super) enum Answer {
    /// With its result.
    Result(Value),
    /// With questions; the caller comes back.
    Later(InputRequiredResult),
}

/// What the caller carries, sealed, from one round to the next.
#[derive(Serialize, Deserialize)]
enum Kept {
    /// The upstream's own state, if it has any.
    State(Option<String>),
    /// The name of a request that waits here.
    Parked(String),
}

/// Requests that wait until their callers come back.
#[derive(Default)]
pub(super) struct Parked(Mutex<HashMap<String, Waiting>>);

struct Waiting {
    holder: Holder,
    exchange: Exchange,
    reply: Reply,
}

impl Parked {
    fn put(self: &Arc<Self>, waiting: Waiting) -> Result<String, UpstreamFault> {
        let id = random_bytes::<16>().map_err(|_| UpstreamFault::Busy)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = all.values().filter(|other| other.holder == waiting.holder);
        if all.len() >= MOST || of_one.count() >= MOST_OF_ONE {
            return Err(UpstreamFault::Busy);
        }
        let until = waiting.exchange.limit.min(Instant::now() + KEPT_FOR);
        all.insert(id.clone(), waiting);
        let (parked, key) = (Arc::downgrade(self), id.clone());
        tokio::spawn(async move {
            sleep_until(until).await;
            if let Some(parked) = parked.upgrade() {
                drop(parked.take(&key));
            }
        });
        Ok(id)
    }

    /// How many wait now, and how many may.
    pub(super) fn count(&self) -> (usize, usize) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (all.len(), MOST)
    }

    fn take(&self, id: &str) -> Option<Waiting> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(id)
    }
}

impl Upstream {
    /// Makes a request and takes questions to the caller until there is a result.
    pub(super) async fn converse(
        &self,
        method: &str,
        mut params: JsonObject,
        ask: &Ask<'_>,
        requester: &Requester,
    ) -> Result<Answer, UpstreamFault> {
        // These two are between the caller and the node.
        let responses = params.remove("inputResponses");
        params.remove("requestState");
        let kept = ask.kept().map(serde_json::from_slice).transpose();
        let mut exchange = match kept.map_err(|_| gone())? {
            None => Exchange::begin(self, method, params.clone(), requester).await?,
            Some(Kept::State(state)) => {
                let again = with(&params, responses, state);
                Exchange::begin(self, method, again, requester).await?
            }
            Some(Kept::Parked(id)) => {
                let Waiting { exchange, reply, .. } = self.parked.take(&id).ok_or_else(gone)?;
                let answer = ask.answers().get(KEY).cloned().map(Value::Object);
                reply
                    .send(answer.map_or_else(|| Err(nobody()), client_result))
                    .ok();
                exchange
            }
        };
        for _ in 0..ROUNDS {
            match exchange.next(requester).await? {
                Next::Answer(value) => {
                    let Some(wants) = input_required(&value)? else {
                        return Ok(Answer::Result(value));
                    };
                    let state = wants.request_state;
                    let questions: Vec<(String, Question)> = wants
                        .input_requests
                        .into_iter()
                        .flatten()
                        .map(|(key, request)| (key, request.into()))
                        .collect();
                    if ask.is_by_rounds() {
                        let kept = written(&Kept::State(state))?;
                        return Ok(Answer::Later(ask.later(questions, Some(&kept))?));
                    }
                    let keys: Vec<String> = questions.iter().map(|(key, _)| key.clone()).collect();
                    let answers = match ask.ask(questions, None).await? {
                        Asked::Answered(answers) => answers,
                        Asked::Later(later) => return Ok(Answer::Later(later)),
                    };
                    let answered: JsonObject = keys
                        .into_iter()
                        .filter_map(|key| Some((key.clone(), Value::Object(answers.get(&key)?.clone()))))
                        .collect();
                    let again = with(&params, Some(Value::Object(answered)), state);
                    // Its seat may be the only one that this caller can have.
                    drop(exchange);
                    exchange = Exchange::begin(self, method, again, requester).await?;
                }
                Next::Question(request, reply) => {
                    let question = question(&request)?;
                    if !ask.may_ask(&question) {
                        reply.send(Err(nobody())).ok();
                        continue;
                    }
                    let questions = [(KEY.to_owned(), question)];
                    if ask.is_by_rounds() {
                        let id = self.parked.put(Waiting {
                            holder: Holder::of(&requester.caller),
                            exchange,
                            reply,
                        })?;
                        let kept = written(&Kept::Parked(id))?;
                        return Ok(Answer::Later(ask.later(questions, Some(&kept))?));
                    }
                    let answer = match ask.ask(questions, None).await {
                        Ok(Asked::Answered(answers)) => answers.get(KEY).cloned().map(Value::Object),
                        // Whoever does not answer now is not asked again for it.
                        Ok(_) | Err(_) => None,
                    };
                    reply
                        .send(answer.map_or_else(|| Err(nobody()), client_result))
                        .ok();
                }
            }
        }
        Err(UpstreamFault::Nonsense(format!(
            "it asks more than {ROUNDS} times"
        )))
    }
}

/// The same request once more.
fn with(params: &JsonObject, responses: Option<Value>, state: Option<String>) -> JsonObject {
    let mut again = params.clone();
    if let Some(responses) = responses {
        again.insert("inputResponses".to_owned(), responses);
    }
    if let Some(state) = state {
        again.insert("requestState".to_owned(), state.into());
    }
    again
}

/// The server asks for something before it answers (2026-07-28, "Multi round-trip requests").
fn input_required(answer: &Value) -> Result<Option<InputRequiredResult>, UpstreamFault> {
    if answer.get("resultType").and_then(Value::as_str) != Some("input_required") {
        return Ok(None);
    }
    let read = serde_json::from_value(answer.clone());
    read.map(Some)
        .map_err(|fault| UpstreamFault::Nonsense(fault.to_string()))
}

/// A request of a server has the same form in both revisions.
fn question(request: &ServerRequest) -> Result<Question, UpstreamFault> {
    let read = serde_json::to_value(request).and_then(serde_json::from_value::<InputRequest>);
    read.map(Question::from)
        .map_err(|fault| UpstreamFault::Nonsense(fault.to_string()))
}

fn client_result(answer: Value) -> Result<ClientResult, ErrorData> {
    serde_json::from_value(answer).map_err(|_| nobody())
}

fn written(kept: &Kept) -> Result<Vec<u8>, UpstreamFault> {
    serde_json::to_vec(kept).map_err(|fault| UpstreamFault::Nonsense(fault.to_string()))
}

/// The node was started anew, or the caller took too long, or another node of the fleet has the request.
fn gone() -> UpstreamFault {
    let sentence = "the call does not wait for this answer any more; call again without requestState";
    UpstreamFault::Answered(ErrorData::invalid_params(
        sentence,
        Some(json!({"restart": true})),
    ))
}

impl From<ErrorData> for UpstreamFault {
    fn from(error: ErrorData) -> Self {
        Self::Answered(error)
    }
}
