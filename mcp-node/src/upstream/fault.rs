//! Why an upstream gave no answer.

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::service::ServiceError;

/// Why an upstream gave no answer.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub(crate) enum UpstreamFault {
    /// It is not there now.
    #[error("the server behind this tool is not available; it is started again")]
    Away,
    /// It ended while it had the request.
    #[error("the server behind this tool ended in the middle of the call")]
    Ended,
    /// It did not answer.
    #[error("the server behind this tool did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It has as much to do as it may get.
    #[error("the server behind this tool has too much to do")]
    Busy,
    /// What it answered is no answer to this request.
    #[error("the server behind this tool answered with something else: {0}")]
    Nonsense(String),
    /// Nobody waits for the answer any more.
    #[error("the request was cancelled")]
    Cancelled,
    /// A JSON-RPC error of its own.
    #[error("{}", .0.message)]
    Answered(ErrorData),
}

impl From<ServiceError> for UpstreamFault {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::McpError(error) => Self::Answered(error),
            ServiceError::Timeout { timeout } => Self::Silent(timeout),
            ServiceError::Cancelled { .. } => Self::Cancelled,
            ServiceError::UnexpectedResponse => Self::Nonsense("an unexpected result".to_owned()),
            // What the transport says may have an address in it, which is not the caller's business.
            ServiceError::TransportSend(fault) => {
                tracing::warn!(%fault, "a request could not be sent to an upstream server");
                Self::Ended
            }
            _ => Self::Ended,
        }
    }
}
