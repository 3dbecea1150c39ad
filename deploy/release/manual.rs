//! Writes the man pages and shell completions for packages into a folder, from the same definition of
//! the flags that the program uses.

use std::fs::{self, File};
use std::path::PathBuf;
use std::{env, io};

use clap::{Arg, CommandFactory};
use clap_complete::Shell;
use hallpass::cli::Options;
use roff::{Roff, bold, roman};

fn main() -> io::Result<()> {
    let folder = env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("expected a folder"))?;
    fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(Options::command(), &folder)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut Options::command(), "hallpass", &folder)?;
    }
    settings_file().to_writer(&mut File::create(folder.join("hallpass.env.5"))?)
}

/// hallpass.env(5): the settings file.
fn settings_file() -> Roff {
    let mut page = Roff::new();
    page.control("TH", ["hallpass.env", "5", "", concat!("hallpass ", env!("CARGO_PKG_VERSION"))]);
    let paragraphs = [
        ("NAME", "hallpass.env - settings of hallpass"),
        ("SYNOPSIS", "/etc/hallpass/hallpass.env"),
        (
            "DESCRIPTION",
            "Every hallpass command reads its settings from this file, if it is readable and --env-file or \
             HALLPASS_ENV_FILE does not name another. Only demo ignores it. The environment overrides the file, and flags override both. \
             The server reads it when it starts.",
        ),
        (
            "FORMAT",
            "Each line is NAME=VALUE, as systemd reads it in EnvironmentFile=: quotes and backslashes work, and # or \
             ; begins a comment at the start of a line. A list is separated by commas. Durations are written 90s, 12h, 30d. An empty value \
             counts as unset.",
        ),
    ];
    for (heading, text) in paragraphs {
        page.control("SH", [heading]);
        page.text([roman(text)]);
    }
    page.control("SH", ["SETTINGS"]);
    let mut options = Options::command();
    options.build();
    let serve = options.find_subcommand("serve").expect("there is a server");
    for setting in serve.get_arguments() {
        describe(setting, &mut page);
    }
    page.control("SH", ["OTHER VARIABLES"]);
    let others = [
        ("RUST_LOG", "The log level: error, warn, info or debug."),
        (
            "HTTPS_PROXY, ALL_PROXY, NO_PROXY",
            "The proxy for outgoing calls, and the hosts without it.",
        ),
    ];
    for (name, text) in others {
        page.control("TP", []);
        page.text([bold(name)]);
        page.text([roman(text)]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("hallpass-serve"), roman("(1), "), bold("systemd.exec"), roman("(5)")]);
    page
}

fn describe(setting: &Arg, page: &mut Roff) {
    let (Some(variable), Some(help)) =
        (setting.get_env(), setting.get_long_help().or(setting.get_help()))
    else {
        return;
    };
    // Read before the file is.
    if variable == "HALLPASS_ENV_FILE" {
        return;
    }
    page.control("TP", []);
    page.text([bold(variable.to_string_lossy())]);
    let defaults: Vec<_> =
        setting.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if defaults.is_empty() || setting.is_hide_default_value_set() {
        String::new()
    } else {
        format!(" [default: {}]", defaults.join(","))
    };
    page.text([roman(format!("{help}{default}"))]);
}
