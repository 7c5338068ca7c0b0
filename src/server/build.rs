//! Services as the engine has them, made of what the configuration says.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::Admin;
use crate::config::address::Address;
use crate::config::command::Output;
use crate::config::document::Place;
use crate::config::fault::{Fault, Faults};
use crate::config::framing::Read;
use crate::config::load::Loaded;
use crate::config::reply::{Body, Notice};
use crate::config::{self, Config, types};
use crate::engine::Limits;
use crate::engine::discipline::Waits;
use crate::engine::listener::{ListenAddr, ListenerOptions};
use crate::engine::maker::{Maker, MakerThread};
use crate::engine::service::{Access, Linger, Service, Timeouts};
use crate::engine::sources::{Rate, SourceLimits};
use crate::engine::worker::PoolOptions;
use crate::exchange::{HalfClose, Options};
use crate::metrics::Metrics;
use crate::reply::command::CommandReply;
use crate::reply::file::Source;
use crate::reply::http::{HttpHead, HttpOptions};
use crate::reply::maintenance::{Flag, Maintenance};
use crate::reply::page::Page;
use crate::reply::template::{Template, TemplateError};
use crate::reply::{Built, Replies, Reply};
use crate::request::{Framing, Rules};
use crate::server::commands::{self, Commands};
use crate::server::limits;

/// A configured service, before it has counters, a pool and listeners.
#[derive(Debug)]
pub(super) struct Draft {
    /// What the configuration says.
    pub(super) table: types::Service,
    pub(super) replies: Replies,

    /// The pool of its own; `None`: the common one.
    pub(super) own_pool: Option<PoolOptions>,
}

/// The configured services. `commands`: `None` if they are only to be looked at.
///
/// # Errors
/// * templates that don't compile, and commands that can't be run as whom they are to, all of them
pub(super) fn services(loaded: &Loaded, commands: Option<&Commands>) -> Result<Vec<Draft>, Faults> {
    let mut drafts = Vec::new();
    let mut faults = Vec::new();
    for index in 0..loaded.config.services.len() {
        match draft(loaded, index, commands) {
            Ok(draft) => drafts.push(draft),
            Err(of_service) => faults.extend(of_service),
        }
    }
    Faults::none(faults)?;
    Ok(drafts)
}

/// One of them.
///
/// # Errors
/// * as [`services`]
pub(super) fn draft(
    loaded: &Loaded,
    index: usize,
    commands: Option<&Commands>,
) -> Result<Draft, Vec<Fault>> {
    let config = &loaded.config;
    let table = config.services[index].clone();
    let own_pool = (table.threads > 0).then(|| PoolOptions {
        name: table.name.clone(),
        threads: table.threads,
        ..common_pool(config)
    });
    Ok(Draft {
        replies: replies(loaded, index, commands)?,
        table,
        own_pool,
    })
}

/// The pool of every service that has none of its own.
pub(super) fn common_pool(config: &Config) -> PoolOptions {
    PoolOptions {
        name: "main".to_owned(),
        threads: threads(config.workers.threads),
        queue_capacity: config.queue.capacity,
        waits: Waits {
            target: config.queue.target_wait,
            max: config.queue.max_wait,
        },
    }
}

/// The limits of the services' engine.
pub(super) fn limits(max_connections: usize) -> Limits {
    Limits {
        max_connections,
        max_turned_away: limits::TURNED_AWAY_MAX,
    }
}

/// The admin listener's one service: HTTP with limits of its own.
pub(super) fn admin(config: &types::Admin, admin: &Arc<Admin>) -> Draft {
    let table = types::Service {
        name: "admin".to_owned(),
        listen: config.listen.clone(),
        read: Read::Http,
        // Its descriptors are few: who says nothing soon makes room.
        request_timeout: Duration::from_secs(2),
        allow: config.allow.clone(),
        // A scrape is to be seen by the acceptor at once, and a silent client to be counted.
        defer_accept: Duration::ZERO,
        ..types::Service::default()
    };
    let replies = Replies {
        reply: Reply::Built(Arc::clone(admin) as Arc<dyn Built>),
        busy: notice(&table.busy, true),
        denied: notice(&table.denied, true),
        failed: notice(&table.failed, true),
        timed_out: notice(&table.timed_out, true),
        maintenance: None,
        is_http: true,
    };
    Draft {
        table,
        replies,
        own_pool: None,
    }
}

