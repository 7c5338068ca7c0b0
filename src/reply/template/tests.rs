//! What a template says, refuses and may spend.

use super::*;
use std::time::{Duration, UNIX_EPOCH};

fn asked<'a>(calendar: &'a Calendar, head: &'a [u8], request: &'a [u8]) -> Asked<'a> {
    let peer = Peer::from(std::net::SocketAddr::from(([192, 0, 2, 7], 4711)));
    Asked {
        service: "hello",
        peer,
        calendar,
        now: Instant::now(),
        head,
        request,
        received: request,
        is_head: false,
    }
}

#[track_caller]
fn check(text: &str, request: &[u8], expected: &str) {
    let calendar = Calendar::new(UNIX_EPOCH + Duration::from_millis(784_111_777_900));
    let template = Template::new(text, false, false).expect("a template");
    let rendered = template
        .render(&asked(&calendar, b"", request))
        .expect("rendered");
    assert_eq!(String::from_utf8_lossy(&rendered), expected);
}

#[track_caller]
fn check_refused(text: &str, http: bool, part: &str) {
    let error = Template::new(text, http, false).expect_err("refused");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn a_template_tells_what_it_knows() {
    check("hello, {{ request }}\n", b"world", "hello, world\n");
    check(
        "{{ peer }} {{ peer.ip }} {{ peer.port }}",
        b"",
        "192.0.2.7:4711 192.0.2.7 4711",
    );
    check("{{ service }}\r\n", b"", "hello\r\n");
    check(
        "{{ time }} {{ time.unix }}",
        b"",
        "1994-11-06T08:49:37Z 784111777",
    );
    check(
        "{{ time | strftime('%d %b %Y') }}\r\n",
        b"",
        "06 Nov 1994\r\n",
    );
    check("{{ request }}", b"\xff!", "\u{fffd}!");
}

#[test]
fn a_request_is_text_and_never_a_template() {
    check("{{ request }}", b"{{ service }}<b>", "{{ service }}<b>");
}

#[test]
fn http_names_come_from_the_head() {
    let calendar = Calendar::new(UNIX_EPOCH);
    let head = b"GET /a/b?c=d HTTP/1.1\r\nHost: h\r\nX-Y: <z>\r\n\r\n";
    let text = "{{ method }} {{ path }} {{ query }} {{ headers['x-y'] }}";
    let render = |html| {
        let template = Template::new(text, true, html).expect("a template");
        template
            .render(&asked(&calendar, head, b""))
            .expect("rendered")
    };
    assert_eq!(render(false), b"GET /a/b c=d <z>");
    assert_eq!(
        String::from_utf8_lossy(&render(true)),
        "GET &#x2f;a&#x2f;b c=d &lt;z&gt;"
    );
}

#[test]
fn a_header_that_is_absent_is_empty_and_a_repeated_one_is_a_list() {
    let calendar = Calendar::new(UNIX_EPOCH);
    let head = b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\nx: 2\r\n\r\n";
    let text = "[{{ headers['absent'] }}] [{{ headers['X'] }}] [{{ headers.host }}]";
    let template = Template::new(text, true, false).expect("a template");
    let rendered = template
        .render(&asked(&calendar, head, b""))
        .expect("rendered");
    assert_eq!(String::from_utf8_lossy(&rendered), "[] [1, 2] [h]");
}

#[test]
fn unknown_names_and_bad_syntax_are_refused_at_load() {
    check_refused(
        "{{ requst }}",
        false,
        "unknown name `requst` (did you mean `request`?)",
    );
    check_refused("{{ xyz }} {{ requst }}", false, "`xyz`; a template may use");
    check_refused(
        "{{ peer.host }}",
        false,
        "`peer` has no `host`; it has ip and port",
    );
    check_refused("{{ time.now }}", false, "`time` has no `now`");
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    check_refused(endless, false, "more than 50000 steps");
    check_refused("{{ path }}", false, "only with read = \"http\"");
    check_refused("{{ request", true, "unexpected end");
    check_refused("{{ request | no_such_filter }}", true, "no_such_filter");
}

#[test]
fn what_a_template_spends_is_bounded() {
    let calendar = Calendar::new(UNIX_EPOCH);
    for text in [
        "{% for a in range(9999 if request == 'r' else 1) %}{{ a }}{{ a }}{{ a }}{% endfor %}",
        "{{ request * (2000000 if request == 'r' else 1) }}",
        "{{ headers.no_such_header.part }}",
    ] {
        let template = Template::new(text, true, false).expect("a template");
        let head = b"GET / HTTP/1.0\r\n\r\n";
        template
            .render(&asked(&calendar, head, b"r"))
            .expect_err("bounded");
    }
}
