//! Any config that a file can say.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::config::Config;
use crate::config::address::Address;
use crate::config::command::{CacheKey, Command, Output, Stdin};
use crate::config::framing::Read;
use crate::config::maintenance::Maintenance;
use crate::config::reply::{Body, Notice, Reply};
use crate::config::types::{Admin, Queue, Server, Service, Workers};

fn duration(min_seconds: u64) -> BoxedStrategy<Duration> {
    prop_oneof![
        (min_seconds..1_000_000_000).prop_map(Duration::from_secs),
        // What a float of the file can be: not every nanosecond of thirty years.
        (0.001..1e9f64).prop_map(Duration::from_secs_f64),
    ]
    .boxed()
}

/// Any characters at all, those that have to be escaped more often.
fn text() -> BoxedStrategy<String> {
    let escaped = proptest::sample::select(vec!['"', '\\', '\n', '\u{7f}', '\u{85}', '\u{202e}']);
    let character = prop_oneof![any::<char>(), escaped];
    vec(character, 0..20).prop_map(String::from_iter).boxed()
}

/// One to three addresses that no other service has.
fn listen(service: u16) -> BoxedStrategy<Vec<Address>> {
    let address = prop_oneof![
        any::<IpAddr>().prop_map(|ip| Address::Tcp(SocketAddr::new(ip, 0))),
        "/[a-z\"\u{e4} ]{1,20}[a-z]".prop_map(|path| Address::Unix(path.into())),
    ];
    let own = move |(address, rank): (Address, u16)| match address {
        Address::Tcp(socket) => {
            Address::Tcp(SocketAddr::new(socket.ip(), 8000 + 10 * service + rank))
        }
        Address::Unix(path) => Address::Unix(format!("{}{service}{rank}", path.display()).into()),
    };
    let addresses = vec(address, 1..4);
    let addresses = addresses.prop_map(move |all| all.into_iter().zip(0..).map(own).collect());
    addresses.boxed()
}

fn networks() -> BoxedStrategy<Vec<IpNet>> {
    let network = (any::<IpAddr>(), 0..=32u8)
        .prop_map(|(ip, length)| IpNet::new(ip, length).unwrap().trunc());
    let single = any::<IpAddr>().prop_map(IpNet::from);
    vec(prop_oneof![network, single], 0..3).boxed()
}

fn account() -> BoxedStrategy<Option<String>> {
    proptest::option::of("[a-z][a-z0-9_-]{0,8}").boxed()
}

fn headers() -> BoxedStrategy<Vec<(String, String)>> {
    let names = Just(["Zulu", "X.Y", "alpha", "x"]).prop_shuffle();
    let headers = (names, "[ -~]{0,8}", 0..4usize).prop_map(|(names, value, count)| {
        let names = names.into_iter().take(count);
        names.map(|name| (name.to_owned(), value.clone())).collect()
    });
    headers.boxed()
}

fn read() -> BoxedStrategy<Read> {
    let delimiter = text().prop_filter("1 to 64 bytes", |text| (1..=64).contains(&text.len()));
    let other = proptest::sample::select(vec![Read::Line, Read::Eof, Read::Http, Read::Http]);
    prop_oneof![
        delimiter.prop_map(Read::Delimiter),
        (1..=100usize).prop_map(Read::Bytes),
        other,
    ]
    .boxed()
}

/// A command that differs from the default in what goes by itself.
fn run() -> BoxedStrategy<Command> {
    let argument = text().prop_filter("no placeholder, no NUL", |text| {
        !text.contains("{{") && !text.contains('\0')
    });
    let run = (
        "/[a-z\"\u{e4} ]{1,9}",
        vec(argument.clone(), 0..3),
        any::<bool>(),
    );
    let run = run.prop_map(|(program, arguments, is_asked)| {
        let request = ["--", "{{request }}"].into_iter().filter(|_| is_asked);
        let arguments = arguments.into_iter().chain(request.map(str::to_owned));
        std::iter::once(program)
            .chain(arguments)
            .collect::<Vec<_>>()
    });
    let bounds = (1..=16_777_216usize, 1..=1024usize, 0..=1_000_000usize);
    let exit_status = proptest::collection::btree_map(any::<u8>(), 200..600u16, 1..5);
    let environment = proptest::collection::btree_map("[A-Z.\u{e4}\"]{1,6}", argument, 0..3);
    let around = (
        exit_status,
        environment,
        (account(), account()),
        any::<bool>(),
    );
    let times = (duration(1), duration(0));
    let command = (run, bounds, around, times, any::<bool>());
    let command = command.prop_map(|(run, bounds, around, (timeout, kill_after), reads)| {
        let (max_output_bytes, concurrency, max_waiting) = bounds;
        let (exit_status, environment, (user, group), is_raw) = around;
        Command {
            run,
            stdin: if reads {
                Stdin::Request
            } else {
                Stdin::Nothing
            },
            timeout,
            kill_after,
            max_output_bytes,
            concurrency,
            max_waiting,
            output: if is_raw { Output::Raw } else { Output::Body },
            exit_status,
            environment,
            working_directory: "/\u{e4} x".into(),
            group: group.filter(|_| user.is_some()),
            user,
            ..Command::default()
        }
    });
    command.boxed()
}

/// The same, with a cache, a schedule or neither.
fn command() -> BoxedStrategy<Command> {
    let times = (duration(1), duration(0), duration(0));
    let key = (any::<bool>(), any::<bool>());
    let command = (run(), times, key, 0..3u8).prop_map(|(run, times, key, kind)| {
        let (one, stale, failure_cache) = times;
        let (request, peer) = key;
        match kind {
            0 => run,
            1 => Command {
                refresh: one.max(Duration::from_millis(100)),
                run: run
                    .run
                    .into_iter()
                    .filter(|one| !one.contains("{{"))
                    .collect(),
                ..run
            },
            _ => Command {
                cache: one,
                stale,
                failure_cache,
                cache_key: CacheKey { request, peer },
                ..run
            },
        }
    });
    command.boxed()
}

