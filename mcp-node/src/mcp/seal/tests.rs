use serde_json::json;

use super::*;
use crate::testing::NOW;

const ALICE: [&str; 3] = ["https://as.example", "alice", "agent"];
const CALL: [&str; 2] = ["tools/call", "transfer"];
const HOUR: Duration = Duration::from_secs(3600);

fn key(id: &str, byte: u8) -> String {
    format!("{id} {}\n", URL_SAFE_NO_PAD.encode([byte; 32]))
}

fn seal(lines: &[String]) -> Seal {
    Seal::new(KeyRing::parse(&lines.concat()).unwrap())
}

fn arguments(amount: u32) -> JsonObject {
    json!({ "amount": amount }).as_object().unwrap().clone()
}

fn binding() -> Binding {
    Binding::of(ALICE, CALL, Some(&arguments(5)))
}

/// `mcp_20`: tampered, foreign, expired, for another tool, arguments or caller.
#[test]
fn mcp_20_a_state_opens_for_its_own_call_only() {
    let seal = seal(&[key("a", 1)]);
    let sealed = seal.close(&binding(), b"step 2", NOW, HOUR).unwrap();
    assert_eq!(seal.open(&binding(), &sealed, NOW).as_deref(), Ok(&b"step 2"[..]));
    // The order of members is not the client's to keep.
    assert!(!sealed.contains("step") && sealed.starts_with("s1.a."));

    let five = arguments(5);
    for other in [
        Binding::of(["https://as2.example", "alice", "agent"], CALL, Some(&five)),
        Binding::of(["https://as.example", "bob", "agent"], CALL, Some(&five)),
        Binding::of(["https://as.example", "alice", "other"], CALL, Some(&five)),
        Binding::of(["https://as.examplea", "lice", "agent"], CALL, Some(&five)),
        Binding::of(ALICE, ["prompts/get", "transfer"], Some(&five)),
        Binding::of(ALICE, ["tools/call", "transfer2"], Some(&five)),
        Binding::of(ALICE, CALL, Some(&arguments(6))),
        Binding::of(ALICE, CALL, None),
    ] {
        assert_eq!(
            seal.open(&other, &sealed, NOW),
            Err(NotOpened::Forged),
            "{other:?}"
        );
    }
}

#[test]
fn mcp_20_an_altered_state_does_not_open() {
    let seal = seal(&[key("a", 1), key("b", 2)]);
    let sealed = seal.close(&binding(), b"x", NOW, HOUR).unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(&sealed["s1.a.".len()..]).unwrap();
    for place in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 1;
        let altered = format!("s1.a.{}", URL_SAFE_NO_PAD.encode(altered));
        assert_eq!(
            seal.open(&binding(), &altered, NOW),
            Err(NotOpened::Forged),
            "{place}"
        );
    }
    let other_key = sealed.replacen("s1.a.", "s1.b.", 1);
    assert_eq!(seal.open(&binding(), &other_key, NOW), Err(NotOpened::Forged));
    let unknown_key = sealed.replacen("s1.a.", "s1.c.", 1);
    assert_eq!(seal.open(&binding(), &unknown_key, NOW), Err(NotOpened::Key));
    for bad in [
        "",
        "s1",
        "s1.a",
        "s1.a.",
        "s2.a.AAAA",
        &sealed[..30],
        &format!("{sealed}-TAMPERED"),
        &format!("{sealed}="),
    ] {
        assert!(seal.open(&binding(), bad, NOW).is_err(), "{bad}");
    }
    let long = format!("s1.a.{}", "A".repeat(MAX_SEALED));
    assert_eq!(seal.open(&binding(), &long, NOW), Err(NotOpened::Form));
}

#[test]
fn mcp_20_a_state_expires() {
    let seal = seal(&[key("a", 1)]);
    let sealed = seal.close(&binding(), b"x", NOW, HOUR).unwrap();
    let last = NOW + Duration::from_secs(3599);
    assert!(seal.open(&binding(), &sealed, last).is_ok());
    assert_eq!(
        seal.open(&binding(), &sealed, NOW + HOUR),
        Err(NotOpened::Expired)
    );
}

#[test]
fn two_states_are_never_alike() {
    let seal = seal(&[key("a", 1)]);
    let one = seal.close(&binding(), b"x", NOW, HOUR).unwrap();
    assert_ne!(one, seal.close(&binding(), b"x", NOW, HOUR).unwrap());
}

