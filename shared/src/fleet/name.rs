//! The names of a node. All follow from its Ed25519 key, so that nobody chooses one.

use ring::digest::{SHA256, digest};

const ADJECTIVES: [&str; 32] = [
    "able", "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "deft", "eager",
    "fair", "fleet", "fresh", "gentle", "glad", "golden", "keen", "kind", "lively", "loyal", "merry",
    "noble", "proud", "quick", "quiet", "sharp", "steady", "sunny", "swift", "warm",
];
const ANIMALS: [&str; 32] = [
    "badger", "bear", "beaver", "bee", "crane", "deer", "dove", "eagle", "falcon", "finch", "fox", "hare",
    "hawk", "heron", "horse", "ibex", "jay", "lark", "lynx", "marten", "mole", "moose", "newt", "otter",
    "owl", "raven", "robin", "seal", "stork", "swan", "vole", "wren",
];

/// The Bitcoin alphabet, which libp2p uses.
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The node's id, `swift-fox-0dd9b9` for example: 34 bits of the SHA-256 of its public key, for people and paths. It is
/// a name and no proof: a key that gives a certain id can be searched for, and whoever registers ids lets nobody have
/// one that another has.
pub fn node_id(public: &[u8; 32]) -> String {
    let hash = digest(&SHA256, &[b"edge-hive node id".as_slice(), public].concat());
    let byte = |at: usize| hash.as_ref().get(at).copied().unwrap_or_default();
    format!(
        "{}-{}-{:02x}{:02x}{:02x}",
        ADJECTIVES[usize::from(byte(0) % 32)],
        ANIMALS[usize::from(byte(1) % 32)],
        byte(2),
        byte(3),
        byte(4)
    )
}

/// Whether `text` can be the id of a node: also one of those that were made before ids followed from keys.
pub fn is_node_id(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain)
}

/// The libp2p peer id: base58 of the identity multihash of the public key's protobuf (libp2p specification "Peer Ids and
/// Keys").
pub fn peer_id(public: &[u8; 32]) -> String {
    // Identity multihash of 36 bytes; field 1: Ed25519; field 2: 32 bytes.
    base58(&[&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20], public.as_slice()].concat())
}

/// The public key that a libp2p peer id holds; `None` for one of another kind of key, and for another spelling.
pub fn public_key(peer: &str) -> Option<[u8; 32]> {
    // 38 bytes are 52 digits: whatever is longer need not be divided.
    let bytes = Some(peer).filter(|peer| peer.len() <= 64).and_then(from_base58)?;
    let public: [u8; 32] = bytes.get(6..)?.try_into().ok()?;
    (peer_id(&public) == peer).then_some(public)
}

fn from_base58(text: &str) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for digit in text.bytes() {
        let mut carry = u32::try_from(BASE58.iter().position(|known| *known == digit)?).ok()?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push((carry & 0xff) as u8);
            carry >>= 8;
        }
    }
    let zeros = text.bytes().take_while(|digit| *digit == BASE58[0]).count();
    bytes.extend(std::iter::repeat_n(0, zeros));
    bytes.reverse();
    Some(bytes)
}

/// Long division: quadratic, which is nothing for 38 bytes.
fn base58(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 138 / 100 + 1);
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let leading = std::iter::repeat_n(&0, zeros);
    leading
        .chain(digits.iter().rev())
        .map(|digit| char::from(BASE58[usize::from(*digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, whose CID shows the key itself:
    /// `bafzaajaiaejcal72gwuz2or47oyxxn6b3rkwdmmkrxgkjxzy3rqt5kczyn7lcm3l`.
    #[test]
    fn the_peer_id_is_that_of_the_specification() {
        let public = [
            0x2f, 0xfa, 0x35, 0xa9, 0x9d, 0x3a, 0x3c, 0xfb, 0xb1, 0x7b, 0xb7, 0xc1, 0xdc, 0x55, 0x61, 0xb1,
            0x8a, 0x8d, 0xcc, 0xa4, 0xdf, 0x38, 0xdc, 0x61, 0x3e, 0xa8, 0x59, 0xc3, 0x7e, 0xb1, 0x33, 0x6b,
        ];
        assert_eq!(
            peer_id(&public),
            "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
        );
    }

    /// draft-msporny-base58, test vectors.
    #[test]
    fn base58_is_that_of_the_draft() {
        assert_eq!(base58(b"Hello World!"), "2NEpo7TZRRrLZSi2U");
        assert_eq!(base58(&[0, 0, 0x28, 0x7f, 0xb4, 0xcd]), "11233QC4");
        assert_eq!(base58(&[]), "");
    }

    #[test]
    fn a_peer_id_holds_its_key_in_one_spelling() {
        for public in [[0; 32], [7; 32], [0xff; 32]] {
            assert_eq!(public_key(&peer_id(&public)), Some(public));
        }
        let good = peer_id(&[7; 32]);
        for bad in [
            String::new(),
            format!("1{good}"),
            good[1..].to_owned(),
            good.replace('W', "0"),
            // A CID of the same key, and the hash of an RSA key.
            "bafzaajaiaejcal72gwuz2or47oyxxn6b3rkwdmmkrxgkjxzy3rqt5kczyn7lcm3l".to_owned(),
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".to_owned(),
            "1".repeat(10_000),
        ] {
            assert_eq!(public_key(&bad), None, "{bad}");
        }
    }

    #[test]
    fn an_id_follows_from_the_key() {
        let (one, other) = (node_id(&[1; 32]), node_id(&[2; 32]));
        assert_eq!(one, node_id(&[1; 32]));
        assert_ne!(one, other);
        let (name, digits) = one.rsplit_once('-').unwrap();
        assert!(name.split('-').count() == 2 && digits.len() == 6, "{one}");
        assert!(is_node_id(&one) && is_node_id("swift-fox-0dd9b9"));
        for bad in ["", "../../x", "Swift", "a b", &"a".repeat(65)] {
            assert!(!is_node_id(bad), "{bad}");
        }
    }
}
