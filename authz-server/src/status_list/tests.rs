//! Places and bits, on both databases.

use std::collections::HashSet;
use std::time::Duration;

use shared::jose::KeySet;
use shared::status_list::UnverifiedList;

use super::*;
use crate::account::users;
use crate::db;
use crate::db::tests::{NOW, Places};
use crate::db::token_family::Of;
use crate::token::testing::{House, NODE, all, resource};

async fn node(house: &House) -> Arc<Resource> {
    let resources = house.app.resources().await.unwrap();
    Arc::clone(resources.find(NODE).unwrap())
}

/// The bit of a place, as the signed list says it.
async fn bit(app: &App, place: &Place) -> u8 {
    app.catch_up().await.unwrap();
    let published = app
        .status_lists
        .published(app, &place.list_id, NOW)
        .await
        .unwrap();
    let published = published.expect("there is such a list");
    let keys: KeySet = KeySet::parse(app.keys().await.unwrap().document.as_bytes()).unwrap();
    let token = std::str::from_utf8(&published.token).unwrap();
    let list = UnverifiedList::parse(token).unwrap();
    let key = keys.find(list.kid().unwrap()).unwrap().clone();
    let reference = place.reference(&app.config.issuer);
    let issuer = app.config.issuer.as_str();
    let list = list.verify(&key, (issuer, &reference.uri), NOW).unwrap();
    list.list.get(reference.index).unwrap()
}

