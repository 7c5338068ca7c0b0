//! Files, includes, and the order of it all.
//!
//! Each file is parsed, each of its tables read on its own, and then the rules that take more than
//! one key are asked of what could be read. All faults are told at once.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::check::{self, Wrong};
use crate::config::document::{Document, Node, Place, Sources, Spot};
use crate::config::fault::{Fault, Faults};
use crate::config::file;
use crate::config::framing::Read;
use crate::config::types::Service;
use crate::config::{Config, syntax, table};

/// The most files that includes may lead to.
const INCLUDES_MAX: usize = 1000;

/// The most services of all files.
const SERVICES_MAX: usize = 10_000;

/// The most syntax errors told of one file: a recovering parser stumbles on after the first.
const SYNTAX_FAULTS_MAX: usize = 3;

/// The keys of the main file.
const TOP: [&str; 7] = [
    "include", "server", "workers", "queue", "admin", "log", "service",
];

/// A config, and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the files say.
    pub config: Config,

    /// The main file; `None`: built in.
    pub path: Option<PathBuf>,

    /// Where each key stands.
    pub sources: Sources,

    /// What is legal and surely not what was meant, as far as only the reading of the files shows it.
    pub warnings: Vec<Fault>,
}

impl Loaded {
    /// Makes a fault of a key that only a higher layer can find wrong: a template that does not
    /// compile, a file that is not there.
    ///
    /// `message` says what is wrong, `label` (may be empty) why, `help` what to write instead.
    #[must_use]
    pub fn fault(
        &self,
        place: &Place,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) -> Fault {
        let fault = check::fault(&self.sources, place, message.into(), label.into());
        Fault { help, ..fault }
    }
}

/// Reads a config file, and those it includes.
///
/// # Errors
/// * A file can't be read, is no UTF-8, is empty, or has more than 1 MiB.
/// * Anything in it is wrong.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_and(path, |_| Ok(()))
}

/// The same, and asks `check` too, of what could be read: so that a fault of a higher layer is told
/// together with those that are found here. What could not be read is at its default.
///
/// # Errors
/// * As [`load`], and what `check` finds.
pub fn load_and(
    path: &Path,
    check: impl FnOnce(&Loaded) -> Result<(), Faults>,
) -> Result<Loaded, Faults> {
    let name = path.display().to_string();
    let text = file::read(path, &name).map_err(|fault| Faults::from(*fault))?;
    let mut draft = Draft::default();
    draft.main(&name, &text.into(), Some(path));
    draft.finish(Some(path.to_owned()), check)
}

/// Reads a config that is in no file, called `name` in errors.
///
/// # Errors
/// * Anything in it is wrong. There is no place that an `include` could be relative to.
pub fn parse(text: &str, name: &str) -> Result<Loaded, Faults> {
    let mut draft = Draft::default();
    if text.len() as u64 > file::BYTES_MAX {
        return Err(file::too_long(name).into());
    }
    draft.main(name, &text.into(), None);
    draft.finish(None, |_| Ok(()))
}

/// The shipped `server.toml`: every key at its default, with a comment.
pub const SHIPPED: &str = include_str!("../../server.toml");

