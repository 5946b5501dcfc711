//! The table of settings: the one place that knows their names, forms, defaults and help.
//!
//! A setting is a `static` here and a row of [`TABLE`]; flag, environment variable, place in the file, `--help`,
//! `config show` and the page in `docs/how-to/` follow from that. What reads it is [`super::Settings`].

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use control::Origin;

/// What is known of a setting beside its type.
#[derive(Debug)]
pub(crate) struct About {
    /// Words joined by `-`, below a table of the file where that is named first: `listen-http`, `tls.key`.
    pub(crate) name: &'static str,
    /// How it is written.
    pub(crate) form: Form,
    /// What a value is, for `--help`: `DIR`, `ADDR`.
    pub(crate) value_name: &'static str,
    /// As it would be given; none if leaving it out means something that no value says.
    pub(crate) default: Option<&'static str>,
    /// A sentence or two. Says what leaving it out means if there is no default.
    pub(crate) help: &'static str,
    /// Never shown.
    pub(crate) secret: bool,
}

/// How a value is written in the file; flags and variables are always text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `"text"`.
    Text,
    /// `"text"`; in the file it is relative to the file's folder.
    Path,
    /// `12`.
    Whole,
    /// `true` or `false`; the bare flag means `true`.
    Switch,
    /// `["text", "text"]`; flags are repeated, in variables there are commas between.
    List,
}

/// A setting with values of type `T`.
pub(crate) struct Key<T> {
    pub(crate) about: About,
    /// Reads one value, or says what is allowed.
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

/// A [`Key`] of any type.
pub(crate) trait Row: Sync {
    fn about(&self) -> &About;
    /// Says what is allowed if `text` is not.
    fn check(&self, text: &str) -> Result<(), String>;
}

impl<T> Row for Key<T> {
    fn about(&self) -> &About {
        &self.about
    }

    fn check(&self, text: &str) -> Result<(), String> {
        (self.parse)(text).map(drop)
    }
}

impl About {
    /// `listen-http` of `--listen-http`.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('.', "-")
    }

    /// The environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("BELVEDERE_{}", self.name.replace(['.', '-'], "_").to_uppercase())
    }
}

/// A setting without default that is no secret; the rest is changed with struct update.
const fn about(name: &'static str, form: Form, value_name: &'static str, help: &'static str) -> About {
    About { name, form, value_name, default: None, help, secret: false }
}

/// The same with a default.
const fn about_or(
    name: &'static str,
    form: Form,
    value_name: &'static str,
    default: &'static str,
    help: &'static str,
) -> About {
    About { name, form, value_name, default: Some(default), help, secret: false }
}

pub(crate) static DATA: Key<PathBuf> = Key {
    about: about(
        "data",
        Form::Path,
        "DIR",
        "Folder for everything that must last: accounts, certificates, database. Without it: the user's data folder.",
    ),
    parse: path,
};

pub(crate) static LISTEN_HTTP: Key<SocketAddr> = Key {
    about: about_or(
        "listen-http",
        Form::Text,
        "ADDR",
        "127.0.0.1:8080",
        "Address of viewer and REST without TLS; port 0 takes a free one, and so does the default if it is taken.",
    ),
    parse: address,
};

pub(crate) static LISTEN_HTTPS: Key<SocketAddr> = Key {
    about: about_or(
        "listen-https",
        Form::Text,
        "ADDR",
        "127.0.0.1:8443",
        "Address of REST with TLS; port 0 takes a free one, and so does the default if it is taken.",
    ),
    parse: address,
};

pub(crate) static ALLOW_REMOTE: Key<bool> = Key {
    about: about_or(
        "allow-remote",
        Form::Switch,
        "BOOL",
        "false",
        "Lets other machines in: without it, only loopback addresses may be listened at.",
    ),
    parse: switch,
};

pub(crate) static HOSTNAME: Key<String> = Key {
    about: about_or(
        "hostname",
        Form::Text,
        "NAME",
        "localhost",
        "The name by which clients reach this machine: sessions report it, and the certificate must have it.",
    ),
    parse: text,
};

