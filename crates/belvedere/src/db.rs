//! `belvedere db …`: the database file of the data folder, beside a running service or without one.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use control::database::{self, DatabaseError, Report};

use crate::outcome::{Exit, Failure};

/// Which data folder, and what to do.
#[derive(Args)]
pub(crate) struct DbArgs {
    /// Data folder of the service. Default: the user's data folder.
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA", global = true)]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Subcommand)]
enum DbCommand {
    /// Copies the database to a new file that only its owner can read. The service may go on meanwhile.
    #[command(after_help = "\
Example:
  belvedere db backup /backups/belvedere-$(date +%F).db")]
    Backup {
        /// The new file.
        file: PathBuf,
    },
    /// Looks whether the database is whole and makes sense. Ends with code 1 if not.
    #[command(after_help = "\
Examples:
  belvedere db check
  belvedere db check /backups/belvedere-2026-11-22.db --json")]
    Check {
        /// A database file, such as a backup. Default: that of the data folder.
        file: Option<PathBuf>,
        /// Prints the report as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub(crate) fn run(args: &DbArgs) -> Result<()> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => crate::config::default_data_dir()?,
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match &args.command {
            DbCommand::Backup { file } => {
                let report = database::backup(&data, file).await.map_err(failure)?;
                println!("{} holds {}.", file.display(), content(&report));
            }
            DbCommand::Check { file, json } => {
                let report = match file {
                    Some(file) => database::check_file(file).await,
                    None => database::check(&data).await,
                }
                .map_err(failure)?;
                if *json {
                    println!("{}", serde_json::to_string_pretty(&report)?);
                } else {
                    for problem in &report.problems {
                        println!("{}: {}", problem.place, problem.what);
                    }
                    println!("It holds {}.", content(&report));
                }
                if !report.ok {
                    let failure = Failure::new(Exit::Failure, "the database is not as it should be");
                    return Err(failure.hint("restore a backup (docs/how-to/backup.md)").into());
                }
            }
        }
        Ok(())
    })
}

fn failure(error: DatabaseError) -> anyhow::Error {
    match error {
        DatabaseError::Missing(_) => Failure::new(Exit::NotFound, error.to_string())
            .hint("name the data folder with --data, or the file")
            .into(),
        error => error.into(),
    }
}

fn content(report: &Report) -> String {
    let count = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}, {} ({} live), schema {}",
        count(report.accounts, "account"),
        count(report.sessions, "session"),
        report.live_sessions,
        report.schema
    )
}
