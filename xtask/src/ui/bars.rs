//! Progress bars on a terminal, one per task; finished tasks leave a line.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use netboot_loaders::base::progress::{Event, TaskKind};
use netboot_loaders::printable::single_line;

use super::plain::verb;

pub(super) struct Bars {
    all: MultiProgress,
    tasks: Mutex<HashMap<u64, (TaskKind, String, ProgressBar)>>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self { all: MultiProgress::new(), tasks: Mutex::default() }
    }

    pub(super) fn report(&self, event: &Event) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, kind, label, total } => {
                let bar = self.all.add(ProgressBar::no_length());
                bar.set_style(style(*kind, *total));
                if let Some(total) = total {
                    bar.set_length(*total);
                }
                bar.set_prefix(verb(*kind));
                bar.set_message(single_line(label));
                bar.enable_steady_tick(Duration::from_millis(120));
                tasks.insert(*task, (*kind, label.clone(), bar));
            }
            Event::Advanced { task, done, total } => {
                if let Some((kind, _, bar)) = tasks.get(task) {
                    if let Some(total) = total.filter(|total| bar.length() != Some(*total)) {
                        bar.set_style(style(*kind, Some(total)));
                        bar.set_length(total);
                    }
                    bar.set_position(*done);
                }
            }
            Event::Finished { task, detail } => {
                if let Some((kind, label, bar)) = tasks.remove(task) {
                    let took = bar.elapsed().as_secs_f64();
                    self.remove(&bar);
                    let text = single_line(&format!("{label}: {detail}"));
                    self.print(&format!("{:>8} {text} ({took:.1} s)", verb(kind)));
                }
            }
            Event::Abandoned { task } => {
                if let Some((_, _, bar)) = tasks.remove(task) {
                    self.remove(&bar);
                }
            }
            Event::Warning(warning) => self.print(super::warning(warning).trim_end()),
        }
    }

    /// Clears all bars from the terminal before other output is written.
    pub(super) fn clear(&self) {
        for (_, _, bar) in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).values() {
            bar.finish_and_clear();
        }
        // A closed terminal needs no clearing.
        let _ = self.all.clear();
    }

    fn remove(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        self.all.remove(bar);
    }

    fn print(&self, text: &str) {
        // A closed terminal is no reason to stop a build.
        let _ = self.all.println(text);
    }
}

fn style(kind: TaskKind, total: Option<u64>) -> ProgressStyle {
    let template = match (kind, total) {
        (_, None) => "{prefix:>8} {spinner} {wide_msg} {elapsed}",
        (TaskKind::Download | TaskKind::Compare | TaskKind::Deploy, Some(_)) => {
            "{prefix:>8} {spinner} {wide_msg} [{bar:24}] {bytes}/{total_bytes} {elapsed}"
        }
        (_, Some(_)) => "{prefix:>8} {spinner} {wide_msg} [{bar:24}] {pos}/{len} {elapsed}",
    };
    ProgressStyle::with_template(template)
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "))
}