pub(crate) static TLS_CERTIFICATE: Key<PathBuf> = Key {
    about: about(
        "tls.certificate",
        Form::Path,
        "FILE",
        "PEM file with the server's certificate and those that lead to a trusted one; read again when it changes. Without it: a certificate authority of our own.",
    ),
    parse: path,
};

pub(crate) static TLS_KEY: Key<PathBuf> = Key {
    about: about(
        "tls.key",
        Form::Path,
        "FILE",
        "PEM file with the key of that certificate. Goes with it: one must be given with the other.",
    ),
    parse: path,
};

pub(crate) static ACME_DOMAINS: Key<String> = Key {
    about: about(
        "acme.domains",
        Form::List,
        "DOMAIN",
        "Orders a certificate for these names from an ACME server, whose terms are agreed to by that. Without it: none is ordered.",
    ),
    parse: domain,
};

pub(crate) static ACME_CONTACT: Key<String> = Key {
    about: about(
        "acme.contact",
        Form::Text,
        "MAIL",
        "Mail address that the ACME server may write to. Without it: none.",
    ),
    parse: mail,
};

pub(crate) static ACME_DIRECTORY: Key<String> = Key {
    about: about_or(
        "acme.directory",
        Form::Text,
        "URL",
        "https://acme-v02.api.letsencrypt.org/directory",
        "The ACME server.",
    ),
    parse: https_url,
};

pub(crate) static ACME_DIRECTORY_CA: Key<PathBuf> = Key {
    about: about(
        "acme.directory-ca",
        Form::Path,
        "FILE",
        "PEM file with the certificate authority of a private ACME server. Without it: those that the system trusts.",
    ),
    parse: path,
};

pub(crate) static HANDSHAKE_PORT: Key<u16> = Key {
    about: about_or(
        "handshake-port",
        Form::Whole,
        "PORT",
        "50051",
        "The TLS port that sessions report as `handshakePort`, 49152 to 65534; 0 takes a free one.",
    ),
    parse: session_port,
};

pub(crate) static INSPECTOR_PORT: Key<u16> = Key {
    about: about_or(
        "inspector-port",
        Form::Whole,
        "PORT",
        "50052",
        "The TLS port that sessions report as `arrInspectorPort`, 49152 to 65534; 0 takes a free one.",
    ),
    parse: session_port,
};

pub(crate) static MEDIA_LISTEN: Key<SocketAddr> = Key {
    about: about_or(
        "media-listen",
        Form::Text,
        "ADDR",
        "127.0.0.1:0",
        "Address where hosts receive media over UDP; port 0 takes a free one for each session.",
    ),
    parse: address,
};

pub(crate) static MEDIA_ADVERTISE: Key<IpAddr> = Key {
    about: about(
        "media-advertise",
        Form::Text,
        "IP",
        "The address that clients are told to send media to, as behind a port forwarding. Without it: the one listened at.",
    ),
    parse: ip,
};

pub(crate) static MODELS: Key<PathBuf> = Key {
    about: about(
        "models",
        Form::Path,
        "DIR",
        "Folder with models that clients may load. Without it: only models that are built in.",
    ),
    parse: path,
};

pub(crate) static WARM_HOSTS: Key<u32> = Key {
    about: about_or(
        "warm-hosts",
        Form::Whole,
        "N",
        "1",
        "How many hosts of size Standard wait, started, for the next session; 0 starts each on demand.",
    ),
    parse: whole,
};

pub(crate) static MAX_HOSTS: Key<u32> = Key {
    about: about(
        "max-hosts",
        Form::Whole,
        "N",
        "How many sessions of all sizes may have hosts at the same time; further ones end in Error. Without it: 8 for each processor, but no more than memory has 512 MiB for, and 256.",
    ),
    parse: whole,
};

/// What can be set for one size.
pub(crate) struct SizeKeys {
    pub(crate) threads: Key<NonZeroU32>,
    pub(crate) memory_mib: Key<u64>,
    pub(crate) primitives: Key<u64>,
    pub(crate) teraflops: Key<f32>,
    pub(crate) warm_hosts: Key<u32>,
    pub(crate) max_hosts: Key<u32>,
}

