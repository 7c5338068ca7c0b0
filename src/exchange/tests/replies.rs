//! What a reply is when nothing goes wrong: every framing, every kind, whole.

use super::*;

#[test]
fn every_framing_gets_its_reply() {
    let blank = Framing::Delimiter(Box::from(*b"\r\n\r\n"));
    for (framing, input) in [
        (Framing::Nothing, ""),
        (Framing::Line, "query\r\n"),
        (Framing::Line, "query"),
        (blank, "a\r\nb\r\n\r\nrest"),
        (Framing::Bytes(4), "abcd"),
        (Framing::Eof, ""),
        (Framing::Eof, "all of it"),
    ] {
        replied(&service(framing, text("hello\n")), input, "hello\n");
    }
    replied(
        &service(Framing::Http, http_text("hello\n")),
        GET,
        http_ok("hello\n"),
    );
}

#[test]
fn a_complete_request_does_not_wait_for_the_peers_end() {
    let options = service(Framing::Line, text("hello\n"));
    let ended = run_until(&options, b"query\nmore", Event::Expire, None);
    check(&ended, Outcome::Replied, Close::Linger, "hello\n");
}

#[test]
fn every_reply_is_sent_whole() {
    let line = |reply| service(Framing::Line, reply);
    let http = |reply| service(Framing::Http, reply);
    let (_folder, path, _) = temporary(3);
    replied(&line(text("")), "q\n", "");
    replied(&line(Reply::Echo { http: None }), "q\r\n", "q");
    replied(
        &line(template("{{ service }}: {{ request }}\n", false)),
        "q\n",
        "test: q\n",
    );
    replied(&line(file(&path, false)), "q\n", [0, 1, 2]);
    replied(
        &http(Reply::Echo {
            http: Some(head_of_200()),
        }),
        POST,
        http_ok("hello"),
    );
    replied(
        &http(template("{{ path }} {{ query }}", true)),
        GET,
        http_ok("/p q"),
    );
    replied(&http(Reply::Built(Arc::new(HeadBack))), GET, http_ok(GET));
    replied(
        &http(file(&path, true)),
        GET,
        http_page("200 OK", "", 3, &[0, 1, 2]),
    );
    replied(&http(http_text("")), GET, http_ok(""));
}

#[test]
fn a_large_page_is_sent_whole_in_any_portions() {
    let body = "x".repeat(10_000);
    for portion in [1, 100, 4096, 9999, 10_000] {
        let options = service(Framing::Nothing, text(&body));
        let script = Script {
            input: vec![],
            then: Event::Expire,
            portions: &[portion],
            interrupt: None,
        };
        let ended = Driver::new(&options).run(&script);
        check(&ended, Outcome::Replied, Close::Linger, &body);
    }
}

#[test]
fn head_gets_the_length_but_no_body() {
    let http = |reply| service(Framing::Http, reply);
    let (_folder, path, _) = temporary(100_000);
    let head = |length| http_page("200 OK", "", length, b"");
    replied(&http(http_text("hello\n")), HEAD, head(6));
    replied(&http(template("{{ path }}", true)), HEAD, head(2));
    replied(
        &http(Reply::Echo {
            http: Some(head_of_200()),
        }),
        HEAD,
        head(0),
    );
    replied(
        &http(Reply::Built(Arc::new(HeadBack))),
        HEAD,
        head(HEAD.len()),
    );
    replied(&http(file(&path, true)), HEAD, head(100_000));
    let fault = "HEAD / HTTP/1.1\r\n\r\n";
    let ended = run(&http(http_text("")), fault.as_bytes());
    let bad = http_page("400 Bad Request", "", "no Host\n".len(), b"");
    check(&ended, Outcome::Invalid, Close::Linger, bad);
}

#[test]
fn a_file_of_any_size_is_sent_whole() {
    for size in [0, 1, 65_535, 65_536, 65_537, 200_000] {
        let (_folder, path, content) = temporary(size);
        let options = service(Framing::Line, file(&path, false));
        check(
            &run(&options, b"q\n"),
            Outcome::Replied,
            Close::Linger,
            &content,
        );
        let options = service(Framing::Http, file(&path, true));
        let expected = http_page("200 OK", "", size, &content);
        check(
            &run(&options, GET.as_bytes()),
            Outcome::Replied,
            Close::Linger,
            expected,
        );
    }
}

#[test]
fn the_size_of_a_reply_is_told_once() {
    let (_folder, path, _) = temporary(200_000);
    let options = service(Framing::Line, file(&path, false));
    let mut driver = Driver::new(&options);
    driver.receive(b"q\n");
    let mut told = 0;
    // Ends with the file.
    while !matches!(driver.exchange.step(), Step::Finish(_)) {
        if driver.exchange.step() == Step::Make {
            let made = driver.make();
            driver.tell(|exchange, cx| exchange.answered(made, cx));
        }
        told += driver.exchange.take_reply_bytes();
        assert_eq!(driver.exchange.take_reply_bytes(), 0, "told twice");
        driver.send(50_000);
    }
    assert_eq!(told, 200_000);
}

#[test]
fn only_the_last_part_may_share_its_segment_with_the_end() {
    let (_folder, path, content) = temporary(100_000);
    let options = service(Framing::Nothing, file(&path, false));
    let mut driver = Driver::new(&options);
    // Ends with the file.
    while driver.exchange.step() == Step::Make {
        let made = driver.make();
        driver.tell(|exchange, cx| exchange.answered(made, cx));
        let left = driver.exchange.left().concat().len();
        let is_last = driver.out.len() + left == content.len();
        assert_eq!(driver.exchange.is_last(), is_last);
        driver.send(usize::MAX);
    }
    assert_eq!(driver.out, content);
}

#[test]
fn continue_is_sent_once_and_before_the_reply() {
    let options = service(
        Framing::Http,
        Reply::Echo {
            http: Some(head_of_200()),
        },
    );
    let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let expected = [CONTINUE, &http_ok("hello")].concat();
    let (start, end) = head.split_at(20);
    for input in [
        vec![head, "hello"],
        vec![head, "he", "llo"],
        vec![start, end, "hell", "o"],
    ] {
        for portions in [&[usize::MAX][..], &[1], &[24, 2], &[7]] {
            let input = input.iter().map(|piece| piece.as_bytes()).collect();
            let script = Script {
                input,
                then: Event::End,
                portions,
                interrupt: None,
            };
            let ended = Driver::new(&options).run(&script);
            check(&ended, Outcome::Replied, Close::Linger, &expected);
        }
    }
    // Who has begun its body isn't waiting.
    replied(&options, &format!("{head}hello"), http_ok("hello"));
}

/// Source: RFC 9110 sections 15.3.5 and 15.4.5.
#[test]
fn a_status_without_content_gets_none() {
    let (_folder, path, _) = temporary(100_000);
    let source = Arc::new(Source::new(&path));
    let head = |status| Some(HttpHead::new(&HttpOptions::of(status)));
    for status in [204, 304] {
        for reply in [
            template("{{ path }}", true),
            Reply::Echo { http: head(status) },
            Reply::File {
                source: Arc::clone(&source),
                http: head(status),
            },
        ] {
            let reply = match reply {
                Reply::Template { template, .. } => Reply::Template {
                    template,
                    http: head(status),
                },
                reply => reply,
            };
            let ended = run(&service(Framing::Http, reply), POST.as_bytes());
            let shown = ended.bytes.len();
            assert!(
                ended.bytes.ends_with(b"\r\n\r\n"),
                "{shown} bytes with {status}"
            );
        }
    }
}
