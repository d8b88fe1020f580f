//! KEY: the life of the signing keys, on both databases.

use super::*;
use crate::db::audit_event;
use crate::db::tests::{NOW, Places};
use crate::keys::KeyRing;
use crate::token::testing::all;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const SCHEDULE: Schedule = Schedule {
    every: Some(Duration::from_secs(30 * 86_400)),
    ahead: DAY,
};

/// A database with a key for each algorithm, and whoever opens them.
struct Stage {
    db: Db,
    master: Arc<MasterKey>,
}

impl Stage {
    async fn new(places: &Places, url: &str) -> Self {
        let db = Db::open(url, &"https://as.example".parse().unwrap(), NOW)
            .await
            .unwrap();
        let master = Arc::new(MasterKey::open(&places.folder.path().join("master.key")).unwrap());
        KeyRing::load_or_make(&db, &master, NOW).await.unwrap();
        Self { db, master }
    }

    async fn keys(&self) -> Vec<KeyState> {
        KeyRing::load(&self.db, &self.master).await.unwrap().states
    }

    /// The keys of one algorithm, by state.
    async fn ed(&self) -> Vec<(State, String)> {
        let keys = self.keys().await;
        let ed = keys.iter().filter(|key| key.algorithm == Algorithm::EdDSA);
        ed.map(|key| (key.state, key.kid.clone())).collect()
    }

    async fn advance(&self, now: UnixSeconds) {
        advance(&self.db, &self.master, SCHEDULE, now).await.unwrap();
    }

    async fn rotate(&self, way: Way, now: UnixSeconds) -> Result<Rotated, RotateFault> {
        let fresh = prepare(&self.master, &[Algorithm::EdDSA]).await.unwrap();
        let way = (way, SCHEDULE);
        let rotated =
            self.db.write_unless(
                async |tx| match rotate(tx, &fresh, way, &By::operator(), now).await {
                    Err(RotateFault::Db(fault)) => Err(fault),
                    other => Ok(other),
                },
            );
        let mut rotated = rotated.await.unwrap()?;
        assert_eq!(rotated.len(), 1);
        Ok(rotated.remove(0))
    }