fn of_client(client_id: &str) -> Option<BlockOwner<'_>> {
    Some(BlockOwner {
        client_id,
        user_id: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn stat_16_no_place_is_given_twice_and_none_tells_the_order() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let node = node(&house).await;
        let app = &house.app;
        // A second instance, and one that is killed with half a block in hand.
        let (other, killed) = (StatusLists::new(), StatusLists::new());
        let mut given = Vec::new();
        for round in 0..40 {
            let asks = (0..96).map(|n| {
                let lists = [&*app.status_lists, &*other, &*killed][n % 3];
                let owner = if n % 2 == 0 { of_client("c_x") } else { None };
                let node = Arc::clone(&node);
                async move { lists.allot(app, &node, owner, NOW).await.unwrap() }
            });
            given.extend(all(asks).await);
            if round == 20 {
                killed.blocks.forget_all();
            }
        }
        let distinct: HashSet<_> = given
            .iter()
            .map(|place| (place.list_id.to_string(), place.index))
            .collect();
        assert_eq!(distinct.len(), 40 * 96, "{url}");
        let list = db::status_list::all(&app.db, NOW).await.unwrap();
        assert_eq!(list.len(), 1);
        // In a block of random order, one in two neighbours ascends; in order, all would.
        let mine: Vec<i64> = (0..512)
            .step_by(1)
            .map(|n| given[n * 3 % given.len()].index)
            .collect();
        let ascending = mine.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((100..412).contains(&ascending), "{ascending}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_full_gets_another_list() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let wanted = |length| db::status_list::Wanted {
            resource: NODE,
            is_built_in: false,
            window_end: NOW,
            owner: None,
            length,
            new_list: "unused",
        };
        let lease = async |length, new_list| {
            let wanted = db::status_list::Wanted {
                new_list,
                ..wanted(length)
            };
            db::status_list::lease(&house.app.db, wanted, NOW)
                .await
                .unwrap()
                .unwrap()
        };
        let half = db::status_list::CAPACITY / 2;
        assert_eq!(lease(half, "l_1").await.first_index, 0);
        assert_eq!(lease(half, "l_2").await.first_index, half);
        let third = lease(16, "l_3").await;
        assert_eq!((third.list_id.as_str(), third.first_index), ("l_3", 0));
        assert_eq!(lease(16, "l_4").await.list_id, "l_3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_tokens_sets_their_bits_and_no_others() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let (app, node) = (&house.app, node(&house).await);
        let allot = async |owner: Option<BlockOwner<'_>>| {
            app.status_lists.allot(app, &node, owner, NOW).await.unwrap()
        };
        let (mine, also_mine, others) = (
            allot(of_client("c_x")).await,
            allot(of_client("c_x")).await,
            allot(of_client("c_y")).await,
        );
        let for_person = allot(Some(BlockOwner {
            client_id: "c_y",
            user_id: Some("u_1"),
        }))
        .await;
        assert_eq!(bit(app, &mine).await, 0);
        // One token.
        let revocation = db::revoked_token::Revocation {
            token_id: "t_1",
            client_id: "c_x",
            expires_at: NOW + Duration::from_secs(60),
            status: Some(mine.stored()),
        };
        db::revoked_token::insert(&app.db, &revocation, NOW)
            .await
            .unwrap();
        assert_eq!((bit(app, &mine).await, bit(app, &also_mine).await), (1, 0));
        // An exchange of it comes too late; one of another token goes, and so does one of what came of that.
        let heir = async |child: &Place, parent: &Place| {
            let heir = db::status_list::Heir {
                place: child.stored(),
                parents: &[parent.stored()],
                grant_id: Some(&house.grant_id),
            };
            db::status_list::add_heir(&app.db, heir, NOW).await.unwrap()
        };
        let (child, grandchild) = (allot(of_client("c_y")).await, allot(of_client("c_y")).await);
        assert!(!heir(&child, &mine).await);
        assert!(heir(&child, &also_mine).await && heir(&grandchild, &child).await);
        // The client, and with it what was exchanged for its tokens.
        assert!(db::client::revoke(&app.db, "c_x", NOW).await.unwrap());
        assert_eq!(bit(app, &also_mine).await, 1);
        assert_eq!((bit(app, &child).await, bit(app, &grandchild).await), (1, 1));
        assert_eq!((bit(app, &others).await, bit(app, &for_person).await), (0, 0));
        let late = app.status_lists.allot(app, &node, of_client("c_x"), NOW).await;
        assert!(late.is_err(), "a revoked client gets no place");
        // The person.
        let by = crate::admin::By::operator();
        let closed = app
            .db
            .write(async |tx| users::disable_in(tx, "u_1", &by, NOW).await);
        closed.await.unwrap();
        assert_eq!((bit(app, &others).await, bit(app, &for_person).await), (0, 1));
        // The resource; one that is registered by its name later has lists of its own.
        let gone = app
            .db
            .write(async |tx| db::resource::delete_in(tx, NODE, NOW).await);
        assert!(gone.await.unwrap());
        assert_eq!(bit(app, &others).await, 1);
        let gone = app.status_lists.allot(app, &node, of_client("c_y"), NOW).await;
        assert!(gone.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn families_end_with_every_token_that_came_of_them() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "refresh_retry_window = \"30s\"").await;
        let app = &house.app;
        let (first, others) = (house.refresh_token().await, house.refresh_token().await);
        let refresh = async |token: &shared::secret::Secret| {
            let permit = crate::token::testing::refresh(&house, token, NOW).await;
            let lineage = permit.unwrap();
            (lineage.0, lineage.1, lineage.2)
        };
        let (second, place, family_id) = refresh(&first).await;
        // The answer was lost: the same place.
        let (_, again, _) = refresh(&first).await;
        assert_eq!(place, again);
        let (_, newest, _) = refresh(&second).await;
        assert_ne!(place, newest);
        let (_, foreign, _) = refresh(&others).await;
        let child = Place {
            index: newest.index + 1,
            ..newest.clone()
        };
        let heir = db::status_list::Heir {
            place: child.stored(),
            parents: &[newest.stored()],
            grant_id: None,
        };
        assert!(db::status_list::add_heir(&app.db, heir, NOW).await.unwrap());
        for place in [&place, &newest, &foreign, &child] {
            assert_eq!(bit(app, place).await, 0);
        }
        app.db
            .write(async |tx| db::token_family::revoke(tx, Of::Family(&family_id), "test", NOW).await)
            .await
            .unwrap();
        for place in [&place, &newest, &child] {
            assert_eq!(bit(app, place).await, 1, "{url}");
        }
        assert_eq!(bit(app, &foreign).await, 0);
        // The grant ends the rest.
        app.db
            .write(async |tx| db::access_grant::revoke(tx, &house.grant_id, "u_1", NOW).await)
            .await
            .unwrap();
        assert_eq!(bit(app, &foreign).await, 1);
    }
}

