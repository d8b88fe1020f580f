//! Tools that ask the client before they answer (MCP 2026-07-28, multi round-trip requests).

use rmcp::ErrorData;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Tool};
use rmcp::service::{RequestContext, RoleServer};

use super::plain;
use crate::rounds::{Answers, Question, ask};
use crate::seal::Seal;

const NAME: &str = "test_input_required_result_elicitation";
const COMPLETION: &str = "test_input_required_result_sampling";
const ROOTS: &str = "test_input_required_result_list_roots";
const STATE: &str = "test_input_required_result_request_state";
const TAMPERED_STATE: &str = "test_input_required_result_tampered_state";
const SEVERAL: &str = "test_input_required_result_multiple_inputs";
const ROUNDS: &str = "test_input_required_result_multi_round";
const CAPABILITIES: &str = "test_input_required_result_capabilities";
const STREAMING: &str = "test_streaming_elicitation";

pub(super) fn list() -> Vec<Tool> {
    vec![
        plain(NAME, "Asks the user's name"),
        plain(COMPLETION, "Asks the client's model a question"),
        plain(ROOTS, "Asks for the client's roots"),
        plain(
            STATE,
            "Asks for a confirmation and keeps its state with the client",
        ),
        plain(TAMPERED_STATE, "Refuses a state that the client has altered"),
        plain(SEVERAL, "Asks user, model and client at once"),
        plain(ROUNDS, "Asks twice, one question after the other"),
        plain(CAPABILITIES, "Asks only what the client has declared"),
        plain(
            STREAMING,
            "Asks the user's name and sends no request of its own meanwhile",
        ),
    ]
}

/// The answer or the questions; `None` when the tool is not one of these.
pub(super) fn call(
    request: &CallToolRequestParams,
    seal: &Seal,
    context: &RequestContext<RoleServer>,
) -> Option<Result<CallToolResponse, ErrorData>> {
    let answers = Answers::new(request.input_responses.as_ref());
    let state = State {
        seal,
        tool: &request.name,
        sealed: request.request_state.as_deref(),
    };
    Some(match request.name.as_ref() {
        NAME | STREAMING => greet(answers),
        COMPLETION => complete(answers),
        ROOTS => count_roots(answers),
        STATE | TAMPERED_STATE => confirm(answers, &state),
        SEVERAL => gather(answers, &state),
        ROUNDS => walk(answers, &state),
        CAPABILITIES => ask_what_suits(answers, context),
        _ => return None,
    })
}

/// The state that travels with the client, bound to the tool that made it.
struct State<'a> {
    seal: &'a Seal,
    tool: &'a str,
    sealed: Option<&'a str>,
}

impl State<'_> {
    fn close(&self, step: &str) -> String {
        self.seal.close(&format!("{}/{step}", self.tool))
    }

    /// The step that the client brings back; `None` in the first round.
    fn open(&self) -> Result<Option<String>, ErrorData> {
        let Some(sealed) = self.sealed else {
            return Ok(None);
        };
        self.seal
            .open(sealed)
            .as_deref()
            .and_then(|state| state.strip_prefix(self.tool)?.strip_prefix('/'))
            .map(|step| Some(step.to_owned()))
            .ok_or_else(|| {
                ErrorData::invalid_params("The requestState is not one that this tool has made.", None)
            })
    }
}

fn greet(answers: Answers<'_>) -> Result<CallToolResponse, ErrorData> {
    match answers.field("user_name", "name") {
        Some(name) => Ok(done(format!("Hello, {name}!"))),
        None => Ok(ask([("user_name", name_question())], None)?.into()),
    }
}

fn complete(answers: Answers<'_>) -> Result<CallToolResponse, ErrorData> {
    match answers.field("capital_question", "text") {
        Some(text) => Ok(done(format!("The model says: {text}"))),
        None => Ok(ask(
            [(
                "capital_question",
                Question::completion("What is the capital of France?"),
            )],
            None,
        )?
        .into()),
    }
}

fn count_roots(answers: Answers<'_>) -> Result<CallToolResponse, ErrorData> {
    let Some(roots) = answers
        .get("client_roots")
        .and_then(|answer| answer.get("roots")?.as_array())
    else {
        return Ok(ask([("client_roots", Question::Roots)], None)?.into());
    };
    let uris: Vec<&str> = roots
        .iter()
        .filter_map(|root| root.get("uri")?.as_str())
        .collect();
    Ok(done(format!("The client's roots: {}", uris.join(", "))))
}

fn confirm(answers: Answers<'_>, state: &State<'_>) -> Result<CallToolResponse, ErrorData> {
    if state.open()?.as_deref() == Some("confirm") && answers.get("confirm").is_some() {
        return Ok(done("Confirmed: state-ok"));
    }
    let question = Question::field("Please confirm", "ok", "boolean");
    Ok(ask([("confirm", question)], Some(state.close("confirm")))?.into())
}

fn gather(answers: Answers<'_>, state: &State<'_>) -> Result<CallToolResponse, ErrorData> {
    if state.open()?.is_some() && answers.has_all(&["user_name", "greeting", "client_roots"]) {
        return Ok(done("All three answers are here."));
    }
    Ok(ask(three_questions(), Some(state.close("gather")))?.into())
}

fn walk(answers: Answers<'_>, state: &State<'_>) -> Result<CallToolResponse, ErrorData> {
    let (first, second) = ("step1", "step2");
    let step = state.open()?;
    if step.as_deref() == Some(second) && answers.get(second).is_some() {
        return Ok(done("Both steps are done."));
    }
    let (key, question) =
        if step.as_deref() == Some(second) || (step.is_some() && answers.get(first).is_some()) {
            (
                second,
                Question::field("Step 2: What is your favorite color?", "color", "string"),
            )
        } else {
            (
                first,
                Question::field("Step 1: What is your name?", "name", "string"),
            )
        };
    Ok(ask([(key, question)], Some(state.close(key)))?.into())
}

fn ask_what_suits(
    answers: Answers<'_>,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let client = context.client_capabilities().unwrap_or_default();
    let open: Vec<_> = three_questions()
        .into_iter()
        .filter(|(key, question)| question.suits(&client) && answers.get(key).is_none())
        .collect();
    if open.is_empty() {
        return Ok(done("There is nothing left to ask this client."));
    }
    Ok(ask(open, None)?.into())
}

fn three_questions() -> [(&'static str, Question); 3] {
    [
        ("user_name", name_question()),
        ("greeting", Question::completion("Generate a greeting")),
        ("client_roots", Question::Roots),
    ]
}

fn name_question() -> Question {
    Question::field("What is your name?", "name", "string")
}

fn done(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_good_for_its_own_tool_only() {
        let seal = Seal::generate().unwrap();
        let state = |tool, sealed| State {
            seal: &seal,
            tool,
            sealed,
        };
        let sealed = state(STATE, None).close("confirm");

        assert_eq!(state(STATE, None).open().unwrap(), None);
        assert_eq!(
            state(STATE, Some(&sealed)).open().unwrap().as_deref(),
            Some("confirm")
        );
        assert!(state(TAMPERED_STATE, Some(&sealed)).open().is_err());
        assert!(state(STATE, Some(&format!("{sealed}-TAMPERED"))).open().is_err());
    }
}
