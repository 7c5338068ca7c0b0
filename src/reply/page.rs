//! Constant bytes, prepared when the configuration is loaded.

use std::sync::Arc;

use crate::reply::calendar::Calendar;
use crate::reply::http::{HttpHead, HttpOptions, write_date};
use crate::reply::output::Output;

/// A reply that is the same for everyone, but for HTTP's date.
#[derive(Debug)]
pub struct Page {
    /// HTTP: the head up to the date.
    before_date: Option<Box<[u8]>>,
    body: Arc<[u8]>,
}

impl Page {
    /// A page of plain bytes, or of HTTP where there are options for it.
    #[must_use]
    pub fn new(body: &[u8], http: Option<&HttpOptions>) -> Self {
        let Some(options) = http else {
            return Self {
                before_date: None,
                body: body.into(),
            };
        };
        let head = HttpHead::new(options);
        let body = if head.has_body() { body } else { &[] };
        let before_date = head.before_date(body.len() as u64).into();
        Self {
            before_date: Some(before_date),
            body: body.into(),
        }
    }

    /// Puts the page into the output; for HEAD only what goes before the body.
    pub fn write(&self, calendar: &Calendar, is_head: bool, output: &mut Output) {
        if let Some(before_date) = &self.before_date {
            output.own().extend_from_slice(before_date);
            write_date(calendar, output.own());
        }
        if !is_head {
            output.add_shared(&self.body);
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before_date.is_none() && self.body.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::output::COPIED_BODY_MAX;
    use std::time::UNIX_EPOCH;

    #[track_caller]
    fn written(page: &Page, is_head: bool) -> Vec<u8> {
        let mut output = Output::default();
        page.write(&Calendar::new(UNIX_EPOCH), is_head, &mut output);
        output.left().concat()
    }

    #[test]
    fn plain_bytes_are_sent_as_they_are() {
        assert_eq!(written(&Page::new(b"busy\n", None), false), b"busy\n");
    }

    #[test]
    fn head_gets_the_length_but_not_the_body() {
        let body = vec![b'x'; COPIED_BODY_MAX + 1];
        let page = Page::new(&body, Some(&HttpOptions::of(200)));
        let head = written(&page, true);
        let whole = written(&page, false);
        assert_eq!(whole.len(), head.len() + body.len());
        assert!(whole.starts_with(&head) && whole.ends_with(&body));
        assert!(String::from_utf8_lossy(&head).contains("\r\nContent-Length: 2049\r\n"));
    }

    #[test]
    fn a_status_without_content_drops_the_body() {
        let page = Page::new(b"never sent", Some(&HttpOptions::of(304)));
        assert!(written(&page, false).ends_with(b"GMT\r\n\r\n"));
    }
}
