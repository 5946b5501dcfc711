//! Where values come from: flags over environment over file. Collects every problem instead of stopping at the first.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::ops::Range;
use std::path::{Path, PathBuf};

use control::OidcIssuer;
use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::keys::{About, Form, Key, OTHER_VARIABLES, REPEATED, Row, TABLE};

/// Longest configuration file; ours are some hundred bytes, and a wrong path may be a disk.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(String),
    Variable(String),
    File { path: PathBuf, line: usize },
    Default,
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Something that is wrong with the configuration, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) source: Source,
    pub(crate) words: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.words)
    }
}

/// What stands in the way of serving with this configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "in the configuration: {one}"),
            many => {
                write!(f, "the configuration has {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

/// The value of a setting, as text.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// One, unless the setting is a list.
    pub(crate) texts: Vec<String>,
    pub(crate) source: Source,
}

/// Everything that was given, checked by itself.
#[derive(Debug, Default)]
pub(crate) struct Values {
    given: BTreeMap<&'static str, Given>,
    /// From the file, each with its place.
    pub(crate) oidc: Vec<(OidcIssuer, Source)>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// Warnings that the service itself gives, too.
    pub(crate) doubts: Vec<Problem>,
}

impl Values {
    /// Reads the sources, the strongest last.
    pub(crate) fn gather(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &BTreeMap<&'static str, Vec<String>>,
    ) -> Self {
        let mut values = Self::default();
        if let Some(path) = file {
            match read(path) {
                Ok(text) => values.read_file(path, &text),
                Err(error) => {
                    let source = Source::File { path: path.to_owned(), line: 1 };
                    values.problem(source, format!("the file cannot be read: {error}"));
                }
            }
        }
        values.read_variables(variables);
        for (row, texts) in TABLE.iter().filter_map(|row| Some((row, flags.get(row.about().name)?))) {
            values.take(*row, texts.clone(), Source::Flag(row.about().flag()));
        }
        values
    }

    /// The value of a setting that is no list: what was given, or the default.
    pub(crate) fn one<T>(&self, key: &Key<T>) -> Option<T> {
        let given = self.given.get(key.about.name).and_then(|given| given.texts.first());
        let text = given.map(String::as_str).or(key.about.default)?;
        // What is wrong was said when it was taken.
        (key.parse)(text).ok()
    }

    /// The values of a list.
    pub(crate) fn all<T>(&self, key: &Key<T>) -> Vec<T> {
        let texts = self.given.get(key.about.name).map(|given| given.texts.as_slice()).unwrap_or_default();
        texts.iter().filter_map(|text| (key.parse)(text).ok()).collect()
    }

    /// What was given for a setting, if anything was.
    pub(crate) fn given(&self, about: &About) -> Option<&Given> {
        self.given.get(about.name)
    }

    /// Where the value of a setting comes from.
    pub(crate) fn source<T>(&self, key: &Key<T>) -> Source {
        self.given.get(key.about.name).map_or(Source::Default, |given| given.source.clone())
    }

    pub(crate) fn problem(&mut self, source: Source, words: impl Into<String>) {
        self.problems.push(Problem { source, words: words.into() });
    }

    pub(crate) fn warn(&mut self, source: Source, words: impl Into<String>) {
        self.warnings.push(Problem { source, words: words.into() });
    }

    /// Checks a value and lets it win over those before.
    fn take(&mut self, row: &dyn Row, texts: Vec<String>, source: Source) {
        let about = row.about();
        for text in &texts {
            if let Err(allowed) = row.check(text) {
                let value = if about.secret { "the value".to_owned() } else { format!("{text:?}") };
                let name = about.name;
                self.problem(source.clone(), format!("{value} is no value of `{name}`; {allowed}"));
            }
        }
        self.given.insert(about.name, Given { texts, source });
    }

    fn read_variables(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut ours: Vec<(String, OsString)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("BELVEDERE_"))
            .collect();
        ours.sort();
        for (name, value) in ours {
            let row = TABLE.iter().find(|row| row.about().variable() == name);
            let source = Source::Variable(name.clone());
            match (row, value.into_string()) {
                (Some(row), Ok(text)) if row.about().form == Form::List => {
                    let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                    self.take(*row, texts.map(str::to_owned).collect(), source);
                }
                (Some(row), Ok(text)) => self.take(*row, vec![text], source),
                (Some(_), Err(_)) => self.problem(source, "the value is not UTF-8"),
                (None, _) if OTHER_VARIABLES.contains(&name.as_str()) => {}
                (None, _) => {
                    let known = TABLE.iter().map(|row| row.about().variable());
                    let hint = nearest(&name, known).map(|near| format!("; did you mean {near}?"));
                    self.warn(source, format!("no setting has this name{}", hint.unwrap_or_default()));
                }
            }
        }
    }

    fn read_file(&mut self, path: &Path, text: &str) {
        let place = Place { path, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            self.problem(place.at(error.span()), error.message().to_owned());
        }
        // After a syntax error, what follows is guesswork.
        if errors.is_empty() {
            self.read_table(&place, "", table.into_inner());
        }
    }

    fn read_table(&mut self, place: &Place<'_>, prefix: &str, table: DeTable<'_>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let below = format!("{name}.");
            let source = place.at(Some(key.span()));
            if let Some(row) = TABLE.iter().find(|row| row.about().name == name) {
                match texts(row.about(), value.get_ref()) {
                    Ok(texts) => {
                        let texts = match row.about().form {
                            Form::Path => texts.into_iter().map(|text| place.beside(&text)).collect(),
                            _ => texts,
                        };
                        self.take(*row, texts, source);
                    }
                    Err(allowed) => self.problem(source, format!("`{name}` must be {allowed}")),
                }
            } else if REPEATED.contains(&name.as_str()) {
                self.read_issuers(place, &source, value);
            } else if TABLE.iter().any(|row| row.about().name.starts_with(&below)) {
                match value.into_inner() {
                    DeValue::Table(table) => self.read_table(place, &below, table),
                    _ => self.problem(source, format!("`{name}` must be a table, [{name}]")),
                }
            } else {
                self.problem(source, unknown(&name, prefix));
            }
        }
    }

    fn read_issuers(&mut self, place: &Place<'_>, source: &Source, value: Spanned<DeValue<'_>>) {
        let DeValue::Array(issuers) = value.into_inner() else {
            return self.problem(source.clone(), "`oidc` must be a list of tables, [[oidc]]");
        };
        for issuer in issuers {
            let span = issuer.span();
            match OidcIssuer::deserialize(ValueDeserializer::from(issuer)) {
                Ok(issuer) => self.oidc.push((issuer, place.at(Some(span)))),
                Err(error) => {
                    let words = format!("in [[oidc]]: {}", error.message());
                    self.problem(place.at(error.span().or(Some(span))), words);
                }
            }
        }
    }
}

