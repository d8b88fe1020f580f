//! What a server behind the node tells of its resources, to those who wait for them; and words that it completes.

use blackbox::session::Events;
use serde_json::{Value, json};
use xtask::journey::modern;

use super::Behind;

const ONE: &str = "odd+odd://one";

impl Behind {
    /// A stream of 2026-07-28 that waits for `uri`, and what the node says to it first.
    fn listen(&self, uri: &str) -> (Events, Value) {
        let url = self.lone.node.url();
        let wanted = json!({"notifications": {"resourceSubscriptions": [uri]}});
        let request = modern(&url, "subscriptions/listen", wanted).unwrap();
        let mut events = Events::open(&url, &request.bearer(&self.token));
        let first = events.next().unwrap();
        assert_eq!(
            first["method"], "notifications/subscriptions/acknowledged",
            "{first}"
        );
        (events, first["params"]["notifications"].clone())
    }

    /// Waits until the server is asked for exactly these of its resources. Each look has it tell of them.
    fn until_followed(&self, uris: &Value) {
        self.until("the server knows who waits", |behind| {
            behind.told("odd_touch") == *uris
        });
    }
}

/// A server of each era tells of a resource while somebody waits for it, under the node's name for it, and of no other.
#[test]
fn behind_21_a_change_of_a_resource_reaches_those_who_wait_for_it() {
    for words in [&["follows"][..], &["follows", "modern"]] {
        let behind = Behind::start(words, "");
        behind.until_followed(&json!([]));
        let (_nothing, taken) = behind.listen("other://one");
        assert_eq!(taken["resourceSubscriptions"], Value::Null, "{taken}");
        let (mut events, taken) = behind.listen(ONE);
        assert_eq!(taken["resourceSubscriptions"], json!([ONE]));
        behind.until_followed(&json!(["odd://one"]));
        let told = events.next().unwrap();
        // A server with `initialize` has told of odd://any/2 before.
        assert_eq!(told["method"], "notifications/resources/updated", "{told}");
        assert_eq!(told["params"]["uri"], ONE, "{words:?}: {told}");

        // With the last who waits, the server need not tell any more.
        let (others, _) = behind.listen("odd+odd://any/7");
        behind.until("both are followed", |behind| {
            let mut followed = behind.told("odd_touch");
            let uris = followed.as_array_mut().unwrap();
            uris.sort_by_key(Value::to_string);
            *uris == ["odd://any/7", "odd://one"]
        });
        drop(events);
        behind.until_followed(&json!(["odd://any/7"]));
        drop(others);
        behind.until_followed(&json!([]));
    }
}

#[test]
fn behind_22_words_are_completed_by_the_server_that_knows_them() {
    let complete = |behind: &Behind, of: Value| {
        let params = json!({"ref": of, "argument": {"name": "x", "value": "he"}});
        behind.rpc("completion/complete", params)
    };
    let prompt = json!({"type": "ref/prompt", "name": "odd_hello"});
    let template = json!({"type": "ref/resource", "uri": "odd+odd://any/{x}"});
    let behind = Behind::start(&["follows"], "");
    behind.until("its lists are there", |behind| {
        behind.tool_names().contains(&"odd_echo".to_owned())
    });
    for (of, word) in [(&prompt, "hello: he"), (&template, "odd://any/{x}: he")] {
        let answer = complete(&behind, of.clone());
        assert_eq!(
            answer["result"]["completion"]["values"],
            json!([word]),
            "{answer}"
        );
    }
    for unknown in [
        json!({"type": "ref/prompt", "name": "hello"}),
        json!({"type": "ref/resource", "uri": "odd://any/{x}"}),
    ] {
        let answer = complete(&behind, unknown);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    // One that completes nothing is not asked: it has nothing to suggest.
    let behind = Behind::start(&[], "");
    behind.until("its lists are there", |behind| {
        behind.tool_names().contains(&"odd_echo".to_owned())
    });
    let answer = complete(&behind, prompt);
    assert_eq!(answer["result"]["completion"]["values"], json!([]), "{answer}");
}
