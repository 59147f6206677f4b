//! `poblysh completions` and `poblysh man`, generated from the arguments.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

const NAME: &str = "poblysh";

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManualArguments {
    /// Write a page for the command and one for each subcommand to this folder.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Prints the completions for a shell.
pub(crate) fn complete(mut command: Command, shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut script);
    io::stdout().write_all(&script)
}

/// Prints the page of the command, or writes all pages.
pub(crate) fn run(command: Command, arguments: &ManualArguments) -> anyhow::Result<()> {
    let Some(folder) = &arguments.to else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        return Ok(io::stdout().write_all(&page)?);
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .with_context(|| format!("failed to write the pages to {}", folder.display()))
}
