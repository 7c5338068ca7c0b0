//! The framings that need no state but how far they have looked.

use memchr::{memchr, memmem};

use super::{Fault, Progress, Request};

/// What ends a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Framing {
    /// Nothing is asked: complete at once and empty, whatever was sent.
    Nothing,

    /// A line: ends at LF; one CR before it belongs to the terminator.
    Line,

    /// Ends with this string of bytes, which must not be empty.
    Delimiter(Box<[u8]>),

    /// Exactly so many bytes.
    Bytes(usize),

    /// Ends when the peer ends its side; may be empty.
    Eof,

    /// An HTTP/1.0 or HTTP/1.1 request.
    Http,
}

impl Framing {
    /// Looks for the end of the request in `input`.
    ///
    /// `scanned` is how many of its first bytes earlier calls have searched, and is
    /// brought up to date. A request of more than `max` bytes is a fault as soon as
    /// no terminator could come in time.
    pub(super) fn advance(&self, max: usize, scanned: &mut usize, input: &[u8]) -> Progress {
        match self {
            Self::Nothing => complete(0, 0, usize::MAX),
            Self::Line => {
                let end = memchr(b'\n', &input[*scanned..]).map(|at| *scanned + at);
                *scanned = input.len();
                let line = without_cr(&input[..end.unwrap_or(input.len())]);
                match end {
                    Some(end) => complete(line.len(), end + 1, max),
                    None => unfinished(input, line.len() <= max),
                }
            }
            Self::Delimiter(delimiter) => {
                // The terminator may have begun in what was looked at before.
                let from = scanned.saturating_sub(delimiter.len().saturating_sub(1));
                let end = memmem::find(&input[from..], delimiter).map(|at| from + at);
                *scanned = input.len();
                match end {
                    Some(end) => complete(end, end + delimiter.len(), max),
                    None => unfinished(input, input.len() < max.saturating_add(delimiter.len())),
                }
            }
            Self::Bytes(count) if input.len() >= *count => complete(*count, *count, *count),
            Self::Eof => unfinished(input, input.len() <= max),
            // HTTP has a scan of its own and does not come here.
            Self::Bytes(_) | Self::Http => more(input.len()),
        }
    }

    /// Says what an unfinished request comes to when the peer has ended its side.
    pub(super) fn ended(&self, max: usize, kept: &[u8]) -> Progress {
        match self {
            Self::Eof => complete(kept.len(), kept.len(), max),
            _ if kept.is_empty() => Progress::Nothing,
            Self::Line => complete(without_cr(kept).len(), kept.len(), max),
            Self::Delimiter(_) => complete(kept.len(), kept.len(), max),
            // Of these only bytes get here: nothing is complete at once.
            Self::Nothing | Self::Bytes(_) | Self::Http => Progress::Fault(Fault::Truncated),
        }
    }
}

/// The progress that keeps the first `keep` bytes.
pub(super) fn more(keep: usize) -> Progress {
    Progress::More {
        keep,
        interim: false,
    }
}

/// A request of the first `length` bytes, and its terminator up to `received`.
fn complete(length: usize, received: usize, max: usize) -> Progress {
    if length <= max {
        Progress::Complete(Request::headless(0..length, 0..received))
    } else {
        Progress::Fault(Fault::RequestTooLarge)
    }
}