/// The admin listener's pool.
pub(super) fn admin_pool() -> PoolOptions {
    PoolOptions {
        name: "admin".to_owned(),
        threads: 1,
        queue_capacity: limits::ADMIN_CONNECTIONS_MAX,
        waits: Waits {
            target: Duration::ZERO,
            // A scrape that is late tells more than one that is turned away. Prometheus waits for ten.
            max: Duration::from_secs(10),
        },
    }
}

/// The limits of the admin listener's engine.
pub(super) fn admin_limits() -> Limits {
    Limits {
        max_connections: limits::ADMIN_CONNECTIONS_MAX,
        max_turned_away: limits::ADMIN_TURNED_AWAY_MAX,
    }
}

/// A worker for each CPU but the acceptor's. Measured: on two CPUs a second worker only takes
/// time from the acceptor.
fn threads(configured: usize) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    if configured > 0 {
        configured
    } else {
        cpus.saturating_sub(1).max(1)
    }
}

/// A service as the engine has it: with workers, and counters.
pub(super) fn service(
    service: &types::Service,
    replies: Replies,
    pool: usize,
    metrics: &Metrics,
) -> Service {
    let rules = Rules {
        framing: framing(&service.read),
        max_request_bytes: service.max_request_bytes,
        max_head_bytes: service.max_head_bytes,
        keep_head: replies.reply.uses_head(),
        keep_body: replies.reply.uses_request(),
    };
    let half_close = match service.half_close {
        types::HalfClose::Reply => HalfClose::Reply,
        types::HalfClose::Cancel => HalfClose::Cancel,
    };
    Service {
        maker: maker(&replies, &service.name, metrics),
        exchange: Options {
            service: service.name.as_str().into(),
            rules,
            replies,
            half_close,
        },
        timeouts: Timeouts {
            request: service.request_timeout,
            reply: service.reply_timeout,
            min_bytes_per_second: service.min_bytes_per_second,
        },
        linger: Linger {
            idle: service.linger_idle,
            total: service.linger_total,
            max_bytes: service.linger_max_bytes,
        },
        access: Access {
            allow: service.allow.clone(),
            deny: service.deny.clone(),
        },
        max_connections: service.max_connections,
        source_limits: SourceLimits {
            max_connections: service.max_connections_per_source,
            rate: Rate::per_second(service.max_rate_per_source),
        },
        pool,
        metrics: metrics.service(&service.name),
    }
}

/// Whoever makes replies that come later, if any do.
fn maker(replies: &Replies, service: &str, metrics: &Metrics) -> Option<Maker> {
    match &replies.reply {
        Reply::Command(command) => Some(Maker::Command {
            runner: Arc::clone(&command.runner),
            metrics: metrics.command(service),
            maintenance: (replies.maintenance.as_ref())
                .map(|maintenance| Arc::clone(&maintenance.flag)),
        }),
        reply => reply
            .comes_later()
            .then(|| Maker::Thread(MakerThread::new())),
    }
}

fn replies(
    loaded: &Loaded,
    index: usize,
    commands: Option<&Commands>,
) -> Result<Replies, Vec<Fault>> {
    let service = &loaded.config.services[index];
    let is_http = service.read == Read::Http;
    let mut faults = Vec::new();
    for (key, notice) in service.notices() {
        if Template::is_template(&notice.text) {
            faults.push(loaded.fault(
                &Place::service(index, &format!("{key}.text")),
                "no placeholders here",
                "this is sent as it is",
                Some("write plain text; only `reply.text` is a template".to_owned()),
            ));
        }
    }
    match reply(loaded, index, commands) {
        Ok(reply) if faults.is_empty() => Ok(Replies {
            reply,
            busy: notice(&service.busy, is_http),
            denied: notice(&service.denied, is_http),
            failed: notice(&service.failed, is_http),
            timed_out: notice(&service.timed_out, is_http),
            maintenance: service.maintenance.as_ref().map(|said| Maintenance {
                flag: Arc::<Flag>::default(),
                page: notice(&said.notice, is_http),
            }),
            is_http,
        }),
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.push(*fault);
            Err(faults)
        }
    }
}

