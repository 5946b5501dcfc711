//! `belvedere completions …` and `belvedere man …`: made from the same description that parses the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap_complete::Shell;

use crate::sessions::print;

/// For which shell.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  belvedere completions bash > ~/.local/share/bash-completion/completions/belvedere
  belvedere completions zsh > ~/.zfunc/_belvedere
  belvedere completions fish > ~/.config/fish/completions/belvedere.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints what teaches the shell our commands.
pub(crate) fn completions(mut command: clap::Command, args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "belvedere", &mut script);
    print(&String::from_utf8(script)?)
}

/// Where to.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  belvedere man --out /usr/local/share/man/man1
  belvedere man --out . && man ./belvedere-session-create.1")]
pub(crate) struct ManArgs {
    /// Folder to write them into; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes a manual page for every command.
pub(crate) fn man(command: clap::Command, args: &ManArgs) -> Result<()> {
    let out: &Path = &args.out;
    let failed = || format!("the manual pages cannot be written to {}", out.display());
    std::fs::create_dir_all(out).with_context(failed)?;
    // Built, commands know their full names, and that global flags are theirs, too.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_page(&command, "belvedere", out).with_context(failed)
}

fn write_page(command: &clap::Command, name: &str, out: &Path) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone().name(name.to_owned()).bin_name(name.replace('-', " ")))
        .title(name.to_uppercase())
        .source(format!("Belvedere {}", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(out.join(format!("{name}.1")), text)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        write_page(sub, &format!("{name}-{}", sub.get_name()), out)?;
    }
    Ok(())
}
