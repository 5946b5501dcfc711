//! `belvedere config check` and `config show`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::keys::{self, About, Form, TABLE};
use super::sources::{Problems, Source, Values};
use super::{ServeArgs, Settings};

/// What to do with the configuration.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Says everything that is wrong with the configuration; exits with success if nothing is.
    Check {
        /// The file to check, as with --config.
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
        #[command(flatten)]
        serve: ServeArgs,
    },
    /// Prints every setting as `serve` would use it, and where its value comes from.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        serve: ServeArgs,
    },
}

/// Runs the command.
pub(crate) fn run(command: ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Check { file, mut serve } => {
            serve.config = file.or(serve.config);
            let mut values = serve.values();
            Settings::of(&mut values)?;
            warn(&values);
            if !values.problems.is_empty() {
                bail!(Problems(values.problems));
            }
            println!("The configuration is good.");
        }
        ConfigCommand::Show { json, serve } => {
            let values = serve.values();
            warn(&values);
            if !values.problems.is_empty() {
                bail!(Problems(values.problems));
            }
            if json {
                println!("{:#}", as_json(&values));
            } else {
                print!("{}", as_table(&values));
            }
        }
    }
    Ok(())
}

fn warn(values: &Values) {
    for warning in values.warnings.iter().chain(&values.doubts) {
        eprintln!("warning: {warning}");
    }
}

/// The value as a person reads it, and its source.
fn shown(about: &About, values: &Values) -> (Option<Vec<String>>, Source) {
    let hidden = |texts: Vec<String>| match about.secret {
        true => texts.iter().map(|_| "(secret)".to_owned()).collect(),
        false => texts,
    };
    match values.given(about) {
        Some(given) => (Some(hidden(given.texts.clone())), given.source.clone()),
        None if about.name == keys::DATA.about.name => {
            let data = super::default_data_dir().ok();
            (data.map(|data| vec![data.display().to_string()]), Source::Default)
        }
        None => (about.default.map(|text| vec![text.to_owned()]), Source::Default),
    }
}

fn as_table(values: &Values) -> String {
    let mut rows: Vec<[String; 3]> = TABLE
        .iter()
        .map(|row| {
            let (texts, source) = shown(row.about(), values);
            let value = texts.map_or_else(|| "–".to_owned(), |texts| texts.join(", "));
            [row.about().name.to_owned(), value, source.to_string()]
        })
        .collect();
    rows.extend(values.oidc.iter().map(|(issuer, source)| {
        ["oidc".to_owned(), format!("{} for {}", issuer.issuer, issuer.audience), source.to_string()]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (names, texts) = (width(0), width(1));
    rows.iter().map(|[name, value, source]| format!("{name:<names$}  {value:<texts$}  {source}\n")).collect()
}

fn as_json(values: &Values) -> Value {
    let typed = |about: &About, text: &str| match about.form {
        Form::Whole if !about.secret => text.parse::<u64>().map_or_else(|_odd| json!(text), Value::from),
        Form::Switch => json!(text == "true"),
        _ => json!(text),
    };
    let settings = TABLE.iter().map(|row| {
        let about = row.about();
        let (texts, source) = shown(about, values);
        let value = match (about.form, texts) {
            (Form::List, texts) => json!(texts.unwrap_or_default()),
            (_, Some(texts)) => texts.first().map_or(Value::Null, |text| typed(about, text)),
            (_, None) => Value::Null,
        };
        (about.name.to_owned(), json!({ "value": value, "source": source.to_string() }))
    });
    let mut all: serde_json::Map<String, Value> = settings.collect();
    let issuers = values.oidc.iter().map(|(issuer, source)| {
        json!({
            "issuer": issuer.issuer, "audience": issuer.audience, "accounts": issuer.accounts,
            "source": source.to_string(),
        })
    });
    all.insert("oidc".to_owned(), issuers.collect());
    Value::Object(all)
}
