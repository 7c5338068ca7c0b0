//! HTTP heads and bodies, one line a rule; every split of each.

use super::*;

const HOST: &str = "Host: h\r\n";

#[track_caller]
fn accepted(head: &str, sent: &str, body: &str) {
    let stream = format!("{head}{sent}");
    for (keep_head, keep_body) in [(true, true), (true, false), (false, true), (false, false)] {
        let rules = Rules {
            keep_head,
            keep_body,
            ..rules(Framing::Http)
        };
        let head = if keep_head { head } else { "" };
        let body = if keep_body { body } else { "" };
        check(&rules, &stream, &Seen::complete(head, body));
    }
}

#[track_caller]
fn refused(stream: impl AsRef<[u8]>, fault: Fault, status: u16) {
    check(&rules(Framing::Http), stream, &Seen::Fault(fault));
    assert_eq!(fault.status(), status);
}

/// A request of HTTP/1.1 with `Host` and these headers.
fn post(headers: &str) -> String {
    format!("POST / HTTP/1.1\r\n{HOST}{headers}\r\n")
}

/// What one read of `stream` comes to, whether it asks for the body.
fn is_interim(stream: &str) -> bool {
    let mut input = stream.as_bytes().to_vec();
    match Reader::new().advance(&rules(Framing::Http), &mut input) {
        Progress::More { interim, .. } => interim,
        _ => false,
    }
}

