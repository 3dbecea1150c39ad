//! Does Google vouch for this token, and is it for us?

mod verifier;
mod failure;
mod tokeninfo;
mod call_limiter;
mod rejected_tokens;
mod keys;
mod jwks;
mod jws;
mod identity;
mod security_event;
mod service_account;
mod risc_api;
mod policy;
pub mod demo;

pub use failure::Failure;
pub use identity::{
    CLOCK_SKEW_SECONDS_MAX, Claims, Expected, Identity, Rejection, RuleVerdict, VerifiedBy,
};
pub use jwks::KeySet;
pub use keys::{FetchedKeys, Keys, fetch_keys};
pub use policy::{
    ANOTHER_ACCOUNT, ANOTHER_SPELLING, AllowList, NO_AUTHORITY, NO_WORKSPACE, NOT_ON_THE_LIST,
    Policy, SERVICE_ACCOUNT, is_for_want_of_an_entry,
};
pub use risc_api::{Registration, RiscApi};
pub use security_event::{AccountEvent, EventFailure, EventType, SecurityEvent};
pub use service_account::ServiceAccount;
pub use tokeninfo::{Exchange, Tokeninfo, TokeninfoSettings};
pub use verifier::{Decision, Question, Verification, Verifier, VerifierSettings, Verify};