/// No end yet: go on, if it can still come in time.
fn unfinished(input: &[u8], can_fit: bool) -> Progress {
    if can_fit {
        more(input.len())
    } else {
        Progress::Fault(Fault::RequestTooLarge)
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{Seen, check, rules};

    const MAX: usize = 8;

    /// What every split of `stream`, followed by the peer's end, comes to.
    #[track_caller]
    fn framed(framing: &Framing, stream: &str, expected: Result<&str, Fault>) {
        let mut rules = rules(framing.clone());
        rules.max_request_bytes = MAX;
        let expected = match expected {
            Ok(body) => Seen::complete("", body),
            Err(fault) => Seen::Fault(fault),
        };
        check(&rules, stream, &expected);
    }

    #[test]
    fn nothing_is_complete_before_a_byte_and_ignores_what_comes() {
        framed(&Framing::Nothing, "", Ok(""));
        framed(&Framing::Nothing, "unasked", Ok(""));
    }

    #[test]
    fn a_line_ends_at_lf_less_one_cr() {
        for (stream, line) in [
            ("query\n", "query"),
            ("query\r\n", "query"),
            ("query\r\r\n", "query\r"),
            ("\n", ""),
            ("\r\n", ""),
            ("one\ntwo\n", "one"),
            ("a\rb\n", "a\rb"),
            ("12345678\n", "12345678"),
            ("12345678\r\n", "12345678"),
        ] {
            framed(&Framing::Line, stream, Ok(line));
        }
    }

    #[test]
    fn a_line_that_the_peer_left_open_is_complete_at_its_end() {
        framed(&Framing::Line, "query", Ok("query"));
        framed(&Framing::Line, "query\r", Ok("query"));
        framed(&Framing::Line, "\r", Ok(""));
        framed(&Framing::Line, "12345678\r", Ok("12345678"));
    }

    #[test]
    fn a_line_over_the_limit_is_too_large() {
        let fault = Err(Fault::RequestTooLarge);
        for stream in [
            "123456789\n",
            "123456789",
            "12345678\rx",
            "12345678\r\r\n",
            "123456789\r\n",
        ] {
            framed(&Framing::Line, stream, fault);
        }
    }

    #[test]
    fn a_delimiter_ends_a_request_wherever_it_was_cut() {
        let blank = Framing::Delimiter(Box::from(*b"\r\n\r\n"));
        framed(&blank, "a\r\nb\r\n\r\nc", Ok("a\r\nb"));
        framed(&blank, "\r\n\r\n", Ok(""));
        framed(&blank, "a\r\r\n\r\n", Ok("a\r"));
        framed(&blank, "12345678\r\n\r\n", Ok("12345678"));
        framed(&blank, "a\r\n\r", Ok("a\r\n\r"));
        framed(&Framing::Delimiter(Box::from(*b"aab")), "aaab", Ok("a"));
        framed(&Framing::Delimiter(Box::from(*b"\0")), "a\0b\0", Ok("a"));
    }

    #[test]
    fn a_delimited_request_over_the_limit_is_too_large() {
        let blank = Framing::Delimiter(Box::from(*b"\r\n\r\n"));
        let fault = Err(Fault::RequestTooLarge);
        framed(&blank, "123456789\r\n\r\n", fault);
        framed(&blank, "123456789", fault);
        framed(&blank, "1234567890123", fault);
    }

    #[test]
    fn bytes_are_counted_and_bounded_by_their_own_number() {
        framed(&Framing::Bytes(0), "", Ok(""));
        framed(&Framing::Bytes(4), "abcd", Ok("abcd"));
        framed(&Framing::Bytes(4), "abcdef", Ok("abcd"));
        framed(&Framing::Bytes(9), "123456789", Ok("123456789"));
        framed(&Framing::Bytes(4), "abc", Err(Fault::Truncated));
    }

    #[test]
    fn eof_takes_everything_up_to_the_limit() {
        framed(&Framing::Eof, "", Ok(""));
        framed(&Framing::Eof, "a\r\n", Ok("a\r\n"));
        framed(&Framing::Eof, "12345678", Ok("12345678"));
        framed(&Framing::Eof, "123456789", Err(Fault::RequestTooLarge));
    }

    #[test]
    fn a_peer_that_sends_nothing_has_asked_nothing() {
        for framing in [
            Framing::Line,
            Framing::Delimiter(Box::from(*b"\0")),
            Framing::Bytes(4),
        ] {
            check(&rules(framing), "", &Seen::Nothing);
        }
    }

    #[test]
    fn eof_is_too_large_before_the_end_is_there() {
        let mut rules = rules(Framing::Eof);
        rules.max_request_bytes = 2;
        let progress = crate::request::Reader::new().advance(&rules, &mut [0; 3]);
        assert_eq!(progress, Progress::Fault(Fault::RequestTooLarge));
    }

    #[test]
    fn no_byte_of_a_drip_fed_line_is_searched_twice() {
        let (mut scanned, line) = (0, [b'x'; 64]);
        for length in 1..=line.len() {
            Framing::Line.advance(64, &mut scanned, &line[..length]);
            assert_eq!(scanned, length);
        }
    }
}
