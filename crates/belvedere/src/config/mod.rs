//! What the service is told: flags over environment over file over defaults, read once, checked, and given to the
//! rest of the program as [`Settings`].
//!
//! ```text
//!   keys     the table of settings: names, forms, defaults, help
//!   sources  values by name, each with where it was given; problems
//!   here     values → Settings, and what depends on several of them
//!   command  `belvedere config check` and `show`
//! ```

pub(crate) mod command;
mod keys;
mod sources;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};
use control::clock::{Clock as _, SystemClock};
use control::{
    Acme, AuditLimits, CertificateFiles, Certificates, Machine, ManagementToken, OidcIssuer, Origin,
    RateLimit, Sizes,
};

pub(crate) use keys::LogFormat;

use keys::Form;
use sources::{Problem, Problems, Source, Values};

/// Environment variable with the path of the configuration file.
const ENV_CONFIG: &str = "BELVEDERE_CONFIG";

/// Flags of `serve` and `view`: one for each row of [`keys::TABLE`], and the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServeArgs {
    config: Option<PathBuf>,
    flags: BTreeMap<&'static str, Vec<String>>,
}

impl Args for ServeArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file with settings [env: BELVEDERE_CONFIG]");
        let flags = keys::TABLE.iter().map(|row| {
            let about = row.about();
            let default = about.default.map(|value| format!(" Default: {value}.")).unwrap_or_default();
            let arg = Arg::new(about.name)
                .long(about.flag())
                .value_name(about.value_name)
                .help(format!("{}{default}", about.help));
            match about.form {
                Form::List => arg.action(ArgAction::Append).value_delimiter(','),
                Form::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                Form::Text | Form::Path | Form::Whole => arg,
            }
        });
        command.arg(file).args(flags).after_help(
            "Each setting can also be an environment variable (BELVEDERE_ and its name: --listen-http is \
             BELVEDERE_LISTEN_HTTP) or stand in the file (listen-http = \"…\"). Flags win over variables, variables \
             over the file. `belvedere config show` tells which value comes from where.",
        )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one("config").cloned();
        self.flags = keys::TABLE
            .iter()
            .map(|row| row.about().name)
            .filter_map(|name| Some((name, matches.get_many::<String>(name)?.cloned().collect())))
            .collect();
        Ok(())
    }
}

impl ServeArgs {
    /// Everything that was given, by whatever way.
    fn values(&self) -> Values {
        let file = self.config.clone().or_else(|| std::env::var_os(ENV_CONFIG).map(PathBuf::from));
        Values::gather(file.as_deref(), std::env::vars_os(), &self.flags)
    }

    /// The settings, and what to tell the operator about them.
    ///
    /// # Errors
    ///
    /// Names everything that is wrong, with its place.
    pub(crate) fn settings(&self) -> Result<(Settings, Vec<String>)> {
        let mut values = self.values();
        let settings = Settings::of(&mut values)?;
        if !values.problems.is_empty() {
            bail!(Problems(values.problems));
        }
        Ok((settings, values.warnings.iter().map(ToString::to_string).collect()))
    }
}

/// Settings that are complete.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) listen_http: SocketAddr,
    pub(crate) listen_https: SocketAddr,
    /// Both ports were left to us, so a busy one may be replaced by a free one.
    pub(crate) default_ports: bool,
    pub(crate) allow_remote: bool,
    pub(crate) hostname: String,
    pub(crate) certificates: Certificates,
    pub(crate) handshake_port: u16,
    pub(crate) inspector_port: u16,
    pub(crate) media: Media,
    pub(crate) models: Option<PathBuf>,
    pub(crate) sizes: Sizes,
    /// Of all sizes.
    pub(crate) max_hosts: Option<u32>,
    pub(crate) rate_limit: RateLimit,
    pub(crate) refusal_limit: RateLimit,
    pub(crate) audit: AuditLimits,
    pub(crate) cors_origins: Vec<Origin>,
    pub(crate) oidc_issuers: Vec<OidcIssuer>,
    pub(crate) management_token: Option<ManagementToken>,
    pub(crate) log: Option<String>,
    pub(crate) log_format: LogFormat,
    pub(crate) otlp_endpoint: Option<String>,
    pub(crate) drain_limit: Duration,
}

