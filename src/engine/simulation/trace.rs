//! What happened in a run: nothing, a number that tells two runs apart, or every line.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What is kept of a run.
#[derive(Clone, Debug)]
pub(super) enum Trace {
    /// Nothing.
    Off,
    /// What the lines come to.
    Hashed(DefaultHasher),
    /// The lines.
    Kept(Vec<String>),
}

/// Characters of a line that is read.
const LINE_MAX: usize = 300;

impl Trace {
    /// A trace that only tells whether two runs are the same.
    pub(super) fn hashed() -> Self {
        // Its keys are always the same.
        Self::Hashed(DefaultHasher::new())
    }

    /// A trace to be read.
    pub(super) fn kept() -> Self {
        Self::Kept(Vec::new())
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    pub(super) fn add(&mut self, line: &str) {
        match self {
            Self::Off => {}
            Self::Hashed(hasher) => line.hash(hasher),
            Self::Kept(lines) => lines.push(line.chars().take(LINE_MAX).collect()),
        }
    }

    /// What the lines come to.
    pub(super) fn hash(&self) -> Option<u64> {
        match self {
            Self::Hashed(hasher) => Some(hasher.finish()),
            Self::Off | Self::Kept(_) => None,
        }
    }

    /// The lines.
    pub(super) fn lines(&self) -> &[String] {
        match self {
            Self::Kept(lines) => lines,
            Self::Off | Self::Hashed(_) => &[],
        }
    }
}