#[test]
fn heads_of_real_clients_are_accepted() {
    // HAProxy's `option httpchk`, ApacheBench, a person with `nc`, curl.
    accepted("OPTIONS / HTTP/1.0\r\n\r\n", "", "");
    accepted(
        "GET /x HTTP/1.0\r\nHost: h:80\r\nAccept: */*\r\n\r\n",
        "",
        "",
    );
    accepted("GET / HTTP/1.0\n\n", "", "");
    accepted("\r\n\nGET / HTTP/1.1\r\nHost:\r\n\r\n", "ignored", "");
    accepted(
        "GET / HTTP/1.1\r\nhOST: [::1]:80\r\nX: \u{e9}\r\n\r\n",
        "",
        "",
    );
    accepted("GET http://h/p?q HTTP/1.1\r\nHost: h\r\n\r\n", "", "");
    accepted("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "", "");
    accepted("_!~ / HTTP/1.1\r\nHost: h\r\n\r\n", "", "");
}

#[test]
fn a_body_has_the_announced_length() {
    accepted(&post("Content-Length: 5\r\n"), "hello, and more", "hello");
    accepted(&post("content-length:\t05 \r\n"), "hello", "hello");
    accepted(&post("Content-Length: 0\r\n"), "ignored", "");
    accepted(
        &post("Transfer-Encoding: CHUNKED\r\n"),
        "3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
        "abcde",
    );
    accepted("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n", "ab", "ab");
}

#[test]
fn a_peer_that_sends_no_more_than_empty_lines_has_asked_nothing() {
    for stream in ["", "\r", "\r\n", "\n\r\n", "\r\n\r"] {
        check(&rules(Framing::Http), stream, &Seen::Nothing);
    }
}

#[test]
fn a_request_cut_short_is_refused() {
    for stream in [
        "G",
        "\r\nGET / HTTP/1.1",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\r",
    ] {
        refused(stream, Fault::Truncated, 400);
    }
    refused(post("Content-Length: 5\r\n"), Fault::Truncated, 400);
    refused(
        post("Content-Length: 5\r\n") + "hell",
        Fault::Truncated,
        400,
    );
}

#[test]
fn a_wrong_request_line_is_refused() {
    for line in [
        "GET /",
        "GET",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / http/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET / FTP/1.1",
        "GET / HTTP/2.0 x",
        "G@T / HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1\r",
    ] {
        refused(format!("{line}\r\n"), Fault::RequestLineInvalid, 400);
    }
    refused(b"GET /\xff HTTP/1.1\r\n", Fault::RequestLineInvalid, 400);
    for target in ["x", "http:///", "h/p", "?q"] {
        refused(
            format!("GET {target} HTTP/1.1\r\n"),
            Fault::TargetInvalid,
            400,
        );
    }
    refused("CONNECT h:443 HTTP/1.1\r\n", Fault::ConnectRefused, 405);
    for version in ["0.9", "1.2", "2.0", "3.0"] {
        refused(
            format!("GET / HTTP/{version}\r\n"),
            Fault::VersionUnsupported,
            505,
        );
    }
    refused(
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Fault::VersionUnsupported,
        505,
    );
}

#[test]
fn a_first_byte_that_begins_no_request_line_is_refused_at_once() {
    for stream in [&b"\x16"[..], b"\r\n\x16", b"\rG", b"\r\r", b"(", b"\xff"] {
        let mut input = stream.to_vec();
        let progress = Reader::new().advance(&rules(Framing::Http), &mut input);
        assert_eq!(progress, Progress::Fault(Fault::RequestLineInvalid));
        refused(stream, Fault::RequestLineInvalid, 400);
    }
}

#[test]
fn a_wrong_header_is_refused() {
    for header in [
        "Name", "Na me: x", "Name : x", ": x", " folded", "X: a\0", "X: a\rb", "\r",
    ] {
        refused(post(&format!("{header}\r\n")), Fault::HeaderInvalid, 400);
    }
}

#[test]
fn hosts_are_required_single_and_sane() {
    refused("GET / HTTP/1.1\r\n\r\n", Fault::HostMissing, 400);
    refused(post(HOST), Fault::HostRepeated, 400);
    let old = format!("GET / HTTP/1.0\r\n{HOST}{HOST}\r\n");
    refused(old, Fault::HostRepeated, 400);
    for host in ["a b", "a/b", "u@h", "h\"", "\u{e9}"] {
        let stream = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        refused(stream, Fault::HostInvalid, 400);
    }
}

#[test]
fn an_ambiguous_length_is_refused() {
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    refused(post(&length.repeat(2)), Fault::ContentLengthRepeated, 400);
    for value in [
        "",
        "5, 5",
        "+5",
        "-1",
        "0x5",
        "5 5",
        "five",
        "18446744073709551616",
    ] {
        let head = post(&format!("Content-Length: {value}\r\n"));
        refused(head, Fault::ContentLengthInvalid, 400);
    }
    let both = Fault::ContentLengthWithTransferEncoding;
    refused(post(&format!("{length}{chunked}")), both, 400);
    refused(
        post(&chunked.repeat(2)),
        Fault::TransferEncodingRepeated,
        400,
    );
    let old = format!("POST / HTTP/1.0\r\n{chunked}\r\n");
    refused(old, Fault::TransferEncodingInHttp10, 400);
    for value in [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "",
        "xchunked",
    ] {
        let head = post(&format!("Transfer-Encoding: {value}\r\n"));
        refused(head, Fault::TransferEncodingUnknown, 501);
    }
}

#[test]
fn a_body_over_the_limit_is_refused_at_the_head() {
    let mut rules = rules(Framing::Http);
    rules.max_request_bytes = 5;
    let head = post("Content-Length: 5\r\n");
    check(
        &rules,
        head.clone() + "hello",
        &Seen::complete(&head, "hello"),
    );
    for length in ["6", "18446744073709551615"] {
        let head = post(&format!("Content-Length: {length}\r\n"));
        check(&rules, head, &Seen::Fault(Fault::RequestTooLarge));
    }
}

#[test]
fn a_head_has_a_limit_in_bytes() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut rules = rules(Framing::Http);
    rules.max_head_bytes = head.len();
    check(&rules, head, &Seen::complete(head, ""));
    // Too large begins one byte after the limit.
    let cut_short = "G".repeat(head.len());
    check(&rules, cut_short, &Seen::Fault(Fault::Truncated));
    rules.max_head_bytes -= 1;
    let fault = Seen::Fault(Fault::HeadTooLarge);
    check(&rules, head, &fault);
    check(&rules, "\r\n".repeat(head.len()), &fault);
    check(&rules, "G".repeat(head.len()), &fault);
    // What is wrong before the limit is met comes first.
    let wrong = "GET\r\n".repeat(head.len());
    check(&rules, wrong, &Seen::Fault(Fault::RequestLineInvalid));
}