/// An exchanged token ends with each of those that it came of, and with the grant; and whichever of two comes first, an
/// exchange or the end of what it rests on, nothing is left living.
#[tokio::test(flavor = "multi_thread")]
async fn an_heir_ends_with_every_parent_and_with_its_grant() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let (app, node) = (&house.app, node(&house).await);
        let db = &app.db;
        let allot = async || {
            app.status_lists
                .allot(app, &node, of_client("c_y"), NOW)
                .await
                .unwrap()
        };
        let add = async |place: &Place, parents: &[&Place], grant_id: Option<&str>| {
            let parents: Vec<_> = parents.iter().map(|parent| parent.stored()).collect();
            let heir = db::status_list::Heir {
                place: place.stored(),
                parents: &parents,
                grant_id,
            };
            db::status_list::add_heir(db, heir, NOW).await.unwrap()
        };
        let take_back = async |place: &Place| {
            let revocation = db::revoked_token::Revocation {
                token_id: &format!("t_{}", place.index),
                client_id: "c_x",
                expires_at: NOW + Duration::from_secs(60),
                status: Some(place.stored()),
            };
            db::revoked_token::insert(db, &revocation, NOW).await.unwrap();
        };
        let (subject, actor, other) = (allot().await, allot().await, allot().await);
        let (of_both, of_subject, of_nobody) = (allot().await, allot().await, allot().await);
        assert!(add(&of_both, &[&subject, &actor, &actor], None).await);
        assert!(add(&of_subject, &[&subject, &other], None).await);
        assert!(add(&of_nobody, &[], Some(&house.grant_id)).await);
        take_back(&actor).await;
        assert_eq!(
            (bit(app, &of_both).await, bit(app, &of_subject).await),
            (1, 0),
            "{url}"
        );
        let late = allot().await;
        assert!(!add(&late, &[&subject, &actor], None).await);

        // By its client's hand: the client itself stays.
        let (agreed, mut racing) = (allot().await, Vec::new());
        assert!(add(&agreed, &[&subject], Some(&house.grant_id)).await);
        for _ in 0..8 {
            racing.push(allot().await);
        }
        let shown = [&subject];
        let grant_id = house.grant_id.as_str();
        let (added, ended) = tokio::join!(
            crate::token::testing::all(racing.iter().map(|place| add(place, &shown, Some(grant_id)))),
            db.write(async |tx| db::access_grant::revoke_all_of_client(tx, "c_x", NOW).await),
        );
        assert_eq!(ended.unwrap(), 1);
        for place in racing
            .iter()
            .zip(&added)
            .filter(|(_, added)| **added)
            .map(|(place, _)| place)
        {
            assert_eq!(bit(app, place).await, 1, "{url}");
        }
        assert_eq!(
            (bit(app, &agreed).await, bit(app, &of_nobody).await),
            (1, 1),
            "{url}"
        );
        assert_eq!(bit(app, &of_subject).await, 0);
        assert!(!add(&late, &[&subject], Some(grant_id)).await, "{url}");
        assert!(add(&late, &[&subject], None).await, "{url}");
    }
}

/// Lists are held by their ids, whatever order they are found in: of two that end tokens of the same lists, one waits at
/// the first of them and holds nothing that the other needs. SQLite has one writer at a time.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_held_in_their_order() {
    const LISTS: i64 = 12;
    const WAITS: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    const FREE: &str = "SELECT list_id FROM status_list ORDER BY list_id FOR UPDATE SKIP LOCKED";
    let places = Places::new();
    let [_, url] = places.urls();
    let house = House::new(&url, "").await;
    let db = &house.app.db;
    let name = |n: i64| format!("l_{n:02}");
    for n in (0..LISTS).rev() {
        let wanted = db::status_list::Wanted {
            resource: NODE,
            is_built_in: false,
            window_end: UnixSeconds(NOW.0 + 3600 * (n + 1)),
            owner: of_client("c_x"),
            length: 16,
            new_list: &name(n),
        };
        db::status_list::lease(db, wanted, NOW).await.unwrap().unwrap();
    }
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let mut in_the_way = pool.begin().await.unwrap();
    sqlx::query("SELECT list_id FROM status_list WHERE list_id = 'l_05' FOR UPDATE")
        .execute(&mut *in_the_way)
        .await
        .unwrap();
    let look = async {
        while sqlx::query_scalar::<_, i64>(WAITS)
            .fetch_one(&pool)
            .await
            .unwrap()
            == 0
        {
            tokio::task::yield_now().await;
        }
        let free: Vec<String> = sqlx::query_scalar(FREE).fetch_all(&pool).await.unwrap();
        in_the_way.rollback().await.unwrap();
        free
    };
    let (free, ended) = tokio::join!(look, db::client::revoke(db, "c_x", NOW));
    assert!(ended.unwrap());
    assert_eq!(free, (6..LISTS).map(name).collect::<Vec<_>>());
    for n in 0..LISTS {
        assert!(db::status_list::is_set(db, (&name(n), 15)).await.unwrap());
    }
}

