//! Plain lines, as for a log: one when a task starts, one when it finishes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use netboot_loaders::base::progress::{Event, TaskKind};
use netboot_loaders::printable::single_line;

use super::err;

/// Running tasks with their start times, from which the durations are printed.
#[derive(Default)]
pub(super) struct Plain(Mutex<HashMap<u64, (TaskKind, String, Instant)>>);

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
            Event::Warning(warning) => err(&super::warning(warning)),
            Event::Advanced { .. } => {}
        }
    }
}

/// Returns the verb for a task of `kind`.
pub(super) fn verb(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Wait => "wait",
        TaskKind::Clone => "clone",
        TaskKind::Download => "download",
        TaskKind::Export => "export",
        TaskKind::Make => "make",
        TaskKind::Link => "link",
        TaskKind::Publish => "publish",
        TaskKind::Pack => "pack",
        TaskKind::Rebuild => "rebuild",
        TaskKind::Boot => "boot",
        TaskKind::Rehearse => "rehearse",
        TaskKind::Compare => "compare",
        TaskKind::Deploy => "deploy",
    }
}
