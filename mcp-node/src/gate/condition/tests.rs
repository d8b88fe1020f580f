use serde_json::json;

use super::*;

fn caller() -> Value {
    json(
        &json!({"subject": "s", "client_id": "c", "scopes": ["mcp:read"], "issuer": "i", "claims": {"level": 3}}),
    )
}

fn judged(text: &str, arguments: &Json) -> Result<bool, Unjudged> {
    let condition: Condition = text.parse().unwrap_or_else(|fault| panic!("{text}: {fault}"));
    condition.holds(&Facts {
        tool: Some("fs_read"),
        resource: None,
        prompt: None,
        arguments: arguments.as_object(),
        caller: &caller,
        made: &Made::default(),
        now: 1_800_000_000,
    })
}

fn refused(text: &str) -> String {
    text.parse::<Condition>()
        .err()
        .unwrap_or_else(|| panic!("{text} was taken"))
}

#[test]
fn conditions_are_judged() {
    let arguments = json!({"path": "/etc/x", "count": 5, "big": 18_446_744_073_709_551_615_u64, "rate": 0.5,
        "names": ["a", "bb"], "deep": {"on": true}, "none": null});
    for holds in [
        "arguments.path.startsWith('/etc')",
        "arguments.count > 3 && arguments.count == 5",
        "arguments.big > 3u",
        "arguments.rate < 1.0",
        "arguments.names.exists(n, n.size() > 1)",
        "arguments.names.all(n, n.matches('^[a-z]+$'))",
        "size(arguments.names.filter(n, n == 'a')) == 1",
        "arguments.names.map(n, n + '!') == ['a!', 'bb!']",
        "arguments.deep.on",
        "arguments.none == null",
        "!has(arguments.missing) && has(arguments.path)",
        "'mcp:read' in caller.scopes && caller.subject == 's'",
        "caller.claims.level >= 3 && caller.claims['level'] == 3",
        "now > 1700000000",
        "tool == 'fs_read' && resource == '' && prompt == ''",
        "type(arguments.path) == string ? true : false",
        "arguments.missing == 1 || true",
    ] {
        assert_eq!(judged(holds, &arguments), Ok(true), "{holds}");
    }
    assert_eq!(judged("arguments.path == '/'", &arguments), Ok(false));
}

#[test]
fn what_cannot_be_judged_says_so_without_a_value() {
    let arguments = json!({"path": "hush", "n": 9_223_372_036_854_775_807_i64, "list": []});
    for text in [
        "arguments.missing == 1",
        "arguments.path > 1",
        "arguments.path",
        "arguments.n + 1 > 0",
        "1 / (arguments.n - arguments.n) > 0",
        "arguments.list[0] == 1",
        "{'a': 1}[arguments.path] == 1",
        "arguments.path.all(x, true)",
        "int(arguments.path) == 1",
    ] {
        let Unjudged(reason) = judged(text, &arguments).unwrap_err();
        assert!(!reason.contains("hush"), "{text}: {reason}");
    }
}

#[test]
fn what_would_fail_only_later_is_refused_at_once() {
    for (text, part) in [
        ("", "no CEL"),
        ("arguments.path ==", "no CEL"),
        ("argument.path == ''", "there is no \"argument\""),
        ("x == 1", "there is no \"x\""),
        ("arguments.names.exists(n, m == n)", "there is no \"m\""),
        (
            "arguments.path.reverse() == ''",
            "there is no function \"reverse\"",
        ),
        ("lower(arguments.path) == ''", "there is no function"),
        ("caller == 1", "write caller.subject"),
        ("caller.name == ''", "there is no caller.name"),
        ("caller.claims == {}", "write caller.claims.name"),
        ("caller.claims[arguments.x] == 1", "write caller.claims.name"),
        ("arguments.path.matches(arguments.pattern)", "must be written out"),
        ("arguments.path.matches('(')", "cannot be used"),
        ("arguments.path.matches('(a{1000}){1000}')", "cannot be used"),
        ("Foo{a: 1} == 1", "message types"),
        ("@next_round()", "no CEL"),
    ] {
        let fault = refused(text);
        assert!(fault.contains(part), "{text}: {fault}");
    }
}

#[test]
fn load_19_deep_and_long_expressions_end() {
    let many = |piece: &str, count: usize| piece.repeat(count);
    for text in [
        format!("{}true{}", many("(", 900), many(")", 900)),
        format!("{}arguments.a", many("-!", 900)),
        format!("1{} > 0", many("+1", 900)),
        format!("{}1{} == []", many("[", 900), many("]", 900)),
        format!("arguments{} == 1", many(".a", 900)),
        format!("true{}", many("?true:true", 180)),
        many("arguments.all(a,", 120),
        many("(", 2048),
        many("a.", 1024),
        many("'", 2047),
        many(" ", 3000),
    ] {
        let fault = refused(&text);
        assert!(!fault.is_empty(), "{}", &text[..20]);
    }
    // As deep as anybody needs.
    let deep = format!("{}true{}", many("(", 20), many(")", 20));
    assert_eq!(judged(&deep, &json!({})), Ok(true));
}

#[test]
fn load_19_loops_are_bounded_whatever_the_arguments() {
    let numbers: Vec<u32> = (0..20_000).collect();
    let arguments = json!({"list": numbers, "few": &numbers[..20]});
    for text in [
        "arguments.list.all(a, arguments.list.all(b, arguments.list.all(c, a + b + c >= 0)))",
        "arguments.list.exists(a, a < 0)",
        "size(arguments.list.map(a, arguments.list.map(b, b))) >= 0",
        "arguments.list.filter(a, a < 0) == []",
        "arguments.list.exists_one(a, a == 7)",
    ] {
        let begun = Instant::now();
        assert_eq!(
            judged(text, &arguments),
            Err(Unjudged("it takes too many rounds or too long")),
            "{text}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{text}: {:?}",
            begun.elapsed()
        );
    }
    assert_eq!(
        judged(
            "arguments.few.all(a, arguments.few.all(b, a + b >= 0))",
            &arguments
        ),
        Ok(true)
    );
    // A loop that ends early takes no more rounds than it needs.
    assert_eq!(judged("arguments.list.exists(a, a == 3)", &arguments), Ok(true));
}

#[test]
fn it_is_known_what_an_expression_looks_at() {
    let mentions = |text: &str| text.parse::<Condition>().unwrap().mentions().clone();
    assert!(mentions("has(arguments.x)").arguments && !mentions("tool == 'arguments'").arguments);
    assert!(!mentions("['a'].all(arguments, arguments == 'a')").arguments);
    assert!(mentions("resource.startsWith('x')").resource);
    let claims =
        mentions("'a' in caller.claims.groups || has(caller.claims.x) || caller.claims['y'] == 1").claims;
    assert_eq!(claims.into_iter().collect::<Vec<_>>(), ["groups", "x", "y"]);
}
