//! What checking one EdDSA signature costs, for `cargo xtask bench`: prints nanoseconds.

use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// As many bytes as the header and claims of a usual access token.
const SIGNED_BYTES: usize = 640;
const CHECKS: u32 = 30_000;

fn main() -> Result<(), Box<dyn Error>> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|_| "no key")?;
    let message = vec![b'a'; SIGNED_BYTES];
    let signature = pair.sign(&message);
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
    let start = Instant::now();
    for _ in 0..CHECKS {
        let checked = key.verify(black_box(&message), signature.as_ref());
        checked.map_err(|_| "the signature is not good")?;
    }
    let each = start.elapsed() / CHECKS;
    writeln!(std::io::stdout(), "{}", each.as_nanos())?;
    Ok(())
}
