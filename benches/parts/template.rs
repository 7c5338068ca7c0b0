//! Text with placeholders: plain names, and what more a template can do.

use std::time::{Instant, SystemTime};

use criterion::Criterion;
use replyd::peer::Peer;
use replyd::reply::Asked;
use replyd::reply::calendar::Calendar;
use replyd::reply::template::Template;

const NAMES: &str = "hello, {{ request }} from {{ peer }}, says {{ service }} at {{ time }}\n";

const FILTERS: &str = "{{ method | lower }} {{ path | upper }} {{ headers['host'] | default('none') }}\
    {% if query %} {{ query | replace('a', 'b') }}{% endif %} {{ time | strftime('%H:%M') }}\n";

const HEAD: &[u8] =
    b"GET /status?verbose=a HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\r\n";

pub(crate) fn bench(criterion: &mut Criterion) {
    let calendar = Calendar::new(SystemTime::now());
    let mut group = criterion.benchmark_group("template");
    for (name, text, head) in [("names", NAMES, &b""[..]), ("filters", FILTERS, HEAD)] {
        let template = Template::new(text, !head.is_empty(), false).expect("a template");
        let asked = Asked {
            service: "bench",
            peer: Peer::Unix,
            calendar: &calendar,
            now: Instant::now(),
            head,
            request: b"you",
            received: b"you\n",
            is_head: false,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| template.render(&asked).expect("it renders"));
        });
    }
    group.finish();
}