/// A file that is being read.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn at(&self, span: Option<Range<usize>>) -> Source {
        let before = self.text.get(..span.map_or(0, |span| span.start)).unwrap_or_default();
        Source::File { path: self.path.to_owned(), line: before.matches('\n').count() + 1 }
    }

    /// A path in the file, seen from where we are.
    fn beside(&self, text: &str) -> String {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        // UTF-8 joined to UTF-8, unless the file lies below a folder with an odd name.
        if text.is_empty() { String::new() } else { folder.join(text).to_string_lossy().into_owned() }
    }
}

/// The file's value as text, or what it must be.
fn texts(about: &About, value: &DeValue<'_>) -> Result<Vec<String>, &'static str> {
    let one = |text: Option<String>| text.map(|text| vec![text]);
    match about.form {
        Form::Text | Form::Path => one(value.as_str().map(str::to_owned)).ok_or("a text, in \"\""),
        Form::Whole => {
            let digits = value.as_integer().filter(|number| number.radix() == 10);
            one(digits.map(|number| number.as_str().to_owned())).ok_or("a whole number, without \"\"")
        }
        Form::Switch => one(value.as_bool().map(|on| on.to_string())).ok_or("true or false, without \"\""),
        Form::List => {
            let elements =
                value.as_array().map(|array| array.iter().map(|element| element.get_ref().as_str()));
            let texts = elements.and_then(|texts| texts.map(|text| text.map(str::to_owned)).collect());
            texts.ok_or("a list of texts, [\"…\", \"…\"]")
        }
    }
}

/// What to say about a name that is none: the nearest, or all that may stand there.
fn unknown(name: &str, prefix: &str) -> String {
    let known = || TABLE.iter().map(|row| row.about().name).chain(REPEATED);
    if let Some(near) = nearest(name, known().map(str::to_owned)) {
        return format!("no setting is called `{name}`; did you mean `{near}`?");
    }
    // One level: `tls` stands for all in it.
    let mut here: Vec<&str> = known()
        .filter_map(|known| known.strip_prefix(prefix))
        .map(|rest| rest.split('.').next().unwrap_or(rest))
        .collect();
    here.dedup();
    format!("no setting is called `{name}`; here may stand {}", here.join(", "))
}

/// The known name that was probably meant.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let rated = known.map(|known| (strsim::jaro_winkler(name, &known), known));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    // Below this, what clap says about flags would be silence, too.
    (best.0 > 0.85).then_some(best.1)
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let n_bytes = std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if n_bytes as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}