    /// The names of the events of keys, oldest first.
    async fn events(&self) -> Vec<String> {
        let rows = audit_event::newest(&self.db, None, 100).await.unwrap();
        rows.iter().rev().map(|row| row.event.clone()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_01_a_key_is_published_signs_is_kept_and_goes() {
    let places = Places::new();
    for url in places.urls() {
        let stage = Stage::new(&places, &url).await;
        let first = stage.ed().await[0].1.clone();
        let published_at = NOW + 29 * DAY;
        stage.advance(published_at - Duration::from_secs(1)).await;
        assert_eq!(stage.ed().await, [(State::Current, first.clone())], "{url}");
        stage.advance(published_at).await;
        let keys = stage.ed().await;
        let second = keys[1].1.clone();
        assert_eq!(
            keys,
            [(State::Current, first.clone()), (State::Next, second.clone())]
        );
        assert_eq!(stage.keys().await.len(), 6, "each algorithm has its next one");
        let ring = KeyRing::load(&stage.db, &stage.master).await.unwrap();
        assert_eq!(ring.signer(Algorithm::EdDSA).unwrap().kid(), first);
        assert!(ring.published.find(&second).is_some());
        // Nothing is late while the next one waits for its time, however long the first has been signing.
        let late = published_at + DAY + LATE;
        let current = |ring: &KeyRing| ring.states.iter().find(|key| key.kid == first).cloned().unwrap();
        assert!(ring.has_heir(&current(&ring), late));
        assert!(!ring.has_heir(&current(&ring), late + Duration::from_secs(1)));

        // Whoever looks again finds nothing to do, and nobody has to forget what they know.
        let head = change::head(&stage.db).await.unwrap();
        stage.advance(published_at + DAY - Duration::from_secs(1)).await;
        assert_eq!(change::head(&stage.db).await.unwrap(), head);

        let rotated_at = published_at + DAY;
        stage.advance(rotated_at).await;
        let keys = stage.ed().await;
        assert_eq!(
            keys,
            [(State::Retired, first.clone()), (State::Current, second.clone())]
        );
        let ring = KeyRing::load(&stage.db, &stage.master).await.unwrap();
        assert_eq!(ring.signer(Algorithm::EdDSA).unwrap().kid(), second);
        assert!(ring.published.find(&first).is_some(), "its tokens still count");

        let over = rotated_at + MARGIN + DAY;
        stage.advance(over - Duration::from_secs(1)).await;
        assert_eq!(stage.ed().await.len(), 2);
        stage.advance(over).await;
        assert_eq!(stage.ed().await, [(State::Current, second)]);
        let names: Vec<_> = ["key.published", "key.rotated", "key.removed"]
            .iter()
            .flat_map(|name| [*name; 3])
            .collect();
        assert_eq!(stage.events().await, names, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_04_a_key_stays_for_as_long_as_the_longest_token_that_it_signed() {
    let places = Places::new();
    for url in places.urls() {
        let stage = Stage::new(&places, &url).await;
        let ring = KeyRing::load(&stage.db, &stage.master).await.unwrap();
        assert!(ring.life_to_add(Algorithm::EdDSA, DAY).is_none());
        let (kid, longest) = ring.life_to_add(Algorithm::EdDSA, 49 * HOUR).unwrap();
        assert_eq!(longest, 3 * 86_400);
        signing_key::lengthen(&stage.db, kid, longest, NOW).await.unwrap();
        // A shorter one later changes nothing.
        signing_key::lengthen(&stage.db, kid, 2 * 86_400, NOW)
            .await
            .unwrap();
        let ring = KeyRing::load(&stage.db, &stage.master).await.unwrap();
        assert!(ring.life_to_add(Algorithm::EdDSA, 72 * HOUR).is_none());
        let kid = kid.to_owned();
        stage.rotate(Way::Now, NOW).await.unwrap();
        // One that was being signed meanwhile, at an instance that had the ring of before.
        signing_key::lengthen(&stage.db, &kid, 4 * 86_400, NOW)
            .await
            .unwrap();
        let is_there = async || stage.ed().await.iter().any(|(_, known)| *known == kid);
        stage.advance(NOW + 4 * DAY).await;
        assert!(is_there().await, "{url}");
        stage.advance(NOW + MARGIN + 4 * DAY).await;
        assert!(!is_there().await, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_03_key_07_of_many_instances_one_rotates_and_never_two_sign() {
    let places = Places::new();
    for url in places.urls() {
        let stage = Stage::new(&places, &url).await;
        for now in [NOW + 29 * DAY, NOW + 30 * DAY, NOW + 32 * DAY] {
            all((0..4).map(|_| stage.advance(now))).await;
        }
        let keys = stage.keys().await;
        assert_eq!(keys.len(), 3, "{url}: {keys:?}");
        assert!(keys.iter().all(|key| key.state == State::Current));
        assert_eq!(stage.events().await.len(), 9, "each step was taken once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_07_a_rotation_that_ends_in_the_middle_has_not_begun() {
    use crate::db::How;

    let places = Places::new();
    for url in places.urls() {
        let stage = Stage::new(&places, &url).await;
        stage.advance(NOW + 29 * DAY).await;
        let now = NOW + 30 * DAY;
        let before = stage.db.content().await;
        let mut n = 1;
        loop {
            stage.db.points().fail(n, How::Before);
            let done = advance(&stage.db, &stage.master, SCHEDULE, now).await;
            if !stage.db.points().have_failed() {
                done.unwrap();
                break;
            }
            assert!(done.is_err(), "{n}");
            assert_eq!(stage.db.content().await, before, "{url}: {n}");
            n += 1;
        }
        assert!(n > 10, "{n} statements");
        assert_eq!(stage.ed().await.last().unwrap().0, State::Current);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_02_an_operator_rotates_at_once_and_may_not_do_so_without_end() {
    let places = Places::new();
    for url in places.urls() {
        let stage = Stage::new(&places, &url).await;
        let planned = stage.rotate(Way::Planned, NOW).await.unwrap();
        assert_eq!(planned.signs_from, (NOW + DAY).0);
        // Asked twice, it is the same.
        let again = stage.rotate(Way::Planned, NOW + HOUR).await.unwrap();
        assert_eq!(
            (again.kid, again.signs_from),
            (planned.kid.clone(), planned.signs_from)
        );
        let now = stage.rotate(Way::Now, NOW + HOUR).await.unwrap();
        assert_eq!(now.kid, planned.kid, "the one that is known already");
        for _ in 0..6 {
            stage.rotate(Way::Now, NOW + HOUR).await.unwrap();
        }
        let keys = stage.ed().await;
        assert_eq!(keys.len(), MAX_OF_ONE_ALGORITHM);
        let fault = stage.rotate(Way::Now, NOW + HOUR).await.unwrap_err();
        assert!(fault.to_string().contains("key list"), "{fault}");
        assert_eq!(stage.ed().await, keys, "{url}");
        // An emergency does not.
        let emergency = stage.rotate(Way::Compromised, NOW + HOUR).await.unwrap();
        assert_eq!(stage.ed().await, [(State::Current, emergency.kid)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_05_whatever_is_compromised_is_gone_with_all_that_waited() {
    let places = Places::new();
    for url in places.urls() {
        let stage = Stage::new(&places, &url).await;
        stage.rotate(Way::Now, NOW).await.unwrap();
        stage.rotate(Way::Planned, NOW).await.unwrap();
        let before: Vec<_> = stage.ed().await.into_iter().map(|(_, kid)| kid).collect();
        let others = stage.keys().await.len() - before.len();
        let rotated = stage.rotate(Way::Compromised, NOW).await.unwrap();
        assert_eq!(rotated.removed, before);
        assert_eq!(stage.ed().await, [(State::Current, rotated.kid.clone())], "{url}");
        assert_eq!(stage.keys().await.len(), others + 1, "other algorithms stay");
        let events = stage.events().await;
        let count = |name| events.iter().filter(|event| **event == name).count();
        assert_eq!(count("key.compromised"), 3);
        assert_eq!(events.last().unwrap(), "key.rotated");
    }
}
