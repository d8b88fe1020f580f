use std::collections::BTreeMap;

use super::*;

fn read(text: &str, environment: &[(&str, &str)]) -> Reader {
    let environment: BTreeMap<_, _> = environment
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    Reader::from_text(text.to_owned(), &environment).unwrap()
}

#[test]
fn file_then_environment_then_flag() {
    let mut reader = read(
        "[server]\nport = 1\nname = \"file\"\n",
        &[("EDGE_HIVE_SERVER__PORT", "2"), ("EDGE_HIVE_NODE_NAME", "short")],
    );
    reader.set("server.name", "flag", Source::Flag);
    let mut server = reader.section("server");
    assert_eq!(server.value::<u16>("port", "9"), Some(2));
    assert_eq!(server.optional::<String>("name"), Some("flag".to_owned()));
    assert_eq!(server.value::<u16>("other", "9"), Some(9));
    let settings = reader.finish().unwrap();
    let shown: Vec<_> = settings
        .iter()
        .map(|s| (s.path.as_str(), s.value.as_str(), s.source))
        .collect();
    assert_eq!(
        shown,
        [
            ("server.port", "2", Source::Environment),
            ("server.name", "flag", Source::Flag),
            ("server.other", "9", Source::Default)
        ]
    );
}

#[test]
fn all_faults_come_at_once_with_their_lines_and_the_nearest_key() {
    let mut reader = read(
        "[server]\nlisten = [\"nonsense\"]\nisuer = \"x\"\n[tokens]\naccess_ttl = \"1 hour\"\n",
        &[],
    );
    let mut server = reader.section("server");
    assert!(
        server
            .list::<std::net::SocketAddr>("listen", "127.0.0.1:1")
            .is_empty()
    );
    server.optional::<String>("issuer");
    reader.section("tokens").value::<Span>("access_ttl", "1h");
    let faults = reader.finish().unwrap_err().to_string();
    assert!(faults.contains("3 fault(s)"), "{faults}");
    assert!(
        faults.contains("server.listen (line 2): \"nonsense\""),
        "{faults}"
    );
    assert!(
        faults.contains("server.isuer (line 3): there is no such key; did you mean issuer?"),
        "{faults}"
    );
    assert!(
        faults.contains("tokens.access_ttl (line 5): \"1 hour\": a length of time is written like"),
        "{faults}"
    );
}

#[test]
fn lists_tables_and_maps() {
    let text =
        "[[issuer]]\nurl = \"a\"\n[[issuer]]\nurl = \"b\"\n[node]\nlogs = { syslog = \"/var/log/syslog\" }\n";
    let mut reader = read(
        text,
        &[
            ("EDGE_HIVE_SERVER__LISTEN", "1,2"),
            ("EDGE_HIVE_ISSUER__1__URL", "c"),
        ],
    );
    assert_eq!(reader.count("issuer"), 2);
    assert_eq!(reader.section("issuer.0").optional::<String>("url").unwrap(), "a");
    assert_eq!(reader.section("issuer.1").optional::<String>("url").unwrap(), "c");
    assert_eq!(reader.section("server").list::<u8>("listen", ""), [1, 2]);
    assert_eq!(reader.section("node").map("logs")["syslog"], "/var/log/syslog");
    reader.finish().unwrap();
}

#[test]
fn unknown_sections_and_syntax_errors_are_refused() {
    let faults = read("[sever]\nx = 1\n", &[]).finish().unwrap_err().to_string();
    assert!(
        faults.contains("sever (line 1): there is no such key"),
        "{faults}"
    );
    let syntax = Reader::from_text("[server\n".to_owned(), &BTreeMap::new())
        .unwrap_err()
        .to_string();
    assert!(syntax.contains("line 1"), "{syntax}");
}

