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
        if replay
            .as_deref()
            .is_some_and(|word| !["reject", "allow"].contains(&word))
        {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::config::Reader;

    use crate::config::Config;

    fn read(text: &str) -> Result<Config, String> {
        let reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
        Config::read(reader).map_err(|faults| faults.to_string())
    }

    const RULE: &str = "[[federation.workload.rule]]\nclient = \"c_x\"\nmatch = { sub = \"robot\" }\n\
                        resource = \"https://rs.example/mcp\"\nscopes = \"a b\"\n";

    fn platform(keys: &str) -> String {
        format!("[[federation.workload]]\n{keys}\n{RULE}")
    }

    #[test]
    fn every_way_to_say_where_keys_are() {
        let config = read(&platform("name = \"p\"\nissuer = \"https://op.example\"")).unwrap();
        let found = &config.as_read.assertions.workloads[0];
        assert_eq!((found.name.as_str(), found.rules.len()), ("p", 1));
        assert_eq!(found.rules[0].resource, "https://rs.example/mcp");
        // Beside the provider of sign-ins, an issuer that is no address, keys that are elsewhere.
        let text = format!(
            "[federation]\nissuer = \"https://op.example\"\nclient_id = \"us\"\nid_jag_replay = \"allow\"\n{}\
             [[federation.id_jag]]\nissuer = \"https://op.example/\"\njwks_uri = \"https://keys.example/k\"\nclients = [\"c_y\"]\n",
            platform(
                "name = \"p\"\nissuer = \"kubernetes/serviceaccount\"\njwks_uri = \"https://op.example/keys\""
            )
        );
        let config = read(&text).unwrap();
        assert!(config.as_read.federation.is_some() && config.as_read.assertions.id_jag_replay);
        assert_eq!(config.as_read.assertions.id_jag[0].clients, ["c_y"]);
    }

    #[test]
    fn what_would_let_the_wrong_ones_in_is_refused() {
        let good = "name = \"p\"\nissuer = \"https://op.example\"\n";
        for (bad, part) in [
            (
                platform("issuer = \"https://op.example\""),
                "workload.0.name: is needed",
            ),
            (
                platform("name = \"a:b\"\nissuer = \"https://op.example\""),
                "name",
            ),
            (platform("name = \"p\""), "issuer"),
            (
                platform("name = \"p\"\nissuer = \"cluster\""),
                "jwks_uri or jwks_file",
            ),
            (
                platform(&format!("{good}jwks_uri = \"http://op.example/keys\"")),
                "must be https",
            ),
            (
                platform(&format!("{good}jwks_file = \"/nowhere.json\"")),
                "cannot read /nowhere.json",
            ),
            (platform(&format!("{good}algorithms = [\"HS256\"]")), "algorithms"),
            (platform(&format!("{good}algorithms = [\"none\"]")), "algorithms"),
            (platform(&format!("{good}ca_file = \"/nowhere.pem\"")), "ca_file"),
            (
                format!("[[federation.workload]]\n{good}"),
                "at least one [[federation.workload.rule]]",
            ),
            (platform(good) + &platform(good), "stands in two tables"),
            (
                platform(good).replace("sub = \"robot\"", ""),
                "without conditions",
            ),
            (
                platform(good).replace("\"robot\"", "\"ro*\""),
                "before * must stand",
            ),
            (
                platform(good).replace("scopes = \"a b\"", "subject = \"{email}\"\nscopes = \"a\""),
                "of nothing else",
            ),
            (platform(good).replace("scopes = \"a b\"", ""), "scopes"),
            (platform(good).replace("client = \"c_x\"", ""), "client"),
            (platform(good).replace("https://rs", "http://rs"), "resource"),
            (
                "[federation]\nid_jag_replay = \"maybe\"".to_owned(),
                "must be reject or allow",
            ),
            (
                "[[federation.id_jag]]\nclients = [\"c\"]".to_owned(),
                "federation.id_jag.0.issuer",
            ),
        ] {
            let faults = read(&bad).expect_err(&bad);
            assert!(faults.contains(part), "{part}: {faults}");
        }
    }
}
