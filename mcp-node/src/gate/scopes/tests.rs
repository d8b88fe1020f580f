use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::*;

fn configured(text: &str) -> ScopeTable {
    let mut reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
    let table = ScopeTable::read(&mut reader);
    reader.finish().unwrap();
    table
}

fn faults(text: &str) -> Vec<String> {
    let mut reader = Reader::from_text(text.to_owned(), &BTreeMap::new()).unwrap();
    ScopeTable::read(&mut reader);
    reader.finish().unwrap_err().0
}

fn caller() -> Value {
    condition::json(&json!({
        "subject": "client:agent", "client_id": "agent", "issuer": "https://as.example", "scopes": ["a"],
        "claims": {"groups": ["dev"]},
    }))
}

fn asking<T>(granted: &str, ask: impl FnOnce(&Asker<'_>) -> T) -> T {
    ask(&Asker {
        scope: &granted.parse().unwrap(),
        describe: &caller,
        made: &Made::default(),
        now: UnixSeconds(1_800_000_000),
    })
}

/// The scopes in the challenge, `"forbidden"`, or nothing when it is allowed.
fn verdict(table: &ScopeTable, granted: &str, operation: &Operation<'_>) -> Option<String> {
    match asking(granted, |asker| table.check(asker, operation)) {
        Ok(_) => None,
        Err(Denial::Lacks(needed)) => Some(needed.to_string()),
        Err(Denial::Forbidden(_)) => Some("forbidden".to_owned()),
    }
}

fn needed(table: &ScopeTable, granted: &str, method: &str, tool: Option<&str>) -> Option<String> {
    let operation = Operation {
        method,
        tool,
        ..Operation::default()
    };
    verdict(table, granted, &operation)
}

fn called(table: &ScopeTable, granted: &str, tool: &str, arguments: Json) -> Option<String> {
    let arguments = arguments.as_object().cloned();
    verdict(table, granted, &Operation::call(tool, arguments.as_ref()))
}

fn read(table: &ScopeTable, granted: &str, uri: &str) -> Option<String> {
    verdict(table, granted, &Operation::read(uri))
}

#[test]
fn the_contract_table() {
    let table = ScopeTable::default();
    for method in [
        "server/discover",
        "initialize",
        "ping",
        "tools/list",
        "prompts/get",
        "notifications/initialized",
    ] {
        assert_eq!(needed(&table, "mcp:read", method, None), None, "{method}");
        assert_eq!(
            needed(&table, "mcp:call", method, None).as_deref(),
            Some("mcp:read"),
            "{method}"
        );
    }
    for granted in ["mcp:read", "mcp:resources", "mcp:*"] {
        assert_eq!(needed(&table, granted, "resources/read", None), None);
    }
    assert_eq!(
        needed(&table, "", "resources/read", None).as_deref(),
        Some("mcp:resources")
    );
    assert_eq!(needed(&table, "mcp:call", "tools/call", Some("x")), None);
    assert_eq!(
        needed(&table, "mcp:read", "tools/call", Some("x")).as_deref(),
        Some("mcp:call")
    );
    assert_eq!(
        needed(&table, "mcp:read", "subscriptions/listen", None).as_deref(),
        Some("mcp:subscribe")
    );
    // Case matters, and what nobody knows needs what everyone needs.
    assert_eq!(
        needed(&table, "mcp:call", "Tools/call", None).as_deref(),
        Some("mcp:read")
    );
    assert_eq!(table.for_metadata(), ["mcp:call", "mcp:read"]);
}

#[test]
fn mcp_03_a_deployment_has_its_own_names_and_tools_ask_for_more() {
    let table = configured(
        "[scopes.methods]\n\"tools/call\" = \"mcp:tools:execute admin\"\n[scopes.tools]\nget_status = \"ops z\"\n\"get_*\" = \"get\"\n",
    );
    assert_eq!(
        needed(&table, "mcp:tools:execute", "tools/call", Some("list_peers")),
        None
    );
    assert_eq!(needed(&table, "admin", "tools/call", None), None);
    let all = "get mcp:tools:execute ops z";
    for granted in ["mcp:tools:execute ops", "ops z", "mcp:tools:execute get ops", ""] {
        assert_eq!(
            needed(&table, granted, "tools/call", Some("get_status")).as_deref(),
            Some(all),
            "{granted}"
        );
    }
    assert_eq!(needed(&table, all, "tools/call", Some("get_status")), None);
    assert_eq!(
        needed(&table, "mcp:tools:* get ops z", "tools/call", Some("get_status")),
        None
    );
    assert_eq!(
        needed(&table, "admin z", "tools/call", Some("get_status")).as_deref(),
        Some("admin get ops z")
    );
    assert_eq!(
        needed(&table, "admin", "tools/call", Some("get_else")).as_deref(),
        Some("admin get")
    );
    assert_eq!(table.hint("tools/call"), "mcp:tools:execute");
}

#[test]
fn mcp_04_both_dialects_at_once() {
    let table = configured(
        "[scopes.implies]\n\"mcp:tools:execute\" = \"mcp:call\"\n\"mcp:tools:read\" = \"mcp:read\"\n\"mcp:admin\" = \"mcp:tools:*\"\n",
    );
    for granted in ["mcp:call", "mcp:tools:execute", "mcp:admin"] {
        assert_eq!(
            needed(&table, granted, "tools/call", Some("x")),
            None,
            "{granted}"
        );
    }
    assert_eq!(
        needed(&table, "mcp:tools:read", "tools/call", Some("x")).as_deref(),
        Some("mcp:call")
    );
    assert_eq!(needed(&table, "mcp:tools:read", "tools/list", None), None);
}

#[test]
fn mcp_03_arguments_decide_and_the_challenge_names_everything() {
    let table = configured(
        "[scopes.tools]\n\"fs_*\" = \"files\"\n\
         [[scopes.rule]]\ntool = \"fs_*\"\nwhen = 'arguments.path.startsWith(\"/etc\")'\nneeds = \"mcp:admin\"\n\
         [[scopes.rule]]\nname = \"keys\"\ntool = \"fs_*\"\nwhen = 'arguments.path.contains(\"id_rsa\")'\ndeny = true\n",
    );
    let granted = "files mcp:call";
    let call = |granted: &str, arguments: Json| called(&table, granted, "fs_read", arguments);
    assert_eq!(call(granted, json!({"path": "/srv/x"})), None);
    assert_eq!(
        call("files mcp:admin mcp:call", json!({"path": "/etc/passwd"})),
        None
    );
    let all = Some("files mcp:admin mcp:call".to_owned());
    assert_eq!(call(granted, json!({"path": "/etc/passwd"})), all);
    assert_eq!(call("", json!({"path": "/etc/passwd"})), all);
    let forbidden = Some("forbidden".to_owned());
    assert_eq!(
        call("files mcp:admin mcp:call", json!({"path": "/etc/id_rsa"})),
        forbidden
    );
    // What cannot be judged applies, so nothing is gained by leaving an argument out or giving it another type.
    for arguments in [
        json!({}),
        json!({"path": 7}),
        json!({"path": ["/etc"]}),
        json!(null),
    ] {
        assert_eq!(
            call("files mcp:admin mcp:call", arguments.clone()),
            forbidden,
            "{arguments}"
        );
    }
    assert_eq!(
        called(&table, "mcp:call", "other", json!({"path": "/etc/id_rsa"})),
        None
    );

    assert!(table.wants_arguments(&Operation::call("fs_read", None)));
    assert!(!table.wants_arguments(&Operation::call("get_status", None)));
    assert!(!ScopeTable::default().wants_arguments(&Operation::call("fs_read", None)));
}

#[test]
fn rules_know_the_caller_the_time_and_the_prompt() {
    let table = configured(
        "[[scopes.rule]]\ntool = \"deploy\"\nwhen = '!(\"ops\" in caller.claims.groups)'\nneeds = \"ops\"\n\
         [[scopes.rule]]\nwhen = 'now > 1900000000'\ndeny = true\n\
         [[scopes.rule]]\nmethod = \"completion/*\"\nprompt = \"secret_*\"\nneeds = \"prompts\"\n\
         [scopes.prompts]\n\"secret_*\" = \"prompts\"\n",
    );
    assert_eq!(
        called(&table, "mcp:call", "deploy", json!({})).as_deref(),
        Some("mcp:call ops")
    );
    assert_eq!(called(&table, "mcp:call ops", "deploy", json!({})), None);
    assert_eq!(table.claims(), BTreeSet::from(["groups".to_owned()]));
    let prompt = Operation::prompt("secret_plan");
    assert_eq!(
        verdict(&table, "mcp:read", &prompt).as_deref(),
        Some("mcp:read prompts")
    );
    assert_eq!(verdict(&table, "mcp:read prompts", &prompt), None);
    assert_eq!(verdict(&table, "mcp:read", &Operation::prompt("plan")), None);
}

#[test]
fn a_rule_about_a_resource_knows_its_other_spellings() {
    let table = configured(
        "[scopes.resources]\n\"file:///etc/*\" = \"root\"\n\
         [[scopes.rule]]\nresource = \"file://*\"\nwhen = '!resource.startsWith(\"file:///\")'\ndeny = true\n",
    );
    assert_eq!(read(&table, "mcp:read", "file:///srv/x"), None);
    assert_eq!(read(&table, "mcp:read root", "file:///etc/x"), None);
    for uri in [
        "file:///etc/x",
        "file:///srv/../etc/x",
        "file:///%65tc/x",
        "file:///srv/%2e%2e/etc/x",
        "file:///srv%2F..%2Fetc/x",
    ] {
        assert_eq!(
            read(&table, "mcp:read", uri).as_deref(),
            Some("mcp:read root"),
            "{uri}"
        );
    }
    assert_eq!(
        read(&table, "mcp:read root", "file://host/x").as_deref(),
        Some("forbidden")
    );
}

#[test]
fn a_subscription_follows_what_its_caller_may_read() {
    let table = configured(
        "[scopes.resources]\n\"edge-hive://logs/*\" = \"logs\"\n\"file:///*\" = \"files\"\n\
         [[scopes.rule]]\nresource = \"file:///etc/*\"\ndeny = true\n",
    );
    let follow = |granted: &str, uris: &[&str]| {
        let message = json!({"params": {"notifications": {"resourceSubscriptions": uris}}}).to_string();
        let operation = Operation {
            raw: Some(message.as_bytes()),
            ..Operation::listen()
        };
        match asking(granted, |asker| table.check_all(asker, &operation)) {
            Ok(_) => String::new(),
            Err(Denial::Lacks(needed)) => needed.to_string(),
            Err(Denial::Forbidden(_)) => "forbidden".to_owned(),
        }
    };
    let both = ["edge-hive://logs/node", "file:///srv/x", "edge-hive://status"];
    assert_eq!(follow("mcp:subscribe", &[]), "");
    assert_eq!(follow("mcp:subscribe", &both[2..]), "");
    assert_eq!(follow("mcp:subscribe", &both), "files logs mcp:subscribe");
    assert_eq!(follow("mcp:subscribe files logs", &both), "");
    assert_eq!(follow("files", &[]), "mcp:subscribe");
    assert_eq!(follow("mcp:subscribe files", &["file:///etc/x"]), "forbidden");
}

/// What a template stands for is not known yet: a condition about URIs says nothing of it. One that is whole is hidden.
#[test]
fn mcp_05_a_condition_about_uris_hides_no_template() {
    let rule = |demand: &str| {
        format!(
            "[scopes]\nlists = \"own\"\n[[scopes.rule]]\nresource = \"file://*\"\n\
             when = 'resource.startsWith(\"file:///etc/\")'\n{demand}\n"
        )
    };
    for demand in ["deny = true", "needs = \"root\""] {
        let table = configured(&rule(demand));
        let listed = |uri: &str| asking("mcp:read", |asker| table.lists(asker, &Operation::read(uri)));
        assert!(!listed("file:///etc/passwd"), "{demand}");
        assert!(listed("file:///srv/x"), "{demand}");
        assert!(listed("file:///etc/{name}"), "{demand}");
        assert_ne!(read(&table, "mcp:read", "file:///etc/passwd"), None, "{demand}");
    }
}

#[test]
fn mcp_05_lists_name_what_the_caller_may_use() {
    let rules = "[scopes.tools]\ndeploy = \"ops\"\n[scopes.resources]\n\"edge-hive://logs/*\" = \"logs\"\n\
         [[scopes.rule]]\ntool = \"drop\"\nwhen = 'caller.client_id == \"agent\"'\ndeny = true\n\
         [[scopes.rule]]\ntool = \"fs\"\nwhen = 'arguments.path == \"/\"'\ndeny = true\n";
    let listed = |lists: &str, granted: &str| {
        let table = configured(&format!("[scopes]\nlists = \"{lists}\"\n{rules}"));
        assert!(table.lists_differ());
        asking(granted, |asker| {
            let tools = ["deploy", "drop", "fs", "status"];
            let mut seen: Vec<_> = tools
                .into_iter()
                .filter(|tool| table.lists(asker, &Operation::call(tool, None)))
                .collect();
            let resources = ["edge-hive://logs/{name}", "edge-hive://status"];
            seen.extend(
                resources
                    .into_iter()
                    .filter(|uri| table.lists(asker, &Operation::read(uri))),
            );
            seen.join(" ")
        })
    };
    assert_eq!(listed("own", "mcp:read"), "fs status edge-hive://status");
    assert_eq!(
        listed("own", "mcp:read ops logs"),
        "deploy fs status edge-hive://logs/{name} edge-hive://status"
    );
    assert_eq!(listed("usable", "mcp:read"), "edge-hive://status");
    assert_eq!(
        listed("usable", "mcp:read mcp:call"),
        "fs status edge-hive://status"
    );
    assert_eq!(
        listed("all", "mcp:read"),
        "deploy fs status edge-hive://logs/{name} edge-hive://status"
    );
    assert!(!ScopeTable::default().lists_differ());
}

#[test]
fn every_fault_of_the_table_is_told() {
    let text = "[scopes]\nhierarchy = \"tree\"\nlists = \"some\"\n[scopes.implies]\n\"a b\" = \"c\"\n\
        [[scopes.rule]]\nneeds = \"a\"\n[[scopes.rule]]\ntool = \"x\"\n[[scopes.rule]]\ntool = \"x\"\nneeds = \"a\"\ndeny = true\n\
        [[scopes.rule]]\ntool = \"x\"\nneeds = \"a  b\"\n[[scopes.rule]]\ntool = \"x\"\nwhen = 'argument.x'\ndeny = true\n\
        [[scopes.rule]]\ntool = \"x\"\ndeny = true\nwhne = \"true\"\n";
    let found = faults(text);
    for (expected, part) in [
        ("scopes.hierarchy", "stars"),
        ("scopes.lists", "usable"),
        ("scopes.implies", "a b"),
        ("scopes.rule.0.tool", "say what the rule is about"),
        ("scopes.rule.1.needs", "either"),
        ("scopes.rule.2.needs", "either"),
        ("scopes.rule.3.needs", "single spaces"),
        ("scopes.rule.4.when", "there is no \"argument\""),
        ("scopes.rule.5.whne", "did you mean when?"),
    ] {
        assert!(
            found
                .iter()
                .any(|fault| fault.starts_with(expected) && fault.contains(part)),
            "{expected}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn what_conditions_look_at_is_filled_in_once_for_each_operation() {
    let rule =
        |condition: &str| format!("[[scopes.rule]]\ntool = \"fs\"\nneeds = \"x\"\nwhen = '{condition}'\n");
    let loops = rule("arguments.list.all(a, arguments.list.all(b, a + b >= 0))");
    let table = configured(&format!(
        "{}{}{loops}{loops}{}",
        rule("caller.client_id == \"other\""),
        rule("caller.subject == \"other\""),
        rule("arguments.path == \"/\""),
    ));
    let (numbers, filled) = ((0..80).collect::<Vec<u32>>(), std::cell::Cell::new(0));
    let arguments = json!({"list": numbers, "path": "/srv"});
    let describe = || {
        filled.set(filled.get() + 1);
        caller()
    };
    let granted = "mcp:call x".parse().unwrap();
    let ask = |arguments: &Json| {
        let asker = Asker {
            scope: &granted,
            describe: &describe,
            made: &Made::default(),
            now: UnixSeconds(1_800_000_000),
        };
        table.check(&asker, &Operation::call("fs", arguments.as_object()))
    };
    // Each loop has its own allowance: 6400 of 10 000 rounds, twice.
    assert_eq!(ask(&arguments), Ok("x".parse().unwrap()));
    assert_eq!(filled.get(), 2, "once with arguments, once without");
    // And nothing is left of it for the next operation.
    assert_eq!(ask(&json!({"list": [], "path": "/"})), Ok("x".parse().unwrap()));
    assert_eq!(filled.get(), 4);
}
