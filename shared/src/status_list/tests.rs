use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;
use crate::jose::KeySet;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const ISSUER: &str = "https://as.example";
const LIST: &str = "https://as.example/oauth/status/l_1";

fn signed(seed: u8, typ: &str, claims: &Value) -> String {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!(
        "{}.{}",
        part(json!({"typ": typ, "alg": "EdDSA", "kid": "k"})),
        part(claims.clone())
    );
    let signature = URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn good() -> Value {
    let lst = pack(&[0xb9, 0xa3]).unwrap();
    json!({"iss": ISSUER, "sub": LIST, "iat": NOW.0, "exp": NOW.0 + 60, "ttl": 5,
           "status_list": {"bits": 1, "lst": lst, "aggregation_uri": "https://as.example/oauth/status"}})
}

fn read(token: &str) -> Result<VerifiedList, ListFault> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let set =
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "alg": "EdDSA", "use": "sig"}]});
    let set = KeySet::parse(set.to_string().as_bytes()).unwrap();
    let list = UnverifiedList::parse(token)?;
    assert_eq!(list.kid(), Some("k"));
    list.verify(set.find("k").unwrap(), (ISSUER, LIST), NOW)
}

fn verdict(change: impl FnOnce(&mut Value)) -> Result<VerifiedList, ListFault> {
    let mut claims = good();
    change(&mut claims);
    read(&signed(7, TYPE, &claims))
}

#[test]
fn stat_06_the_vectors_of_the_draft() {
    // §4.1, one bit: "eNrbuRgAAhcBXQ" stands for b9 a3; two bits: "eNo76fITAAPfAgc" for c9 44 f9.
    let unpack = |bits: u8, lst: &str| {
        let packed = json!({"bits": bits, "lst": lst});
        StatusList::unpack(packed.as_object().unwrap()).unwrap()
    };
    let one = unpack(1, "eNrbuRgAAhcBXQ");
    let states: Vec<_> = (0..16).map(|index| one.get(index).unwrap()).collect();
    assert_eq!(states, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
    assert_eq!((one.len(), one.get(16), one.get(u64::MAX)), (16, None, None));
    let two = unpack(2, "eNo76fITAAPfAgc");
    let states: Vec<_> = (0..12).map(|index| two.get(index).unwrap()).collect();
    assert_eq!(states, [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]);
    assert_eq!(two.get(12), None);
    for (bits, states) in [(4, [1, 2, 3, 15]), (8, [0x21, 0xf3, 0, 255])] {
        let bytes = if bits == 4 {
            vec![0x21, 0xf3]
        } else {
            states.to_vec()
        };
        let list = unpack(bits, &pack(&bytes).unwrap());
        let read: Vec<_> = (0..4).map(|index| list.get(index).unwrap()).collect();
        assert_eq!(read, states, "{bits} bits");
        assert_eq!(list.get(4), None);
    }
}

#[test]
fn stat_01_what_the_server_writes_is_what_a_node_reads() {
    let lst = pack(&[1, 0]).unwrap();
    let claims = Claims {
        iss: ISSUER,
        sub: LIST,
        iat: NOW,
        exp: Some(NOW + Duration::from_secs(60)),
        ttl: 5,
        status_list: Packed {
            bits: 1,
            lst: &lst,
            aggregation_uri: Some("https://as.example/oauth/status"),
        },
    };
    let read = read(&signed(7, TYPE, &serde_json::to_value(&claims).unwrap())).unwrap();
    assert_eq!((read.list.get(0), read.list.get(1)), (Some(1), Some(0)));
    assert_eq!(read.ttl, Some(Duration::from_secs(5)));
    assert_eq!(
        (read.issued_at, read.expires_at),
        (NOW, Some(NOW + Duration::from_secs(60)))
    );
    assert_eq!(
        read.aggregation_uri.as_deref(),
        Some("https://as.example/oauth/status")
    );
}

#[test]
fn stat_02_a_list_by_another_key_issuer_or_type_is_refused() {
    assert!(verdict(|_| {}).is_ok());
    let other_key = read(&signed(8, TYPE, &good())).unwrap_err();
    assert_eq!(other_key, ListFault("its signature is not that of the key"));
    for typ in ["at+jwt", "JWT", "dpop+jwt"] {
        let fault = read(&signed(7, typ, &good())).unwrap_err();
        assert_eq!(fault, ListFault("its typ is not statuslist+jwt"));
    }
    let other = verdict(|claims| claims["iss"] = json!("https://evil.example")).unwrap_err();
    assert_eq!(other, ListFault("its iss is another issuer"));
    let unsigned = signed(7, TYPE, &good());
    let (_, rest) = unsigned.split_once('.').unwrap();
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"statuslist+jwt","alg":"none","kid":"k"}"#);
    assert!(UnverifiedList::parse(&format!("{header}.{rest}")).is_err());
}

#[test]
fn stat_03_a_list_is_for_the_address_that_was_asked() {
    let fault = ListFault("its sub is not the address of the list");
    assert_eq!(
        verdict(|claims| claims["sub"] = json!(format!("{LIST}2"))).unwrap_err(),
        fault
    );
    assert_eq!(
        verdict(|claims| {
            claims.as_object_mut().unwrap().remove("sub");
        })
        .unwrap_err(),
        fault
    );
}

#[test]
fn stat_07_other_numbers_of_bits_are_refused() {
    for bits in [json!(3), json!(16), json!(0), json!("1"), json!(257), json!(null)] {
        let fault = verdict(|claims| claims["status_list"]["bits"] = bits.clone()).unwrap_err();
        assert_eq!(fault, ListFault("bits is not 1, 2, 4 or 8"), "{bits}");
    }
}

