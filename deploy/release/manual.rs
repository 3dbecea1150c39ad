//! Writes the man pages and shell completions for packages into a folder, from the same definition of
//! the flags that the program uses.

use std::path::PathBuf;
use std::{env, fs, io};

use clap::CommandFactory;
use clap_complete::Shell;
use hallpass::cli::Options;

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
    Ok(())
}