/// Rotation: the new key is put behind the old one everywhere, then in front of it, then the old one is removed.
#[test]
fn keys_rotate_without_losing_a_call() {
    let (old, new) = (key("2026-10", 1), key("2026-11", 2));
    let (here, there) = (
        seal(std::slice::from_ref(&old)),
        seal(&[old.clone(), new.clone()]),
    );
    let under_old = here.close(&binding(), b"x", NOW, HOUR).unwrap();
    assert!(there.open(&binding(), &under_old, NOW).is_ok());
    here.replace(KeyRing::parse(&format!("# new first\n\n{new}{old}")).unwrap());
    let under_new = here.close(&binding(), b"y", NOW, HOUR).unwrap();
    assert!(under_new.starts_with("s1.2026-11."));
    assert_eq!(there.open(&binding(), &under_new, NOW).as_deref(), Ok(&b"y"[..]));
    assert!(here.open(&binding(), &under_old, NOW).is_ok());
    here.replace(KeyRing::parse(&new).unwrap());
    assert_eq!(here.open(&binding(), &under_old, NOW), Err(NotOpened::Key));
}

#[test]
fn bad_key_files_are_refused() {
    for (text, reason) in [
        (String::new(), "there is no key"),
        ("# nothing\n".to_owned(), "there is no key"),
        ("alone\n".to_owned(), "line 1: write an id and a key"),
        (
            format!("a {}\n", URL_SAFE_NO_PAD.encode([1; 31])),
            "line 1: the key must have 32",
        ),
        ("a ***\n".to_owned(), "line 1: the key is not base64url"),
        (format!("\n{}", key("a.b", 1)), "line 2: an id has"),
        (
            [key("a", 1), key("a", 2)].concat(),
            "line 2: the id a stands twice",
        ),
        (
            (0..17).map(|n| key(&n.to_string(), n)).collect(),
            "more than 16 keys",
        ),
    ] {
        let fault = KeyRing::parse(&text).err().unwrap();
        assert!(fault.contains(reason), "{text:?}: {fault}");
        assert!(!fault.contains("AQEB"), "{fault}");
    }
}

#[test]
fn a_node_makes_its_own_key_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("data");
    let first = Seal::load(None, &nested).unwrap();
    let sealed = first.close(&binding(), b"x", NOW, HOUR).unwrap();
    let second = Seal::load(None, &nested).unwrap();
    assert!(second.open(&binding(), &sealed, NOW).is_ok());
    // A file that was named is not made: a fleet whose nodes each make their own would not notice.
    let named = folder.path().join("fleet-keys");
    assert!(Seal::load(Some(&named), &nested).is_err());
    std::fs::write(&named, key("fleet", 3)).unwrap();
    let fleet = Seal::load(Some(&named), &nested).unwrap();
    assert_eq!(fleet.open(&binding(), &sealed, NOW), Err(NotOpened::Key));
}

/// Waits for what the node does about once a minute. The clock is the test's.
async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(REREAD).await;
    }
    panic!("never: {what}");
}

/// Nodes that share keys get a new one, then seal with it, then lose the old one, all without a restart.
#[tokio::test(start_paused = true)]
async fn mcp_20_keys_of_a_file_rotate_while_the_node_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, key("a", 1)).unwrap();
    let seal = Arc::new(Seal::load(Some(&file), folder.path()).unwrap());
    let close = || seal.close(&binding(), b"x", NOW, HOUR).unwrap();
    let opens = |sealed: &str| seal.open(&binding(), sealed, NOW);
    let old = close();
    assert!(old.starts_with("s1.a."));
    tokio::spawn(follow_file(Arc::clone(&seal), Some(file.clone())));

    std::fs::write(&file, [key("b", 2), key("a", 1)].concat()).unwrap();
    until("sealed with the new key", || close().starts_with("s1.b.")).await;
    assert_eq!(opens(&old).as_deref(), Ok(&b"x"[..]));

    // What cannot be used, or read, changes nothing.
    std::fs::write(&file, "b too-short\n").unwrap();
    tokio::time::sleep(3 * REREAD).await;
    assert!(close().starts_with("s1.b."));
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(3 * REREAD).await;
    assert_eq!(opens(&old).as_deref(), Ok(&b"x"[..]));

    let new = close();
    std::fs::write(&file, key("b", 2)).unwrap();
    until("the old key is gone", || opens(&old) == Err(NotOpened::Key)).await;
    assert_eq!(opens(&new).as_deref(), Ok(&b"x"[..]));

    // A node's own key is not followed.
    follow_file(seal, None).await;
}
