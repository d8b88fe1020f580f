use super::*;
use crate::config::ByteCount;

const MINUTE: Duration = Duration::from_secs(60);

fn limits() -> SessionLimits {
    SessionLimits {
        idle: 30 * MINUTE,
        lasts: 120 * MINUTE,
        per_caller: 2,
        in_all: 3,
        replay: ByteCount(1024),
    }
}

fn owner(subject: &str) -> Owner {
    Owner {
        issuer: "https://as.example".to_owned(),
        subject: subject.to_owned(),
        client: "agent".to_owned(),
    }
}

#[tokio::test]
async fn mcp_21_a_session_is_found_by_its_owner_only() {
    let sessions = Sessions::new(limits());
    let (id, session) = sessions.open(owner("alice"), None).unwrap();
    assert!(id.len() == 43 && id.bytes().all(|b| b.is_ascii_graphic()), "{id}");
    assert!(sessions.find(&id, &owner("alice")).is_some());
    let others = [
        owner("bob"),
        Owner {
            issuer: "https://other.example".to_owned(),
            ..owner("alice")
        },
        Owner {
            client: "other".to_owned(),
            ..owner("alice")
        },
    ];
    for other in others {
        assert!(sessions.find(&id, &other).is_none(), "{other:?}");
        assert!(!sessions.close(&id, &other), "{other:?}");
    }
    assert!(!session.is_closed());
    let (another, _) = sessions.open(owner("alice"), None).unwrap();
    assert_ne!(id, another);
    assert!(sessions.close(&id, &owner("alice")));
    assert!(session.is_closed() && sessions.find(&id, &owner("alice")).is_none());
    assert!(sessions.find(&another, &owner("alice")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_nothing_happens_and_at_its_last_hour() {
    let sessions = Sessions::new(limits());
    let (idle, _) = sessions.open(owner("alice"), None).unwrap();
    let (used, session) = sessions.open(owner("bob"), None).unwrap();
    tokio::time::advance(29 * MINUTE).await;
    assert!(sessions.find(&used, &owner("bob")).is_some());
    tokio::time::advance(2 * MINUTE).await;
    assert!(sessions.find(&idle, &owner("alice")).is_none());
    assert!(sessions.find(&used, &owner("bob")).is_some());
    // Somebody who reads uses it, until its time is over.
    let feed = session.read(STANDALONE, None, Box::new(|_| true)).unwrap();
    tokio::time::advance(88 * MINUTE).await;
    assert!(sessions.find(&used, &owner("bob")).is_some());
    tokio::time::advance(2 * MINUTE).await;
    assert!(sessions.find(&used, &owner("bob")).is_none());
    assert!(session.is_closed());
    drop(feed);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_forgotten_without_anybody_asking() {
    let sessions = Arc::new(Sessions::new(limits()));
    let (_, session) = sessions.open(owner("alice"), None).unwrap();
    let sweeping = tokio::spawn(Arc::clone(&sessions).forget_the_expired());
    tokio::time::sleep(32 * MINUTE).await;
    assert!(session.is_closed());
    assert_eq!(sessions.lock().len(), 0);
    sweeping.abort();
}

#[tokio::test(start_paused = true)]
async fn one_caller_leaves_room_for_others() {
    let sessions = Sessions::new(limits());
    let alice = owner("alice");
    let (first, _) = sessions.open(alice.clone(), None).unwrap();
    tokio::time::advance(MINUTE).await;
    let (second, _) = sessions.open(alice.clone(), None).unwrap();
    tokio::time::advance(MINUTE).await;
    sessions.find(&first, &alice).unwrap();
    // The one that it has not used for longest makes room.
    let (third, _) = sessions.open(alice.clone(), None).unwrap();
    assert!(sessions.find(&second, &alice).is_none());
    assert!(sessions.find(&first, &alice).is_some() && sessions.find(&third, &alice).is_some());
    sessions.open(owner("bob"), None).unwrap();
    let full = sessions.open(owner("carol"), None);
    assert!(matches!(full, Err(NotOpened::Full)));
    sessions.close(&third, &alice);
    assert!(sessions.open(owner("carol"), None).is_ok());
}

#[tokio::test]
async fn what_one_session_follows_and_opens_is_bounded() {
    let sessions = Sessions::new(limits());
    let (_, session) = sessions.open(owner("alice"), None).unwrap();
    let news = crate::mcp::news::News::new().unwrap();
    let follow = |number: i64, uri: String| {
        let (inbox, _) = tokio::sync::mpsc::channel(1);
        let request = rmcp::model::RequestId::Number(number);
        let stream = session.open_stream();
        let beginning = Beginning {
            stream,
            inbox,
            effect: Some(Effect::Follow(uri)),
            needs: crate::gate::Needs::default(),
        };
        let begun = session.begin(&request, beginning);
        match begun {
            Ok(()) => session.finish(&mut session.state(), &request, true, &news),
            Err(_) => session.close_unused(stream),
        }
        (stream, begun)
    };
    for number in 0..16 {
        assert_eq!(follow(number, format!("{number:4096}")).1, Ok(()));
    }
    let (stream, refused) = follow(16, "x".to_owned());
    assert_eq!(refused, Err(NotBegun::TooMuchFollowed));
    assert!(session.read(stream, None, Box::new(|_| true)).is_none());
    // What is followed already may be asked for again.
    assert_eq!(follow(17, format!("{:4096}", 0)).1, Ok(()));
}
