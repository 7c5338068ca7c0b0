//! Ends that are ours: shed, too late, failed, cut. The outcome, the close, and the bytes before.

use std::time::Instant;

use super::*;

#[test]
fn shed_gets_the_busy_reply() {
    use Outcome::Busy;
    let page = http_page("503 Service Unavailable", "", 5, b"busy\n");
    for input in ["", "que"] {
        check_input(
            &line(),
            input,
            Event::Shed,
            (Busy, Close::Linger, b"busy\n"),
        );
    }
    check_input(&http(), "", Event::Shed, (Busy, Close::Linger, &page));
    check_input(&http(), "GE", Event::Shed, (Busy, Close::Linger, &page));
}

#[test]
fn shed_in_the_middle_of_a_reply_is_cut() {
    let sending = |count| Some((Moment::Sending(count), Event::Shed));
    let script = Script {
        input: vec![b"q\n"],
        then: Event::End,
        portions: &[2],
        interrupt: sending(2),
    };
    let ended = Driver::new(&line()).run(&script);
    check(&ended, Outcome::Busy, Close::Abort, "he");

    let (_folder, path, content) = temporary(100_000);
    let options = service(Framing::Line, file(&path, false));
    let shed = |job| {
        run_until(
            &options,
            b"q\n",
            Event::End,
            Some((Moment::Making(job), Event::Shed)),
        )
    };
    check(&shed(0), Outcome::Busy, Close::Linger, "busy\n");
    check(&shed(1), Outcome::Busy, Close::Abort, &content[..65_536]);
}

#[test]
fn a_request_that_takes_too_long_times_out() {
    use Outcome::TimedOut;
    for input in ["", "que"] {
        check_input(
            &line(),
            input,
            Event::Expire,
            (TimedOut, Close::Linger, b"timed out\n"),
        );
    }
    let body = "the request took too long\n";
    let page = http_page("408 Request Timeout", "", body.len(), body.as_bytes());
    check_input(
        &http(),
        "GET / HTTP",
        Event::Expire,
        (TimedOut, Close::Linger, &page),
    );
    // It would answer a request that comes later.
    check_input(&http(), "", Event::Expire, (TimedOut, Close::Plain, b""));
}

#[test]
fn a_reply_that_takes_too_long_times_out() {
    use Outcome::TimedOut;
    let (_folder, path, content) = temporary(100_000);
    let run = |options: &Options, input: &str, moment| {
        run_until(
            options,
            input.as_bytes(),
            Event::End,
            Some((moment, Event::Expire)),
        )
    };
    let plain = service(Framing::Line, file(&path, false));
    check(
        &run(&plain, "q\n", Moment::Making(0)),
        TimedOut,
        Close::Linger,
        "timed out\n",
    );
    check(
        &run(&plain, "q\n", Moment::Making(1)),
        TimedOut,
        Close::Abort,
        &content[..65_536],
    );
    check(
        &run(&plain, "q\n", Moment::Sending(0)),
        TimedOut,
        Close::Abort,
        "",
    );
    check(
        &run(&plain, "q\n", Moment::Sending(1)),
        TimedOut,
        Close::Abort,
        &content[..65_536],
    );
    let options = service(Framing::Http, file(&path, true));
    let page = http_page("504 Gateway Timeout", "", 10, b"timed out\n");
    check(
        &run(&options, GET, Moment::Making(0)),
        TimedOut,
        Close::Linger,
        page,
    );
}

#[test]
fn a_late_answer_is_ignored() {
    let (_folder, path, _) = temporary(100_000);
    let options = service(Framing::Line, file(&path, false));
    for (event, outcome, expected) in [
        (Event::Expire, Outcome::TimedOut, "timed out\n"),
        (Event::Shed, Outcome::Busy, "busy\n"),
        (Event::Break, Outcome::PeerClosed, ""),
        (Event::Abort(Outcome::Abandoned), Outcome::Abandoned, ""),
    ] {
        for portion in [1, 100] {
            let mut driver = Driver::new(&options);
            driver.receive(b"q\n");
            let made = driver.make();
            driver.happen(event);
            driver.send(portion);
            driver.tell(|exchange, cx| exchange.answered(made, cx));
            // Ends with the page.
            while driver.exchange.step() == Step::Send {
                driver.send(1);
                driver.tell(|exchange, cx| exchange.answered(Box::new(Made::Failed), cx));
            }
            assert!(
                matches!(driver.exchange.step(), Step::Finish(_)),
                "after {event:?}"
            );
            assert_eq!(driver.exchange.outcome(), outcome);
            assert_eq!(driver.out, expected.as_bytes());
        }
    }
}

