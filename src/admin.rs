//! What the admin listener answers: `/metrics`, `/-/healthy`, `/-/ready`.
//!
//! A reply like any other, so a slow scraper is as harmless as any other client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::metrics::{self, Metrics};
use crate::reply::http::HttpOptions;
use crate::reply::{Asked, Built, BuiltReply};
use crate::request::Head;

/// Answers the admin listener's requests.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
}

impl Admin {
    /// `ready` is what `/-/ready` tells.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, ready: Arc<AtomicBool>) -> Self {
        Self { metrics, ready }
    }

    fn get(&self, path: &str) -> BuiltReply {
        match path {
            "/metrics" => {
                let content_type = metrics::CONTENT_TYPE.to_owned();
                let http = HttpOptions {
                    content_type,
                    ..HttpOptions::of(200)
                };
                BuiltReply {
                    http,
                    body: self.metrics.render(),
                }
            }
            "/-/healthy" => text(200, "healthy\n"),
            "/-/ready" if self.ready.load(Relaxed) => text(200, "ready\n"),
            "/-/ready" => text(503, "not ready\n"),
            "/" => text(200, "replyd\n\n/metrics\n/-/healthy\n/-/ready\n"),
            _ => text(404, "not here; there is /metrics, /-/healthy, /-/ready\n"),
        }
    }
}

impl Built for Admin {
    fn build(&self, asked: &Asked<'_>) -> BuiltReply {
        match Head::parse(asked.head) {
            Some(head) if matches!(head.method, "GET" | "HEAD") => self.get(head.path),
            _ => {
                let mut reply = text(405, "only GET and HEAD\n");
                reply
                    .http
                    .headers
                    .push(("Allow".to_owned(), "GET, HEAD".to_owned()));
                reply
            }
        }
    }
}

fn text(status: u16, body: &str) -> BuiltReply {
    BuiltReply {
        http: HttpOptions::of(status),
        body: body.as_bytes().to_vec(),
    }
}
