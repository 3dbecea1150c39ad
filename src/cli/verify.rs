//! `hallpass verify`: shows the result of each check of an ID token, without recording anything.

use std::io::{self, IsTerminal, Read};
use std::sync::Arc;

use clap::{Args, value_parser};

use super::serve_options::ServeOptions;
use super::settings;
use super::stop::Stop;
use crate::cli::output::report::{Finding, Report, Verdict};
use crate::cli::output::time::{distance, local};
use crate::clock;
use crate::google::{
    self, AllowList, Claims, Expected, Failure, Identity, Policy, Question, Rejection,
    SERVICE_ACCOUNT, Verification, VerifiedBy, Verifier,
};
use crate::store::{Database, Refusal, Store, StoreError};
use crate::token::{ID_TOKEN_BYTES_MAX, IdToken, PastedToken};
use crate::web::allow_list;

/// The exit code if Google or the database cannot answer.
const CANNOT_SAY: u8 = 3;
/// A token and white space around it; longer input is not a token.
const INPUT_BYTES_MAX: u64 = 2 * ID_TOKEN_BYTES_MAX as u64;

/// Flags of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyOptions {
    /// The ID token [default: read from standard input, so the shell's history and ps do not
    /// show it]
    // We reject a token pasted in pieces ourselves: clap would print the unexpected piece.
    #[arg(value_name = "TOKEN", num_args = 0.., value_parser = value_parser!(PastedToken))]
    pub token: Vec<PastedToken>,
    /// The nonce that the app would send with the token
    #[arg(long, value_name = "NONCE")]
    pub nonce: Option<String>,
    /// Print a JSON array of objects with check, verdict (ok, warning, failure or unknown) and
    /// detail
    #[arg(long)]
    pub json: bool,
    /// The settings to verify it with.
    #[command(flatten)]
    pub serve: ServeOptions,
}

/// Runs `hallpass verify`.
///
/// # Errors
/// If the token would not sign anybody in: one sentence, without the token.
pub fn verify(options: &VerifyOptions) -> Result<(), Stop> {
    if options.serve.client_id.is_empty() {
        return Err(Stop::usage(
            "give --client-id (or HALLPASS_CLIENT_ID): the client ID that the token is for".into(),
        ));
    }
    let policy = settings::policy(&options.serve).map_err(Stop::usage)?;
    let address = &options.serve.database;
    let database = address.may_exist().then(|| address.open_reading()).transpose();
    if policy.is_empty() && matches!(database, Ok(None)) {
        return Err(Stop::usage(settings::nobody(&policy)));
    }
    let verifier = settings::verifier(&options.serve).map_err(Stop::usage)?;
    let pasted = match options.token.as_slice() {
        [] => from_stdin().map_err(Stop::usage)?,
        [token] => token.clone(),
        _ => return Err(Stop::usage("give one token, without white space in it".into())),
    };

    let mut report = Report::new(options.json);
    let text = pasted.expose();
    let Some(token) = IdToken::parse(text) else {
        report.add(finding(
            "shape",
            Verdict::Failure,
            format!("{} bytes that cannot be a Google ID token", text.len()),
        ))?;
        return conclude(report, None);
    };
    let segments = text.split('.').count();
    if segments != 3 {
        report.add(finding(
            "shape",
            Verdict::Failure,
            format!("an ID token has 3 parts with dots between them, not {segments}"),
        ))?;
        return conclude(report, None);
    }
    report.add(finding("shape", Verdict::Ok, format!("{} bytes in 3 segments", text.len())))?;

    let now = clock::now();
    let expected =
        Expected { audiences: &options.serve.client_id, nonce: options.nonce.as_deref(), now };
    // A new verifier, so nothing is cached.
    let verifier = Verifier::new(&verifier, None, &Arc::default());
    let decision = verifier.decide(&Question { token: &token, expected, client: None });
    if let Some(verification) = &decision.failed {
        // The keys answered in its place, so this does not decide.
        report.add(Finding { verdict: Verdict::Warning, ..unavailable(verification) })?;
    }
    let Verification { by, claims, .. } = &decision.decisive;
    report.add(heard(&decision.decisive))?;
    // If nothing vouches for the token, its own claims may still explain why.
    let Some(document) = claims.clone().or_else(|| token.payload()) else {
        report.add(finding("claims", Verdict::Unknown, "there are no claims to check"))?;
        return conclude(report, None);
    };
    let is_vouched = claims.is_some();
    let (rules, claims) = Identity::explain(&document, *by, &expected);
    for rule in rules {
        report.add(explained(&rule, is_vouched, claims.as_ref(), now))?;
    }
    if let Some(claims) = &claims {
        report.add(admitted(&policy, claims, &database))?;
        for finding in remembered(address, claims, &token, database) {
            report.add(finding)?;
        }
    }
    conclude(report, claims.as_ref())
}

