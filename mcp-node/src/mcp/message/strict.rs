//! The reader behind [`super::Message`]: one pass over the bytes, texts borrowed, every object's names compared.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use shared::json::is_reserved;

use super::{MAX_URI, Member};

const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// The members of interest of one message.
#[derive(Default)]
pub(super) struct Object<'de> {
    pub(super) jsonrpc: Member<'de>,
    pub(super) id: Member<'de>,
    pub(super) method: Member<'de>,
    pub(super) params: Member<'de>,
    pub(super) name: Member<'de>,
    pub(super) uri: Member<'de>,
    pub(super) ref_name: Member<'de>,
    pub(super) ref_uri: Member<'de>,
    pub(super) version: Member<'de>,
    pub(super) capabilities: Member<'de>,
    /// Whether there is `result` or `error`.
    pub(super) has_result: bool,
    /// How many resources `params.notifications.resourceSubscriptions` names.
    pub(super) followed: usize,
    /// Whether one of them is too long.
    pub(super) followed_is_long: bool,
    /// Whether any object anywhere names a member twice.
    pub(super) repeats: bool,
    /// Whether any object anywhere has a member that readers of JSON keep for themselves ([`is_reserved`]).
    pub(super) reserved: bool,
}

/// Reads the message itself; refuses anything but an object.
pub(super) struct MessageSeed<'o, 'de>(pub(super) &'o mut Object<'de>);

impl<'de> DeserializeSeed<'de> for MessageSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        Walk {
            found: self.0,
            place: Place::Message,
        }
        .members(members)
    }
}

/// Which object is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Message,
    Params,
    Meta,
    Ref,
    Wanted,
    Followed,
    Elsewhere,
}

/// Reads one value; remembers what its place makes interesting.
struct Walk<'o, 'de> {
    found: &'o mut Object<'de>,
    place: Place,
}

impl<'de> Walk<'_, 'de> {
    fn members<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            let inner = match (self.place, &*name) {
                (Place::Message, "params") => Place::Params,
                (Place::Params, "_meta") => Place::Meta,
                (Place::Params, "ref") => Place::Ref,
                (Place::Params, "notifications") => Place::Wanted,
                (Place::Wanted, "resourceSubscriptions") => Place::Followed,
                _ => Place::Elsewhere,
            };
            let member = members.next_value_seed(Walk {
                found: &mut *self.found,
                place: inner,
            })?;
            self.found.remember(self.place, &name, member);
            self.found.reserved |= is_reserved(&name);
            names.push(name);
        }
        names.sort_unstable();
        self.found.repeats |= names.windows(2).any(|pair| pair[0] == pair[1]);
        Ok(())
    }
}

impl<'de> Object<'de> {
    fn remember(&mut self, place: Place, name: &str, member: Member<'de>) {
        let slot = match (place, name) {
            (Place::Message, "jsonrpc") => &mut self.jsonrpc,
            (Place::Message, "id") => &mut self.id,
            (Place::Message, "method") => &mut self.method,
            (Place::Message, "params") => &mut self.params,
            (Place::Message, "result" | "error") => return self.has_result = true,
            (Place::Params, "name") => &mut self.name,
            (Place::Params, "uri") => &mut self.uri,
            (Place::Ref, "name") => &mut self.ref_name,
            (Place::Ref, "uri") => &mut self.ref_uri,
            (Place::Meta, PROTOCOL_VERSION) => &mut self.version,
            (Place::Meta, CLIENT_CAPABILITIES) => &mut self.capabilities,
            _ => return,
        };
        *slot = member;
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = Member<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Member<'de>, E> {
        Ok(Member::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Member<'de>, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Member<'de>, E> {
        Ok(Member::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Member<'de>, E> {
        Ok(i64::try_from(value).map_or(Member::Other, Member::Integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Member<'de>, E> {
        Ok(Member::Other)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Member<'de>, A::Error> {
        let follows = self.place == Place::Followed;
        while let Some(item) = items.next_element_seed(Walk {
            found: &mut *self.found,
            place: Place::Elsewhere,
        })? {
            if follows {
                self.found.followed += 1;
                self.found.followed_is_long |= item.is_longer_than(MAX_URI);
            }
        }
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Member<'de>, A::Error> {
        self.members(members)?;
        Ok(Member::Object)
    }
}

/// A member's name, borrowed when it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(value)))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(value.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}
