//! Calls that run only with a person's yes: asked for at the authorization server, checked here, used once.
//!
//! The yes is for one call: this tool, these arguments, this caller, and all that the tool asks its caller meanwhile. A client that can show an address gets it as a
//! question in the middle of the call; any other gets a result that names the address, and calls again. The node
//! remembers what it asked, so a yes counts at the node that asked for it, until it is used or its time is over.

mod desk;
mod dialogues;

use std::sync::OnceLock;
use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock};
use serde_json::json;
use shared::clock::{UnixSeconds, now};
use shared::digest::{arguments_digest, canonical_arguments};
use shared::fleet::approval::{Decision, MAX_ARGUMENTS, MAX_SUMMARY, MAX_TOOL};

use self::desk::{Desk, Full};
use self::dialogues::Dialogues;
pub(crate) use self::dialogues::Running;
use crate::app::{CALLERS, Node};
use crate::auth::Caller;
use crate::config::{ApprovalRules, ApprovedBy};
use crate::fleet::{MemberFault, Membership, Standing, Ticket};
use crate::gate::{Bounded, Gauge};
use crate::mcp::ask::{Ask, Asked, Dialogue, Question as ClientQuestion};
use crate::mcp::offer::Requester;

/// What is asked: one call of one caller.
type Question = shared::fleet::approval::Question;

/// How long a call waits for the person, once the client has shown them the address. Clients give up after a minute.
const PATIENCE: Duration = Duration::from_secs(45);
/// Under which the client answers.
const KEY: &str = "approval";

/// The rules, and the questions that wait.
#[derive(Debug)]
pub(crate) struct Approvals {
    rules: ApprovalRules,
    desk: Desk,
    dialogues: Dialogues,
}

/// Whose yes a call has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Approved {
    /// The approval's id at the authorization server.
    pub(crate) id: String,
    /// The user who said yes.
    pub(crate) approver: String,
}

/// Whose yes an operation turned out to have, for its line in the audit log.
#[derive(Debug, Default)]
pub(crate) struct Notes(OnceLock<Approved>);

impl Notes {
    /// It has this one. What was noted first stays.
    pub(crate) fn approved(&self, approved: Approved) {
        let _ = self.0.set(approved);
    }

    /// The yes, if it needed one.
    pub(crate) fn approval(&self) -> Option<&Approved> {
        self.0.get()
    }
}

/// What becomes of a call that needs a yes.
pub(crate) enum Verdict {
    /// It has one, which is used up now.
    Approved(Running),
    /// It does not run, or not yet: this is its result.
    Answer(Box<CallToolResponse>),
}

impl Approvals {
    /// Nothing waits yet.
    pub(crate) fn new(rules: ApprovalRules) -> Self {
        Self {
            rules,
            desk: Desk::default(),
            dialogues: Dialogues::default(),
        }
    }

    /// Whose yes a call of `tool` needs, if it needs one.
    pub(crate) fn needed(&self, tool: &str) -> Option<ApprovedBy> {
        self.rules.needed(tool)
    }

    /// The yes of a call that has asked its caller something and is brought again. One that is over, or was brought before,
    /// has none.
    pub(crate) fn goes_on(
        &self,
        node: &Node,
        request: &CallToolRequestParams,
        (requester, round): (&Requester, Dialogue),
    ) -> Result<Running, ErrorData> {
        let question = question(node, &requester.caller, request);
        self.dialogues.take(round, &question, now()).ok_or_else(|| {
            let sentence = "the approval of this call is used up, or its dialogue is over; begin again without requestState";
            ErrorData::invalid_params(sentence, Some(json!({"restart": true})))
        })
    }

    /// Lets a call that asks its caller something wait for them, in the round of this name.
    pub(crate) fn waits(
        &self,
        node: &Node,
        request: &CallToolRequestParams,
        (requester, round): (&Requester, Dialogue),
        running: Running,
    ) {
        let question = question(node, &requester.caller, request);
        self.dialogues.put(round, question, running, now());
    }

