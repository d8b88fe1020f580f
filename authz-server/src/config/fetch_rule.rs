//! `[[fetch_rule]]`: what may be fetched at addresses that clients name, besides the public Internet.

use ipnet::IpNet;
use shared::config::Reader;
use shared::http_client::GuardRule;

/// Reads every rule. `is_local` tells whether every listen address is this machine's alone.
pub(super) fn read(reader: &mut Reader, is_local: bool) -> Vec<GuardRule> {
    let count = reader.count("fetch_rule");
    (0..count).map(|index| rule(reader, index, is_local)).collect()
}

fn rule(reader: &mut Reader, index: usize, is_local: bool) -> GuardRule {
    let mut section = reader.section(&format!("fetch_rule.{index}"));
    let rule = GuardRule {
        hosts: section.list("hosts", ""),
        allow_ranges: section.list::<IpNet>("allow_ranges", ""),
        ca_file: section.optional("ca_file"),
    };
    if rule.hosts.is_empty() {
        section.fault("hosts", "is missing: for which hosts is it?");
    }
    for range in &rule.allow_ranges {
        if let Err(fault) = GuardRule::check_range(range, is_local) {
            section.fault("allow_ranges", format!("{range}: {fault}"));
        }
    }
    rule
}
