//! The application: routes, sign-in, forward auth, pages.

mod router;
mod app;
mod settings;
mod error;
mod request_id;
mod client_address;
mod csrf;
mod cors;
mod rate_limit;
mod body;
mod signin_request;
mod signin;
mod authenticate;
mod single_flight;
mod sessions;
mod tokens;
mod google_events;
mod monitoring;
mod forward_auth;
mod assertion;
mod return_to;
mod cookies;
mod session_cookie;
mod pages;

pub use app::App;
pub use router::INSTANCE_HEADER;
pub use settings::{Logo, RateLimit, RemoteUser, Settings, TrustedProxies, is_within};
pub use signin::allow_list;