macro_rules! size_keys {
    ($size:literal, $threads:literal, $memory:literal, $primitives:literal, $warm:literal, $hosts:literal) => {
        SizeKeys {
            threads: Key {
                about: about(
                    concat!("sizes.", $size, ".threads"),
                    Form::Whole,
                    "N",
                    concat!("Threads that render a session of this size. Without it: ", $threads, "."),
                ),
                parse: positive,
            },
            memory_mib: Key {
                about: about(
                    concat!("sizes.", $size, ".memory-mib"),
                    Form::Whole,
                    "MIB",
                    concat!("Memory of a session of this size with its models; 0 sets no limit. Without it: ", $memory, "."),
                ),
                parse: whole_64,
            },
            primitives: Key {
                about: about(
                    concat!("sizes.", $size, ".primitives"),
                    Form::Whole,
                    "N",
                    concat!("Most triangles of a model as drawn; 0 sets no limit but memory. Without it: ", $primitives, "."),
                ),
                parse: whole_64,
            },
            teraflops: Key {
                about: about(
                    concat!("sizes.", $size, ".teraflops"),
                    Form::Text,
                    "NUMBER",
                    "What sessions of this size report as `teraflops`. Without it: what its threads can compute at most.",
                ),
                parse: positive_real,
            },
            warm_hosts: Key {
                about: about(
                    concat!("sizes.", $size, ".warm-hosts"),
                    Form::Whole,
                    "N",
                    concat!("How many hosts of this size wait, started, for the next session. Without it: ", $warm, "."),
                ),
                parse: whole,
            },
            max_hosts: Key {
                about: about(
                    concat!("sizes.", $size, ".max-hosts"),
                    Form::Whole,
                    "N",
                    concat!("How many sessions of this size may have hosts at the same time. Without it: ", $hosts, "."),
                ),
                parse: whole,
            },
        }
    };
}

pub(crate) static STANDARD: SizeKeys = size_keys!(
    "standard",
    "half of the processors, but two if there are two",
    "a quarter of the machine's, but 1024 if it has so much",
    "20000000",
    "`warm-hosts`",
    "`max-hosts`"
);

pub(crate) static PREMIUM: SizeKeys = size_keys!(
    "premium",
    "all processors",
    "half of the machine's, but 1024 if it has so much",
    "no limit but memory",
    "1 on a machine with 4 processors and 8 GiB or more, else 0",
    "a quarter of what `max-hosts` is by default"
);

pub(crate) static REQUESTS_PER_MINUTE: Key<u32> = Key {
    about: about_or(
        "requests-per-minute",
        Form::Whole,
        "N",
        "6000",
        "Requests per minute of one account for one class of operations, and for tokens from one address; a sixth of them may come at once; 0 sets no limit.",
    ),
    parse: whole,
};

pub(crate) static REFUSALS_PER_MINUTE: Key<u32> = Key {
    about: about_or(
        "refusals-per-minute",
        Form::Whole,
        "N",
        "300",
        "Answers 401 and 403 per minute to one address; further ones are 429. A sixth of them may come at once; 0 sets no limit.",
    ),
    parse: whole,
};

pub(crate) static AUDIT_FILE_MIB: Key<u32> = Key {
    about: about_or(
        "audit.file-mib",
        Form::Whole,
        "MIB",
        "16",
        "At this size (in MiB) a new file of the audit log begins.",
    ),
    parse: whole,
};

pub(crate) static AUDIT_FILES: Key<u32> = Key {
    about: about_or(
        "audit.files",
        Form::Whole,
        "N",
        "8",
        "Files of the audit log that are kept; 0 writes none.",
    ),
    parse: whole,
};

pub(crate) static CORS_ORIGINS: Key<Origin> = Key {
    about: about(
        "cors-origins",
        Form::List,
        "ORIGIN",
        "Origins whose pages may call the API from browsers, such as https://app.example.com. Without it: none but our own.",
    ),
    parse: origin,
};

