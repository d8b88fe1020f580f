//! `[audit]`: who did what, line by line.

use std::path::PathBuf;

use shared::config::Reader;
use shared::http_client::{NOT_TO_BE_ASKED, may_be_asked};
use url::Url;

use crate::audit::{AuditConfig, AuditTarget};

/// Reads the section. Faults stay in the reader.
pub(super) fn read(reader: &mut Reader) -> AuditConfig {
    let mut section = reader.section("audit");
    let file: Option<PathBuf> = section.optional("file");
    let endpoint: Option<Url> = section.optional("otlp_endpoint");
    let ca_file = section.optional("otlp_ca_file");
    let on_failure: Option<String> = section.value("on_failure", "refuse");
    if on_failure
        .as_deref()
        .is_some_and(|on_failure| !matches!(on_failure, "refuse" | "continue"))
    {
        section.fault("on_failure", "write \"refuse\" or \"continue\"");
    }
    if endpoint.as_ref().is_some_and(|url| !may_be_asked(url)) {
        section.fault("otlp_endpoint", NOT_TO_BE_ASKED);
    }
    let target = match (file, endpoint) {
        (None, None) => None,
        (Some(file), None) => Some(AuditTarget::File(file)),
        (None, Some(endpoint)) => Some(AuditTarget::Otlp { endpoint, ca_file }),
        (Some(_), Some(_)) => {
            section.fault("otlp_endpoint", "name either a file or a collector");
            None
        }
    };
    AuditConfig {
        target,
        refuses_on_failure: on_failure.as_deref() != Some("continue"),
    }
}