fn reply() -> BoxedStrategy<Reply> {
    let body = prop_oneof![
        command().prop_map(|command| Body::Command(Box::new(command))),
        text().prop_map(Body::Text),
        Just(Body::Echo),
        "[a-z/\u{e4}\"]{1,10}".prop_map(|path| Body::File(path.into())),
    ];
    let reply = (body, headers(), 200..600u16, "[a-z/]{1,9}").prop_map(
        |(body, headers, status, content_type)| Reply {
            body,
            status,
            headers,
            content_type,
        },
    );
    reply.boxed()
}

fn notice() -> BoxedStrategy<Notice> {
    let notice = (text(), headers(), 200..600u16).prop_map(|(text, headers, status)| Notice {
        text,
        status,
        headers,
        ..Notice::busy()
    });
    notice.boxed()
}

fn maintenance() -> BoxedStrategy<Option<Maintenance>> {
    let maintenance = ("[a-z/\u{e4}\"]{1,10}", notice()).prop_map(|(file, notice)| Maintenance {
        file: file.into(),
        notice,
    });
    proptest::option::of(maintenance).boxed()
}

/// A service that differs from the default in its numbers.
fn numbers() -> BoxedStrategy<Service> {
    let times = [duration(1), duration(1), duration(0), duration(0)];
    let counts = (0..=512usize, 0..=1_000_000usize, 1..=65_535u16);
    let rate = prop_oneof![
        Just(0.0),
        (1..=1_000_000u32).prop_map(f64::from),
        0.001..1e6f64
    ];
    let per_source = (0..=1_000_000usize, rate);
    let other = (1..=1_073_741_824u64, 0..=3_600u64);
    let service = (times, counts, per_source, other);
    let service = service.prop_map(|([request, reply, one, two], counts, per_source, other)| {
        let (threads, max_connections, backlog) = counts;
        Service {
            request_timeout: request,
            reply_timeout: reply,
            linger_idle: one.min(two),
            linger_total: one.max(two),
            defer_accept: Duration::from_secs(other.1),
            threads,
            max_connections,
            max_connections_per_source: per_source.0,
            max_rate_per_source: per_source.1,
            backlog,
            min_bytes_per_second: other.0,
            ..Service::default()
        }
    });
    service.boxed()
}

/// Takes out what contradicts the rest: what only an HTTP service may say where it is none, what the
/// reply of a command may not say, and a timeout that the reply's would always beat.
fn consistent(mut service: Service) -> Service {
    let is_http = service.read == Read::Http;
    if let Body::Command(command) = &mut service.reply.body {
        let (one, other) = (command.timeout, service.reply_timeout);
        command.timeout = one.min(other);
        // Random ones are never equal.
        service.reply_timeout = one.max(other);
        if !is_http {
            command.output = Output::Raw;
        }
        service.reply.status = Reply::default().status;
        if command.output == Output::Raw {
            let body = service.reply.body;
            service.reply = Reply {
                body,
                ..Reply::default()
            };
        }
    }
    if !is_http {
        let body = service.reply.body;
        service.reply = Reply {
            body,
            ..Reply::default()
        };
        let maintenance = service.maintenance.as_mut();
        let maintenance = maintenance.map(|said| (&mut said.notice, Notice::busy()));
        for (notice, default) in [
            (&mut service.busy, Notice::busy()),
            (&mut service.denied, Notice::denied()),
            (&mut service.failed, Notice::failed()),
            (&mut service.timed_out, Notice::timed_out()),
        ]
        .into_iter()
        .chain(maintenance)
        {
            let text = std::mem::take(&mut notice.text);
            *notice = Notice { text, ..default };
        }
    }
    service
}

fn service(index: u16) -> BoxedStrategy<Service> {
    let notices = ([notice(), notice(), notice(), notice()], maintenance());
    let peers = (listen(index), networks(), networks());
    let service = (numbers(), peers, read(), reply(), notices).prop_map(
        move |(numbers, (listen, allow, deny), read, reply, notices)| {
            let ([busy, denied, failed, timed_out], maintenance) = notices;
            consistent(Service {
                name: format!("s-{index}"),
                listen,
                allow,
                deny,
                read,
                reply,
                busy,
                denied,
                failed,
                timed_out,
                maintenance,
                ..numbers
            })
        },
    );
    service.boxed()
}

/// Any config with up to two services.
pub(super) fn any_config() -> BoxedStrategy<Config> {
    let accounts = (account(), account());
    let server = (duration(0), duration(0), 0..=1_000_000usize, accounts);
    let queue = (1..=1_000_000usize, duration(0), duration(1));
    let services = (service(1), service(2), 0..=2usize);
    let config = (
        server,
        queue,
        0..=512usize,
        (networks(), any::<bool>()),
        services,
    )
        .prop_map(
            |(server, queue, threads, (allow, reload), (one, two, count))| {
                let (capacity, target_wait, max_wait) = queue;
                let (grace_period, drain_delay, max_connections, (user, group)) = server;
                Config {
                    server: Server {
                        grace_period,
                        drain_delay,
                        max_connections,
                        group: group.filter(|_| user.is_some()),
                        user,
                    },
                    workers: Workers { threads },
                    queue: Queue {
                        capacity,
                        target_wait,
                        max_wait,
                    },
                    admin: Admin {
                        reload,
                        allow,
                        ..Admin::default()
                    },
                    services: [one, two].into_iter().take(count).collect(),
                    ..Config::default()
                }
            },
        );
    config.boxed()
}
