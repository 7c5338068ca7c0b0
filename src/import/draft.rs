//! The form between a source and TOML: a service as far as it can be carried over.

use std::time::Duration;

use toml::Value;

/// Why a limit of no connections at all isn't carried over.
pub(super) const NOBODY_AT_ONCE: &str = "nobody, and in replyd 0 is no limit";

/// A key of `server.toml`, and what it stands for.
#[derive(Debug)]
pub(super) struct Setting {
    /// Dotted, relative to its table.
    pub(super) key: &'static str,
    pub(super) value: Value,

    /// What the source said, or why it is so.
    pub(super) from: String,
}

/// What is not carried over, and why.
#[derive(Debug)]
pub(super) struct Remark {
    pub(super) said: String,
    pub(super) why: String,
}

/// What becomes of a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// A service of replyd's.
    Live,
    /// Written out, and commented out as it was disabled where it comes from.
    Disabled,
    /// Written out, and commented out until someone has decided.
    Held,
    /// replyd has nothing like it.
    Refused,
}

/// A service, as far as it can be carried over.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,

    /// What the source calls it by.
    pub(super) named: String,

    /// Where it stands: file, line and what the source calls it.
    pub(super) origin: String,

    /// All that the source says of it.
    pub(super) said: Vec<String>,

    /// Keys of `[[service]]`.
    pub(super) settings: Vec<Setting>,

    /// Keys of `[service.reply.command]`; none: it runs nothing.
    pub(super) command: Vec<Setting>,

    /// What needs no key here: replyd is so anyway, or it has no meaning.
    pub(super) moot: Vec<String>,

    pub(super) remarks: Vec<Remark>,

    /// Why it is commented out until someone has decided; empty: it isn't.
    pub(super) held: Vec<Remark>,

    /// Why replyd can't have it at all.
    pub(super) refused: Option<Remark>,

    /// What disabled it.
    pub(super) disabled: Option<String>,
}

impl Draft {
    /// `from` is what the source calls it by.
    pub(super) fn new(name: &str, from: &str, origin: String, said: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            named: from.to_owned(),
            origin,
            said,
            settings: Vec::new(),
            command: Vec::new(),
            moot: Vec::new(),
            remarks: Vec::new(),
            held: Vec::new(),
            refused: None,
            disabled: None,
        }
    }

    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>, from: &str) {
        self.settings.push(setting(key, value, from));
    }

    pub(super) fn set_command(&mut self, key: &'static str, value: impl Into<Value>, from: &str) {
        self.command.push(setting(key, value, from));
    }

    pub(super) fn has_command(&self, key: &str) -> bool {
        self.command.iter().any(|setting| setting.key == key)
    }

    /// Carried over, as it needs no key.
    pub(super) fn moot(&mut self, said: &str) {
        self.moot.push(said.to_owned());
    }

    /// Not carried over.
    pub(super) fn remark(&mut self, said: &str, why: &str) {
        self.remarks.push(remark(said, why));
    }

    /// Not carried over, and the service can't go without: it stays commented out.
    pub(super) fn hold(&mut self, said: &str, why: &str) {
        self.held.push(remark(said, why));
    }

    /// Nothing is carried over. The first reason stays.
    pub(super) fn refuse(&mut self, said: &str, why: &str) {
        self.refused.get_or_insert_with(|| remark(said, why));
    }

    /// Written out, and commented out. All that disables it is told.
    pub(super) fn disable(&mut self, said: String) {
        match &mut self.disabled {
            Some(before) => {
                before.push_str(", ");
                before.push_str(&said);
            }
            None => self.disabled = Some(said),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        if self.refused.is_some() {
            Standing::Refused
        } else if self.disabled.is_some() {
            Standing::Disabled
        } else if !self.held.is_empty() {
            Standing::Held
        } else {
            Standing::Live
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.standing() == Standing::Live
    }
}

fn setting(key: &'static str, value: impl Into<Value>, from: &str) -> Setting {
    Setting {
        key,
        value: value.into(),
        from: from.to_owned(),
    }
}

fn remark(said: &str, why: &str) -> Remark {
    Remark {
        said: said.to_owned(),
        why: why.to_owned(),
    }
}

/// Seconds: a whole number where they are one, as people write it.
pub(super) fn seconds(seconds: Duration) -> Value {
    let whole = i64::try_from(seconds.as_secs()).ok();
    let whole = whole.filter(|_| seconds.subsec_nanos() == 0);
    whole.map_or_else(|| Value::from(seconds.as_secs_f64()), Value::from)
}
