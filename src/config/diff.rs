//! What is different between two configs.
//!
//! Both are compared in the form in which they are written, so that no list of keys has to be kept
//! here.

use std::collections::{HashMap, HashSet};
use std::fmt;

use toml::{Table, Value};

use crate::config::address::Address;
use crate::config::types::Service;
use crate::config::{Config, table, written};

/// One difference. Displayed in one line, without control characters and of bounded length.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// There is a new service.
    Added {
        /// Its name.
        service: String,
    },

    /// A service is gone.
    Removed {
        /// Its name.
        service: String,
    },

    /// A service has another name, and all of its addresses.
    Renamed {
        /// Its old name.
        from: String,
        /// Its new name.
        to: String,
    },

    /// A key has another value.
    Key {
        /// The service, by its new name; `None`: outside of services.
        service: Option<String>,
        /// Dotted, as a file would say it.
        key: String,
        /// `None`: it was not there.
        old: Option<Value>,
        /// `None`: it is not there anymore.
        new: Option<Value>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { service } => write!(f, "service `{service}` added"),
            Self::Removed { service } => write!(f, "service `{service}` removed"),
            Self::Renamed { from, to } => write!(f, "service `{from}` renamed to `{to}`"),
            Self::Key {
                service,
                key,
                old,
                new,
            } => {
                if let Some(service) = service {
                    write!(f, "{service}: ")?;
                }
                let [old, new] = [old, new].map(|value| shown(value.as_ref()));
                write!(f, "{} = {old} -> {new}", clip(key))
            }
        }
    }
}

/// Tells what is different: first outside of services, then in the order of the new services, and
/// last the services that are gone. The order of services means nothing.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let [mut old_tables, mut new_tables] = [old, new].map(written::tables);
    let old_services = services(&mut old_tables);
    let new_services = services(&mut new_tables);
    let mut changes = Vec::new();
    compare(None, "", &old_tables, &new_tables, &mut changes);

    let before = matched(&old.services, &new.services);
    let mut kept = HashSet::new();
    for ((service, table), before) in new.services.iter().zip(&new_services).zip(before) {
        let name = &service.name;
        let Some(before) = before else {
            let service = name.clone();
            changes.push(Change::Added { service });
            continue;
        };
        kept.insert(before);
        let from = &old.services[before].name;
        if from != name {
            let (from, to) = (from.clone(), name.clone());
            changes.push(Change::Renamed { from, to });
        }
        compare(Some(name), "", &old_services[before], table, &mut changes);
    }
    for (index, service) in old.services.iter().enumerate() {
        if !kept.contains(&index) {
            let service = service.name.clone();
            changes.push(Change::Removed { service });
        }
    }
    changes
}

/// Takes the services out of a config's tables, without their names.
fn services(root: &mut Table) -> Vec<Table> {
    let Some(Value::Array(services)) = root.remove("service") else {
        return Vec::new();
    };
    let tables = services.into_iter().filter_map(|service| match service {
        Value::Table(mut table) => {
            table.remove("name");
            Some(table)
        }
        _ => None,
    });
    tables.collect()
}

/// For each new service the old one that it was, if any: the one of its name, or else one whose
/// name is gone and whose addresses it has.
fn matched(old: &[Service], new: &[Service]) -> Vec<Option<usize>> {
    let by_name = |services: &[Service]| -> HashMap<String, usize> {
        let names = services.iter().map(|service| service.name.clone());
        names.zip(0..).collect()
    };
    let (old_names, new_names) = (by_name(old), by_name(new));
    let mut gone: HashMap<&Address, usize> = HashMap::new();
    for (index, service) in old.iter().enumerate() {
        if !new_names.contains_key(&service.name) {
            gone.extend(service.listen.iter().map(|address| (address, index)));
        }
    }
    let mut taken = HashSet::new();
    let mut renamed = |service: &Service| {
        let candidates = service
            .listen
            .iter()
            .filter_map(|address| gone.get(address));
        let has_all = |index: &&usize| {
            let addresses = &old[**index].listen;
            addresses
                .iter()
                .all(|address| service.listen.contains(address))
        };
        let found = candidates.copied().find(|index| has_all(&index));
        found.filter(|index| taken.insert(*index))
    };
    let was = |service: &Service| {
        let same = old_names.get(&service.name).copied();
        same.or_else(|| renamed(service))
    };
    new.iter().map(was).collect()
}

/// Compares two tables, key by key.
fn compare(
    service: Option<&String>,
    prefix: &str,
    old: &Table,
    new: &Table,
    changes: &mut Vec<Change>,
) {
    let keys = old
        .keys()
        .chain(new.keys().filter(|key| !old.contains_key(*key)));
    for key in keys {
        let dotted = || format!("{prefix}{}", written::key(key));
        match (old.get(key), new.get(key)) {
            (Some(Value::Table(old)), Some(Value::Table(new)))
                if !is_reordered(old, new) && !written::is_whole(key) =>
            {
                compare(service, &format!("{}.", dotted()), old, new, changes);
            }
            (Some(old), Some(new)) if old == new && (!old.is_table() || written::is_whole(key)) => {
            }
            (old, new) => changes.push(Change::Key {
                service: service.cloned(),
                key: dotted(),
                old: old.cloned(),
                new: new.cloned(),
            }),
        }
    }
}

/// Whether two tables say the same in another order: headers are sent in theirs.
fn is_reordered(old: &Table, new: &Table) -> bool {
    old == new && !old.keys().eq(new.keys())
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "unset".to_owned(), |value| clip(&written::inline(value)))
}

/// Cuts what is too long for a line.
fn clip(text: &str) -> String {
    let clipped = table::clip(text);
    let dots = if clipped.len() < text.len() {
        "…"
    } else {
        ""
    };
    format!("{clipped}{dots}")
}