#[test]
fn a_reply_that_cannot_be_made_has_failed() {
    use Outcome::Failed;
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    let plain = service(Framing::Line, file(&missing, false));
    check_input(
        &plain,
        "q\n",
        Event::End,
        (Failed, Close::Linger, b"failed\n"),
    );
    let page = http_page("500 Internal Server Error", "", 7, b"failed\n");
    for reply in [
        file(&missing, true),
        template("{{ headers.no_such.part }}", true),
    ] {
        let options = service(Framing::Http, reply);
        check_input(&options, GET, Event::End, (Failed, Close::Linger, &page));
    }
}

#[test]
fn a_part_that_fails_in_the_middle_is_cut() {
    let (_folder, path, content) = temporary(100_000);
    let options = service(Framing::Line, file(&path, false));
    let mut driver = Driver::new(&options);
    driver.receive(b"q\n");
    let made = driver.make();
    driver.tell(|exchange, cx| exchange.answered(made, cx));
    driver.send(usize::MAX);
    std::fs::write(&path, "short").expect("written");
    let made = driver.make();
    driver.tell(|exchange, cx| exchange.answered(made, cx));
    assert_eq!(driver.exchange.step(), Step::Finish(Close::Abort));
    assert_eq!(driver.exchange.outcome(), Outcome::Failed);
    assert_eq!(driver.out, &content[..65_536]);
}

#[test]
fn abort_ends_without_a_word_in_every_state() {
    let (_folder, path, _) = temporary(100_000);
    let options = service(Framing::Line, file(&path, false));
    for outcome in [Outcome::Abandoned, Outcome::Panicked, Outcome::Failed] {
        let event = Event::Abort(outcome);
        check_input(&options, "", event, (outcome, Close::Abort, b""));
        check_input(&options, "que", event, (outcome, Close::Abort, b""));
        for moment in [Moment::Making(0), Moment::Sending(0)] {
            let ended = run_until(&options, b"q\n", Event::End, Some((moment, event)));
            check(&ended, outcome, Close::Abort, "");
        }
    }
}

#[test]
fn shed_after_the_end_changes_nothing() {
    let mut driver = Driver::new(&service(Framing::Nothing, text(""))).exchange;
    let (calendar, mut buffers) = (Calendar::new(UNIX_EPOCH), Buffers::new());
    let options = line();
    let mut cx = Context {
        options: &options,
        peer: Peer::Unix,
        calendar: &calendar,
        now: Instant::now(),
        buffers: &mut buffers,
    };
    driver.shed(&mut cx);
    assert_eq!(
        (driver.outcome(), driver.step()),
        (Outcome::Replied, Step::Finish(Close::Linger))
    );
}

#[test]
fn a_continue_that_was_cut_is_not_followed_by_a_page() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    for event in [Event::Expire, Event::Shed] {
        let interrupt = Some((Moment::Sending(10), event));
        let input = vec![head.as_bytes()];
        let script = Script {
            input,
            then: Event::End,
            portions: &[10],
            interrupt,
        };
        let ended = Driver::new(&http()).run(&script);
        assert!(
            CONTINUE.starts_with(&ended.bytes),
            "{}",
            ended.bytes.escape_ascii()
        );
        assert_eq!(ended.close, Close::Abort);
    }
}

#[test]
fn head_that_takes_too_long_gets_no_body() {
    for event in [Event::Expire, Event::Shed] {
        let ended = run_until(&http(), b"HEAD / HTTP/1.1\r\nHost: h\r\n", event, None);
        assert!(
            ended.bytes.ends_with(b"\r\n\r\n"),
            "{}",
            ended.bytes.escape_ascii()
        );
    }
}
