//! HTTP as clients see it.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::client::{header, parse_http, read_all};
use crate::harness::{TestServer, service};

/// A server of one HTTP service, `web`.
fn web(keys: &str) -> TestServer {
    TestServer::start(&service("web", &format!("read = \"http\"\n{keys}")))
}

/// The reply to a request of whole lines: `GET / HTTP/1.1`, `Host: test`, then an empty one.
#[track_caller]
fn ask(server: &TestServer, request: &str) -> (u16, String, String) {
    let request = request.replace('\n', "\r\n");
    parse_http(&server.exchange("web", request.as_bytes()))
}

#[track_caller]
fn check(server: &TestServer, request: &str, status: u16, body: &str) {
    let (found, head, content) = ask(server, request);
    assert_eq!((found, content.as_str()), (status, body), "to {request:?}");
    assert_eq!(header(&head, "Connection"), Some("close"), "{head}");
    let date = header(&head, "Date").unwrap_or_else(|| panic!("no date: {head}"));
    httpdate::parse_http_date(date).expect("a date");
}

#[test]
fn a_page_has_everything_it_needs() {
    let server = web("reply.text = \"ok\\n\"");
    let (status, head, body) = ask(&server, "GET / HTTP/1.1\nHost: test\n\n");
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for (name, value) in [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", "3"),
        ("Connection", "close"),
    ] {
        assert_eq!(header(&head, name), Some(value), "{head}");
    }
    let date = header(&head, "Date").expect("a date");
    let date = httpdate::parse_http_date(date).expect("a date");
    let age = date.elapsed().unwrap_or_default();
    assert!(age < Duration::from_secs(60), "rendered {age:?} ago");
    check(&server, "GET /any?path HTTP/1.0\n\n", 200, "ok\n");
    check(
        &server,
        "POST / HTTP/1.1\nHost: test\nContent-Length: 3\n\nabc",
        200,
        "ok\n",
    );
    check(
        &server,
        "\nGET / HTTP/1.1\nHost: test\n\nGET / HTTP/1.1\nHost: test\n\n",
        200,
        "ok\n",
    );
    server.at_rest();
}

#[test]
fn head_gets_the_head_of_the_same_reply() {
    for reply in [
        "reply.text = \"ok\\n\"",
        "reply.text = \"{{ service }}\"",
        "reply.echo = true",
    ] {
        let server = web(reply);
        let request = "HTTP/1.1\nHost: test\nContent-Length: 3\n\nabc";
        let (_, with_body, body) = ask(&server, &format!("POST / {request}"));
        let (status, head, none) = ask(&server, &format!("HEAD / {request}"));
        assert_eq!((status, none.as_str()), (200, ""), "{reply}");
        assert_eq!(
            header(&head, "Content-Length"),
            header(&with_body, "Content-Length")
        );
        assert_eq!(body.len(), 3, "{reply}");
        server.at_rest();
    }
}

#[test]
fn status_and_headers_are_the_configured_ones() {
    let server = web(
        "reply = { text = \"moved\\n\", status = 301, content_type = \"text/html\", \
         headers = { Location = \"https://example.org/\", Retry-After = \"5\" } }",
    );
    let (status, head, _) = ask(&server, "GET / HTTP/1.1\nHost: test\n\n");
    assert_eq!(status, 301);
    assert_eq!(header(&head, "Location"), Some("https://example.org/"));
    assert_eq!(header(&head, "Retry-After"), Some("5"));
    assert_eq!(header(&head, "Content-Type"), Some("text/html"));
    let server = web("reply = { text = \"\", status = 204 }");
    let (status, head, body) = ask(&server, "GET / HTTP/1.1\nHost: test\n\n");
    assert_eq!((status, body.as_str()), (204, ""));
    assert_eq!(
        header(&head, "Content-Length"),
        None,
        "RFC 9110 section 8.6"
    );
}

#[test]
fn a_status_without_content_has_none_whatever_makes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page");
    std::fs::write(&path, "content").expect("written");
    let file = format!("file = \"{}\"", path.display());
    for body in [
        "text = \"content\"",
        "text = \"{{ path }}\"",
        "echo = true",
        &file,
    ] {
        let server = web(&format!("reply = {{ {body}, status = 204 }}"));
        let request = "POST /content HTTP/1.1\nHost: test\nContent-Length: 7\n\ncontent";
        let (status, _, content) = ask(&server, request);
        // RFC 9110 section 15.3.5.
        assert_eq!((status, content.as_str()), (204, ""), "{body}");
    }
}

#[test]
fn a_template_knows_the_request() {
    let text = "{{ method }} {{ path }} {{ query }} {{ headers['x-test'] }} {{ request }}";
    let server = web(&format!("reply.text = \"{text}\""));
    let request = "POST /a/b?c=d HTTP/1.1\nHost: test\nX-Test: <yes>\nContent-Length: 4\n\nbody";
    check(&server, request, 200, "POST /a/b c=d <yes> body");
    let html = "reply = { text = \"<p>{{ path }}\", content_type = \"text/html; charset=utf-8\" }";
    let server = web(html);
    let (_, _, body) = ask(&server, "GET /'<script>' HTTP/1.1\nHost: test\n\n");
    assert!(
        body.starts_with("<p>") && !body.contains("<script>"),
        "not escaped: {body}"
    );
}

