//! Google sign-in for self-hosted apps: a token in, Google asked, the user recorded, a session out.
//!
//! ```text
//! client -> door -> tiny_http -> App::handle -> google (ureq -> tokeninfo, or its public keys)
//!                                            -> store  (rusqlite)
//! ```
//!
//! `google` and `store` do not know each other; `web` brings them together. Time is a parameter,
//! the seam to Google is a URL.

pub mod profile;
pub mod entry;
pub mod published_keys;
pub mod token;
pub mod json;
pub mod address;
pub mod clock;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod http_client;
pub mod google;
pub mod store;
pub mod http;
pub mod web;
pub mod cli;
