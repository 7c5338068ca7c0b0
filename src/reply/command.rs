//! What a command says as the reply: its bytes as they are, or as the body of an HTTP reply whose
//! status its exit code decides.

use std::sync::Arc;

use crate::command::report::Report;
use crate::command::{Asking, End, Looked, Runner};
use crate::reply::calendar::Calendar;
use crate::reply::http::HttpHead;
use crate::reply::output::Output;
use crate::reply::{Asked, Begun, Job};

/// How a command's output becomes a reply.
#[derive(Debug)]
pub struct CommandReply {
    /// Runs it.
    pub runner: Arc<Runner>,

    /// By exit code, the head of an HTTP reply. `None`: the command writes the whole reply.
    pub heads: Option<Vec<(u8, HttpHead)>>,

    /// Whether the service speaks HTTP.
    pub is_http: bool,
}

impl CommandReply {
    pub(super) fn uses_head(&self) -> bool {
        self.is_http && self.runner.uses_received()
    }

    pub(super) fn uses_request(&self) -> bool {
        self.runner.uses_request() || self.runner.uses_received()
    }

    pub(super) fn begin(&self, asked: &Asked<'_>) -> Begun {
        let asking = Asking {
            received: asked.received,
            request: asked.request,
            peer: asked.peer,
            is_head: asked.is_head,
        };
        if self.runner.uses_request() && asked.request.contains(&0) {
            // No argument can hold a NUL: what the peer asks for can't be run.
            return Begun::Failed;
        }
        match self.runner.look(&asking, asked.now) {
            Looked::Later(request) => Begun::Later(Box::new(Job::Command(request))),
            Looked::There(report) => Begun::Reported(report),
        }
    }

    /// Puts an answer into the output.
    pub(super) fn write(
        &self,
        report: &Report,
        calendar: &Calendar,
        is_head: bool,
        output: &mut Output,
    ) {
        let Some(heads) = &self.heads else {
            return output.add_shared(&report.stdout);
        };
        let Some(head) = heads.iter().find(|(code, _)| ended_with(report, *code)) else {
            return;
        };
        let (_, head) = head;
        head.write(report.stdout.len() as u64, calendar, output.own());
        if head.has_body() && !is_head {
            output.add_shared(&report.stdout);
        }
    }
}

fn ended_with(report: &Report, code: u8) -> bool {
    report.end == Some(End::Exited(code.into()))
}