fn from_stdin() -> Result<PastedToken, String> {
    let mut text = String::new();
    let stdin = io::stdin();
    let read = if stdin.is_terminal() {
        eprint!("ID token: ");
        stdin.read_line(&mut text)
    } else {
        stdin.lock().take(INPUT_BYTES_MAX).read_to_string(&mut text)
    };
    // The error for text that is not UTF-8 does not contain the text.
    read.map_err(|error| format!("cannot read the token: {error}"))?;
    Ok(text.into())
}

fn finding(check: &'static str, verdict: Verdict, detail: impl Into<String>) -> Finding {
    Finding { check, verdict, detail: detail.into(), advice: None }
}

fn heard(verification: &Verification) -> Finding {
    let took = verification.took.as_millis();
    let key =
        verification.kid.as_ref().map(|kid| format!(" (RS256, key {kid:?})")).unwrap_or_default();
    let (verdict, detail) = match (&verification.claims, &verification.verdict, verification.by) {
        (Some(_), _, VerifiedBy::Tokeninfo) => {
            (Verdict::Ok, format!("Google vouches for it, after {took} ms"))
        }
        (Some(_), _, VerifiedBy::Keys) => {
            (Verdict::Ok, format!("Google has signed it{key}, after {took} ms"))
        }
        (None, Err(Failure::Refused(_)), VerifiedBy::Tokeninfo) => (
            Verdict::Failure,
            format!("Google refuses it, after {took} ms: it is malformed, altered or expired"),
        ),
        (None, Err(Failure::Refused(reason)), VerifiedBy::Keys) => {
            (Verdict::Failure, format!("{reason}{key}"))
        }
        (None, _, _) => return unavailable(verification),
    };
    finding(verification.by.as_str(), verdict, detail)
}

fn unavailable(verification: &Verification) -> Finding {
    let cause = match &verification.verdict {
        Err(Failure::Unavailable { cause, .. }) => cause,
        _ => "no answer",
    };
    let detail = format!("{cause}, after {} ms", verification.took.as_millis());
    finding(verification.by.as_str(), Verdict::Unknown, detail)
}

fn explained(
    rule: &google::RuleVerdict,
    is_vouched: bool,
    claims: Option<&Claims>,
    now: i64,
) -> Finding {
    let claim = rule.claim.as_deref().unwrap_or("absent");
    let shown = match rule.rule {
        "claims" if is_vouched => "complete".into(),
        "claims" => "complete, but read from the token: Google does not vouch for them".into(),
        "exp" | "iat" | "nbf" => claim
            .parse()
            .map_or(claim.to_owned(), |at| format!("{} ({})", local(at), distance(at, now))),
        "profile" => claims.map(described).unwrap_or_default(),
        _ => claim.to_owned(),
    };
    match rule.verdict {
        Ok(()) => finding(rule.rule, Verdict::Ok, shown),
        Err(Rejection::Invalid(reason)) => {
            let claim = rule.claim.as_ref().map(|_| format!("{shown}: ")).unwrap_or_default();
            finding(rule.rule, Verdict::Failure, format!("{claim}{reason}"))
        }
        Err(Rejection::Unreadable(reason)) => finding(rule.rule, Verdict::Unknown, reason),
    }
}