#[test]
fn stat_08_what_inflates_to_too_much_or_is_damaged_is_refused() {
    let verdict_of =
        |bytes: &[u8]| verdict(|claims| claims["status_list"]["lst"] = json!(URL_SAFE_NO_PAD.encode(bytes)));
    let packed = |bytes: &[u8]| URL_SAFE_NO_PAD.decode(pack(bytes).unwrap()).unwrap();
    assert!(verdict_of(&packed(&vec![0; MAX_LIST_BYTES])).is_ok());
    // A bomb: 64 MB in 64 KB.
    let bomb = packed(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(
        verdict_of(&bomb).unwrap_err(),
        ListFault("lst inflates to too much")
    );
    let whole = packed(&[0xb9, 0xa3]);
    let last = whole.len() - 1;
    assert!(verdict_of(&whole).is_ok());
    assert_eq!(
        verdict_of(&whole[..last]).unwrap_err(),
        ListFault("lst is not zlib")
    );
    let mut wrong_sum = whole.clone();
    wrong_sum[last] ^= 1;
    assert_eq!(verdict_of(&wrong_sum).unwrap_err(), ListFault("lst is not zlib"));
    for more in [&b"x"[..], &whole.repeat(7)] {
        let fault = verdict_of(&[&whole, more].concat()).unwrap_err();
        assert_eq!(fault, ListFault("something follows after lst"));
    }
    assert!(verdict(|claims| claims["status_list"]["lst"] = json!("***")).is_err());
    assert!(verdict_of(b"").is_err());
}

#[test]
fn times_are_checked() {
    let expired = ListFault("it has expired");
    assert!(verdict(|claims| claims["exp"] = json!(NOW.0 - 59)).is_ok());
    assert_eq!(
        verdict(|claims| claims["exp"] = json!(NOW.0 - 60)).unwrap_err(),
        expired
    );
    assert!(verdict(|claims| claims["iat"] = json!(NOW.0 + 60)).is_ok());
    assert_eq!(
        verdict(|claims| claims["iat"] = json!(NOW.0 + 61)).unwrap_err(),
        ListFault("iat lies ahead")
    );
    assert_eq!(
        verdict(|claims| {
            claims.as_object_mut().unwrap().remove("iat");
        })
        .unwrap_err(),
        ListFault("iat is missing")
    );
    for ttl in [json!(0), json!(-1), json!("5"), json!(0.5)] {
        assert_eq!(
            verdict(|claims| claims["ttl"] = ttl.clone()).unwrap_err(),
            ListFault("ttl is not a positive number"),
            "{ttl}"
        );
    }
}

#[test]
fn stat_14_a_list_that_takes_something_back_is_noticed() {
    let list = |bytes: &[u8]| StatusList::new(1, bytes.to_vec()).unwrap();
    let held = list(&[0b0110, 0]);
    assert!(!list(&[0b0110, 0]).takes_back(&held));
    assert!(!list(&[0b1110, 0, 0]).takes_back(&held));
    for taken in [list(&[0b0100, 0xff]), list(&[0xff]), list(&[])] {
        assert!(taken.takes_back(&held));
    }
    assert!(StatusList::new(2, vec![0xff, 0xff]).unwrap().takes_back(&held));
}

#[test]
fn a_suspension_may_be_lifted_and_a_revocation_may_not() {
    for bits in [2, 4, 8] {
        let list = |states: [u8; 2]| {
            let bytes = match bits {
                8 => states.to_vec(),
                _ => vec![states[0] | states[1] << bits],
            };
            StatusList::new(bits, bytes).unwrap()
        };
        for (before, after, taken) in [
            (2, 0, false),
            (2, 1, false),
            (0, 2, false),
            (1, 1, false),
            (1, 0, true),
            (1, 2, true),
            (3, 2, true),
        ] {
            for (before, after) in [([before, 0], [after, 0]), ([0, before], [0, after])] {
                assert_eq!(
                    list(after).takes_back(&list(before)),
                    taken,
                    "{bits} {before:?} {after:?}"
                );
            }
        }
    }
}

#[test]
fn stat_05_a_place_that_is_no_number_is_a_fault_of_the_token() {
    let read = |index: Value| StatusReference::read(&json!({"status_list": {"idx": index, "uri": LIST}}));
    let place = read(json!(7)).unwrap().unwrap();
    assert_eq!((place.index, place.uri.as_str()), (7, LIST));
    for index in [
        json!(-1),
        json!(1.5),
        json!("7"),
        json!(null),
        json!(18_446_744_073_709_551_616_f64),
    ] {
        assert_eq!(read(index.clone()).unwrap_err().check, Check::Status, "{index}");
    }
    for uri in [json!(""), json!(7), json!(null)] {
        let claim = json!({"status_list": {"idx": 7, "uri": uri}});
        assert_eq!(StatusReference::read(&claim).unwrap_err().check, Check::Status);
    }
    // Claims of that name that mean something else.
    for other in [json!("active"), json!({}), json!({"revocation": {"u": 1}})] {
        assert!(StatusReference::read(&other).unwrap().is_none(), "{other}");
    }
}

/// 10^6 tokens of which one in a hundred is revoked: two lists of 2^19 places.
#[test]
fn stat_19_a_million_tokens_cost_less_than_150_kb() {
    let mut state = 1_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut total = 0;
    for _ in 0..2 {
        let mut list = vec![0_u8; 1 << 16];
        for _ in 0..(1 << 19) / 100 {
            let place = (random() % (1 << 19)) as usize;
            list[place / 8] |= 1 << (place % 8);
        }
        total += pack(&list).unwrap().len();
    }
    assert!(total < 25_000, "{total}");
    let worst: Vec<u8> = (0..1 << 16).map(|_| random() as u8).collect();
    let worst = pack(&worst).unwrap().len();
    assert!(worst < 90_000, "{worst}");
}
