//! Running server programs of a case, and the events in their logs.

use camino::Utf8Path;

use super::boot_event::{BootEvent, EventSink};
use crate::base::process::{self, Command, Running, Streams};

/// Number of log lines to report when a server ends by itself.
const LAST_WORDS: usize = 5;

/// Starts the server `name` in `folder`, and sends the events that `parse` finds in its log to `sink`. The server ends
/// when dropped.
///
/// # Errors
///
/// [`process::Error`] if the server cannot be started. If it ends later, `sink` receives an event.
pub fn start(
    name: &'static str,
    mut command: Command,
    folder: &Utf8Path,
    parse: impl Fn(&str) -> Option<BootEvent> + Send + 'static,
    sink: &EventSink,
) -> Result<Running, process::Error> {
    command.dir = Some(folder.to_owned());
    let running = command.start(Streams::default())?;
    let (sink, mut last, mut aborted) = (sink.clone(), Vec::<String>::new(), false);
    running.each_line(move |line| {
        let Some(line) = line else {
            return sink.record(BootEvent::Gone { program: name, words: last.join("\n") }, None);
        };
        last.push(line.clone());
        last.drain(..last.len().saturating_sub(LAST_WORDS));
        // A client that only wants to know the size aborts the transfer, and dnsmasq logs "sent" all the same.
        let probe = std::mem::replace(&mut aborted, line.contains("]: error ") && line.contains(" received from "));
        match parse(&line) {
            Some(BootEvent::Sent(_)) if probe => sink.log(line),
            Some(happening) => sink.record(happening, Some(line)),
            None => sink.log(line),
        }
    });
    Ok(running)
}