fn described(claims: &Claims) -> String {
    let email = claims.profile.email.as_deref().map(|email| {
        let authority =
            if claims.profile.email_authoritative { "Google is" } else { "Google is not" };
        format!("{email} ({authority} authoritative for it)")
    });
    let domain = claims.profile.hosted_domain.as_ref().map(|domain| format!("hd {domain}"));
    let parts = [
        claims.profile.name.clone(),
        Some(email.unwrap_or("no e-mail".into())),
        Some(domain.unwrap_or("no hd".into())),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn admitted(policy: &Policy, claims: &Claims, database: &Opened) -> Finding {
    let admits = |text: String| finding("policy", Verdict::Ok, text);
    let refuses = |reason: &str| finding("policy", Verdict::Failure, reason);
    if claims.is_service_account() {
        return refuses(SERVICE_ACCOUNT);
    }
    if policy.permits(&claims.profile) {
        return admits(match policy {
            Policy::Anyone => "anyone may sign in".into(),
            Policy::Listed(_) => "the settings let this account in".into(),
        });
    }
    let list = match database {
        Ok(Some(database)) => database
            .entry_for(&claims.profile)
            .and_then(|entry| Ok((entry, allow_list(database.allowed_names()?)))),
        Ok(None) => Ok((None, AllowList::default())),
        Err(error) => Err(error.clone()),
    };
    match list {
        Ok((Some(entry), _)) => {
            admits(format!("the list in the database lets this account in: {}", entry.name()))
        }
        Ok((None, list)) => refuses(policy.refusal(&claims.profile, &list)),
        Err(error) => finding("policy", Verdict::Unknown, error.to_string()),
    }
}

/// `None` if there is none yet.
type Opened = Result<Option<Store>, StoreError>;

/// The checks against the database, if there is one.
fn remembered(
    address: &Database,
    claims: &Claims,
    token: &IdToken,
    database: Opened,
) -> Vec<Finding> {
    let store = match database {
        Ok(Some(store)) => store,
        Ok(None) => {
            let nobody = format!("there is none at {address}, so nobody is blocked");
            return vec![finding("database", Verdict::Ok, nobody)];
        }
        Err(error) => return vec![finding("database", Verdict::Unknown, error.to_string())],
    };
    let asked = |refusal: Refusal| {
        let (check, otherwise) = match refusal {
            Refusal::Blocked => ("block", "this account is not blocked"),
            Refusal::DisabledByGoogle => {
                ("google-events", "Google has not reported that this account was disabled")
            }
            Refusal::TokenEnded => ("revocation", "this ID token was not ended"),
            Refusal::EmailHeld => ("pin", "no other account holds this e-mail"),
            Refusal::NotAllowed(_) => ("policy", "the list lets this account in"),
        };
        match store.refuses(refusal, &claims.profile, &token.signed_hash()) {
            Ok(false) => finding(check, Verdict::Ok, otherwise),
            Ok(true) => finding(check, Verdict::Failure, refusal.description()),
            Err(error) => finding(check, Verdict::Unknown, error.to_string()),
        }
    };
    Refusal::ALL.map(asked).into()
}

/// The first check that does not pass decides, as in the server.
fn conclude(mut report: Report, claims: Option<&Claims>) -> Result<(), Stop> {
    let decisive = report
        .findings()
        .iter()
        .find(|finding| matches!(finding.verdict, Verdict::Failure | Verdict::Unknown));
    let (code, message) = match (decisive, claims) {
        (None, Some(claims)) => {
            report.add(finding(
                "sign-in",
                Verdict::Ok,
                format!("it would sign in {}", claims.profile.display_name()),
            ))?;
            return Ok(report.finish()?);
        }
        (Some(finding), _) if finding.verdict == Verdict::Failure => {
            (1, format!("it would be refused ({})", finding.check))
        }
        (finding, _) => (
            CANNOT_SAY,
            format!(
                "the result is unknown ({})",
                finding.map_or("claims", |finding| finding.check)
            ),
        ),
    };
    report.finish()?;
    Err(Stop { code, message })
}