    /// Whether the call `request`, which needs the yes of `by`, may run. `about` is a sentence about the tool, for the
    /// person.
    pub(crate) async fn judge(
        &self,
        node: &Node,
        request: &CallToolRequestParams,
        (by, about): (ApprovedBy, &str),
        requester: &Requester,
    ) -> Verdict {
        let Some(membership) = &node.membership else {
            return refusal(
                "not_enrolled",
                "this tool runs only with a person's approval, and this node has not enrolled with a server that could ask anybody",
            );
        };
        let call = Call {
            approvals: self,
            node,
            membership,
            request,
            requester,
            question: question(node, &requester.caller, request),
        };
        match call.judge(by, about).await {
            Ok(verdict) => verdict,
            Err(fault) => {
                tracing::warn!(tool = &*request.name, reason = %fault, "nobody could be asked for an approval");
                refusal(
                    "not_available",
                    "this tool runs only with a person's approval, and nobody can be asked just now; try again",
                )
            }
        }
    }
}

impl Bounded for Approvals {
    fn gauges(&self) -> Vec<Gauge> {
        let (waiting, most, of_one) = self.desk.count();
        vec![
            Gauge::of_node("approvals", most, waiting),
            Gauge::of_each("approvals_per_caller", of_one),
        ]
    }
}

fn question(node: &Node, caller: &Caller, request: &CallToolRequestParams) -> Question {
    let claims = caller.claims();
    Question {
        tool: request.name.to_string(),
        arguments_sha256: arguments_digest(request.arguments.as_ref()),
        caller_iss: claims.issuer().to_owned(),
        caller_sub: claims.subject().to_owned(),
        caller_client: claims.client_id().to_owned(),
        resource: node.resource.clone(),
    }
}

/// One call that needs a yes.
struct Call<'c> {
    approvals: &'c Approvals,
    node: &'c Node,
    membership: &'c Membership,
    request: &'c CallToolRequestParams,
    requester: &'c Requester,
    question: Question,
}

