//! A request in, bytes to send or a job out.
//!
//! What a reply consists of is prepared when the configuration is loaded: constant text is bytes
//! by then, a template is compiled. Where a reply can't be made without waiting for something (a
//! file on a disk that may hang) it is a [`Job`], which somebody else runs.
//!
//! Knows nothing of sockets or threads.

pub mod calendar;
pub mod call;
pub mod command;
pub mod file;
pub mod http;
pub mod maintenance;
pub mod output;
pub mod page;
pub mod template;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::command::report::Report;
use crate::command::{Delivery, Request};
use crate::peer::Peer;
use crate::reply::calendar::Calendar;
use crate::reply::call::Call;
use crate::reply::command::CommandReply;
use crate::reply::file::{FileJob, Part, Source};
use crate::reply::http::{HttpHead, HttpOptions};
use crate::reply::maintenance::Maintenance;
use crate::reply::output::Output;
use crate::reply::page::Page;
use crate::reply::template::Template;

/// What a service answers, whatever happens.
#[derive(Debug)]
pub struct Replies {
    /// To a request.
    pub reply: Reply,

    /// When there is no room for the connection.
    pub busy: Page,

    /// To a peer that is not allowed.
    pub denied: Page,

    /// When the reply could not be made.
    pub failed: Page,

    /// When the reply was not there in time.
    pub timed_out: Page,

    /// Instead of the reply, while the service is under maintenance; `None`: it never is.
    pub maintenance: Option<Maintenance>,

    /// Whether the service speaks HTTP: faults then get a page.
    pub is_http: bool,
}

/// How the reply to a request is made.
#[derive(Debug)]
pub enum Reply {
    /// Constant bytes.
    Page(Page),

    /// Text with placeholders.
    Template {
        /// The compiled text.
        template: Box<Template>,
        /// `None`: the service doesn't speak HTTP.
        http: Option<HttpHead>,
    },

    /// The request itself; over HTTP its body.
    Echo {
        /// `None`: the service doesn't speak HTTP.
        http: Option<HttpHead>,
    },

    /// What the file holds at that moment.
    File {
        /// Which one.
        source: Arc<Source>,
        /// `None`: the service doesn't speak HTTP.
        http: Option<HttpHead>,
    },

    /// What a command says.
    Command(CommandReply),
    /// Made by code, over HTTP.
    Built(Arc<dyn Built>),
}

/// A reply made by code.
pub trait Built: fmt::Debug + Send + Sync {
    /// Answers `asked`, without waiting for anything.
    fn build(&self, asked: &Asked<'_>) -> Building;
}

/// How far a [`Built`] reply came at once.
#[derive(Debug)]
pub enum Building {
    /// This is it.
    Now(BuiltReply),

    /// It takes waiting for something.
    Later(Call),
}

/// What a [`Built`] reply says.
#[derive(Debug)]
pub struct BuiltReply {
    /// Status and headers.
    pub http: HttpOptions,

    /// The content.
    pub body: Vec<u8>,
}

/// What a reply may know of its exchange.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The service's name.
    pub service: &'a str,

    /// Who asks.
    pub peer: Peer,

    /// What time it is.
    pub calendar: &'a Calendar,

    /// The same on the monotonic clock.
    pub now: Instant,

    /// The HTTP head, where the reply uses it; else empty.
    pub head: &'a [u8],

    /// The request without its terminator; over HTTP its body, where the reply uses it.
    pub request: &'a [u8],

    /// The request as it came, where the reply uses it: with its terminator; over HTTP head and
    /// decoded body.
    pub received: &'a [u8],

    /// The HTTP method is HEAD: everything but the body is sent.
    pub is_head: bool,
}

/// How far a reply came at once.
#[derive(Debug)]
pub enum Begun {
    /// The whole reply is in the output.
    Written,

    /// It comes later: the job has to be run.
    Later(Box<Job>),

    /// What a command has said, or how it failed, is there already.
    Reported(Arc<Report>),
    /// It can't be made.
    Failed,
}

/// Work that may wait for something other than the peer. Run by somebody who may be kept waiting.
#[derive(Debug)]
pub enum Job {
    /// Reads a part of a file.
    File(FileJob),

    /// Makes a whole reply.
    Call(Call),
    /// Has a command run. Nobody runs this job: the command's supervisor is asked.
    Command(Request),
}

/// What came of a [`Job`]. It travels in a box, which a job that is used again gets back.
#[derive(Debug)]
pub enum Made {
    /// A part of the reply.
    Part {
        /// The first part tells the size of the whole, in bytes.
        total_bytes: Option<u64>,
        /// What to send; empty for HEAD.
        bytes: Vec<u8>,
        /// The job that makes the next part, or [is over](Job::is_over) and may be used again; `None`
        /// of what was made at once.
        more: Option<Box<Job>>,
    },

    /// A command was run, or there is no room for it.
    Command(Delivery),
    /// It can't be made, or not to its end.
    Failed,
}

