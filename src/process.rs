//! This process and its machine as the operating system sees them (proc(5)).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{Access, access, statvfs};
use rustix::process::{geteuid, nice};
use rustix::time::{ClockId, clock_gettime};

use crate::metrics::Reading;

/// The variables of the settings file, such as RUST_LOG and HTTPS_PROXY. The environment itself
/// cannot be changed without unsafe code.
static FILE_VARIABLES: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// The lower priority: about a thirtieth of a processor that others need (sched(7)).
const NICE: i32 = 15;

/// Processor time, memory, threads and descriptors under their usual Prometheus names. Values that
/// cannot be read are omitted.
pub fn readings() -> Vec<Reading> {
    let resident = status_value("VmRSS:").map(|kibibytes| kibibytes * 1024);
    let threads = status_value("Threads:");
    let descriptors = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
    let descriptors_max = rlimit::Resource::NOFILE.get_soft().ok();
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory", resident),
        ("process_threads", "Threads", threads),
        ("process_open_fds", "Open file descriptors", descriptors),
        ("process_max_fds", "Limit of open file descriptors", descriptors_max),
    ];
    let gauges = gauges
        .into_iter()
        .filter_map(|(name, help, value)| Some(Reading::gauge(name, help, value?)));
    let cpu =
        Reading::seconds("process_cpu_seconds_total", "User and system processor time", cpu_time());
    gauges.chain([cpu]).collect()
}

/// The user and system time of all threads.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The kernel's ID of this boot (random(4)), or an empty string.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// The soft and hard limit of file descriptors.
pub fn descriptor_limits() -> Option<(u64, u64)> {
    rlimit::Resource::NOFILE.get().ok()
}

/// A handle on the file at `path`. It stays valid if the path changes (open(2), O_PATH).
///
/// # Errors
/// If there is no such file.
#[cfg(target_os = "linux")]
pub fn path_handle(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether this user may read and write the file at `path`.
pub fn is_writable(path: &Path) -> bool {
    access(path, Access::READ_OK | Access::WRITE_OK).is_ok()
}

/// Whether this user is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Free disk space for this user in `folder`.
///
/// # Errors
/// If the system does not say.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The command line, beginning with the program's name.
pub fn arguments() -> impl Iterator<Item = OsString> {
    env::args_os()
}

/// A variable of the environment, or else of the settings file. `None` if it is empty.
pub fn variable(name: &str) -> Option<String> {
    let from_file = || {
        let (_, value) = FILE_VARIABLES.get()?.iter().rev().find(|(known, _)| known == name)?;
        Some(value.clone())
    };
    let is_set = |value: &String| !value.trim().is_empty();
    env::var(name).ok().filter(is_set).or_else(from_file).filter(is_set)
}

/// The environment variables with that prefix and their values.
pub fn variables(prefix: &str) -> Vec<(String, String)> {
    env::vars_os()
        .map(|(name, value)| [name, value].map(|text| text.to_string_lossy().into_owned()))
        .filter(|[name, _]| name.starts_with(prefix))
        .map(|[name, value]| (name, value))
        .collect()
}

/// Adds the variables of the settings file, which the environment overrides. Only the first call
/// counts.
pub fn add_variables(variables: Vec<(String, String)>) {
    FILE_VARIABLES.get_or_init(|| variables);
}

fn status_value(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Lowers the priority of this thread for good. On an idle machine it is as fast as before.
pub fn lower_priority() {
    // Other systems would lower the priority of the whole process (nice(2)).
    if cfg!(target_os = "linux") {
        // The work is done even if this fails.
        let _ = nice(NICE);
    }
}
