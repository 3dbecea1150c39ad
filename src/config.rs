//! Settings: flags and environment variables in, checked values out.

mod options;
mod settings;

pub use options::{Command, DemoOptions, HealthOptions, LogFormat, Options, ServeOptions};
pub use settings::{ListenAddress, Logo, Settings, SigninLimit, TrustedProxies, is_within};
