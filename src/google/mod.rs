//! Does Google vouch for this token, and is it for us?

mod tokeninfo;
mod gate;
mod refused;
mod identity;
mod policy;
pub mod demo;

pub use identity::{CLOCK_SKEW_SECONDS_MAX, Claimed, Finding, ISSUERS, Identity, Rejection};
pub use policy::{AllowList, NOT_ON_THE_LIST, Policy};
pub use tokeninfo::{Exchange, Failure, Tokeninfo, TokeninfoSettings, proxy_for};
