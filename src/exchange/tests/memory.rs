//! What an exchange holds while it waits, and what it gives back: both follow from the rules.

use super::*;

/// What a worker receives at once; see `engine/worker.rs`.
const RECEIVED_MAX: usize = 64 * 1024;

/// An HTTP service that keeps bodies.
fn echo() -> Options {
    service(
        Framing::Http,
        Reply::Echo {
            http: Some(head_of_200()),
        },
    )
}

/// Chunks with as much around them as may be, so that much is received and little kept.
fn padded_chunks(count: usize) -> Vec<u8> {
    format!("1;{}\r\nx\r\n", "e".repeat(254))
        .repeat(count)
        .into_bytes()
}

fn kept<'a>(driver: &'a Driver<'_>) -> &'a Vec<u8> {
    match &driver.exchange.state {
        State::Reading { kept, .. } => kept,
        state => panic!("not reading but {state:?}"),
    }
}

/// Buffers that are spare, by their capacities.
fn spare(mut buffers: Buffers) -> Vec<usize> {
    let taken = std::iter::from_fn(|| Some(buffers.take().capacity()));
    taken.take_while(|capacity| *capacity > 0).collect()
}

#[test]
fn a_request_byte_by_byte_keeps_no_more_than_its_rules() {
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let stream = [&head[..], &padded_chunks(64)].concat();
    let options = echo();
    let mut driver = Driver::new(&options);
    for byte in stream.chunks(1) {
        // The driver looks at what is kept after each.
        driver.receive(byte);
    }
    assert!(kept(&driver).len() <= 64, "only the body is kept");
    assert!(kept(&driver).capacity() <= 2 * kept_max(&options.rules));
}

#[test]
fn what_waits_holds_a_few_reads_at_most() {
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let options = Options {
        rules: Rules {
            max_request_bytes: 4096,
            ..echo().rules
        },
        ..echo()
    };
    let mut driver = Driver::new(&options);
    driver.receive(&head[..10]);
    driver.receive(&head[10..]);
    let chunks = padded_chunks(4096);
    for piece in chunks.chunks(RECEIVED_MAX) {
        driver.receive(piece);
        let max = 2 * (kept_max(&options.rules) + RECEIVED_MAX);
        assert!(
            kept(&driver).capacity() <= max,
            "{} of {max}",
            kept(&driver).capacity()
        );
    }
}

/// P5: ten thousand of them hold ten thousand times this.
#[test]
fn what_waits_holds_no_more_than_its_rules() {
    let options = echo();
    let max = 2 * kept_max(&options.rules);
    let mut driver = Driver::new(&options);
    driver.receive(b"POST / HTTP/1.1\r\nHost: h\r\n");
    driver.receive(
        &[
            b"Transfer-Encoding: chunked\r\n\r\n",
            &padded_chunks(60)[..],
        ]
        .concat(),
    );
    let after_a_large_read = kept(&driver).capacity();

    let mut buffers = Buffers::new();
    buffers.put(Vec::with_capacity(RECEIVED_MAX));
    let mut driver = Driver::new(&options);
    driver.buffers = buffers;
    driver.receive(b"G");
    let after_a_large_request = kept(&driver).capacity();
    assert!(
        after_a_large_read <= max && after_a_large_request <= max,
        "{after_a_large_read} and {after_a_large_request} of {max} bytes"
    );
}

#[test]
fn buffers_go_round_however_it_ends() {
    let (_folder, path, _) = temporary(100_000);
    let services = [
        service(Framing::Line, file(&path, false)),
        service(Framing::Line, text("hello\n")),
        service(Framing::Line, Reply::Echo { http: None }),
        service(Framing::Bytes(40), text(&"x".repeat(5000))),
    ];
    let ends = [
        None,
        Some((Moment::Sending(0), Event::Break)),
        Some((Moment::Sending(1), Event::Expire)),
        Some((Moment::Making(0), Event::Expire)),
        Some((Moment::Making(1), Event::Shed)),
    ];
    let mut buffers = Buffers::new();
    for _ in 0..20 {
        for options in &services {
            for (interrupt, then) in ends.iter().zip([Event::End, Event::Expire].iter().cycle()) {
                let mut driver = Driver::new(options);
                driver.buffers = buffers;
                let input = vec![&b"que"[..], b"ry", b"\n"];
                let (then, interrupt) = (*then, *interrupt);
                driver.run(&Script {
                    input,
                    then,
                    portions: &[1000, 100_000],
                    interrupt,
                });
                buffers = driver.buffers;
            }
        }
    }
    let spare = spare(buffers);
    // Parts come from the maker, new each time, so there are more than one exchange has in hand.
    assert!(
        !spare.is_empty() && spare.len() <= 64,
        "{} buffers",
        spare.len()
    );
    assert!(
        spare.iter().sum::<usize>() <= 64 * RECEIVED_MAX,
        "{spare:?}"
    );
}

#[test]
fn a_part_of_a_file_is_read_into_the_buffer_of_the_one_before() {
    let (_folder, path, _) = temporary(200_000);
    let options = service(Framing::Nothing, file(&path, false));
    let mut driver = Driver::new(&options);
    let mut places = Vec::new();
    // Ends with the file.
    while driver.exchange.step() == Step::Make {
        let made = driver.make();
        driver.tell(|exchange, cx| exchange.answered(made, cx));
        places.push(driver.exchange.left()[1].as_ptr());
        driver.send(usize::MAX);
    }
    places.dedup();
    assert_eq!(places.len(), 1, "parts in different places");
}
