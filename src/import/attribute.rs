//! One thing that a source said, and the list of those that nobody has dealt with yet.
//!
//! Whoever deals with one takes it off the list. What is left at the end is told as unknown, so
//! nothing a source said can be forgotten.

use crate::import::draft::Draft;

/// What an attribute does with what was there before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Operator {
    /// `=`
    Set,
    /// `+=`
    Add,
    /// `-=`
    Remove,
}

/// `cps = 50 10`.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) key: String,
    pub(super) operator: Operator,
    pub(super) value: String,

    /// As the source has it, for a comment.
    pub(super) said: String,
}

impl Attribute {
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.value.split_whitespace()
    }

    /// `yes`, in every way that systemd and xinetd write it.
    pub(super) fn is_yes(&self) -> bool {
        let value = self.value.to_ascii_lowercase();
        ["yes", "true", "on", "1", "y", "t"].contains(&value.as_str())
    }
}

/// Those that nobody has dealt with yet, in the source's order.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<Attribute>);

impl Attributes {
    pub(super) fn new(attributes: Vec<Attribute>) -> Self {
        Self(attributes)
    }

    /// Every attribute with this key.
    pub(super) fn take(&mut self, key: &str) -> Vec<Attribute> {
        let (taken, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|attribute| attribute.key == key);
        self.0 = rest;
        taken
    }

    /// The attribute of a key that has one value: the last one. Those before it are told.
    pub(super) fn take_last(&mut self, key: &str, draft: &mut Draft) -> Option<Attribute> {
        let mut taken = self.take(key);
        let last = taken.pop();
        for earlier in taken {
            draft.remark(&earlier.said, "it is set again further down");
        }
        last
    }

    /// The values of a key that is a list, which an empty value starts anew.
    pub(super) fn take_list(&mut self, key: &str, draft: &mut Draft) -> Vec<Attribute> {
        let taken = self.take(key);
        let start = taken
            .iter()
            .rposition(|attribute| attribute.value.is_empty());
        let start = start.map_or(0, |empty| empty + 1);
        let mut list = taken;
        let kept = list.split_off(start);
        for earlier in list {
            draft.moot(&earlier.said);
        }
        kept
    }

    /// Tells what is left: with its reason from the table, or that it is unknown here.
    pub(super) fn tell(&mut self, reasons: &[(&str, &str)], unknown: &str, draft: &mut Draft) {
        for attribute in std::mem::take(&mut self.0) {
            let reason = reasons.iter().find(|(key, _)| *key == attribute.key);
            draft.remark(
                &attribute.said,
                reason.map_or(unknown, |(_, reason)| *reason),
            );
        }
    }

    /// Notes those with these keys as needing no key in `server.toml`.
    pub(super) fn moot(&mut self, keys: &[&str], draft: &mut Draft) {
        for key in keys {
            for attribute in self.take(key) {
                draft.moot(&attribute.said);
            }
        }
    }

    /// Holds the service back for each with one of these keys: without it, more would get in.
    pub(super) fn hold(&mut self, reasons: &[(&str, &str)], draft: &mut Draft) {
        for (key, reason) in reasons {
            for attribute in self.take(key) {
                draft.hold(&attribute.said, reason);
            }
        }
    }
}

impl IntoIterator for Attributes {
    type Item = Attribute;
    type IntoIter = std::vec::IntoIter<Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
