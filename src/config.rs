//! Settings: flags and environment variables in, checked values out.

mod environment;
mod options;
mod operator;
mod diagnosis;
mod keeping;
mod values;
mod settings;

pub use diagnosis::{DoctorOptions, VerifyOptions};
pub use environment::unknown_variables;
pub use keeping::{KeepingOptions, Retention};
pub use operator::{
    BackupOptions, DatabaseOption, EventsOptions, ExportFormat, ImportOptions, PointInTime,
    RestoreOptions, SessionsCommand, SessionsOptions, UsersCommand, UsersOptions, WhoOption,
};
pub use options::{Command, HealthOptions, LogFormat, Options, ServeOptions};
pub use settings::{Logo, Settings, SigninLimit, TrustedProxies, is_within};
pub(crate) use settings::{
    client_ids, cookie_domain, origin, policy, public_url, registrable_domain, trusted_proxies,
    verifier,
};
