//! Does Google vouch for this token, and is it for us?

mod tokeninfo;
mod client;
mod gate;
mod refused;
mod identity;
mod policy;
pub mod demo;

pub use identity::{ISSUERS, Identity, Rejection};
pub use policy::{AllowList, NOT_ON_THE_LIST, Policy};
pub use tokeninfo::{Failure, Tokeninfo, TokeninfoSettings};