impl Job {
    /// Does the work. May block for as long as a disk hangs.
    #[must_use]
    pub fn run(mut self: Box<Self>) -> Box<Made> {
        match *self {
            Self::File(ref mut job) => {
                let part = job.run();
                let mut made = job.take_box();
                *made = match part {
                    Some(Part { total_bytes, bytes }) => Made::Part {
                        total_bytes,
                        bytes,
                        more: Some(self),
                    },
                    None => Made::Failed,
                };
                made
            }
            Self::Call(call) => Box::new(call.run()),
            Self::Command(_) => Box::new(Made::Failed),
        }
    }

    /// Whether it has made the last part: it holds nothing then that would have to be closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::File(job) => job.is_over(),
            Self::Call(_) | Self::Command(_) => false,
        }
    }

    /// Hands back the box of an earlier part, to be filled again.
    pub fn reuse_box(&mut self, made: Box<Made>) {
        match self {
            Self::File(job) => job.reuse_box(made),
            Self::Call(_) | Self::Command(_) => {}
        }
    }

    /// Hands back the buffer of an earlier part, to be filled again.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        match self {
            Self::File(job) => job.reuse(buffer),
            Self::Call(_) | Self::Command(_) => {}
        }
    }
}

impl Replies {
    /// Begins what a complete request is answered with.
    pub fn begin(&self, asked: &Asked<'_>, output: &mut Output) -> Begun {
        match &self.maintenance {
            Some(maintenance) if maintenance.flag.is_active() => {
                maintenance
                    .page
                    .write(asked.calendar, asked.is_head, output);
                Begun::Written
            }
            _ => self.reply.begin(asked, output),
        }
    }
}

impl Reply {
    /// Whether [`Asked::head`] is used.
    #[must_use]
    pub fn uses_head(&self) -> bool {
        match self {
            Self::Template { template, .. } => template.uses_head(),
            Self::Built(_) => true,
            Self::Command(command) => command.uses_head(),
            Self::Page(_) | Self::Echo { .. } | Self::File { .. } => false,
        }
    }

    /// Whether [`Asked::request`] is used, which over HTTP is the body.
    #[must_use]
    pub fn uses_request(&self) -> bool {
        match self {
            Self::Template { template, .. } => template.uses_request(),
            Self::Echo { .. } => true,
            Self::Command(command) => command.uses_request(),
            Self::Page(_) | Self::File { .. } | Self::Built(_) => false,
        }
    }

    /// Whether the reply comes later, so that somebody has to run its jobs.
    #[must_use]
    pub fn comes_later(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Command(_) | Self::Built(_))
    }

    /// Begins the reply to a complete request.
    pub fn begin(&self, asked: &Asked<'_>, output: &mut Output) -> Begun {
        match self {
            Self::Page(page) => page.write(asked.calendar, asked.is_head, output),
            Self::Template { template, http } => {
                let Some(body) = template.fill(asked) else {
                    return Begun::Failed;
                };
                write_whole(http.as_ref(), asked, body, output);
            }
            Self::Echo { http } => {
                write_head(
                    http.as_ref(),
                    asked.calendar,
                    asked.request.len() as u64,
                    output,
                );
                if sends_body(http.as_ref(), asked) {
                    output.own().extend_from_slice(asked.request);
                }
            }
            Self::File { source, http } => {
                let head_only = !sends_body(http.as_ref(), asked);
                return source.begin(head_only);
            }
            Self::Command(command) => return command.begin(asked),
            Self::Built(built) => match built.build(asked) {
                Building::Now(BuiltReply { http, body }) => {
                    write_whole(Some(&HttpHead::new(&http)), asked, body, output);
                }
                Building::Later(call) => return Begun::Later(Box::new(Job::Call(call))),
            },
        }
        Begun::Written
    }

    /// Takes a job back that is over.
    pub fn keep(&self, job: Box<Job>) {
        if let Self::File { source, .. } = self {
            source.keep(job);
        }
    }

    /// Puts what a command has said into the output.
    pub fn write_report(
        &self,
        report: &Report,
        calendar: &Calendar,
        is_head: bool,
        output: &mut Output,
    ) {
        if let Self::Command(command) = self {
            command.write(report, calendar, is_head, output);
        }
    }

    /// Puts a part of a reply that came later into the output.
    pub fn write_part(
        &self,
        total_bytes: Option<u64>,
        bytes: Vec<u8>,
        calendar: &Calendar,
        output: &mut Output,
    ) {
        if let (Self::File { http, .. }, Some(total_bytes)) = (self, total_bytes) {
            write_head(http.as_ref(), calendar, total_bytes, output);
        }
        output.set_body(bytes);
    }
}

fn write_head(http: Option<&HttpHead>, calendar: &Calendar, length: u64, output: &mut Output) {
    if let Some(http) = http {
        http.write(length, calendar, output.own());
    }
}

fn write_whole(http: Option<&HttpHead>, asked: &Asked<'_>, body: Vec<u8>, output: &mut Output) {
    write_head(http, asked.calendar, body.len() as u64, output);
    if sends_body(http, asked) {
        output.set_body(body);
    }
}

/// Not for HEAD, nor with a status that has no content.
fn sends_body(http: Option<&HttpHead>, asked: &Asked<'_>) -> bool {
    !asked.is_head && http.is_none_or(HttpHead::has_body)
}
