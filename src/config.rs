//! Settings: flags and environment variables in, checked values out.

mod options;
mod operator;
mod diagnosis;
mod keeping;
mod settings;

pub use diagnosis::{DoctorOptions, VerifyOptions};

pub use keeping::{KeepingOptions, Retention};
pub use operator::{
    BackupOptions, DatabaseOption, EventsOptions, ExportFormat, ImportOptions, RestoreOptions,
    SessionsCommand, SessionsOptions, SortOption, UsersCommand, UsersOptions, WhoOption,
};
pub use options::{Command, HealthOptions, LogFormat, Options, ServeOptions, VerifyOption};
pub use settings::{Logo, Settings, SigninLimit, TrustedProxies, is_within};
pub(crate) use settings::{cookie_domain, origin, policy, public_url, trusted_proxies, verifier};
