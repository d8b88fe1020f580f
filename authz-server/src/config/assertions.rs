//! `[[federation.id_jag]]` and `[[federation.workload]]`: whose assertions are worth a token (RFC 7523 §2.1).

use std::collections::HashSet;

use shared::config::Reader;
use shared::scope::Scope;
use shared::uri::ResourceUri;

use super::trusted_issuer::TrustedIssuer;
use crate::policy::workload::{Match, Pattern, Rule, Template};

/// Everyone whose assertions are believed, and what for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assertions {
    /// Identity providers of enterprises, whose ID-JAGs speak for people.
    pub(crate) id_jag: Vec<IdentityProvider>,
    /// Whether an ID-JAG may come again before it ends, as the IETF draft lets it.
    pub(crate) id_jag_replay: bool,
    /// Platforms, whose tokens speak for programs that run there.
    pub(crate) workloads: Vec<Platform>,
}

/// An identity provider that clients bring ID-JAGs of.
#[derive(Clone, Debug)]
pub(crate) struct IdentityProvider {
    pub(crate) trust: TrustedIssuer,
    /// The clients that may bring them; empty means every one that may use the grant.
    pub(crate) clients: Vec<String>,
}

/// A platform that workloads run on.
#[derive(Clone, Debug)]
pub(crate) struct Platform {
    /// Stands in the subject of every token, so that no two platforms can mean different things by one subject.
    pub(crate) name: String,
    pub(crate) trust: TrustedIssuer,
    /// In the order of the file.
    pub(crate) rules: Vec<Rule>,
}

impl Assertions {
    /// Reads every table.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let replay: Option<String> = reader.section("federation").value("id_jag_replay", "reject");
        if replay.as_deref().is_some_and(|word| !["reject", "allow"].contains(&word)) {
            reader.fault("federation.id_jag_replay", "must be reject or allow");
        }
        let id_jag = (0..reader.count("federation.id_jag"))
            .filter_map(|index| provider(reader, index))
            .collect();
        let workloads = (0..reader.count("federation.workload"))
            .filter_map(|index| platform(reader, index))
            .collect();
        let read = Self {
            id_jag,
            id_jag_replay: replay.as_deref() == Some("allow"),
            workloads,
        };
        read.refuse_doubles(reader);
        read
    }

    /// Two tables for one issuer, or one name for two platforms: which of them would decide?
    fn refuse_doubles(&self, reader: &mut Reader) {
        let mut seen = HashSet::new();
        for (index, provider) in self.id_jag.iter().enumerate() {
            if !seen.insert(&provider.trust.issuer) {
                reader.fault(
                    &format!("federation.id_jag.{index}.issuer"),
                    "stands in two tables",
                );
            }
        }
        let (mut issuers, mut names) = (HashSet::new(), HashSet::new());
        for (index, platform) in self.workloads.iter().enumerate() {
            if !issuers.insert(&platform.trust.issuer) {
                let reason = "stands in two tables; write all of its rules into one";
                reader.fault(&format!("federation.workload.{index}.issuer"), reason);
            }
            if !names.insert(&platform.name) {
                reader.fault(
                    &format!("federation.workload.{index}.name"),
                    "stands in two tables",
                );
            }
        }
    }
}

fn provider(reader: &mut Reader, index: usize) -> Option<IdentityProvider> {
    let mut section = reader.section(&format!("federation.id_jag.{index}"));
    let clients = section.list("clients", "");
    let trust = TrustedIssuer::read(&mut section)?;
    Some(IdentityProvider { trust, clients })
}

fn platform(reader: &mut Reader, index: usize) -> Option<Platform> {
    let path = format!("federation.workload.{index}");
    let mut section = reader.section(&path);
    let name: Option<String> = section.optional("name");
    let trust = TrustedIssuer::read(&mut section);
    let is_name = |name: &String| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let name = name.filter(is_name);
    if name.is_none() {
        section.fault(
            "name",
            "is needed: letters, digits, - _ and . (it stands in the subject of tokens)",
        );
    }
    let issuer = trust.as_ref().map(|trust| trust.issuer.clone());
    let count = reader.count(&format!("{path}.rule"));
    if count == 0 {
        reader.fault(
            &format!("{path}.rule"),
            "at least one [[federation.workload.rule]] is needed",
        );
    }
    let rules = (0..count)
        .filter_map(|number| rule(reader, &format!("{path}.rule.{number}"), issuer.as_deref()))
        .collect();
    Some(Platform {
        name: name?,
        trust: trust?,
        rules,
    })
}

fn rule(reader: &mut Reader, path: &str, issuer: Option<&str>) -> Option<Rule> {
    let mut section = reader.section(path);
    let client: Option<String> = section.optional("client");
    let resource: Option<ResourceUri> = section.optional("resource");
    let scopes: Option<Scope> = section.optional("scopes");
    let subject: Option<Template> = section.value("subject", "{sub}");
    let written = section.map("match");
    for (key, is_missing) in [
        ("client", client.is_none()),
        ("resource", resource.is_none()),
        ("scopes", scopes.as_ref().is_none_or(Scope::is_empty)),
    ] {
        if is_missing && !(section.has(key) && key != "scopes") {
            section.fault(key, "is missing: what does the rule give, and to whom?");
        }
    }
    let mut matches = Vec::new();
    for (claim, pattern) in &written {
        match pattern.parse::<Pattern>() {
            Ok(pattern) => matches.push(Match {
                claim: claim.parse().unwrap_or_default(),
                pattern,
            }),
            Err(reason) => section.fault("match", format!("{claim:?}: {reason}")),
        }
    }
    if let Err(reason) = Rule::check(&matches, subject.as_ref(), issuer) {
        section.fault("match", reason);
    }
    Some(Rule {
        client: client?,
        resource: resource?.as_str().to_owned(),
        scopes: scopes?,
        subject: subject?,
        matches,
    })
}
