//! What a caller carries from one round of a call to the next: what the tool wants to remember, and the name of the dialogue
//! that a person's yes covers.

use rmcp::ErrorData;
use shared::secret::random_bytes;

use crate::mcp::seal::NotOpened;

const NAME_BYTES: usize = 16;
/// In the first byte: a name follows.
const NAMED: u8 = 1;
/// In the first byte: what is left is the tool's.
const REMEMBERS: u8 = 2;

/// The name of one round of a dialogue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Dialogue([u8; NAME_BYTES]);

impl Dialogue {
    /// A name that nobody can guess.
    pub(crate) fn fresh() -> Result<Self, ErrorData> {
        let bytes = random_bytes().map_err(|fault| ErrorData::internal_error(fault.to_string(), None))?;
        Ok(Self(bytes))
    }

    #[cfg(test)]
    pub(crate) fn for_tests(number: usize) -> Self {
        let mut bytes = [0; NAME_BYTES];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Self(bytes)
    }
}

/// What is sealed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Carried {
    pub(super) dialogue: Option<Dialogue>,
    pub(super) kept: Option<Vec<u8>>,
}

impl Carried {
    /// As bytes; `None` when there is nothing to carry.
    pub(super) fn written(dialogue: Option<Dialogue>, kept: Option<&[u8]>) -> Option<Vec<u8>> {
        let named = dialogue.map_or(0, |_| NAMED);
        let remembers = kept.map_or(0, |_| REMEMBERS);
        let mut bytes = vec![named | remembers];
        bytes.extend(dialogue.iter().flat_map(|name| name.0));
        bytes.extend_from_slice(kept.unwrap_or_default());
        Some(bytes).filter(|bytes| bytes[0] != 0)
    }

    /// From what [`Self::written`] made.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NotOpened> {
        let (signs, mut rest) = bytes.split_first().ok_or(NotOpened::Form)?;
        let mut carried = Self::default();
        if signs & NAMED != 0 {
            let (name, after) = rest.split_first_chunk().ok_or(NotOpened::Form)?;
            carried.dialogue = Some(Dialogue(*name));
            rest = after;
        }
        if signs & REMEMBERS != 0 {
            carried.kept = Some(rest.to_vec());
        }
        Ok(carried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_comes_back() {
        let name = Some(Dialogue::for_tests(7));
        for (dialogue, kept) in [
            (None, Some(&b"state"[..])),
            (name, Some(b"state")),
            (name, Some(b"")),
            (None, Some(b"")),
            (name, None),
        ] {
            let bytes = Carried::written(dialogue, kept).unwrap();
            let expected = Carried {
                dialogue,
                kept: kept.map(<[u8]>::to_vec),
            };
            assert_eq!(Carried::read(&bytes).unwrap(), expected);
        }
        assert_eq!(Carried::written(None, None), None);
        for odd in [&b""[..], &[NAMED, 1, 2]] {
            assert_eq!(Carried::read(odd), Err(NotOpened::Form));
        }
    }
}
