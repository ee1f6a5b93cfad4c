//! QEMU Machine Protocol (QMP): a few commands, and the event that a machine has stopped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::{Value, json};

/// Time limit for an answer from QEMU.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The operating system powered it off.
    PoweredOff,
    /// It tried to restart.
    Reset,
    /// It was ended from outside.
    Ended,
}

/// A connection to QEMU's monitor.
pub struct Monitor {
    stream: UnixStream,
    answers: Receiver<Value>,
}

/// Error from a QEMU command.
#[derive(Debug, thiserror::Error)]
#[error("QEMU did not `{command}`: {reason}")]
pub struct Error {
    command: String,
    reason: String,
}

impl Monitor {
    /// Opens a monitor connection over `stream`; calls `on_stop` when the machine stops.
    ///
    /// # Errors
    ///
    /// The error from the operating system if `stream` cannot be duplicated.
    pub fn new(stream: UnixStream, on_stop: impl Fn(Stop) + Send + 'static) -> std::io::Result<Self> {
        let reader = BufReader::new(stream.try_clone()?);
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
                if let Some(stop) = stop(&message) {
                    on_stop(stop);
                } else if message.get("event").is_none() && sender.send(message).is_err() {
                    break;
                }
            }
        });
        Ok(Self { stream, answers })
    }

    /// Waits for QEMU's greeting, and negotiates the protocol.
    ///
    /// # Errors
    ///
    /// [`Error`] if QEMU does not answer, or refuses.
    pub fn handshake(&mut self) -> Result<(), Error> {
        self.answer("start")?;
        self.execute("qmp_capabilities", &json!({})).map(drop)
    }

    /// Executes `command` in QEMU, and waits for the result.
    ///
    /// # Errors
    ///
    /// [`Error`] if QEMU refuses, or is gone.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, Error> {
        let failed = |reason: String| Error { command: command.into(), reason };
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.stream.write_all(line.as_bytes()).map_err(|error| failed(error.to_string()))?;
        let answer = self.answer(command)?;
        match answer.get("error") {
            Some(error) => Err(failed(error.get("desc").and_then(Value::as_str).unwrap_or("an error").to_owned())),
            None => Ok(answer),
        }
    }

    fn answer(&self, command: &str) -> Result<Value, Error> {
        let reason = "it does not answer".to_owned();
        self.answers.recv_timeout(PATIENCE).map_err(|_| Error { command: command.into(), reason })
    }
}

fn stop(message: &Value) -> Option<Stop> {
    if message.get("event")?.as_str()? != "SHUTDOWN" {
        return None;
    }
    Some(match message.pointer("/data/reason").and_then(Value::as_str) {
        Some("guest-shutdown") => Stop::PoweredOff,
        Some("guest-reset" | "guest-panic") => Stop::Reset,
        _ => Stop::Ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a monitor of a QEMU that sends `lines` and then nothing more.
    fn talk(lines: &str) -> (Monitor, Receiver<Stop>) {
        let (mine, mut its) = UnixStream::pair().unwrap();
        its.write_all(lines.as_bytes()).unwrap();
        let (sender, stops) = mpsc::channel();
        let monitor = Monitor::new(mine, move |stop| _ = sender.send(stop)).unwrap();
        // The connection stays open until the monitor is dropped.
        std::mem::forget(its);
        (monitor, stops)
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let (mut monitor, stops) = talk(concat!(
            "{\"QMP\": {\"version\": {}}}\n{\"return\": {}}\n{\"event\": \"RESUME\"}\n",
            "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}\n",
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such file\"}}\n",
        ));
        monitor.handshake().unwrap();
        let error = monitor.execute("screendump", &json!({})).unwrap_err();
        assert_eq!(error.to_string(), "QEMU did not `screendump`: no such file");
        assert_eq!(stops.recv().unwrap(), Stop::PoweredOff);
    }

    #[test]
    fn a_reset_is_no_power_off() {
        let (_monitor, stops) =
            talk("{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n");
        assert_eq!(stops.recv().unwrap(), Stop::Reset);
    }
}
