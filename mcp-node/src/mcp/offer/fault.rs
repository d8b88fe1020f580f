//! Why something that was asked for was not given.

use ::web::answer;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use rmcp::ErrorData;
use rmcp::model::ErrorCode;
use serde_json::json;

use crate::gate::TIMED_OUT;
use crate::upstream::UpstreamFault;

/// How soon a server that is away may be there again, in seconds.
const TRY_AGAIN: u64 = 5;

/// Why a tool was not called, or a resource not read. What a tool itself refuses is no fault: it is in its result.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum OfferFault {
    /// There is none of that name, or of that URI.
    Unknown,
    /// It is there but cannot be read now. The reason is in the log.
    Unreadable,
    /// It took longer than the operator lets it.
    TimedOut,
    /// The server behind the node did not give it.
    Upstream(UpstreamFault),
}

impl From<UpstreamFault> for OfferFault {
    fn from(fault: UpstreamFault) -> Self {
        Self::Upstream(fault)
    }
}

/// The caller is told what is wrong with its request, whoever found that.
impl From<ErrorData> for OfferFault {
    fn from(error: ErrorData) -> Self {
        Self::Upstream(UpstreamFault::Answered(error))
    }
}

const TOO_LONG: &str = "the tool took longer than it may, and was stopped";

impl OfferFault {
    /// The JSON-RPC error about a `what`: a tool, a prompt.
    pub(crate) fn about(self, what: &'static str) -> ErrorData {
        match self {
            Self::Unknown => ErrorData::invalid_params(format!("there is no {what} of that name"), None),
            Self::Unreadable => ErrorData::internal_error(format!("the {what} cannot be read now"), None),
            Self::TimedOut => {
                ErrorData::new(ErrorCode(TIMED_OUT), TOO_LONG, Some(json!({"error": "timeout"})))
            }
            // It is an answer to the caller's request, and says it better than the node could.
            Self::Upstream(UpstreamFault::Answered(error)) => error,
            Self::Upstream(fault) => ErrorData::internal_error(fault.to_string(), None),
        }
    }

    /// The JSON-RPC error about the resource `uri`.
    pub(crate) fn about_resource(self, uri: &str) -> ErrorData {
        match self {
            Self::Unknown => {
                ErrorData::resource_not_found("there is no such resource", Some(json!({"uri": uri})))
            }
            fault => fault.about("resource"),
        }
    }

    /// The answer in plain HTTP. `absent` says what is not there.
    pub(crate) fn answer(&self, absent: &'static str) -> HttpResponse {
        match self {
            Self::Unknown => answer::error(StatusCode::NOT_FOUND, "not_found", absent),
            Self::Unreadable => answer::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "the resource cannot be read now",
            ),
            Self::TimedOut => answer::error(StatusCode::GATEWAY_TIMEOUT, "timeout", TOO_LONG),
            Self::Upstream(fault) => upstream(fault),
        }
    }
}

fn upstream(fault: &UpstreamFault) -> HttpResponse {
    let status = match fault {
        UpstreamFault::Away | UpstreamFault::Busy => {
            return answer::unavailable("the server behind this node is not available", TRY_AGAIN);
        }
        UpstreamFault::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
        UpstreamFault::Answered(error) => {
            return HttpResponse::BadGateway().json(json!({
                "error": "upstream_error",
                "error_description": error.message,
                "code": error.code.0,
            }));
        }
        UpstreamFault::Ended | UpstreamFault::Nonsense(_) | UpstreamFault::Cancelled => {
            StatusCode::BAD_GATEWAY
        }
    };
    answer::error(
        status,
        "upstream_error",
        "the server behind this node gave no usable answer",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mcp::offer::within;

    #[tokio::test(start_paused = true)]
    async fn a_tool_that_takes_too_long_is_stopped_and_says_so() {
        let time = Duration::from_secs(5);
        assert_eq!(within(time, async { Ok(1) }).await, Ok(1));
        let fault = within(time, std::future::pending::<Result<(), _>>())
            .await
            .unwrap_err();
        assert_eq!(fault.answer("x").status(), 504);
        let error = fault.about("tool");
        assert_eq!(
            (error.code.0, error.data),
            (TIMED_OUT, Some(json!({"error": "timeout"})))
        );
    }
}