/// Where hosts receive media.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) advertise: Option<IpAddr>,
}

impl Settings {
    /// Completes the values; what does not fit together is added to their problems and warnings, and the settings are
    /// good only if there are none.
    fn of(values: &mut Values) -> Result<Self> {
        let data = match values.one(&keys::DATA) {
            Some(data) => data,
            None => default_data_dir()?,
        };
        let models = values.one(&keys::MODELS).and_then(|dir| match dir.canonicalize() {
            Ok(dir) => Some(dir),
            Err(error) => {
                let words = format!("the folder {} cannot be read: {error}", dir.display());
                values.problem(values.source(&keys::MODELS), words);
                None
            }
        });
        let management_token = values.one(&keys::MANAGEMENT_TOKEN_FILE).and_then(|file| {
            let token = match std::fs::read_to_string(&file) {
                Ok(text) => text.parse().map_err(|flaw: control::NoManagementToken| flaw.to_string()),
                Err(error) => Err(format!("the file {} cannot be read: {error}", file.display())),
            };
            let refuse = |words| values.problem(values.source(&keys::MANAGEMENT_TOKEN_FILE), words);
            token.map_err(refuse).ok()
        });
        for (issuer, source) in std::mem::take(&mut values.oidc) {
            match issuer.flaw() {
                Some(flaw) => values.problem(source, flaw),
                None => values.oidc.push((issuer, source)),
            }
        }
        check_reach(values);
        let certificates = certificates(values);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self {
            data,
            default_ports: [&keys::LISTEN_HTTP, &keys::LISTEN_HTTPS]
                .into_iter()
                .all(|key| values.source(key) == Source::Default),
            listen_http: values.one(&keys::LISTEN_HTTP).unwrap_or(free),
            listen_https: values.one(&keys::LISTEN_HTTPS).unwrap_or(free),
            allow_remote: values.one(&keys::ALLOW_REMOTE).unwrap_or_default(),
            hostname: values.one(&keys::HOSTNAME).unwrap_or_default(),
            certificates,
            handshake_port: values.one(&keys::HANDSHAKE_PORT).unwrap_or_default(),
            inspector_port: values.one(&keys::INSPECTOR_PORT).unwrap_or_default(),
            media: Media {
                listen: values.one(&keys::MEDIA_LISTEN),
                advertise: values.one(&keys::MEDIA_ADVERTISE),
            },
            models,
            sizes: sizes(values),
            max_hosts: values.one(&keys::MAX_HOSTS),
            cors_origins: values.all(&keys::CORS_ORIGINS),
            oidc_issuers: values.oidc.iter().map(|(issuer, _)| issuer.clone()).collect(),
            management_token,
            refusal_limit: RateLimit::of(values.one(&keys::REFUSALS_PER_MINUTE).unwrap_or_default()),
            audit: AuditLimits {
                file_bytes: u64::from(values.one(&keys::AUDIT_FILE_MIB).unwrap_or_default()) << 20,
                n_files: values.one(&keys::AUDIT_FILES).unwrap_or_default(),
            },
            rate_limit: RateLimit::of(values.one(&keys::REQUESTS_PER_MINUTE).unwrap_or_default()),
            log: values.one(&keys::LOG),
            log_format: values.one(&keys::LOG_FORMAT).unwrap_or(LogFormat::Text),
            otlp_endpoint: values.one(&keys::OTLP_ENDPOINT),
            drain_limit: values.one(&keys::DRAIN_LIMIT).unwrap_or_default(),
        })
    }
}

/// What was set of the sizes, over what the machine suggests.
fn sizes(values: &mut Values) -> Sizes {
    let mut sizes = Sizes::for_machine(&Machine::detect());
    if let Some(warm_hosts) = values.one(&keys::WARM_HOSTS) {
        sizes.standard.n_warm = warm_hosts;
    }
    // 0 means that there is no limit.
    let limit = |number: u64| (number > 0).then_some(number);
    for (limits, keys) in [(&mut sizes.standard, &keys::STANDARD), (&mut sizes.premium, &keys::PREMIUM)] {
        if let Some(threads) = values.one(&keys.threads) {
            limits.n_threads = threads;
        }
        if let Some(mib) = values.one(&keys.memory_mib) {
            limits.memory_bytes = limit(mib.saturating_mul(1 << 20));
        }
        if let Some(primitives) = values.one(&keys.primitives) {
            limits.n_primitives_max = limit(primitives);
        }
        if let Some(teraflops) = values.one(&keys.teraflops) {
            limits.teraflops = teraflops;
        }
        if let Some(warm_hosts) = values.one(&keys.warm_hosts) {
            limits.n_warm = warm_hosts;
        }
        if let Some(max_hosts) = values.one(&keys.max_hosts) {
            limits.n_hosts_max = Some(max_hosts);
        }
        // Memory is the one value that can be a number and still impossible.
        if let Some(flaw) = limits.flaw() {
            values.problem(values.source(&keys.memory_mib), flaw);
        }
    }
    sizes
}

