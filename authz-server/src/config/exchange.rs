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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;

    #[test]
    fn an_edge_names_both_ends() {
        let read = |text: &str| {
            let reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
            Config::read(reader).map_err(|faults| faults.to_string())
        };
        let good = "[[exchange]]\nfrom_client = \"c_x\"\nsubject_audience = \"https://a.example/mcp\"\n\
                    to_resource = \"https://b.example/mcp\"\nscopes = \"mcp:read\"\n";
        let config = read(&format!(
            "{good}{good}mode = \"impersonation\"\nconsent = \"person\"\n"
        ))
        .unwrap();
        let modes: Vec<_> = config
            .as_read
            .exchange
            .iter()
            .map(|edge| (edge.mode, edge.consent))
            .collect();
        assert_eq!(
            modes,
            [
                (Mode::Delegation, Consent::Operator),
                (Mode::Impersonation, Consent::Person)
            ]
        );
        assert!(read("").unwrap().as_read.exchange.is_empty());
        for (written, instead, part) in [
            ("from_client = \"c_x\"\n", "", "exchange.0.from_client"),
            ("subject_audience", "audience", "exchange.0.subject_audience"),
            ("https://b.example/mcp", "b", "exchange.0.to_resource"),
            ("mcp:read", "", "at least one is needed"),
            (
                "scopes",
                "mode = \"both\"\nscopes",
                "must be delegation or impersonation",
            ),
        ] {
            let faults = read(&good.replace(written, instead)).expect_err(part);
            assert!(faults.contains(part), "{part}: {faults}");
        }
    }
}