#[test]
fn bodies_are_read_by_length_and_by_chunk() {
    let server = web("max_request_bytes = 100000\nreply.echo = true");
    let long = "x".repeat(100_000);
    for body in ["", "abc", &long] {
        let head = format!(
            "POST / HTTP/1.1\nHost: test\nContent-Length: {}\n\n",
            body.len()
        );
        check(&server, &format!("{head}{body}"), 200, body);
    }
    let head = "POST / HTTP/1.1\nHost: test\nTransfer-Encoding: chunked\n\n";
    check(
        &server,
        &format!("{head}3\nabc\nA;x=y\n0123456789\n0\n\n"),
        200,
        "abc0123456789",
    );
    check(&server, &format!("{head}0\nTrailer: yes\n\n"), 200, "");
    server.at_rest();
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let server = web("max_request_bytes = 10\nmax_head_bytes = 200\nreply.text = \"ok\\n\"");
    let faults = [
        ("garbage\n\n", 400, "invalid"),
        ("\x16\x03\x01 a TLS hello\n\n", 400, "invalid"),
        ("GET / HTTP/1.1\n\n", 400, "invalid"),
        ("GET / HTTP/2.0\nHost: test\n\n", 505, "invalid"),
        (
            "POST / HTTP/1.1\nHost: test\nContent-Length: 1\nContent-Length: 1\n\na",
            400,
            "invalid",
        ),
        (
            "POST / HTTP/1.1\nHost: test\nContent-Length: 11\n\n",
            413,
            "too_large",
        ),
        (
            "POST / HTTP/1.1\nHost: test\nTransfer-Encoding: gzip\n\n",
            501,
            "invalid",
        ),
        (
            "GET / HTTP/1.1\nHost: test\nExpect: miracles\n\n",
            417,
            "invalid",
        ),
        (
            "CONNECT example.org:443 HTTP/1.1\nHost: example.org:443\n\n",
            405,
            "invalid",
        ),
    ];
    let (mut invalid, mut too_large) = (0, 0);
    for (request, status, outcome) in faults {
        let (found, head, body) = ask(&server, request);
        assert_eq!(found, status, "{request:?}: {body}");
        assert!(!body.is_empty(), "a page says why");
        assert_eq!(
            header(&head, "Allow").is_some(),
            status == 405,
            "RFC 9110 section 15.5.6"
        );
        match outcome {
            "invalid" => invalid += 1,
            _ => too_large += 1,
        }
        server.wait_for_outcome("web", "invalid", invalid);
        server.wait_for_outcome("web", "too_large", too_large);
    }
    let long = format!("GET / HTTP/1.1\nHost: test\nX: {}\n\n", "x".repeat(300));
    assert_eq!(ask(&server, &long).0, 431);
    server.wait_for_outcome("web", "too_large", too_large + 1);
    server.at_rest();
}

#[test]
fn who_sends_too_much_still_reads_that_it_is() {
    let server = web("reply.text = \"ok\\n\"");
    let body = vec![b'x'; 100_000];
    for _ in 0..20 {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let reply = server.exchange("web", &[head.as_bytes(), &body].concat());
        assert_eq!(parse_http(&reply).0, 413);
    }
    server.wait_for_outcome("web", "too_large", 20);
    server.at_rest();
}

#[test]
fn who_expects_to_be_asked_for_its_body_is() {
    let server = web("reply.echo = true");
    let mut client = server.connect("web");
    let head = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.write_all(head.as_bytes()).expect("sent");
    let mut interim = [0; 25];
    client.read_exact(&mut interim).expect("an interim reply");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").expect("sent");
    assert_eq!(parse_http(&read_all(&mut client)).2, "body");
    drop(client);

    // A body that is too large is not asked for.
    let mut client = server.connect("web");
    let head =
        "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 4097\r\n\r\n";
    client.write_all(head.as_bytes()).expect("sent");
    assert_eq!(parse_http(&read_all(&mut client)).0, 413);
    drop(client);
    server.at_rest();
}

#[test]
fn half_a_request_times_out_with_a_page_and_silence_without() {
    let server = web("request_timeout_seconds = 0.2\nreply.text = \"ok\\n\"");
    let (status, _, body) = parse_http(&server.exchange("web", b"GET / HTTP/1.1\r\nHost:"));
    assert_eq!(status, 408, "{body}");
    server.wait_for_outcome("web", "timed_out", 1);
    // A page would answer a request that a client with kept connections makes later.
    assert_eq!(server.exchange("web", b""), b"");
    server.wait_for_outcome("web", "timed_out", 2);
    // Nobody's request ends in the middle.
    let half = server.exchange_half_closed("web", b"GET / HTTP/1.1\r\nHost:");
    assert_eq!(parse_http(&half).0, 400);
    server.wait_for_outcome("web", "invalid", 1);
    server.at_rest();
}

#[test]
fn a_request_in_single_bytes_gets_the_same_reply() {
    let server = web("reply.echo = true");
    let request =
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let mut client = server.connect("web");
    for (index, byte) in request.iter().enumerate() {
        client.write_all(&[*byte]).expect("sent");
        server.wait_for_received("web", u32::try_from(index + 1).expect("few"));
    }
    assert_eq!(parse_http(&read_all(&mut client)).2, "abc");
    drop(client);
    server.at_rest();
}

#[test]
fn busy_is_503() {
    let server =
        web("max_connections = 1\nreply.text = \"ok\\n\"\nbusy.headers = { Retry-After = \"1\" }");
    let first = server.connect("web");
    server.wait_for_waiting("web", "request", 1);
    let (status, head, body) = ask(&server, "GET / HTTP/1.1\nHost: test\n\n");
    assert_eq!((status, body.as_str()), (503, "busy\n"));
    assert_eq!(header(&head, "Retry-After"), Some("1"));
    drop(first);
    server.wait_for_outcome("web", "busy", 1);
    server.at_rest();
}
