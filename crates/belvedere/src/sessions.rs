//! `belvedere session …`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Subcommand;
use client::rest::Client;
use protocol::SessionId;
use protocol::rest::{Session, SessionSize, SessionStatus};

use crate::connection::ConnectionArgs;

/// What to do with sessions.
#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// Creates a session and waits until it is Ready.
    Create {
        /// Its id (letters, digits, '-', '_'); made up if absent.
        id: Option<SessionId>,
        /// Standard or Premium.
        #[arg(long, default_value = "Standard", value_parser = size)]
        size: SessionSize,
        /// Lease in minutes, from Ready; at most 1440.
        #[arg(long, value_name = "MINUTES", default_value_t = 60)]
        lease: u32,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a session.
    Get {
        /// Its id.
        id: SessionId,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists the sessions that are Starting or Ready.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sets a longer lease.
    Extend {
        /// Its id.
        id: SessionId,
        /// The new total in minutes since Ready.
        #[arg(long, value_name = "MINUTES")]
        lease: u32,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stops a session.
    Stop {
        /// Its id.
        id: SessionId,
    },
}

fn size(text: &str) -> Result<SessionSize, String> {
    SessionSize::parse(text).ok_or_else(|| "a size is Standard or Premium".to_owned())
}

/// Runs the command.
pub(crate) fn run(connection: &ConnectionArgs, command: &SessionCommand) -> Result<()> {
    let client = connection.client()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(execute(&client, command))
}

async fn execute(client: &Client, command: &SessionCommand) -> Result<()> {
    match command {
        SessionCommand::Create { id, size, lease, json } => {
            let id = match id {
                Some(id) => id.clone(),
                None => uuid::Uuid::new_v4().to_string().parse()?,
            };
            let created = client.create(&id, *size, *lease).await?;
            let session = until_started(client, created).await?;
            show(&[&session], *json)?;
            if session.status == SessionStatus::Error {
                let error = session.error.map_or_else(String::new, |error| error.message);
                bail!("the session failed to start: {error}");
            }
        }
        SessionCommand::Get { id, json } => show(&[&client.get(id).await?], *json)?,
        SessionCommand::List { json } => {
            let sessions = client.list().await?;
            if sessions.is_empty() && !json {
                println!("No session is Starting or Ready. `belvedere session create` makes one.");
            } else {
                show(&sessions.iter().collect::<Vec<_>>(), *json)?;
            }
        }
        SessionCommand::Extend { id, lease, json } => show(&[&client.extend(id, *lease).await?], *json)?,
        SessionCommand::Stop { id } => client.stop(id).await?,
    }
    Ok(())
}

/// Polls until the session leaves Starting; the service itself ends a start that takes too long.
async fn until_started(client: &Client, mut session: Session) -> Result<Session> {
    let mut pause = Duration::from_millis(10);
    while session.status == SessionStatus::Starting {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
        session = client.get(&session.id).await?;
    }
    Ok(session)
}

fn show(sessions: &[&Session], json: bool) -> Result<()> {
    if json {
        match sessions {
            [one] => println!("{}", serde_json::to_string_pretty(one)?),
            many => println!("{}", serde_json::to_string_pretty(many)?),
        }
        return Ok(());
    }
    let width = sessions.iter().map(|session| session.id.as_str().len()).max().unwrap_or(0).max(2);
    println!("{:width$}  {:8}  {:8}  {:>12}  CREATED", "ID", "STATUS", "SIZE", "MINUTES");
    for session in sessions {
        let minutes = format!("{} of {}", session.elapsed_time_minutes, session.max_lease_time_minutes);
        println!(
            "{:width$}  {:8}  {:8}  {minutes:>12}  {}",
            session.id.as_str(),
            session.status.as_str(),
            session.size.as_str(),
            session.creation_time
        );
        if let Some(error) = &session.error {
            println!("{:width$}  {}: {}", "", error.code, error.message);
        }
    }
    Ok(())
}
