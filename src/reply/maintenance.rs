//! A page that is the reply while a service is under maintenance.
//!
//! Whether it is, is for others to find out: here is a flag that costs a plain load to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::reply::page::Page;

/// What a service says while it is under maintenance, and whether it is.
#[derive(Debug)]
pub struct Maintenance {
    /// Shared with whoever finds out, and whoever else wants to know.
    pub flag: Arc<Flag>,

    /// What is said.
    pub page: Page,
}

/// Whether a service is under maintenance; at first it is not.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Whether it is.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Notes whether it is; whether it was before.
    pub fn set(&self, is_active: bool) -> bool {
        self.0.swap(is_active, Relaxed)
    }
}
