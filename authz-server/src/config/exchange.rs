//! `[[exchange]]`: the edges along which tokens may be exchanged (RFC 8693). Without one, nobody may.

use shared::config::Reader;
use shared::scope::Scope;
use shared::uri::ResourceUri;

use crate::policy::exchange::{Consent, Edge, Mode};

/// Reads every table.
pub(super) fn read(reader: &mut Reader) -> Vec<Edge> {
    (0..reader.count("exchange"))
        .filter_map(|index| edge(reader, index))
        .collect()
}

fn edge(reader: &mut Reader, index: usize) -> Option<Edge> {
    let mut section = reader.section(&format!("exchange.{index}"));
    let from_client: Option<String> = section.optional("from_client");
    let subject_audience: Option<ResourceUri> = section.optional("subject_audience");
    let to_resource: Option<ResourceUri> = section.optional("to_resource");
    let scopes: Option<Scope> = section.optional("scopes");
    let mode: Option<Mode> = section.value("mode", "delegation");
    let consent: Option<Consent> = section.value("consent", "operator");
    for key in ["from_client", "subject_audience", "to_resource", "scopes"] {
        if !section.has(key) {
            section.fault(key, "is missing: an edge names who may turn what into what");
        }
    }
    if scopes.as_ref().is_some_and(Scope::is_empty) {
        section.fault("scopes", "at least one is needed");
    }
    Some(Edge {
        from_client: from_client?,
        subject_audience: subject_audience?.as_str().to_owned(),
        to_resource: to_resource?.as_str().to_owned(),
        scopes: scopes?,
        mode: mode?,
        consent: consent?,
    })
}