#[test]
fn a_syntax_error_shows_its_place_and_nothing_of_the_line() {
    for (line, column) in [
        ("TOKEN = \"hunter2", 17),
        ("url = postgres://u:hunter2@db/x", 7),
        ("TOKEN = \"a\" hunter2", 13),
        ("hunter2 hunter2", 9),
        ("x = 1\nhunter2 = 1\nhunter2 = 2", 0),
        ("x = \"\\hunter2\"", 0),
        ("x = hunter2", 5),
        ("x = 99999999999999999999", 0),
        ("x = { hunter2 = 1, hunter2 = 2 }", 0),
        ("[s.hunter2\ny = 1", 0),
    ] {
        let text = format!("[s]\n{line}\n");
        let faults = Reader::from_text(text, &BTreeMap::new()).unwrap_err();
        let shown = format!("{faults} {faults:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("9999"), "{shown}");
        let place = match column {
            0 => "(line ".to_owned(),
            column => format!("(line 2, column {column})"),
        };
        assert!(shown.contains(&place), "{place}: {shown}");
    }
    // What is missing is said all the same.
    let unclosed = Reader::from_text("a = \"b".to_owned(), &BTreeMap::new()).unwrap_err();
    assert!(unclosed.to_string().contains("string"), "{unclosed}");
}

#[test]
fn no_two_lists_are_recorded_alike() {
    let recorded = |written: &str| {
        let mut reader = read(&format!("[s]\nlist = {written}\n"), &[]);
        let values = reader.section("s").list::<String>("list", "");
        (values, reader.finish().unwrap().remove(0).value)
    };
    for (written, values, shown) in [
        ("[\"c_x\", \"c_y\"]", &["c_x", "c_y"][..], "c_x, c_y"),
        ("[\"c_x, c_y\"]", &["c_x, c_y"], "\"c_x, c_y\""),
        ("[]", &[], ""),
        ("[\"\"]", &[""], "\"\""),
        ("[\"\", \"\"]", &["", ""], "\"\", \"\""),
        ("[\" a\"]", &[" a"], "\" a\""),
        ("\"a, b\"", &["a", "b"], "a, b"),
    ] {
        let expected: Vec<_> = values.iter().map(|&value| value.to_owned()).collect();
        assert_eq!(recorded(written), (expected, shown.to_owned()), "{written}");
    }
}

#[test]
fn a_refused_section_is_one_fault() {
    let mut reader = read("[p2p]\nx = 1\ny = 2\n", &[]);
    reader.refuse("p2p", "it is not built into this version");
    reader.refuse("discovery", "it is not built into this version");
    let faults = reader.finish().unwrap_err();
    assert_eq!(faults.0, ["p2p (line 1): it is not built into this version"]);
}

#[test]
fn tables_stand_in_tables() {
    let text = "[federation]\nissuer = \"x\"\n[[federation.workload]]\nname = \"a\"\nissuer = \"one\"\n\
                [[federation.workload.rule]]\nclient = \"c\"\nmatch = { \"kubernetes.io/x\" = \"y\", sub = \"z\" }\n\
                [[federation.workload]]\nname = 7\nissur = \"two\"\n[[federation.workload.rule]]\nclent = \"c\"\n";
    let mut reader = read(text, &[("EDGE_HIVE_FEDERATION__WORKLOAD__0__NAME", "b")]);
    reader.section("federation").optional::<String>("issuer");
    assert_eq!(reader.count("federation.workload"), 2);
    let name = reader.section("federation.workload.0").optional::<String>("name");
    assert_eq!(name.as_deref(), Some("b"));
    assert_eq!(reader.count("federation.workload.0.rule"), 1);
    let mut rule = reader.section("federation.workload.0.rule.0");
    assert_eq!(rule.optional::<String>("client").as_deref(), Some("c"));
    let matches: Vec<_> = rule.map("match").into_iter().collect();
    assert_eq!(
        matches,
        [("kubernetes.io/x", "y"), ("sub", "z")].map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
    reader
        .section("federation.workload.0")
        .optional::<String>("issuer");
    let mut second = reader.section("federation.workload.1");
    assert_eq!(second.optional::<u8>("name"), Some(7));
    second.optional::<String>("issuer");
    assert_eq!(reader.count("federation.workload.1.rule"), 1);
    reader
        .section("federation.workload.1.rule.0")
        .optional::<String>("client");
    let faults = reader.finish().unwrap_err().to_string();
    for part in [
        "2 fault(s)",
        "federation.workload.1.issur (line 11): there is no such key; did you mean issuer?",
        "federation.workload.1.rule.0.clent: there is no such key; did you mean client?",
    ] {
        assert!(faults.contains(part), "{part}: {faults}");
    }
}