impl Call<'_> {
    async fn judge(&self, by: ApprovedBy, about: &str) -> Result<Verdict, MemberFault> {
        let ticket = match self.approvals.desk.find(&self.question, now()) {
            Some(ticket) => {
                if let Some(verdict) = self.look(&ticket).await? {
                    return Ok(verdict);
                }
                // One that is over is not on the desk any more.
                match self.approvals.desk.find(&self.question, now()) {
                    Some(ticket) => ticket,
                    None => return self.begin(by, about).await,
                }
            }
            None => return self.begin(by, about).await,
        };
        self.tell(ticket).await
    }

    /// Has a person asked.
    async fn begin(&self, by: ApprovedBy, about: &str) -> Result<Verdict, MemberFault> {
        let shown = canonical_arguments(self.request.arguments.as_ref());
        if shown.len() > MAX_ARGUMENTS || self.question.tool.len() > MAX_TOOL {
            return Ok(refusal(
                "too_long",
                "this tool runs only with a person's approval, and nobody can look through arguments of more than 8 KiB",
            ));
        }
        if let Err(Full) = self.approvals.desk.has_room(&self.question, now()) {
            return Ok(too_many());
        }
        let asked = (by, self.approvals.rules.ttl);
        let about = (&*summary(about), &*shown);
        let ticket = self.membership.ask(&self.question, about, asked, now()).await?;
        tracing::info!(
            target: CALLERS,
            event = "approval.asked",
            approval_id = ticket.approval_id,
            tool = self.question.tool,
            arguments_sha256 = self.question.arguments_sha256,
            caller_sub = self.question.caller_sub,
            caller_client = self.question.caller_client,
            "a call waits for a person's approval"
        );
        // Of two that asked at once, both wait for the answer to the first.
        match self.approvals.desk.put(self.question.clone(), ticket, now()) {
            Ok(ticket) => self.tell(ticket).await,
            Err(Full) => Ok(too_many()),
        }
    }

    /// Tells the client where the person answers, in the way that it understands.
    async fn tell(&self, ticket: Ticket) -> Result<Verdict, MemberFault> {
        let sentence = format!("{} needs your approval", self.question.tool);
        let by_address = ClientQuestion::address(&sentence, &ticket.url, &ticket.approval_id);
        let ask = Ask::by(self.requester, self.request, &self.node.lasting.seal);
        let (Ok(by_address), Ok(ask)) = (by_address, ask) else {
            return Ok(self.pending(&ticket));
        };
        if !ask.may_ask(&by_address) {
            return Ok(self.pending(&ticket));
        }
        let asked = ask.ask([(KEY.to_owned(), by_address)], None).await;
        match asked {
            Ok(Asked::Later(result)) => Ok(Verdict::Answer(Box::new(result.into()))),
            Ok(Asked::Answered(answers)) if answers.accepted(KEY) => self.wait(&ticket).await,
            Ok(Asked::Answered(_)) => Ok(refusal(
                "declined",
                "the approval that this tool needs was not given: the address was not opened",
            )),
            // It cannot be asked after all.
            Err(_) => Ok(self.pending(&ticket)),
        }
    }

    /// The person is on the page: waits a while for their answer.
    async fn wait(&self, ticket: &Ticket) -> Result<Verdict, MemberFault> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(verdict) = self.look(ticket).await? {
                return Ok(verdict);
            }
            let next = tokio::time::Instant::now() + ticket.interval;
            if next > end || self.approvals.desk.find(&self.question, now()).is_none() {
                return Ok(self.pending(ticket));
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.requester.gone.cancelled() => return Ok(self.pending(ticket)),
            }
        }
    }

    /// What the person said, if they have said anything. What was decided leaves the desk: whoever takes it uses it.
    async fn look(&self, ticket: &Ticket) -> Result<Option<Verdict>, MemberFault> {
        let asked = (ticket, &self.question);
        let issuers = self.node.door.issuers();
        let answer = match self.membership.look(issuers, asked, now()).await? {
            Standing::Pending => return Ok(None),
            Standing::Over => {
                self.approvals.desk.take(&self.question, &ticket.approval_id);
                return Ok(None);
            }
            Standing::Decided(answer) => *answer,
        };
        if !self.approvals.desk.take(&self.question, &ticket.approval_id) {
            return Ok(Some(refusal(
                "used",
                "the approval was used by the same call at the same moment; call again to ask for another",
            )));
        }
        tracing::info!(
            target: CALLERS,
            event = "approval.used",
            approval_id = answer.jti,
            approver = answer.approver,
            is_approved = answer.decision == Decision::Approved,
            tool = self.question.tool,
            arguments_sha256 = self.question.arguments_sha256,
            caller_sub = self.question.caller_sub,
            caller_client = self.question.caller_client,
            "a person has decided about a call"
        );
        Ok(Some(match answer.decision {
            Decision::Approved => Verdict::Approved(Running {
                yes: Approved {
                    id: answer.jti,
                    approver: answer.approver,
                },
                until: now() + dialogues::LASTS,
            }),
            Decision::Denied => refusal("denied", "a person has denied this call"),
        }))
    }

    /// For clients that can show no address in the middle of a call, and for calls that have waited long enough.
    fn pending(&self, ticket: &Ticket) -> Verdict {
        let text = format!(
            "{} runs only with a person's approval. Open {} and decide; then call again with the same arguments.",
            self.question.tool, ticket.url
        );
        let mut result = CallToolResult::structured_error(json!({
            "error": "approval_required",
            "status": "pending",
            "approval_id": ticket.approval_id,
            "approval_url": ticket.url,
            "expires_at": ticket.expires_at,
            "retry_after_seconds": ticket.interval.as_secs(),
        }));
        result.content = vec![ContentBlock::text(text)];
        Verdict::Answer(Box::new(result.into()))
    }
}

/// The result of a call that does not run.
fn refusal(error: &str, sentence: &str) -> Verdict {
    let mut result = CallToolResult::structured_error(json!({"error": error, "description": sentence}));
    result.content = vec![ContentBlock::text(sentence)];
    Verdict::Answer(Box::new(result.into()))
}

/// The result of a call for whose question there is no room.
fn too_many() -> Verdict {
    refusal(
        "too_many",
        "too many calls wait for a person's approval; have them answered first",
    )
}

/// The first sentence about a tool, on one line.
fn summary(about: &str) -> String {
    let line: String = about
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = line.trim();
    let end = line.floor_char_boundary(MAX_SUMMARY);
    let text = line.get(..end).unwrap_or_default();
    if text.is_empty() { "no description" } else { text }.to_owned()
}

/// Whether nobody's answer to it counts any more.
fn is_over(ticket: &Ticket, now: UnixSeconds) -> bool {
    ticket.expires_at <= now
}