pub(crate) static MANAGEMENT_TOKEN_FILE: Key<PathBuf> = Key {
    about: about(
        "management.token-file",
        Form::Path,
        "FILE",
        "File with the token that opens the management API, which makes and deletes accounts; read at the start. Without it: there is no management API.",
    ),
    parse: path,
};

pub(crate) static LOG: Key<String> = Key {
    about: about(
        "log",
        Form::Text,
        "FILTER",
        "What is logged: error, warn, info, debug, trace, or by part, as in warn,control=info. Without it: RUST_LOG, or warn.",
    ),
    parse: log_filter,
};

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

pub(crate) static LOG_FORMAT: Key<LogFormat> = Key {
    about: about_or(
        "log-format",
        Form::Text,
        "FORMAT",
        "text",
        "How the log is written: text for people, or json with one object per line.",
    ),
    parse: log_format,
};

pub(crate) static OTLP_ENDPOINT: Key<String> = Key {
    about: about(
        "otlp-endpoint",
        Form::Text,
        "URL",
        "OpenTelemetry collector that gets the traces of the service and its hosts, by OTLP over HTTP: http://127.0.0.1:4318. Without it: nothing is traced.",
    ),
    parse: http_url,
};

pub(crate) static DRAIN_LIMIT: Key<Duration> = Key {
    about: about_or(
        "drain-limit",
        Form::Text,
        "TIME",
        "60s",
        "After SIGTERM no new sessions are taken, and those that run may go on for so long: seconds, minutes or hours, as 90s, 10m, 2h.",
    ),
    parse: duration,
};

/// All settings, in the order of the documentation.
pub(crate) static TABLE: &[&dyn Row] = &[
    &DATA,
    &LISTEN_HTTP,
    &LISTEN_HTTPS,
    &ALLOW_REMOTE,
    &HOSTNAME,
    &TLS_CERTIFICATE,
    &TLS_KEY,
    &ACME_DOMAINS,
    &ACME_CONTACT,
    &ACME_DIRECTORY,
    &ACME_DIRECTORY_CA,
    &HANDSHAKE_PORT,
    &INSPECTOR_PORT,
    &MEDIA_LISTEN,
    &MEDIA_ADVERTISE,
    &MODELS,
    &WARM_HOSTS,
    &MAX_HOSTS,
    &STANDARD.threads,
    &STANDARD.memory_mib,
    &STANDARD.primitives,
    &STANDARD.teraflops,
    &STANDARD.warm_hosts,
    &STANDARD.max_hosts,
    &PREMIUM.threads,
    &PREMIUM.memory_mib,
    &PREMIUM.primitives,
    &PREMIUM.teraflops,
    &PREMIUM.warm_hosts,
    &PREMIUM.max_hosts,
    &REQUESTS_PER_MINUTE,
    &REFUSALS_PER_MINUTE,
    &AUDIT_FILE_MIB,
    &AUDIT_FILES,
    &CORS_ORIGINS,
    &MANAGEMENT_TOKEN_FILE,
    &LOG,
    &LOG_FORMAT,
    &OTLP_ENDPOINT,
    &DRAIN_LIMIT,
];

/// Tables of the file that may come several times, read by serde; no flags and no variables say them.
pub(crate) const REPEATED: [&str; 1] = ["oidc"];

/// Variables of ours that are no settings of the service: what its clients are told, what hosts get from it, and
/// what tests use.
pub(crate) const OTHER_VARIABLES: [&str; 11] = [
    "BELVEDERE_CONFIG",
    "BELVEDERE_ENDPOINT",
    "BELVEDERE_ACCOUNT_ID",
    "BELVEDERE_ACCOUNT_KEY",
    "BELVEDERE_CA",
    protocol::link::ENV_LINK_URL,
    protocol::link::ENV_LINK_TOKEN,
    protocol::link::ENV_HOST_THREADS,
    protocol::link::ENV_HOST_PRIMITIVES,
    protocol::link::ENV_HOST_MEMORY,
    "BELVEDERE_BIN",
];

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn path(value: &str) -> Result<PathBuf, String> {
    text(value).map(PathBuf::from)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_odd| "allowed are IP address and port, as in 127.0.0.1:8080 or [::1]:8080".to_owned())
}

