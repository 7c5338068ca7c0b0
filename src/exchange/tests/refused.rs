//! Ends that are the peer's: it asks wrongly, or leaves.

use super::*;

#[track_caller]
fn check_fault(input: &str, outcome: Outcome, status: &str, further: &str, body: &str) {
    let expected = http_page(status, further, body.len(), body.as_bytes());
    check_input(
        &http(),
        input,
        Event::End,
        (outcome, Close::Linger, &expected),
    );
}

#[test]
fn a_request_over_its_limit_is_too_large() {
    use Outcome::TooLarge;
    let long = "x".repeat(300);
    check_input(&line(), &long, Event::End, (TooLarge, Close::Linger, b""));
    check_input(
        &line(),
        &format!("{long}\n"),
        Event::End,
        (TooLarge, Close::Linger, b""),
    );
    let eof = service(Framing::Eof, text("hello\n"));
    check_input(&eof, &long, Event::End, (TooLarge, Close::Linger, b""));
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65\r\n\r\n";
    check_fault(
        post,
        TooLarge,
        "413 Content Too Large",
        "",
        "request too large\n",
    );
    let status = "431 Request Header Fields Too Large";
    check_fault(
        &format!("GET /{long}"),
        TooLarge,
        status,
        "",
        "request head too large\n",
    );
}

#[test]
fn what_is_no_request_is_invalid() {
    use Outcome::Invalid;
    let bytes = service(Framing::Bytes(4), text("hello\n"));
    check_input(&bytes, "abc", Event::End, (Invalid, Close::Linger, b""));
    let allow = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n";
    for (input, status, further, body) in [
        (
            "\x16\x03\x01",
            "400 Bad Request",
            "",
            "malformed request line\n",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request", "", "no Host\n"),
        (
            "GET / HTTP/1.1\r\n",
            "400 Bad Request",
            "",
            "request cut short\n",
        ),
        (
            "CONNECT h:1 HTTP/1.1\r\n",
            "405 Method Not Allowed",
            allow,
            "method CONNECT not allowed\n",
        ),
        (
            "GET / HTTP/2.0\r\n",
            "505 HTTP Version Not Supported",
            "",
            "unsupported HTTP version\n",
        ),
    ] {
        check_fault(input, Invalid, status, further, body);
    }
    for (header, status, body) in [
        (
            "Expect: tea",
            "417 Expectation Failed",
            "unknown expectation\n",
        ),
        (
            "Transfer-Encoding: gzip",
            "501 Not Implemented",
            "unknown transfer coding\n",
        ),
        (
            "Content-Length: -1",
            "400 Bad Request",
            "malformed Content-Length\n",
        ),
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n");
        check_fault(&input, Invalid, status, "", body);
    }
}

#[test]
fn who_leaves_without_a_byte_has_asked_nothing() {
    use Outcome::NoRequest;
    for options in [line(), http(), service(Framing::Bytes(4), text("hello\n"))] {
        for then in [Event::End, Event::Break] {
            check_input(&options, "", then, (NoRequest, Close::Plain, b""));
        }
    }
    let eof = service(Framing::Eof, text("hello\n"));
    check_input(&eof, "", Event::Break, (NoRequest, Close::Plain, b""));
    // Empty lines ask nothing: RFC 9112 section 2.2.
    check_input(&http(), "\r\n", Event::End, (NoRequest, Close::Plain, b""));
}

#[test]
fn who_leaves_in_the_middle_has_closed() {
    use Outcome::PeerClosed;
    check_input(
        &line(),
        "que",
        Event::Break,
        (PeerClosed, Close::Plain, b""),
    );
    check_input(
        &http(),
        "GET /",
        Event::Break,
        (PeerClosed, Close::Plain, b""),
    );
    let broken = |options: &Options, moment| {
        run_until(options, b"q\n", Event::End, Some((moment, Event::Break)))
    };
    check(
        &broken(&line(), Moment::Sending(0)),
        PeerClosed,
        Close::Plain,
        "",
    );
    let (_folder, path, _) = temporary(3);
    let options = service(Framing::Line, file(&path, false));
    check(
        &broken(&options, Moment::Making(0)),
        PeerClosed,
        Close::Plain,
        "",
    );
}

#[test]
fn half_close_may_mean_that_the_peer_has_left() {
    let cancel = |options| Options {
        half_close: HalfClose::Cancel,
        ..options
    };
    let (end, plain) = (Event::End, Close::Plain);
    check_input(
        &cancel(line()),
        "que",
        end,
        (Outcome::PeerClosed, plain, b""),
    );
    check_input(
        &cancel(http()),
        "GET / HTTP/1.1\r\n",
        end,
        (Outcome::PeerClosed, plain, b""),
    );
    check_input(&cancel(line()), "", end, (Outcome::NoRequest, plain, b""));
    check_input(
        &cancel(line()),
        "q\n",
        end,
        (Outcome::Replied, Close::Linger, b"hello\n"),
    );
}

#[test]
fn a_fault_stays_a_fault_when_the_peer_leaves_its_page() {
    let break_off = Some((Moment::Sending(0), Event::Break));
    let ended = run_until(&http(), b"\0", Event::End, break_off);
    check(&ended, Outcome::Invalid, Close::Plain, "");
}

/// Source: DESIGN.md, "Outcome is fixed": a framing fault is invalid, whatever page it got.
#[test]
fn a_fault_stays_a_fault_when_its_page_is_not_taken() {
    for event in [Event::Expire, Event::Shed] {
        let ended = run_until(
            &http(),
            b"\0",
            Event::End,
            Some((Moment::Sending(0), event)),
        );
        assert_eq!(ended.outcome, Outcome::Invalid, "after {event:?}");
    }
}

/// With half_close = "cancel" a peer may be there still, and reading: it ended its side alone.
#[test]
fn who_cancels_in_the_middle_of_a_reply_does_not_take_a_part_for_the_whole() {
    let (_folder, path, content) = temporary(100_000);
    let options = service(Framing::Line, file(&path, false));
    let options = Options {
        half_close: HalfClose::Cancel,
        ..options
    };
    let ended = run_until(
        &options,
        b"q\n",
        Event::End,
        Some((Moment::Making(1), Event::Break)),
    );
    check(
        &ended,
        Outcome::PeerClosed,
        Close::Abort,
        &content[..65_536],
    );
}
