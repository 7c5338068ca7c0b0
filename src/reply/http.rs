//! The head of an HTTP reply. One connection, one exchange: it always says so.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::reply::calendar::Calendar;

/// `Content-Type` where none is configured.
pub const DEFAULT_CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// What an HTTP reply says beside its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// 200 to 599.
    pub status: u16,

    /// `Content-Type`.
    pub content_type: String,

    /// Further headers, names and values, checked when the configuration was read.
    pub headers: Vec<(String, String)>,
}

impl HttpOptions {
    /// Plain text with `status`.
    #[must_use]
    pub fn of(status: u16) -> Self {
        Self {
            status,
            content_type: DEFAULT_CONTENT_TYPE.to_owned(),
            headers: Vec::new(),
        }
    }
}

/// A head prepared up to the parts that differ from one exchange to the next.
#[derive(Debug)]
pub struct HttpHead {
    /// Up to `Content-Length: `, or up to `Date: ` where there can't be a body.
    prefix: Box<[u8]>,
    has_body: bool,
}

impl HttpHead {
    /// Prepares the head that `options` asks for.
    #[must_use]
    pub fn new(options: &HttpOptions) -> Self {
        let HttpOptions {
            status,
            content_type,
            headers,
        } = options;
        // RFC 9110 sections 15.3.5 and 15.4.5: neither has content, and 204 no Content-Length.
        let has_body = !matches!(status, 204 | 304);
        let mut prefix = format!(
            "HTTP/1.1 {status} {}\r\nConnection: close\r\n",
            reason(*status)
        );
        for (name, value) in headers {
            write!(prefix, "{name}: {value}\r\n").expect(INFALLIBLE);
        }
        if has_body {
            write!(prefix, "Content-Type: {content_type}\r\nContent-Length: ").expect(INFALLIBLE);
        } else {
            prefix.push_str("Date: ");
        }
        Self {
            prefix: prefix.into_bytes().into(),
            has_body,
        }
    }

    /// Whether the status allows a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.has_body
    }

    /// The head of a reply of `length` bytes, up to the date.
    #[must_use]
    pub fn before_date(&self, length: u64) -> Vec<u8> {
        let mut bytes = self.prefix.to_vec();
        if self.has_body {
            write!(bytes, "{length}\r\nDate: ").expect(INFALLIBLE);
        }
        bytes
    }

    /// Adds the head of a reply of `length` bytes to `out`.
    pub fn write(&self, length: u64, calendar: &Calendar, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        if self.has_body {
            write!(out, "{length}\r\nDate: ").expect(INFALLIBLE);
        }
        write_date(calendar, out);
    }
}

const INFALLIBLE: &str = "invariant: writing to memory does not fail";

/// Adds the date and the end of a head.
pub fn write_date(calendar: &Calendar, out: &mut Vec<u8>) {
    out.extend_from_slice(calendar.http_date());
    out.extend_from_slice(b"\r\n\r\n");
}

/// The reason phrase, of the statuses that are in use; others get none. Source: IANA's registry.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[track_caller]
    fn check(status: u16, headers: &[(&str, &str)], expected: &str) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let options = HttpOptions {
            headers: headers.iter().map(own).collect(),
            ..HttpOptions::of(status)
        };
        let calendar = Calendar::new(UNIX_EPOCH);
        let head = HttpHead::new(&options);
        let mut written = Vec::new();
        head.write(7, &calendar, &mut written);
        assert_eq!(String::from_utf8_lossy(&written), expected);
        let mut prepared = head.before_date(7);
        write_date(&calendar, &mut prepared);
        assert_eq!(prepared, written, "prepared and written heads differ");
    }

    #[test]
    fn a_head_says_length_date_and_close() {
        check(
            503,
            &[("Retry-After", "5")],
            "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 7\r\n\
             Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
        );
    }

    #[test]
    fn a_status_without_content_has_no_length() {
        check(
            204,
            &[],
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\
             Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
        );
    }
}
