//! `mcp-node token explain`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::access_token::{Expectation, MAX_TOKEN_BYTES, Shape};
use shared::clock::now;
use shared::http_client::HttpClient;
use shared::jose::{Algorithm, KeySet};
use shared::jwks::{DEFAULT_MAX_STALE, KeySetSettings, RemoteKeySet};
use shared::uri::Issuer;

use super::{Failure, block_on, load, print};
use crate::config::{IssuerConfig, Validation};
use crate::explain::{Candidate, Explanation, Keys, ShownProof, Verdict, explain};
use crate::issuers::{LEEWAY, Trust, expectation};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Explain, check by check, why this node takes or refuses a token; exit 0 accepted, 1 refused
    Explain(Arguments),
}

#[derive(Args)]
pub(super) struct Arguments {
    /// A file with the token [default: standard input]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The issuer to trust, instead of those in the configuration
    #[arg(long, value_name = "URL", requires = "audience")]
    issuer: Option<Issuer>,
    /// The issuer's key set: works without network
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// The audience to demand, instead of the configured one
    #[arg(long, value_name = "URL")]
    audience: Option<String>,
    /// A file with the DPoP proof that came with the token
    #[arg(long, value_name = "FILE", requires = "url")]
    dpop_proof: Option<PathBuf>,
    /// The method of the request that the proof is for
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    method: String,
    /// The address of that request
    #[arg(long, value_name = "URL")]
    url: Option<url::Url>,
}

pub(super) fn run(file: Option<PathBuf>, command: &Command, json: bool) -> Result<ExitCode, Failure> {
    let Command::Explain(arguments) = command;
    let candidates = candidates(file, arguments)?;
    let token = read_token(arguments.token_file.as_deref())?;
    let proof = proof(arguments)?;
    let explanation = block_on(explain(&token, &candidates, proof.as_ref(), now()))?;
    print(json, &explanation, || lines(&explanation))?;
    Ok(if explanation.accepted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn candidates(file: Option<PathBuf>, arguments: &Arguments) -> Result<Vec<Candidate>, Failure> {
    let document = arguments.jwks.as_deref().map(read_file).transpose()?;
    if let Some(issuer) = &arguments.issuer {
        return stranger(issuer, arguments, document.as_deref()).map(|candidate| vec![candidate]);
    }
    let configured = load(file)?.issuers;
    configured
        .iter()
        .map(|issuer| candidate(issuer, arguments, document.as_deref()))
        .collect()
}

/// An issuer that is not configured, of which only the standard is known (RFC 9068).
fn stranger(issuer: &Issuer, arguments: &Arguments, document: Option<&[u8]>) -> Result<Candidate, Failure> {
    let expectation = Expectation {
        issuer: issuer.as_str().into(),
        audience: arguments.audience.clone().unwrap_or_default().into(),
        algorithms: Algorithm::ALL.to_vec(),
        leeway: LEEWAY,
        shape: Shape::Rfc9068,
        clients: Vec::new(),
        scope_claim: None,
        scope_prefix: None,
        kept_claims: Vec::new(),
    };
    let settings = KeySetSettings {
        issuer: issuer.clone(),
        jwks_uri: None,
        algorithms: Vec::new(),
        max_stale: DEFAULT_MAX_STALE,
        kept: None,
    };
    let keys = match document {
        Some(document) => Keys::File(read_key_set(arguments, document, &[])?),
        None => Keys::Issuer(Trust::Keys(RemoteKeySet::new(HttpClient::new(None)?, settings))),
    };
    Ok(Candidate {
        expectation,
        keys,
        dpop_required: false,
    })
}

fn candidate(
    issuer: &IssuerConfig,
    arguments: &Arguments,
    document: Option<&[u8]>,
) -> Result<Candidate, Failure> {
    let mut expectation = expectation(issuer);
    if let Some(audience) = &arguments.audience {
        expectation.audience = audience.as_str().into();
    }
    let keys = match (document, &issuer.validation) {
        // Only where keys are what tokens are checked with does a file of them say anything.
        (Some(document), Validation::Keys(algorithms)) => {
            Keys::File(read_key_set(arguments, document, algorithms)?)
        }
        _ => Keys::Issuer(Trust::new(
            issuer,
            HttpClient::new(issuer.ca_file.as_deref())?,
            None,
        )),
    };
    Ok(Candidate {
        expectation,
        keys,
        dpop_required: issuer.dpop_required,
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?)
}

fn read_key_set(arguments: &Arguments, document: &[u8], algorithms: &[Algorithm]) -> Result<KeySet, Failure> {
    let path = arguments.jwks.as_deref().unwrap_or(Path::new("")).display();
    Ok(KeySet::parse_for(document, algorithms).map_err(|e| format!("{path}: {e}"))?)
}

fn read_token(file: Option<&Path>) -> Result<String, Failure> {
    let mut text = String::new();
    // One more than the longest token, so that a longer one is still seen to be too long; then a line feed.
    let limit = MAX_TOKEN_BYTES as u64 + 8;
    match file {
        Some(path) => {
            let opened =
                std::fs::File::open(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            opened.take(limit).read_to_string(&mut text)
        }
        None => io::stdin().take(limit).read_to_string(&mut text),
    }
    .map_err(|e| format!("cannot read the token: {e}"))?;
    let token = text.trim();
    // People paste the whole header.
    let schemes = ["Bearer ", "DPoP "];
    let bare = schemes.iter().find_map(|scheme| token.strip_prefix(scheme));
    Ok(bare.unwrap_or(token).to_owned())
}

fn proof(arguments: &Arguments) -> Result<Option<ShownProof>, Failure> {
    let (Some(path), Some(url)) = (&arguments.dpop_proof, &arguments.url) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok(Some(ShownProof {
        text: text.trim().to_owned(),
        method: arguments.method.clone(),
        url: url.clone(),
    }))
}

fn lines(explanation: &Explanation) -> String {
    let mut text = String::new();
    for step in &explanation.steps {
        let mark = match step.verdict {
            Verdict::Passed => "ok  ",
            Verdict::Failed => "FAIL",
            Verdict::Skipped => "-   ",
        };
        text += &format!("{mark}  {:<10} {}\n", step.check, step.demands);
        if let Some(reason) = &step.reason {
            text += &format!("                 found: {reason}\n");
        }
    }
    text + if explanation.accepted {
        "accepted"
    } else {
        "refused"
    }
}
