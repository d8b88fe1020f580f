//! Why something that was asked for was not given.

use ::web::answer;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use rmcp::ErrorData;
use rmcp::model::ErrorCode;
use serde_json::json;

use crate::gate::TIMED_OUT;

/// Why a tool was not called, or a resource not read. What a tool itself refuses is no fault: it is in its result.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum OfferFault {
    /// There is none of that name, or of that URI.
    Unknown,
    /// It is there but cannot be read now. The reason is in the log.
    Unreadable,
    /// It took longer than the operator lets it.
    TimedOut,
}

const TOO_LONG: &str = "the tool took longer than it may, and was stopped";

impl OfferFault {
    /// The JSON-RPC error about the tool or prompt `name`.
    pub(crate) fn about(self, what: &'static str) -> ErrorData {
        match self {
            Self::Unknown => ErrorData::invalid_params(format!("there is no {what} of that name"), None),
            Self::Unreadable => ErrorData::internal_error(format!("the {what} cannot be read now"), None),
            Self::TimedOut => {
                ErrorData::new(ErrorCode(TIMED_OUT), TOO_LONG, Some(json!({"error": "timeout"})))
            }
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
        }
    }
}