/// The table in docs/revocation.md. A million live tokens are two lists.
#[tokio::test(flavor = "multi_thread")]
async fn stat_19_a_list_costs_less_than_150_kb_however_much_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(&format!("sqlite:{}/test.db", folder.path().display()), "").await;
    let row = db::status_list::ListRow {
        list_id: new_list_id(NODE).unwrap(),
        resource: NODE.to_owned(),
        window_end: (NOW + Duration::from_secs(7200)).0,
        changed_at: NOW.0,
    };
    let capacity = db::status_list::CAPACITY;
    // Of so many thousandths each place is revoked by itself, as single tokens are; how many bytes one list may have.
    let mut sizes = Vec::new();
    for (thousandths, most_kb) in [(0, 1), (1, 4), (10, 15), (100, 70), (500, 120)] {
        let count = capacity * thousandths / 1000;
        let mut places = HashSet::new();
        while places.len() < usize::try_from(count).unwrap() {
            let random = shared::secret::random_bytes::<8192>().unwrap();
            let drawn = random.chunks_exact(4).map(|bytes| {
                let drawn = bytes
                    .iter()
                    .fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
                drawn % capacity
            });
            places.extend(drawn.take(usize::try_from(count).unwrap() - places.len()));
        }
        let ranges = places.into_iter().map(|place| (place, 1)).collect();
        let list = publish::signed(&house.app, row.clone(), ranges, NOW)
            .await
            .unwrap();
        sizes.push((thousandths, list.token.len()));
        assert!(list.token.len() <= most_kb * 1024, "{sizes:?}");
    }
    // The last is the worst there is: whatever half of the places it is, they are as hard to pack.
    assert!(sizes.is_sorted_by_key(|(_, bytes)| *bytes), "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_nothing_twice_and_fill_no_memory() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let (app, node) = (&house.app, node(&house).await);
        let lists = &app.status_lists;
        let place = lists.allot(app, &node, of_client("c_x"), NOW).await.unwrap();
        app.catch_up().await.unwrap();
        for n in 0..20 {
            let unknown = lists
                .directory(app, &format!("https://stranger/{n}"), NOW)
                .await
                .unwrap();
            assert_eq!(&*unknown.document, br#"{"status_lists":[]}"#);
        }
        assert_eq!(lists.directories.len(), 0, "{url}");
        // Of one that is registered, and of all there are, one is kept; fifty who ask at once get the same.
        let asked = all((0..50).map(|_| lists.directory(app, NODE, NOW))).await;
        let first = asked[0].as_ref().unwrap();
        assert!(
            asked
                .iter()
                .all(|other| Arc::ptr_eq(first, other.as_ref().unwrap()))
        );
        let asked = all((0..50).map(|_| lists.published(app, &place.list_id, NOW))).await;
        let list =
            |answer: &Result<Option<Arc<Published>>, _>| answer.as_ref().ok().cloned().flatten().unwrap();
        assert!(
            asked
                .iter()
                .all(|other| Arc::ptr_eq(&list(&asked[0]), &list(other)))
        );
        let at = async |seconds| {
            let now = NOW + Duration::from_secs(seconds);
            lists.whole_directory(app, now).await.unwrap()
        };
        let whole = at(0).await;
        assert!(Arc::ptr_eq(&whole, &at(4).await) && !Arc::ptr_eq(&whole, &at(5).await));
        assert_eq!(lists.directories.len(), 2, "{url}");
        // A forgotten resource has its lists still: there are tokens for it that must be refused.
        let gone = app
            .db
            .write(async |tx| db::resource::delete_in(tx, NODE, NOW).await);
        assert!(gone.await.unwrap());
        app.catch_up().await.unwrap();
        let left = lists.directory(app, NODE, NOW).await.unwrap();
        assert!(
            String::from_utf8_lossy(&left.document).contains(&*place.list_id),
            "{url}"
        );
        assert_eq!(lists.directories.len(), 0, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_die_with_their_tokens() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let (app, node) = (&house.app, node(&house).await);
        let place = app
            .status_lists
            .allot(app, &node, of_client("c_x"), NOW)
            .await
            .unwrap();
        let list = &place.list_id;
        let row = db::status_list::find(&app.db, list, NOW).await.unwrap().unwrap();
        let end = UnixSeconds(row.window_end);
        assert!(end >= NOW + node.access_ttl && end <= NOW + 2 * node.access_ttl);
        let at = async |now| app.status_lists.published(app, list, now).await.unwrap();
        assert!(at(end + Duration::from_secs(60)).await.is_some());
        assert!(at(end + Duration::from_secs(121)).await.is_none());
        db::status_list::forget(&app.db, end + Duration::from_secs(1))
            .await
            .unwrap();
        assert!(db::status_list::find(&app.db, list, NOW).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_one_place_that_ends_with_its_client() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let (app, node) = (&house.app, node(&house).await);
        let place =
            async |client_id: &str| app.status_lists.place_of_node(app, client_id, NOW).await.unwrap();
        let (mine, others) = (place("c_x").await.unwrap(), place("c_y").await.unwrap());
        assert_eq!(place("c_x").await.as_ref(), Some(&mine));
        assert_eq!(mine.list_id, others.list_id);
        assert_ne!(mine.index, others.index);
        let token = app
            .status_lists
            .allot(app, &node, of_client("c_x"), NOW)
            .await
            .unwrap();
        assert_ne!(token.list_id, mine.list_id);
        assert_eq!((bit(app, &mine).await, bit(app, &others).await), (0, 0));
        // Whoever follows a resource may follow the nodes with it.
        let directory = async |resource| app.status_lists.directory(app, resource, NOW).await.unwrap();
        let both = directory(NODE)
            .await
            .and(&directory(NODES).await.clone())
            .unwrap();
        let both = String::from_utf8(both.document.to_vec()).unwrap();
        for list_id in [&mine.list_id, &token.list_id] {
            assert!(both.contains(&**list_id), "{both}");
        }
        let before = directory(NODES).await;
        assert!(db::client::revoke(&app.db, "c_x", NOW).await.unwrap());
        assert_eq!((bit(app, &mine).await, bit(app, &others).await), (1, 0));
        assert_ne!(directory(NODES).await.etag, before.etag, "it is news");
        // A century later it is still said.
        let later = NOW + Duration::from_secs(100 * 365 * 86_400);
        db::status_list::forget(&app.db, later).await.unwrap();
        assert_eq!(bit(app, &mine).await, 1);
        // Whoever has ended gets none.
        assert!(db::client::revoke(&app.db, "c_y", NOW).await.unwrap());
        assert_eq!(bit(app, &others).await, 1);
    }
}

#[test]
fn a_changed_list_names_its_resource() {
    let id = new_list_id("https://rs/mcp").unwrap();
    assert_eq!(tag_in(&id).unwrap(), tag_of("https://rs/mcp"));
    assert_ne!(tag_of("https://rs/mcp"), tag_of("https://rs/mcp2"));
    for other in ["t_x", "f_x", "l_", "*"] {
        assert_eq!(tag_in(other), None);
    }
    assert!(is_list_id(&id), "{id}");
    let others = [
        id[1..].to_owned(),
        format!("{id}A"),
        id.replace("l_", "f_"),
        format!("{}\0", &id[..id.len() - 1]),
        format!("{}é", &id[..id.len() - 2]),
        String::new(),
    ];
    for other in others {
        assert!(!is_list_id(&other), "{other:?}");
    }
    let issuer: Issuer = "https://as.example/tenant".parse().unwrap();
    let place = Place {
        list_id: id.as_str().into(),
        index: 7,
    };
    let reference = place.reference(&issuer);
    assert_eq!(
        reference.uri,
        format!("https://as.example/tenant/oauth/status/{id}")
    );
    assert_eq!(Place::named(&issuer, &reference), Some(place));
    let elsewhere = StatusReference {
        uri: format!("https://evil.example/oauth/status/{id}"),
        index: 7,
    };
    assert_eq!(Place::named(&issuer, &elsewhere), None);
    assert_eq!(resource("a").uri, "https://rs/mcp");
}