/// The reply of one service.
///
/// # Errors
/// * a template that doesn't compile, a command that can't be run as whom it is to
pub(super) fn reply(
    loaded: &Loaded,
    index: usize,
    commands: Option<&Commands>,
) -> Result<Reply, Box<Fault>> {
    let service = &loaded.config.services[index];
    let is_http = service.read == Read::Http;
    let reply = &service.reply;
    let options = http_options(reply, reply.status);
    let http = is_http.then(|| HttpHead::new(&options));
    Ok(match &reply.body {
        Body::Text(text) if Template::is_template(text) => {
            let is_html = is_http
                && reply
                    .content_type
                    .trim_start()
                    .to_ascii_lowercase()
                    .starts_with("text/html");
            let template = Template::new(text, is_http, is_html);
            let template = Box::new(template.map_err(|error| no_template(loaded, index, error))?);
            Reply::Template { template, http }
        }
        Body::Text(text) => Reply::Page(Page::new(text.as_bytes(), is_http.then_some(&options))),
        Body::Echo => Reply::Echo { http },
        Body::File(path) => Reply::File {
            source: Source::new(path).into(),
            http,
        },
        Body::Command(command) => Reply::Command(CommandReply {
            runner: commands::runner(loaded, index, command, commands)?.into(),
            heads: (command.output == Output::Body).then(|| {
                let head = |(code, status): (&u8, &u16)| {
                    (*code, HttpHead::new(&http_options(reply, *status)))
                };
                command.exit_status.iter().map(head).collect()
            }),
            is_http,
        }),
    })
}

fn http_options(reply: &config::reply::Reply, status: u16) -> HttpOptions {
    HttpOptions {
        status,
        content_type: reply.content_type.clone(),
        headers: reply.headers.clone(),
    }
}

fn no_template(loaded: &Loaded, index: usize, error: TemplateError) -> Box<Fault> {
    let line = error
        .line
        .map_or(String::new(), |line| format!("in its line {line}"));
    let place = Place::service(index, "reply.text");
    Box::new(loaded.fault(&place, error.message, line, None))
}

fn notice(notice: &Notice, is_http: bool) -> Page {
    let options = HttpOptions {
        status: notice.status,
        content_type: notice.content_type.clone(),
        headers: notice.headers.clone(),
    };
    Page::new(notice.text.as_bytes(), is_http.then_some(&options))
}

fn framing(read: &Read) -> Framing {
    match read {
        Read::Nothing => Framing::Nothing,
        Read::Line => Framing::Line,
        Read::Eof => Framing::Eof,
        Read::Http => Framing::Http,
        Read::Delimiter(delimiter) => Framing::Delimiter(delimiter.as_bytes().into()),
        Read::Bytes(count) => Framing::Bytes(*count),
    }
}

/// Where to listen, as the engine says it.
pub(super) fn listen_addr(address: &Address) -> ListenAddr {
    match address {
        Address::Tcp(addr) => ListenAddr::Tcp(*addr),
        Address::Unix(path) => ListenAddr::Unix(path.clone()),
    }
}

/// The options of a service's listeners.
pub(super) fn listener_options(service: &types::Service) -> ListenerOptions {
    let reads = service.read != Read::Nothing;
    ListenerOptions {
        backlog: service.backlog,
        // A peer that is to get its reply at once must not be waited for.
        defer_accept: if reads {
            service.defer_accept
        } else {
            Duration::ZERO
        },
        keepalive: service.keepalive,
        user_timeout: service.user_timeout,
    }
}