#[test]
fn a_head_has_a_limit_in_headers() {
    let most = post(&"X: y\r\n".repeat(99));
    check(&rules(Framing::Http), &most, &Seen::complete(&most, ""));
    refused(post(&"X: y\r\n".repeat(100)), Fault::HeadersTooMany, 431);
}

#[test]
fn a_client_that_waits_is_asked_for_its_body_once() {
    let head = post("Expect: 100-Continue\r\nContent-Length: 2\r\n");
    assert!(is_interim(&head));
    assert!(is_interim(&post(
        "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"
    )));
    assert!(!is_interim(&(head.clone() + "a")));
    assert!(!is_interim(&post("Expect: 100-continue\r\n")));
    assert!(!is_interim(&post("Content-Length: 2\r\n")));
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    assert!(!is_interim(old));
    let (seen, _, interims) = drive(
        &rules(Framing::Http),
        format!("{head}ab").as_bytes().chunks(1),
    );
    assert_eq!((seen, interims), (Seen::complete(&head, "ab"), 1));
}

#[test]
fn other_expectations_are_refused_but_by_http_1_0() {
    refused(post("Expect: x\r\n"), Fault::ExpectUnknown, 417);
    refused(
        post("Expect: 100-continue\r\nExpect: x\r\n"),
        Fault::ExpectUnknown,
        417,
    );
    accepted("GET / HTTP/1.0\r\nExpect: x\r\n\r\n", "", "");
}

#[test]
fn faults_have_an_order() {
    let headers = "Expect: x\r\nContent-Length: 99999999\r\n";
    refused(post(headers), Fault::ExpectUnknown, 417);
    let headers = format!("{headers}Transfer-Encoding: x\r\n");
    refused(
        post(&headers),
        Fault::ContentLengthWithTransferEncoding,
        400,
    );
    refused(post(&format!("{headers}{HOST}")), Fault::HostRepeated, 400);
    refused(
        post(&format!("{headers}{HOST}wrong\r\n")),
        Fault::HeaderInvalid,
        400,
    );
}

#[test]
fn a_head_request_is_known_from_its_line_on() {
    let is_head = |stream: &str| drive(&rules(Framing::Http), [stream.as_bytes()]).1;
    assert!(is_head("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(is_head("HEAD / HTTP/1.1\r\nwrong\r\n\r\n"));
    assert!(is_head(
        "HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
    ));
    assert!(!is_head("HEAD / HTTP/1.1"));
    assert!(!is_head("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
}

#[test]
fn a_body_that_is_not_kept_takes_no_memory() {
    let mut rules = rules(Framing::Http);
    (rules.keep_head, rules.keep_body) = (false, false);
    let mut reader = Reader::new();
    let mut input = post("Content-Length: 65536\r\n").into_bytes();
    // One piece short of the body: the last would complete it.
    for _ in 0..64 {
        let kept = reader.advance(&rules, &mut input);
        assert_eq!(
            kept,
            Progress::More {
                keep: 0,
                interim: false
            }
        );
        input = vec![b'x'; 1024];
    }
    let last = reader.advance(&rules, &mut input);
    assert_eq!(
        last,
        Progress::Complete(Request {
            head: 0..0,
            body: 0..0,
            received: 0..0
        })
    );
}

#[test]
fn no_byte_of_a_drip_fed_head_is_searched_twice() {
    let mut head = post(&"X: y\r\n".repeat(99)).into_bytes();
    let mut reader = Reader::new();
    for length in 1..head.len() {
        reader.advance(&rules(Framing::Http), &mut head[..length]);
        let State::Scan(scan) = &reader.state else {
            panic!("the head has not ended")
        };
        assert_eq!(scan.scanned, length);
    }
}
