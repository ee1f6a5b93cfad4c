//! Plain lines, as for a log: one when a task begins, one when it ends.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use netboot_loaders::printable::single_line;
use netboot_loaders::progress::{Event, Kind};

use super::{err, labelled};

/// Remembers what is under way, to say how long it took.
#[derive(Default)]
pub(super) struct Plain(Mutex<HashMap<u64, (Kind, String, Instant)>>);

impl Plain {
    pub(super) fn report(&self, event: &Event) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, kind, label, .. } => {
                tasks.insert(*task, (*kind, label.clone(), Instant::now()));
                err(&format!("{:>8} {}\n", verb(*kind), single_line(label)));
            }
            Event::Finished { task, detail } => {
                if let Some((_, label, started)) = tasks.remove(task) {
                    let text = single_line(&format!("{label}: {detail}"));
                    err(&format!("{:>8} {text} ({:.1} s)\n", "done", started.elapsed().as_secs_f64()));
                }
            }
            Event::Abandoned { task } => drop(tasks.remove(task)),
            Event::Warning { message } => err(&labelled("warning:", 33, message)),
            Event::Advanced { .. } => {}
        }
    }
}

/// What is done in a task of `kind`.
pub(super) fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Wait => "wait",
        Kind::Clone => "clone",
        Kind::Download => "download",
        Kind::Export => "export",
        Kind::Make => "make",
        Kind::Link => "link",
        Kind::Publish => "publish",
        Kind::Pack => "pack",
        Kind::Rebuild => "rebuild",
        Kind::Boot => "boot",
        Kind::Compare => "compare",
        Kind::Deploy => "deploy",
    }
}