/// Where the certificate comes from; files are read and checked here already.
fn certificates(values: &mut Values) -> Certificates {
    let wall = SystemClock::new().wall();
    let domains = values.all(&keys::ACME_DOMAINS);
    match (values.one(&keys::TLS_CERTIFICATE), values.one(&keys::TLS_KEY)) {
        (Some(certificate), Some(key)) => {
            let source = values.source(&keys::TLS_CERTIFICATE);
            if !domains.is_empty() {
                let words = "a certificate comes either from files or by `acme.domains`, not both";
                values.problem(source.clone(), words);
            }
            let files = CertificateFiles { certificate, key };
            let hostname = values.one(&keys::HOSTNAME).unwrap_or_default();
            match files.load(wall) {
                // serve says it again for each new pair; check and show have only this.
                Ok(pair) => {
                    for doubt in files.doubts(&pair, &hostname, wall) {
                        values.doubts.push(Problem { source: source.clone(), words: doubt });
                    }
                }
                Err(error) => values.problem(source, error.to_string()),
            }
            Certificates::Files(files)
        }
        (None, None) if domains.is_empty() => Certificates::Own,
        (None, None) => Certificates::Acme(Acme {
            domains,
            contact: values.one(&keys::ACME_CONTACT),
            directory: values.one(&keys::ACME_DIRECTORY).unwrap_or_default(),
            directory_ca: values.one(&keys::ACME_DIRECTORY_CA),
        }),
        (Some(_), None) => {
            values.problem(
                values.source(&keys::TLS_CERTIFICATE),
                "`tls.key` must be given with `tls.certificate`",
            );
            Certificates::Own
        }
        (None, Some(_)) => {
            values.problem(values.source(&keys::TLS_KEY), "`tls.certificate` must be given with `tls.key`");
            Certificates::Own
        }
    }
}

/// Who can reach the service: nobody beyond this machine unless that is asked for, and then with what it needs.
fn check_reach(values: &mut Values) {
    let allowed = values.one(&keys::ALLOW_REMOTE).unwrap_or_default();
    for key in [&keys::LISTEN_HTTP, &keys::LISTEN_HTTPS, &keys::MEDIA_LISTEN] {
        let Some(address) = values.one(key).filter(|address| !address.ip().is_loopback()) else { continue };
        let source = values.source(key);
        if !allowed {
            values.problem(
                source,
                format!(
                    "other machines reach {address}; if they are meant to, say so with `--allow-remote` or \
                     `allow-remote = true`, else listen at a loopback address"
                ),
            );
        } else if std::ptr::eq(key, &raw const keys::LISTEN_HTTP) {
            values.warn(
                source,
                "keys and tokens travel to this address in the clear; let only a proxy reach it, or listen at loopback",
            );
        }
    }
    let https = values.one(&keys::LISTEN_HTTPS).is_some_and(|address| !address.ip().is_loopback());
    let hostname = values.one(&keys::HOSTNAME).unwrap_or_default();
    if allowed && https && hostname == "localhost" {
        let source = values.source(&keys::HOSTNAME);
        values.warn(source, "clients elsewhere are told to look for sessions at `localhost`; set `hostname`");
    }
}

/// `belvedere` in the folder where this user's programs keep data.
pub(crate) fn default_data_dir() -> Result<PathBuf> {
    match dirs::data_local_dir() {
        Some(dir) => Ok(dir.join("belvedere")),
        None => bail!("there is no home folder to keep data in; give one with --data DIR"),
    }
}

#[cfg(test)]
mod tests;
