//! Settings: flags and environment variables in, checked values out.

mod options;
mod operator;
mod keeping;
mod settings;

pub use keeping::{KeepingOptions, Retention};
pub use operator::{
    BackupOptions, DatabaseOption, EventsOptions, ExportFormat, ImportOptions, RestoreOptions, SessionsCommand,
    SessionsOptions, SortOption, UsersCommand, UsersOptions, WhoOption,
};
pub use options::{Command, HealthOptions, LogFormat, Options, ServeOptions};
pub use settings::{ListenAddress, Logo, Settings, SigninLimit, TrustedProxies, is_within};