fn domain(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.contains('.') && text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err("allowed is the full name of a machine, as render.example.com".to_owned())
    }
}

fn mail(text: &str) -> Result<String, String> {
    let parts = text.split_once('@').filter(|(name, at)| !name.is_empty() && at.contains('.'));
    parts.map(|_| text.to_owned()).ok_or_else(|| "allowed is a mail address, as me@example.com".to_owned())
}

fn https_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
    host.map(|_| text.to_owned()).ok_or_else(|| "allowed is a URL that begins with https://".to_owned())
}

fn http_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = host.filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
    match host {
        Some(rest) if rest.contains('@') => {
            Err("names and passwords do not belong here, where they are shown; headers can be set in \
                 OTEL_EXPORTER_OTLP_HEADERS"
                .to_owned())
        }
        Some(_) => Ok(text.to_owned()),
        None => Err("allowed is a URL that begins with http:// or https://".to_owned()),
    }
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_odd| "allowed is an IP address, as 192.0.2.1".to_owned())
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_odd| format!("allowed are whole numbers from 0 to {}", u32::MAX))
}

fn whole_64(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_odd| "allowed are whole numbers from 0".to_owned())
}

fn positive(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_odd| format!("allowed are whole numbers from 1 to {}", u32::MAX))
}

fn positive_real(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number: &f32| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "allowed are numbers above 0, such as 0.5".to_owned())
}

/// At most a thousand hours, so that no sum overflows.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(split).unwrap_or_default();
    let unit_secs = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        _ => None,
    };
    let secs = number.parse::<u32>().ok().zip(unit_secs).map(|(number, unit)| u64::from(number) * unit);
    secs.filter(|secs| *secs <= 3_600_000)
        .map(Duration::from_secs)
        .ok_or_else(|| "allowed are whole seconds, minutes or hours, as 90s, 10m, 2h".to_owned())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("allowed are text and json".to_owned()),
    }
}

fn session_port(text: &str) -> Result<u16, String> {
    let allowed = control::SESSION_PORTS;
    text.parse().ok().filter(|port| *port == 0 || allowed.contains(port)).ok_or_else(|| {
        format!("allowed are ports from {} to {}, and 0 for a free one", allowed.start(), allowed.end())
    })
}

fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_odd| "allowed are true and false".to_owned())
}

fn origin(text: &str) -> Result<Origin, String> {
    text.parse().map_err(|error: control::NoOrigin| error.to_string())
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_filter) => Ok(text.to_owned()),
        Err(error) => {
            Err(format!("allowed is a level, or parts with levels, as in warn,control=info ({error})"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for bad in ["", "s", "90", "1.5h", "-1s", "4294967295h", "1d", "10µ", "1 m"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_are_well_formed() {
        let mut names: Vec<&str> = TABLE.iter().map(|row| row.about().name).collect();
        for row in TABLE {
            let about = row.about();
            let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
            assert!(about.name.split(['.', '-']).all(is_word), "{}", about.name);
            assert!(about.help.ends_with('.'), "{}", about.name);
            if let Some(default) = about.default {
                assert_eq!(row.check(default), Ok(()), "{}", about.name);
            } else {
                let says = about.help.contains("Without it") || about.help.contains("must be given");
                assert!(says, "{} does not say what leaving it out means", about.name);
            }
            assert!(!OTHER_VARIABLES.contains(&about.variable().as_str()), "{}", about.name);
        }
        names.extend(REPEATED);
        let n_names = names.len();
        let mut flags: Vec<String> = names.iter().map(|name| name.replace('.', "-")).collect();
        flags.sort();
        flags.dedup();
        assert_eq!(flags.len(), n_names, "a name comes twice");
    }
}
