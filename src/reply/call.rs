//! A reply made by code that has to wait for something.

use std::fmt;
use std::time::SystemTime;

use crate::reply::calendar::Calendar;
use crate::reply::http::HttpHead;
use crate::reply::{BuiltReply, Made};

/// Makes a whole reply, once.
pub struct Call {
    make: Box<dyn FnOnce() -> BuiltReply + Send>,
}

impl Call {
    /// `make` may wait.
    #[must_use]
    pub fn new(make: impl FnOnce() -> BuiltReply + Send + 'static) -> Self {
        Self {
            make: Box::new(make),
        }
    }

    pub(super) fn run(self) -> Made {
        let BuiltReply { http, body } = (self.make)();
        let mut bytes = Vec::new();
        let calendar = Calendar::new(SystemTime::now());
        HttpHead::new(&http).write(body.len() as u64, &calendar, &mut bytes);
        bytes.extend(body);
        Made::Part {
            total_bytes: Some(bytes.len() as u64),
            bytes,
            more: None,
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}