/// The config of a replyd that was given none: the shipped `server.toml`.
///
/// # Panics
/// Never: a test reads it.
#[must_use]
pub fn built_in() -> Loaded {
    parse(SHIPPED, "the built-in server.toml").expect("invariant: the shipped server.toml is valid")
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    config: Config,
    sources: Sources,
    wrong: Wrong,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Draft {
    fn main(&mut self, name: &str, text: &Arc<str>, path: Option<&Path>) {
        let Some((document, table)) = self.document(name, text) else {
            return;
        };
        for (key, value) in &table {
            match &**key.get_ref() {
                "server" => self.config.server = self.section(&document, "server", value),
                "workers" => self.config.workers = self.section(&document, "workers", value),
                "queue" => self.config.queue = self.section(&document, "queue", value),
                "admin" => self.config.admin = self.section(&document, "admin", value),
                "log" => self.config.log = self.section(&document, "log", value),
                "service" => self.services(&document, value),
                "include" => {}
                other => {
                    let spot = at(&document, key.span());
                    self.faults
                        .push(table::unknown(spot, table::clip(other), &TOP));
                }
            }
        }
        // Last, so that included services come after those of the main file.
        if let Some(value) = table.get("include") {
            self.include(&document, value, path);
        }
    }

    fn included(&mut self, path: &Path) {
        let name = path.display().to_string();
        let text: Arc<str> = match file::read(path, &name) {
            Ok(text) => text.into(),
            Err(fault) => return self.faults.push(*fault),
        };
        let Some((document, table)) = self.document(&name, &text) else {
            return;
        };
        for (key, value) in &table {
            let spot = at(&document, key.span());
            let fault = match &**key.get_ref() {
                "service" => {
                    self.services(&document, value);
                    continue;
                }
                "include" => Fault::at(
                    spot,
                    "an included file can't include others",
                    "only the main file can",
                )
                .help("name the files in the main file's `include`"),
                key if TOP.contains(&key) => Fault::at(
                    spot,
                    format!("`{key}` in an included file"),
                    "an included file holds [[service]] and nothing else",
                )
                .help("move it to the main file"),
                key => table::unknown(spot, table::clip(key), &["service"]),
            };
            self.faults.push(fault);
        }
    }

    /// Parses a file; `None` if its syntax is wrong: what was recovered would only confuse.
    fn document<'t>(
        &mut self,
        name: &str,
        text: &'t Arc<str>,
    ) -> Option<(Arc<Document>, DeTable<'t>)> {
        let (table, mut errors) = DeTable::parse_recoverable(text);
        let rank = self.sources.documents.len();
        let root = Node::new(0..0, table.get_ref());
        let document = Arc::new(Document::new(rank, name, text, root));
        self.sources.documents.push(Arc::clone(&document));
        errors.sort_by_key(|error| error.span().map(|span| span.start));
        let faults = errors.iter().map(|error| syntax::fault(&document, error));
        self.faults.extend(faults.take(SYNTAX_FAULTS_MAX));
        errors.is_empty().then(|| (document, table.into_inner()))
    }

    fn section<T: DeserializeOwned + Default>(
        &mut self,
        document: &Arc<Document>,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> T {
        let prefix = format!("{name}.");
        let outcome = table::read(document, &prefix, value, &mut self.faults);
        self.wrong.top(name, &outcome.wrong);
        outcome.value
    }

    fn services(&mut self, document: &Arc<Document>, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(list) = value.get_ref() else {
            let why = "there can be many services: each starts with two brackets";
            let fault = Fault::at(at(document, value.span()), "wrong value for `service`", why);
            self.faults.push(fault.help("write [[service]]"));
            return;
        };
        for (index, service) in list.iter().enumerate() {
            if self.config.services.len() >= SERVICES_MAX {
                let spot = at(document, service.span());
                let message = format!("more than {SERVICES_MAX} services");
                self.faults.push(Fault::at(spot, message, "one too many"));
                return;
            }
            let outcome = table::read(document, "", service, &mut self.faults);
            let number = self.config.services.len();
            self.wrong.service(number, outcome.wrong);
            self.sources.services.push((Arc::clone(document), index));
            self.service(number, outcome.value);
        }
    }

    /// Adds a service that was read; what is left out may depend on what is not.
    fn service(&mut self, number: usize, mut service: Service) {
        let text = Place::service(number, "maintenance.text");
        if let Some(maintenance) = &mut service.maintenance
            && service.read == Read::Http
            && !self.sources.has(&text)
        {
            maintenance.speak_http();
        }
        self.config.services.push(service);
    }

    fn include(
        &mut self,
        document: &Arc<Document>,
        value: &Spanned<DeValue<'_>>,
        path: Option<&Path>,
    ) {
        let wrong = |span| {
            let why = "expected a list of files, such as [\"conf.d/*.toml\"]";
            Fault::at(at(document, span), "wrong value for `include`", why)
        };
        let DeValue::Array(list) = value.get_ref() else {
            return self.faults.push(wrong(value.span()));
        };
        let mut files = Vec::new();
        for pattern in list {
            let spot = at(document, pattern.span());
            match pattern.get_ref().as_str() {
                None => self.faults.push(wrong(pattern.span())),
                Some(pattern) => match matches(pattern, path) {
                    Ok(found) => {
                        if found.is_empty() {
                            let why = "no service comes from there";
                            let fault = Fault::at(spot, "no file matches this pattern", why);
                            self.warnings.push(fault.warning());
                        }
                        files.extend(found);
                    }
                    Err((why, help)) => {
                        let fault = Fault::at(spot, "can't include this", why);
                        self.faults.push(Fault { help, ..fault });
                    }
                },
            }
        }
        if files.len() > INCLUDES_MAX {
            let message = format!("more than {INCLUDES_MAX} included files");
            let spot = at(document, value.span());
            return self
                .faults
                .push(Fault::at(spot, message, format!("{} of them", files.len())));
        }
        let mut seen = BTreeSet::new();
        for file in files {
            // Two patterns may both lead to a file.
            if seen.insert(file.clone()) {
                self.included(&file);
            }
        }
    }

    fn finish(
        mut self,
        path: Option<PathBuf>,
        check: impl FnOnce(&Loaded) -> Result<(), Faults>,
    ) -> Result<Loaded, Faults> {
        check::check(&self.config, &self.sources, &self.wrong, &mut self.faults);
        let loaded = Loaded {
            config: self.config,
            path,
            sources: self.sources,
            warnings: self.warnings,
        };
        if let Err(more) = check(&loaded) {
            self.faults.extend(more.into_vec());
        }
        Faults::none(self.faults)?;
        Ok(loaded)
    }
}

/// Finds the files of one pattern, sorted. An error is a label and a help.
fn matches(pattern: &str, main: Option<&Path>) -> Result<Vec<PathBuf>, (String, Option<String>)> {
    let Some(main) = main else {
        let why = "this config is in no file that a pattern could be relative to";
        return Err((why.to_owned(), None));
    };
    let directory = main.parent().unwrap_or(Path::new(""));
    // The directory's own name may hold a `[`, and is no pattern.
    let directory = glob::Pattern::escape(&directory.to_string_lossy());
    let full = Path::new(&directory).join(pattern);
    let paths = glob::glob(&full.to_string_lossy())
        .map_err(|error| (format!("not a pattern: {}", error.msg), None))?;
    // An editor's temporary files, unless they are named. glob's own option for that panics at a
    // name that is not UTF-8.
    let is_meant = |path: &Path| hidden_names(path) <= hidden_names(&full);
    let paths = paths.filter(|path| path.as_deref().map_or(true, is_meant));
    let mut files = Vec::new();
    for path in paths.take(INCLUDES_MAX + 1) {
        let path = path.map_err(|error| (format!("can't look there: {}", error.error()), None))?;
        if path == main {
            let help = "put the included files into a directory of their own";
            return Err((
                "the pattern includes this very file".to_owned(),
                Some(help.to_owned()),
            ));
        }
        files.push(path);
    }
    if files.is_empty() && !pattern.contains(['*', '?', '[']) {
        return Err(("there is no such file".to_owned(), None));
    }
    Ok(files)
}

/// How many names in a path begin with a dot.
fn hidden_names(path: &Path) -> usize {
    let is_hidden = |part: &Component<'_>| match part {
        Component::Normal(name) => name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    };
    path.components().filter(is_hidden).count()
}

fn at(document: &Arc<Document>, span: std::ops::Range<usize>) -> Spot {
    Spot {
        document: Arc::clone(document),
        span,
    }
}
